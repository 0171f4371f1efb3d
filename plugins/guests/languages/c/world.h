// The plugin world (plugins/wit/tars.wit) for plugins in C, by the canonical
// ABI: what handle is given, what it returns, and the two functions by which
// the host puts values into the plugin's memory and takes results back.
// Include it once in a plugin.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

// text is UTF-8, without a zero at its end.
struct text {
	char *at;
	uint32_t size;
};

// result is a result<string, error>.
struct result {
	uint8_t failed;
	struct text value;   // if it failed, the error's code
	struct text message; // if it failed
};

static struct result result;

// answer is a result that owns what malloc gave.
static struct result *answer(char *at, uint32_t size) {
	result = (struct result){.value = {at, size}};
	return &result;
}

// fail is a result of constants.
static struct result *fail(const char *code, const char *message) {
	result = (struct result){1, {(char *)code, strlen(code)}, {(char *)message, strlen(message)}};
	return &result;
}

// allocate never returns null: a plugin that has no memory left traps.
static void *allocate(uint32_t size) {
	void *p = malloc(size ? size : 1);
	if (!p) __builtin_trap();
	return p;
}

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
	(void)old_size;
	if (size == 0) return (void *)(uintptr_t)align;
	void *p = realloc(old, size);
	if (!p) __builtin_trap();
	return p;
}

// give_back frees what cabi_realloc gave; a text of no bytes has an address
// that it did not give.
static void give_back(struct text t) {
	if (t.size > 0) free(t.at);
}

EXPORT("cabi_post_handle") void cabi_post_handle(struct result *r) {
	if (!r->failed) free(r->value.at);
}
