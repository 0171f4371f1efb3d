// Reads JSON within bounds: whatever the document holds, nothing outside it is
// looked at, each loop goes forward, and nothing calls itself. What is not as
// expected makes the document bad, from where on everything reads as absent.
#include <stdbool.h>
#include <stdint.h>
#include <wasm_simd128.h>

// text is UTF-8, without a zero at its end.
struct text {
	char *at;
	uint32_t size;
};

struct json {
	char *at, *end;
	bool bad;
};

// peek is the next byte that is not blank; 0 if there is none.
static char peek(struct json *j) {
	while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\r' || *j->at == '\n')) j->at++;
	return j->bad || j->at == j->end ? 0 : *j->at;
}

static bool take(struct json *j, char c) {
	if (peek(j) != c || c == 0) return false;
	return j->at++, true;
}

static void expect(struct json *j, char c) {
	if (!take(j, c)) j->bad = true;
}

// begin enters an array or object and reports whether anything is in it; again
// reports whether more is. Each element must be read or skipped between them.
static bool begin(struct json *j, char open, char close) {
	expect(j, open);
	return !take(j, close) && !j->bad;
}

static bool again(struct json *j, char close) {
	if (take(j, ',')) return true;
	expect(j, close);
	return false;
}

// string is what stands between the quotes, as it stands there.
static struct text string(struct json *j) {
	expect(j, '"');
	char *from = j->at, *p = from, *end = j->end;
	for (; !j->bad; p++) {
		for (; end - p >= 16; p += 16) { // most bytes are neither
			v128_t bytes = wasm_v128_load(p);
			v128_t stops = wasm_v128_or(wasm_i8x16_eq(bytes, wasm_i8x16_const_splat('"')), wasm_i8x16_eq(bytes, wasm_i8x16_const_splat('\\')));
			if (!wasm_v128_any_true(stops)) continue;
			p += __builtin_ctz(wasm_i8x16_bitmask(stops));
			break;
		}
		while (p < end && *p != '"' && *p != '\\') p++;
		if (p < end && *p == '"') return j->at = p + 1, (struct text){from, p - from};
		if (p < end) p++; // what is escaped
		if (p >= end) j->bad = true;
	}
	return (struct text){from, 0};
}

static struct text key(struct json *j) {
	struct text name = string(j);
	expect(j, ':');
	return name;
}

static bool is(struct text t, const char *name) {
	uint32_t i = 0;
	while (i < t.size && name[i] && name[i] == t.at[i]) i++;
	return i == t.size && name[i] == 0;
}

// number is a whole number that is not negative.
static uint32_t number(struct json *j) {
	uint64_t n = 0;
	char c = peek(j);
	if (c < '0' || c > '9') j->bad = true;
	for (; !j->bad && j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
		n = n * 10 + (*j->at - '0');
		if (n > UINT32_MAX) j->bad = true;
	}
	if (j->at < j->end && (*j->at == '.' || *j->at == 'e' || *j->at == 'E')) j->bad = true;
	return n;
}

static bool in_word(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E'; }

// skip passes over a value, whose brackets need not match.
static void skip(struct json *j) {
	uint32_t open = 0;
	do {
		char c = peek(j), *from = j->at;
		if (c == '"') string(j);
		else if (c == '{' || c == '[') open++, j->at++;
		else if ((c == '}' || c == ']') && open > 0) open--, j->at++;
		else if ((c == ',' || c == ':') && open > 0) j->at++;
		else while (j->at < j->end && in_word(*j->at)) j->at++;
		if (j->at == from) j->bad = true;
	} while (open > 0 && !j->bad);
}

static uint32_t hex4(const char *p) {
	uint32_t n = 0;
	for (int i = 0; i < 4; i++) n = n << 4 | ((p[i] & 15) + (p[i] > '9' ? 9 : 0));
	return n;
}

// put_utf8 writes a character and returns where the next one goes.
static char *put_utf8(char *to, uint32_t c) {
	if (c < 0x80) return *to++ = c, to;
	if (c < 0x800) return *to++ = 0xc0 | c >> 6, *to++ = 0x80 | (c & 63), to;
	if (c < 0x10000) return *to++ = 0xe0 | c >> 12, *to++ = 0x80 | (c >> 6 & 63), *to++ = 0x80 | (c & 63), to;
	return *to++ = 0xf0 | c >> 18, *to++ = 0x80 | (c >> 12 & 63), *to++ = 0x80 | (c >> 6 & 63), *to++ = 0x80 | (c & 63), to;
}

// decode resolves the escapes of a string in place: what they stand for is never
// longer. Half of a pair becomes U+FFFD.
static struct text decode(struct text raw) {
	char *to = raw.at, *end = raw.at + raw.size;
	for (char *p = raw.at; p < end;) {
		if (*p != '\\' || end - p < 2) {
			*to++ = *p++;
			continue;
		}
		char c = p[1];
		if (c != 'u' || end - p < 6) {
			*to++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
			p += 2;
			continue;
		}
		uint32_t u = hex4(p + 2);
		p += 6;
		if (u >> 10 == 0xd800 >> 10 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2) >> 10 == 0xdc00 >> 10) {
			u = 0x10000 + ((u & 0x3ff) << 10) + (hex4(p + 2) & 0x3ff);
			p += 6;
		} else if (u >> 11 == 0xd800 >> 11) {
			u = 0xfffd;
		}
		to = put_utf8(to, u);
	}
	return (struct text){raw.at, to - raw.at};
}
