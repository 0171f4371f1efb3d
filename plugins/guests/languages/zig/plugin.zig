//! A plugin in Zig. It ranks by shared words, answers what it was told, and
//! does work for tests; see ../languages.md.

const std = @import("std");
const world = @import("world.zig");
const Allocator = std.mem.Allocator;

const Input = struct {
    query: struct { text: []const u8 },
    candidates: []const struct { index: i64 = 0, text: []const u8 = "" },
};

const Score = struct { index: i64, score: usize };

fn apart(c: u8) bool {
    return c < 0x80 and !std.ascii.isAlphanumeric(c);
}

/// Goes from word to word of a text.
const Words = struct {
    rest: []const u8,

    fn next(words: *Words) ?[]const u8 {
        var start: usize = 0;
        while (start < words.rest.len and apart(words.rest[start])) start += 1;
        var end = start;
        while (end < words.rest.len and !apart(words.rest[end])) end += 1;
        defer words.rest = words.rest[end..];
        return if (end > start) words.rest[start..end] else null;
    }
};

/// How many of a thousand words of the text are in the query.
fn score(arena: Allocator, asked: std.StringHashMap(void), text: []const u8) !usize {
    var all: usize = 0;
    var shared: usize = 0;
    var words = Words{ .rest = try std.ascii.allocLowerString(arena, text) };
    while (words.next()) |word| : (all += 1) {
        if (asked.contains(word)) shared += 1;
    }
    return if (all > 0) shared * 1000 / all else 0;
}

fn rank(arena: Allocator, document: []const u8) ![]const u8 {
    const input = try std.json.parseFromSliceLeaky(Input, arena, document, .{ .ignore_unknown_fields = true });
    var asked = std.StringHashMap(void).init(arena);
    var words = Words{ .rest = try std.ascii.allocLowerString(arena, input.query.text) };
    while (words.next()) |word| try asked.put(word, {});
    const scores = try arena.alloc(Score, input.candidates.len);
    for (input.candidates, scores) |c, *s| s.* = .{ .index = c.index, .score = try score(arena, asked, c.text) };
    return std.json.stringifyAlloc(arena, .{ .scores = scores }, .{});
}

fn sort(arena: Allocator, n: u32) !u32 {
    const numbers = try arena.alloc(u32, n);
    var x: u32 = 1;
    for (numbers) |*number| {
        x = x *% 1664525 +% 1013904223;
        number.* = x;
    }
    std.mem.sort(u32, numbers, {}, std.sort.asc(u32));
    var sum: u32 = 0;
    for (numbers) |number| sum = sum *% 31 +% number;
    return sum;
}

fn hold(arena: Allocator, n: u32) !usize {
    const held = try arena.alloc([]const u8, n);
    for (held, 0..) |*item, i| item.* = try std.fmt.allocPrint(arena, "item-{}", .{i});
    var sum: usize = 0;
    for (held) |item| sum += item.len;
    return sum;
}

fn fibonacci(n: u32) u32 {
    return if (n < 2) n else fibonacci(n - 1) + fibonacci(n - 2);
}

fn float(n: u32) f64 {
    var sum: f64 = 0;
    for (0..n) |i| sum += 1 / @as(f64, @floatFromInt(i + 1));
    return sum;
}

fn dive(n: u32) u32 {
    return if (n == 0) 0 else @call(.never_tail, dive, .{n - 1}) + 1;
}

var going = true;

/// Reads `going` in each round, so that the compiler does not do without them.
fn spin(n: u32) u32 {
    const on: *volatile bool = &going;
    while (on.*) {}
    return n;
}

fn stress(arena: Allocator, task: []const u8) ![]const u8 {
    const space = std.mem.indexOfScalar(u8, task, ' ') orelse return error.NoSuchWork;
    const n = try std.fmt.parseInt(u32, task[space + 1 ..], 10);
    const Work = enum { sort, hold, recurse, float, dive, spin };
    return switch (std.meta.stringToEnum(Work, task[0..space]) orelse return error.NoSuchWork) {
        .sort => std.fmt.allocPrint(arena, "{}", .{try sort(arena, n)}),
        .hold => std.fmt.allocPrint(arena, "{}", .{try hold(arena, n)}),
        .recurse => std.fmt.allocPrint(arena, "{}", .{fibonacci(n)}),
        .float => std.fmt.allocPrint(arena, "{d}", .{float(n)}),
        .dive => std.fmt.allocPrint(arena, "{}", .{dive(n)}),
        .spin => std.fmt.allocPrint(arena, "{}", .{spin(n)}),
    };
}

fn failure(code: []const u8, message: []const u8) world.Outcome {
    return .{ .failure = .{ .code = code, .message = message } };
}

pub fn handle(arena: Allocator, capability: []const u8, input: []const u8) world.Outcome {
    const Capability = enum { rank, echo, stress };
    const known = std.meta.stringToEnum(Capability, capability) orelse return failure("unsupported", "no such capability");
    return switch (known) {
        .rank => .{ .output = rank(arena, input) catch return failure("bad-input", "not a document to rank") },
        .echo => .{ .output = input },
        .stress => .{ .output = stress(arena, input) catch return failure("bad-input", "no such work") },
    };
}
