// A plugin in C that ranks candidates by the cosine of the angle between their
// stored vectors and the question's: it asks the host for both. It uses no
// library; what it keeps lies in an arena that only grows, and is empty again
// after the call.
#include "json.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define HOST(name) __attribute__((import_module("tars:plugin/host@0.1.0"), import_name(name)))

enum { max_legs = 64, page = 64 << 10 };

// The arena: from the end of the module's own data upwards.
extern char __heap_base;
static uintptr_t used;

// allocate never returns null: a plugin that has no memory left traps.
static void *allocate(uint32_t size, uint32_t align) {
	if (used == 0) used = (uintptr_t)&__heap_base;
	uint64_t at = ((uint64_t)used + align - 1) & -(uint64_t)align, end = at + size;
	uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * page;
	if (end > have && (end > UINT32_MAX || __builtin_wasm_memory_grow(0, (end - have + page - 1) / page) == (uintptr_t)-1)) __builtin_trap();
	used = end;
	return (void *)(uintptr_t)at;
}

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
	char *p = allocate(size, align);
	if (size > 0 && old_size > 0) __builtin_memcpy(p, old, old_size < size ? old_size : size);
	return p;
}

EXPORT("cabi_post_handle") void cabi_post_handle(void *result) {
	(void)result;
	used = 0;
}

// result is a result<string, error> or a result<list<f32>, error>.
struct result {
	uint8_t failed;
	union {
		struct text value; // if it failed, the error's code
		struct {
			float *at;
			uint32_t count;
		} floats;
	};
	struct text message; // if it failed
};

HOST("embed") void host_embed(const char *text, uint32_t size, struct result *result);
HOST("vectors") void host_vectors(uint32_t leg, uint32_t first, uint32_t count, struct result *result);

static struct text constant(const char *s) { return (struct text){(char *)s, __builtin_strlen(s)}; }

static struct result *fail(const char *code, const char *message) {
	static struct result result;
	result = (struct result){1, {constant(code)}, constant(message)};
	return &result;
}

// candidate is what is kept of one.
struct candidate {
	uint32_t index, leg, row;
	bool has_row, has_score;
	float score;
};

// candidates lie one behind the other in the arena.
struct candidates {
	struct candidate *at;
	uint32_t count;
};

// read_legs takes the first leg that has a row.
static void read_legs(struct json *j, struct candidate *c) {
	for (bool any = begin(j, '[', ']'); any; any = again(j, ']')) {
		struct candidate found = {0};
		for (any = begin(j, '{', '}'); any; any = again(j, '}')) {
			struct text name = key(j);
			if (is(name, "leg")) found.leg = number(j);
			else if (is(name, "row")) found.row = number(j), found.has_row = true;
			else skip(j);
		}
		if (found.has_row && !c->has_row) c->leg = found.leg, c->row = found.row, c->has_row = true;
		if (found.leg >= max_legs) j->bad = true;
	}
}

static struct candidates read_candidates(struct json *j) {
	struct candidates all = {allocate(0, _Alignof(struct candidate)), 0};
	for (bool any = begin(j, '[', ']'); any; any = again(j, ']'), all.count++) {
		struct candidate *c = allocate(sizeof *c, _Alignof(struct candidate));
		*c = (struct candidate){0};
		for (any = begin(j, '{', '}'); any; any = again(j, '}')) {
			struct text name = key(j);
			if (is(name, "index")) c->index = number(j);
			else if (is(name, "legs")) read_legs(j, c);
			else skip(j);
		}
	}
	return all;
}

// read_member finds a string among the members of an object.
static struct text read_member(struct json *j, const char *wanted) {
	struct text found = {0};
	for (bool any = begin(j, '{', '}'); any; any = again(j, '}')) {
		if (is(key(j), wanted)) found = string(j);
		else skip(j);
	}
	return found;
}

// products are the sums of a[i] * b[i] and of b[i] * b[i].
struct products {
	double ab, bb;
};

static double sum(v128_t v) {
	return (double)wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1) + wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3);
}

static struct products multiply(const float *a, const float *b, uint32_t n) {
	v128_t ab = wasm_f32x4_const_splat(0), bb = ab;
	uint32_t i = 0;
#pragma unroll 8
	for (; i + 4 <= n; i += 4) {
		v128_t x = wasm_v128_load(a + i), y = wasm_v128_load(b + i);
		ab = wasm_f32x4_add(ab, wasm_f32x4_mul(x, y));
		bb = wasm_f32x4_add(bb, wasm_f32x4_mul(y, y));
	}
	struct products all = {sum(ab), sum(bb)};
	for (; i < n; i++) all.ab += a[i] * b[i], all.bb += b[i] * b[i];
	return all;
}

