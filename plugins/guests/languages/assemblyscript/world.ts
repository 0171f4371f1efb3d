// The plugin world (plugins/wit/tars.wit) for plugins in AssemblyScript, by the
// canonical ABI: how a plugin takes the host's strings and gives its result.

// Where the result of handle is: a result<string, error> of five words.
const result = memory.data(20, 4);

export function cabi_realloc(old: usize, oldSize: u32, align: u32, size: u32): usize {
  if (size == 0) return align;
  return oldSize == 0 ? heap.alloc(size) : heap.realloc(old, size);
}

export function cabi_post_handle(result: usize): void {
  heap.free(load<u32>(result, 4));
  if (load<u8>(result)) heap.free(load<u32>(result, 12));
}

// take takes over a string that the host put where cabi_realloc said.
export function take(at: usize, size: u32): string {
  if (size == 0) return "";
  const text = String.UTF8.decodeUnsafe(at, size);
  heap.free(at);
  return text;
}

function give(text: string, offset: usize): void {
  const size = String.UTF8.byteLength(text);
  const at = heap.alloc(size);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at);
  store<u32>(result + offset, <u32>at);
  store<u32>(result + offset, size, 4);
}

export function answer(output: string): usize {
  store<u8>(result, 0);
  give(output, 4);
  return result;
}

export function fail(code: string, message: string): usize {
  store<u8>(result, 1);
  give(code, 4);
  give(message, 12);
  return result;
}
