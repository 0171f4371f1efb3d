// In the place of the C library's setjmp.h, by which MicroPython catches what
// is raised, and which takes WebAssembly's exceptions. With this one nothing is
// caught: what is raised, and be it within a try, ends the call.
typedef int jmp_buf[1];
#define setjmp(buffer) 0
_Noreturn void longjmp(jmp_buf buffer, int value);
