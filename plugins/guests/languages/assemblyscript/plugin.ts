// A plugin in AssemblyScript. It ranks by shared words, answers what it was
// told, and does work for tests; see ../languages.md.

import { JSON } from "./json";
import { answer, fail, take } from "./world";
export { cabi_post_handle, cabi_realloc } from "./world";

function words(text: string): string[] {
  const found: string[] = [];
  let word = "";
  for (let i = 0; i <= text.length; i++) {
    let c = i < text.length ? text.charCodeAt(i) : 0;
    if (c >= 0x41 && c <= 0x5a) c += 0x20;
    if ((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c >= 0x80) {
      word += String.fromCharCode(c);
    } else if (word.length > 0) {
      found.push(word);
      word = "";
    }
  }
  return found;
}

// score is how many of a thousand words of the text are in the query.
function score(asked: Set<string>, text: string): i32 {
  const all = words(text);
  let shared = 0;
  for (let i = 0; i < all.length; i++) if (asked.has(all[i])) shared++;
  return all.length ? (shared * 1000) / all.length : 0;
}

function rank(document: string): usize {
  const json = new JSON(document);
  const top = json.blanks(0);
  const query = json.member(top, "query");
  const candidates = json.member(top, "candidates");
  if (query < 0 || candidates < 0) return fail("bad-input", "not a document to rank");
  const asked = new Set<string>();
  const list = words(json.string(json.member(query, "text")));
  for (let i = 0; i < list.length; i++) asked.add(list[i]);
  const scores: string[] = [];
  for (let c = json.first(candidates, 0x5b); c >= 0; c = json.next(c)) {
    const index = json.integer(json.member(c, "index"));
    scores.push(`{"index":${index},"score":${score(asked, json.string(json.member(c, "text")))}}`);
  }
  return answer(`{"scores":[${scores.join(",")}]}`);
}

function sort(n: u32): u32 {
  const list: u32[] = [];
  for (let i: u32 = 0, x: u32 = 1; i < n; i++) list.push((x = x * 1664525 + 1013904223));
  list.sort((a, b) => i32(a > b) - i32(a < b));
  return list.reduce((sum: u32, x) => sum * 31 + x, <u32>0);
}

function hold(n: u32): u32 {
  const held: string[] = [];
  for (let i: u32 = 0; i < n; i++) held.push(`item-${i}`);
  return held.reduce((sum: u32, item) => sum + item.length, <u32>0);
}

function fibonacci(n: u32): u32 {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

function dive(n: u32): u32 {
  return n == 0 ? 0 : dive(n - 1) + 1;
}

function float(n: u32): f64 {
  let sum: f64 = 0;
  for (let i: u32 = 1; i <= n; i++) sum += 1.0 / i;
  return sum;
}

function stress(task: string): usize {
  const parts = task.split(" ");
  const work = parts[0];
  const n: u32 = parts.length > 1 ? U32.parseInt(parts[1]) : 0;
  if (work == "sort") return answer(sort(n).toString());
  if (work == "hold") return answer(hold(n).toString());
  if (work == "recurse") return answer(fibonacci(n).toString());
  if (work == "float") return answer(float(n).toString());
  if (work == "dive") return answer(dive(n).toString());
  while (work == "spin");
  return fail("bad-input", "no such work");
}

export function handle(capability: usize, capabilitySize: u32, input: usize, inputSize: u32): usize {
  const name = take(capability, capabilitySize);
  const document = take(input, inputSize);
  if (name == "rank") return rank(document);
  if (name == "echo") return answer(document);
  if (name == "stress") return stress(document);
  return fail("unsupported", "no such capability");
}
