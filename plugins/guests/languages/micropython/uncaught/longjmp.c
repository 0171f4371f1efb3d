// Ends the call with what was raised in its log, through standard error.
#include <setjmp.h>

#include "py/obj.h"
#include "py/runtime.h"

_Noreturn void longjmp(jmp_buf buffer, int value) {
	(void)value;
	nlr_buf_t *top = (nlr_buf_t *)((char *)buffer - offsetof(nlr_buf_t, jmpbuf));
	mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(top->ret_val));
	__builtin_trap();
}
