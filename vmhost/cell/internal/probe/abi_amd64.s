#include "textflag.h"

// func getpid32() uint64
// The system call getpid by the gate of 32-bit programs, which a filter that
// looks at numbers alone takes for another one.
TEXT ·getpid32(SB), NOSPLIT, $0-8
	MOVL $20, AX
	INT  $0x80
	MOVQ AX, ret+0(FP)
	RET