// score_leg scores the candidates of a leg, with one call of the host. It returns
// the host's error, or null.
static struct result *score_leg(struct candidates all, uint32_t leg, const float *question, uint32_t dimension) {
	uint32_t first = UINT32_MAX, last = 0;
	for (struct candidate *c = all.at; c < all.at + all.count; c++) {
		if (!c->has_row || c->leg != leg) continue;
		if (c->row < first) first = c->row;
		if (c->row > last) last = c->row;
	}
	if (first > last || last == UINT32_MAX) return 0;
	static struct result got;
	uint32_t rows = last - first + 1;
	host_vectors(leg, first, rows, &got);
	if (got.failed) return &got;
	if (got.floats.count != (uint64_t)rows * dimension) return 0; // of another embedder
	double square = multiply(question, question, dimension).bb;
	for (struct candidate *c = all.at; c < all.at + all.count; c++) {
		if (!c->has_row || c->leg != leg) continue;
		struct products p = multiply(question, got.floats.at + (c->row - first) * dimension, dimension);
		c->score = p.ab / __builtin_sqrt(square * p.bb); // the cosine; no number if one of them is zero
		c->has_score = c->score >= -2 && c->score <= 2;
	}
	return 0;
}

// put writes a constant and returns where the next byte goes.
static char *put(char *to, const char *s) {
	while (*s) *to++ = *s++;
	return to;
}

static char *put_number(char *to, uint32_t n) {
	char digits[10];
	int i = 0;
	do digits[i++] = '0' + n % 10;
	while (n /= 10);
	while (i) *to++ = digits[--i];
	return to;
}

// put_score writes a number of [-2, 2] with seven decimals.
static char *put_score(char *to, float score) {
	if (score < 0) *to++ = '-', score = -score;
	uint32_t n = score * 1e7 + 0.5;
	to = put_number(to, n / 10000000);
	*to++ = '.';
	for (uint32_t unit = 1000000; unit; unit /= 10) *to++ = '0' + n / unit % 10;
	return to;
}

static struct result *answer(struct candidates all) {
	static struct result result;
	static const char longest[] = "{\"index\":4294967295,\"score\":-1.0000000},";
	char *out = allocate(sizeof "{\"scores\":[]}" + all.count * sizeof longest, 1), *to = put(out, "{\"scores\":[");
	for (struct candidate *c = all.at; c < all.at + all.count; c++) {
		if (!c->has_score) continue;
		to = put(to, to[-1] == '[' ? "{\"index\":" : ",{\"index\":");
		to = put_score(put(put_number(to, c->index), ",\"score\":"), c->score);
		*to++ = '}';
	}
	to = put(to, "]}");
	result = (struct result){0, {{out, to - out}}, {0}};
	return &result;
}

static struct result *rank(struct json j) {
	uint32_t abi = 0;
	struct text question = {0}, by = {0};
	struct candidates all = {0};
	for (bool any = begin(&j, '{', '}'); any; any = again(&j, '}')) {
		struct text name = key(&j);
		if (is(name, "abi")) abi = number(&j);
		else if (is(name, "query")) question = read_member(&j, "text");
		else if (is(name, "candidates") && !all.at) all = read_candidates(&j);
		else if (is(name, "config")) by = read_member(&j, "by");
		else skip(&j);
	}
	if (peek(&j) || j.bad) return fail("bad-input", "not a document to rank");
	if (abi != 1) return fail("unsupported", "documents of an abi that this plugin does not speak");
	if (by.at && !is(by, "vector")) return fail("bad-config", "by is not vector");
	static struct result embedded;
	question = decode(question);
	host_embed(question.at, question.size, &embedded);
	if (embedded.failed) return &embedded;
	for (uint32_t leg = 0; leg < max_legs && embedded.floats.count > 0; leg++) {
		struct result *failed = score_leg(all, leg, embedded.floats.at, embedded.floats.count);
		if (failed) return failed;
	}
	return answer(all);
}

EXPORT("handle") struct result *handle(char *capability, uint32_t capability_size, char *input, uint32_t input_size) {
	if (!is((struct text){capability, capability_size}, "rank")) return fail("unsupported", "no such capability");
	return rank((struct json){input, input + input_size, false});
}
