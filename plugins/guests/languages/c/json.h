// Finds its way in JSON that a host wrote: well-formed, so that nothing is
// checked but what is looked for. A value is where it begins in the document,
// which ends with a zero.
#include <stdbool.h>

static const char *blanks(const char *p) { return p + strspn(p, " \t\r\n"); }

// after_string skips the string that begins at p.
static const char *after_string(const char *p) {
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1]) p++;
	return *p ? p + 1 : p;
}

// after skips the value that begins at p.
static const char *after(const char *p) {
	int open = 0;
	do {
		p = blanks(p);
		if (*p == '"') {
			p = after_string(p);
			continue;
		}
		if (*p == '{' || *p == '[') open++;
		if (*p == '}' || *p == ']') open--;
		if (*p) p++;
		if (open == 0)
			while (*p && !strchr(",]}\" \t\r\n", *p)) p++;
	} while (open > 0 && *p);
	return p;
}

// next is the value after the one at p, in an array or object; null if none is.
static const char *next(const char *p) {
	p = blanks(after(p));
	return *p == ',' || *p == ':' ? blanks(p + 1) : NULL;
}

// first is the first value in an array or object; null if it is none or empty.
static const char *first(const char *p, char open) {
	if (*p != open) return NULL;
	p = blanks(p + 1);
	return *p && *p != ']' && *p != '}' ? p : NULL;
}

// member is the value of an object's member; null if it has none.
static const char *member(const char *object, const char *name) {
	size_t n = strlen(name);
	for (const char *key = first(object, '{'); key;) {
		const char *value = next(key);
		if (!value) return NULL;
		if (strncmp(key + 1, name, n) == 0 && key[n + 1] == '"') return value;
		key = next(value);
	}
	return NULL;
}

// put_utf8 writes a character and returns where the next one goes.
static char *put_utf8(char *to, uint32_t c) {
	if (c < 0x80) return *to++ = c, to;
	if (c < 0x800) return *to++ = 0xc0 | c >> 6, *to++ = 0x80 | (c & 63), to;
	if (c < 0x10000) return *to++ = 0xe0 | c >> 12, *to++ = 0x80 | (c >> 6 & 63), *to++ = 0x80 | (c & 63), to;
	return *to++ = 0xf0 | c >> 18, *to++ = 0x80 | (c >> 12 & 63), *to++ = 0x80 | (c >> 6 & 63), *to++ = 0x80 | (c & 63), to;
}

static uint32_t hex4(const char *p) {
	char digits[5] = {0};
	return strtoul(strncpy(digits, p, 4), NULL, 16);
}

// string decodes the string at p into memory of the caller's; null if p is
// none.
static char *string(const char *p) {
	if (!p || *p != '"') return NULL;
	const char *end = after_string(p) - 1;
	char *out = allocate(end - p + 1), *to = out;
	for (p++; p < end; p++) {
		if (*p != '\\') {
			*to++ = *p;
			continue;
		}
		static const char escapes[] = "b\bf\fn\nr\rt\t";
		const char *e = strchr(escapes, *++p);
		if (*p != 'u') {
			*to++ = e ? e[1] : *p;
			continue;
		}
		uint32_t c = hex4(p + 1);
		p += 4;
		if (c >> 10 == 0xd800 >> 10 && p[1] == '\\') { // the first half of a pair
			c = 0x10000 + ((c & 0x3ff) << 10) + (hex4(p + 3) & 0x3ff);
			p += 6;
		}
		to = put_utf8(to, c);
	}
	*to = 0;
	return out;
}
