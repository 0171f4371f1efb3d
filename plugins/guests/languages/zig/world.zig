//! The plugin world (plugins/wit/tars.wit) for plugins in Zig, by the canonical
//! ABI. A plugin has `pub fn handle(arena, capability, input) Outcome` in its
//! root; the rest is here. What the arena holds is freed when the host has read
//! the result.

const std = @import("std");
const plugin = @import("plugin.zig");

/// What a call came to.
pub const Outcome = union(enum) {
    output: []const u8,
    failure: struct { code: []const u8, message: []const u8 },
};

const List = extern struct { at: [*]const u8, size: usize };
const Result = extern struct { failed: u8, value: List, message: List };

const heap = std.heap.wasm_allocator;
var arena = std.heap.ArenaAllocator.init(heap);
var result: Result = undefined;

/// A list of nothing, too, must be at an address in memory, and Zig's allocators
/// give one at the very end of all addresses.
fn list(text: []const u8) List {
    return .{ .at = if (text.len > 0) text.ptr else "", .size = text.len };
}

fn take(at: [*]const u8, size: usize) []const u8 {
    const text = arena.allocator().dupe(u8, at[0..size]) catch @trap();
    if (size > 0) heap.free(at[0..size]);
    return text;
}

export fn handle(capability: [*]const u8, capability_size: usize, input: [*]const u8, input_size: usize) *Result {
    const outcome = plugin.handle(arena.allocator(), take(capability, capability_size), take(input, input_size));
    result = switch (outcome) {
        .output => |text| .{ .failed = 0, .value = list(text), .message = list("") },
        .failure => |f| .{ .failed = 1, .value = list(f.code), .message = list(f.message) },
    };
    return &result;
}

export fn cabi_post_handle(_: *Result) void {
    _ = arena.reset(.free_all);
}

/// Is asked for strings alone, which have an alignment of 1.
export fn cabi_realloc(old: [*]u8, old_size: usize, alignment: usize, size: usize) [*]u8 {
    if (size == 0) return @ptrFromInt(alignment);
    const new = if (old_size == 0) heap.alloc(u8, size) else heap.realloc(old[0..old_size], size);
    return (new catch @trap()).ptr;
}

pub fn panic(_: []const u8, _: ?*std.builtin.StackTrace, _: ?usize) noreturn {
    @trap();
}
