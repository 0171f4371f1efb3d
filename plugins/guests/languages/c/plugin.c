// A plugin in C. It ranks by shared words, answers what it was told, and does
// work for tests; see ../languages.md.
#include <stdio.h>

#include "world.h"

#include "json.h"

static bool in_word(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80); }

// next_word returns where the next word begins and its length; null if none does.
static const char *next_word(const char *p, size_t *n) {
	while (*p && !in_word(*p)) p++;
	for (*n = 0; in_word(p[*n]);) ++*n;
	return *n ? p : NULL;
}

static bool has_word(const char *text, const char *word, size_t n) {
	size_t m;
	for (const char *p = text; (p = next_word(p, &m)); p += m)
		if (m == n && memcmp(p, word, n) == 0) return true;
	return false;
}

// lower_string decodes a string and makes A to Z small.
static char *lower_string(const char *json) {
	char *s = string(json);
	for (char *p = s; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z') *p += 'a' - 'A';
	return s;
}

// score is how many of a thousand words of the text are in the query.
static int score(const char *query, const char *text) {
	int words = 0, shared = 0;
	size_t n;
	for (const char *p = text; (p = next_word(p, &n)); p += n, words++) shared += has_word(query, p, n);
	return words ? shared * 1000 / words : 0;
}

static struct result *rank(const char *document) {
	const char *query = member(document, "query"), *candidates = member(document, "candidates");
	char *asked = lower_string(query ? member(query, "text") : NULL);
	if (!asked || !candidates) return free(asked), fail("bad-input", "not a document to rank");
	uint32_t size = sizeof "{\"scores\":[]}", used;
	for (const char *c = first(candidates, '['); c; c = next(c)) size += sizeof "{\"index\":1234567890,\"score\":1000},";
	char *out = allocate(size);
	used = sprintf(out, "{\"scores\":[");
	for (const char *c = first(candidates, '['); c; c = next(c)) {
		const char *index = member(c, "index");
		char *text = lower_string(member(c, "text"));
		used += sprintf(out + used, "%s{\"index\":%d,\"score\":%d}", out[used - 1] == '[' ? "" : ",", index ? atoi(index) : 0, score(asked, text ? text : ""));
		free(text);
	}
	free(asked);
	used += sprintf(out + used, "]}");
	return answer(out, used);
}

static int ascending(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static uint32_t sort(uint32_t n) {
	uint32_t *list = allocate(n * sizeof *list), x = 1, sum = 0;
	for (uint32_t i = 0; i < n; i++) list[i] = x = x * 1664525 + 1013904223;
	qsort(list, n, sizeof *list, ascending);
	for (uint32_t i = 0; i < n; i++) sum = sum * 31 + list[i];
	free(list);
	return sum;
}

static uint32_t hold(uint32_t n) {
	char **held = allocate(n * sizeof *held), word[16];
	uint32_t sum = 0;
	for (uint32_t i = 0; i < n; i++) snprintf(word, sizeof word, "item-%u", i), held[i] = strdup(word);
	for (uint32_t i = 0; i < n; i++) sum += strlen(held[i]), free(held[i]);
	free(held);
	return sum;
}

static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static volatile uint32_t one = 1; // is read in each round, so that no compiler does without the rounds

static __attribute__((noinline)) uint32_t dive(uint32_t n) { return n ? dive(n - one) + one : 0; }

static struct result *stress(const char *work) {
	char *out = allocate(32), name[8] = "";
	uint32_t n = 0;
	double sum = 0;
	sscanf(work, "%7s %u", name, &n);
	if (strcmp(name, "sort") == 0) return answer(out, sprintf(out, "%u", sort(n)));
	if (strcmp(name, "hold") == 0) return answer(out, sprintf(out, "%u", hold(n)));
	if (strcmp(name, "recurse") == 0) return answer(out, sprintf(out, "%u", fibonacci(n)));
	if (strcmp(name, "float") == 0) {
		for (uint32_t i = 1; i <= n; i++) sum += 1.0 / i;
		return answer(out, sprintf(out, "%.17g", sum));
	}
	if (strcmp(name, "dive") == 0) return answer(out, sprintf(out, "%u", dive(n)));
	while (strcmp(name, "spin") == 0) n += one;
	return free(out), fail("bad-input", "no such work");
}

EXPORT("handle") struct result *handle(char *capability, uint32_t capability_size, char *input, uint32_t input_size) {
	struct text name = {capability, capability_size}, given = {input, input_size};
	char *document = allocate(input_size + 1);
	memcpy(document, input, input_size);
	document[input_size] = 0;
	struct result *r;
	if (name.size == 4 && memcmp(name.at, "rank", 4) == 0) r = rank(blanks(document));
	else if (name.size == 4 && memcmp(name.at, "echo", 4) == 0) r = answer(memcpy(allocate(input_size), input, input_size), input_size);
	else if (name.size == 6 && memcmp(name.at, "stress", 6) == 0) r = stress(document);
	else r = fail("unsupported", "no such capability");
	free(document);
	give_back(name);
	give_back(given);
	return r;
}
