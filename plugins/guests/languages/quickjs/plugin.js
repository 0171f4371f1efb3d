// A plugin in JavaScript, run by QuickJS. It ranks by shared words, answers
// what it was told, and does work for tests; see ../languages.md. engine.c
// calls handle, and what is thrown becomes the call's error.

function lower(text) {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function words(text) {
  return lower(text).match(/[a-z0-9\u0080-\uffff]+/g) ?? [];
}

function rank(document) {
  let input;
  try {
    input = JSON.parse(document);
  } catch {
    throw { code: 'bad-input', message: 'not a document to rank' };
  }
  const asked = new Set(words(input.query.text));
  const scores = input.candidates.map(({ index, text }) => {
    const all = words(text);
    const shared = all.filter((word) => asked.has(word)).length;
    return { index, score: all.length ? Math.floor((shared * 1000) / all.length) : 0 };
  });
  return JSON.stringify({ scores });
}

function sort(n) {
  const list = [];
  for (let i = 0, x = 1; i < n; i++) list.push((x = (Math.imul(x, 1664525) + 1013904223) >>> 0));
  list.sort((a, b) => a - b);
  return list.reduce((sum, x) => (Math.imul(sum, 31) + x) >>> 0, 0);
}

function hold(n) {
  const held = [];
  for (let i = 0; i < n; i++) held.push(`item-${i}`);
  return held.reduce((sum, item) => sum + item.length, 0);
}

function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

function dive(n) {
  return n === 0 ? 0 : dive(n - 1) + 1;
}

function float(n) {
  let sum = 0;
  for (let i = 1; i <= n; i++) sum += 1 / i;
  return sum;
}

function spin() {
  for (;;);
}

function stress(task) {
  const [name, n] = task.split(' ');
  const work = { sort, hold, recurse: fibonacci, float, dive, spin }[name];
  if (!work) throw { code: 'bad-input', message: 'no such work' };
  return String(work(Number(n)));
}

function handle(capability, input) {
  const capabilities = { rank, echo: (text) => text, stress };
  if (!Object.hasOwn(capabilities, capability)) {
    throw { code: 'unsupported', message: 'no such capability' };
  }
  return capabilities[capability](input);
}
