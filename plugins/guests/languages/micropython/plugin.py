# A plugin in Python, run by MicroPython. It ranks by shared words, answers what
# it was told, and does work for tests; see ../languages.md. engine.c calls
# handle, which returns the output, or a code and a message if it fails. What is
# raised ends the call: see uncaught/setjmp.h.

import json


def words(text):
    found, word = [], bytearray()
    for c in text.encode() + b" ":
        if 65 <= c <= 90:
            c += 32
        if 97 <= c <= 122 or 48 <= c <= 57 or c >= 128:
            word.append(c)
        elif word:
            found.append(bytes(word))
            word = bytearray()
    return found


def rank(document):
    found = json.loads(document)
    asked = set(words(found["query"]["text"]))
    scores = []
    for c in found["candidates"]:
        every = words(c["text"])
        shared = sum(1 for word in every if word in asked)
        scores.append('{"index":%d,"score":%d}' % (c["index"], shared * 1000 // max(1, len(every))))
    return '{"scores":[%s]}' % ",".join(scores)


def sort(n):
    numbers, x = [], 1
    for _ in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        numbers.append(x)
    numbers.sort()
    total = 0
    for x in numbers:
        total = (total * 31 + x) & 0xFFFFFFFF
    return total


def hold(n):
    held = ["item-%d" % i for i in range(n)]
    return sum(len(item) for item in held)


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def dive(n):
    return dive(n - 1) + 1 if n else 0


def float_sum(n):
    total = 0.0
    for i in range(1, n + 1):
        total += 1 / i
    return total


def spin(n):
    while True:
        pass


def stress(task):
    name, _, n = task.partition(" ")
    work = {"sort": sort, "hold": hold, "recurse": fibonacci, "float": float_sum, "dive": dive, "spin": spin}.get(name)
    if not work:
        return "bad-input", "no such work"
    return str(work(int(n)))


def handle(capability, document):
    if capability == "rank":
        return rank(document)
    if capability == "echo":
        return document
    if capability == "stress":
        return stress(document)
    return "unsupported", "no such capability"
