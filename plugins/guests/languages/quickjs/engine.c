// QuickJS as a plugin: the engine is started and the script read when the
// plugin's image is made, and each call is a call of the script's function
// handle(capability, input). What that returns is the output. It fails with
// what is thrown: an object's code and message, or else the code failed.
#include "quickjs.h"

#include "../c/world.h"

enum {
	stack_size = 256 << 10, // of the script; the module's own is twice that
	heap_size = 32 << 20,
};

static const char script[] = {
#embed "plugin.js"
	, 0};

static JSRuntime *runtime;
static JSContext *context;
static JSValue function;

__attribute__((constructor)) static void boot(void) {
	runtime = JS_NewRuntime();
	JS_SetMaxStackSize(runtime, stack_size);
	JS_SetMemoryLimit(runtime, heap_size);
	context = JS_NewContext(runtime);
	JSValue read = JS_Eval(context, script, sizeof script - 1, "plugin.js", JS_EVAL_TYPE_GLOBAL);
	if (JS_IsException(read)) __builtin_trap();
	JS_FreeValue(context, read);
	JSValue global = JS_GetGlobalObject(context);
	function = JS_GetPropertyStr(context, global, "handle");
	JS_FreeValue(context, global);
}

// copy writes what it can of a value's text to a buffer.
static const char *copy(char *to, size_t size, JSValue value) {
	const char *text = JS_ToCString(context, value);
	strncpy(to, text ? text : "an error without a text", size - 1);
	JS_FreeCString(context, text);
	return to;
}

static struct result *thrown(JSValue error) {
	static char code[64], message[1024];
	JSValue c = JS_GetPropertyStr(context, error, "code"), m = JS_GetPropertyStr(context, error, "message");
	struct result *r = fail(JS_IsString(c) ? copy(code, sizeof code, c) : "failed", copy(message, sizeof message, JS_IsString(m) ? m : error));
	JS_FreeValue(context, c);
	JS_FreeValue(context, m);
	return r;
}

static struct result *returned(JSValue output) {
	size_t size;
	const char *text = JS_ToCStringLen(context, &size, output);
	if (!text) return fail("failed", "the output is no string");
	struct result *r = answer(memcpy(allocate(size), text, size), size);
	JS_FreeCString(context, text);
	return r;
}

EXPORT("handle") struct result *handle(char *capability, uint32_t capability_size, char *input, uint32_t input_size) {
	JS_UpdateStackTop(runtime);
	JSValue args[] = {JS_NewStringLen(context, capability, capability_size), JS_NewStringLen(context, input, input_size)};
	give_back((struct text){capability, capability_size});
	give_back((struct text){input, input_size});
	JSValue output = JS_Call(context, function, JS_UNDEFINED, 2, args);
	struct result *r;
	if (JS_IsException(output)) {
		JSValue error = JS_GetException(context);
		r = thrown(error);
		JS_FreeValue(context, error);
	} else {
		r = returned(output);
	}
	JS_FreeValue(context, output);
	JS_FreeValue(context, args[0]);
	JS_FreeValue(context, args[1]);
	return r;
}
