// MicroPython as a plugin: the engine is started and the script run when the
// plugin's image is made, and each call is a call of the script's function
// handle(capability, input). What that returns is the output, or a code and a
// message if it failed. What is raised and not caught is the code failed.
#include "py/builtin.h"
#include "py/compile.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/parse.h"
#include "py/runtime.h"
#include "py/stackctrl.h"

#include "../c/world.h"

enum { stack_size = 256 << 10 }; // of the script; the module's own is twice that

static const char script[] = {
#embed "plugin.py"
	, 0};

static char heap[8 << 20];

// gc_collect finds nothing to free: it would have to see the references that
// are in the locals of WebAssembly, which no program can. Memory is back at
// the image before each call, so the heap need only do for one.
void gc_collect(void) {}

mp_lexer_t *mp_lexer_new_from_file(qstr filename) {
	(void)filename;
	mp_raise_OSError(MP_ENOENT);
}

static mp_obj_t no_open(size_t n, const mp_obj_t *args, mp_map_t *options) {
	(void)n, (void)args, (void)options;
	mp_raise_OSError(MP_ENOENT);
}
MP_DEFINE_CONST_FUN_OBJ_KW(mp_builtin_open_obj, 0, no_open);

// nlr_jump_fail is for what is raised where nobody catches it.
void nlr_jump_fail(void *exception) {
	(void)exception;
	__builtin_trap();
}

__attribute__((constructor)) static void boot(void) {
	int top;
	mp_stack_set_top(&top);
	mp_stack_set_limit(stack_size);
	gc_init(heap, heap + sizeof heap);
	mp_init();
	mp_lexer_t *lexer = mp_lexer_new_from_str_len(qstr_from_str("plugin.py"), script, sizeof script - 1, 0);
	qstr name = lexer->source_name;
	mp_parse_tree_t tree = mp_parse(lexer, MP_PARSE_FILE_INPUT);
	mp_call_function_0(mp_compile(&tree, name, false));
}

static struct result *failed(const char *code, mp_obj_t text) {
	static char kept[64], message[1024];
	strncpy(kept, code, sizeof kept - 1);
	strncpy(message, mp_obj_str_get_str(text), sizeof message - 1);
	return fail(kept, message);
}

static struct result *raised(mp_obj_t exception) {
	mp_obj_tuple_t *args = MP_OBJ_TO_PTR(mp_load_attr(exception, MP_QSTR_args));
	if (args->len > 0 && mp_obj_is_str(args->items[0])) return failed("failed", args->items[0]);
	return fail("failed", mp_obj_get_type_str(exception));
}

static struct result *returned(mp_obj_t output) {
	if (mp_obj_is_type(output, &mp_type_tuple)) {
		mp_obj_t *parts;
		mp_obj_get_array_fixed_n(output, 2, &parts);
		return failed(mp_obj_str_get_str(parts[0]), parts[1]);
	}
	size_t size;
	const char *text = mp_obj_str_get_data(output, &size);
	return answer(memcpy(allocate(size), text, size), size);
}

EXPORT("handle") struct result *handle(char *capability, uint32_t capability_size, char *input, uint32_t input_size) {
	int top;
	mp_stack_set_top(&top);
	nlr_buf_t raise;
	if (nlr_push(&raise)) return raised(MP_OBJ_FROM_PTR(raise.ret_val));
	mp_obj_t function = mp_obj_dict_get(MP_OBJ_FROM_PTR(mp_globals_get()), MP_OBJ_NEW_QSTR(qstr_from_str("handle")));
	mp_obj_t output = mp_call_function_2(function, mp_obj_new_str(capability, capability_size), mp_obj_new_str(input, input_size));
	struct result *r = returned(output);
	nlr_pop();
	give_back((struct text){capability, capability_size});
	give_back((struct text){input, input_size});
	return r;
}
