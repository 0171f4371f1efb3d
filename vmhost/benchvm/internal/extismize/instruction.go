package extismize

import "encoding/binary"

// input is a stream of encoded numbers. Once it is bad it gives zeros.
type input struct {
	b   []byte
	bad bool
}

func (in *input) left() int { return len(in.b) }

func (in *input) take(n int) []byte {
	if n < 0 || n > len(in.b) {
		in.bad, in.b = true, nil
		return nil
	}
	b := in.b[:n]
	in.b = in.b[n:]
	return b
}

func (in *input) byte() byte {
	if b := in.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *input) u32() uint32 {
	v, n := binary.Uvarint(in.b)
	if n <= 0 {
		in.bad, in.b = true, nil
		return 0
	}
	in.take(n)
	return uint32(v)
}

// number skips a LEB128 number of either sign.
func (in *input) number() {
	for in.byte()&0x80 != 0 {
	}
}

// Instructions with something special to them.
const (
	opEnd        = 0x0b
	opBrTable    = 0x0e
	opCall       = 0x10
	opReturnCall = 0x12
	opSelectType = 0x1c
	opF32Const   = 0x43
	opF64Const   = 0x44
	opRefFunc    = 0xd2
	prefixMisc   = 0xfc
	prefixSIMD   = 0xfd
)

// instructions appends an expression up to its end.
func (r *rewriter) instructions(out []byte, in *input) []byte {
	for !in.bad {
		end := in.left() > 0 && in.b[0] == opEnd
		if out = r.instruction(out, in); end {
			break
		}
	}
	return out
}

// instruction appends one instruction, with the function that it names moved.
func (r *rewriter) instruction(out []byte, in *input) []byte {
	from := in.b
	switch op := in.byte(); { //nolint:staticcheck // reads like its siblings
	case op == opCall, op == opReturnCall, op == opRefFunc:
		return binary.AppendUvarint(append(out, op), uint64(r.moved(in.u32())))
	case op == opBrTable:
		for range in.u32() + 1 {
			if in.u32(); in.bad {
				break
			}
		}
	case op == opSelectType:
		in.take(int(in.u32()))
	case op == opF32Const:
		in.take(4)
	case op == opF64Const:
		in.take(8)
	case op == prefixMisc:
		misc(in)
	case op == prefixSIMD:
		simd(in)
	default:
		for range numbers(op) {
			in.number()
		}
	}
	return append(out, from[:len(from)-len(in.b)]...)
}

// numbers is how many LEB128 numbers follow an instruction of one byte.
func numbers(op byte) int {
	switch {
	case op >= 0x02 && op <= 0x04: // block, loop, if
		return 1
	case op == 0x0c || op == 0x0d: // br, br_if
		return 1
	case op == 0x11 || op == 0x13: // call_indirect, return_call_indirect
		return 2
	case op >= 0x20 && op <= 0x26: // locals, globals, tables
		return 1
	case op >= 0x28 && op <= 0x3e: // loads and stores
		return 2
	case op >= 0x3f && op <= 0x42: // memory.size, memory.grow, i32.const, i64.const
		return 1
	case op == 0xd0: // ref.null
		return 1
	default:
		return 0
	}
}

// misc skips what follows the prefix of bulk and saturating instructions.
func misc(in *input) {
	counts := [...]int{8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}
	if op := in.u32(); int(op) < len(counts) {
		for range counts[op] {
			in.number()
		}
	}
}

// simd skips what follows the prefix of vector instructions.
func simd(in *input) {
	memory := func() { in.number(); in.number() }
	switch op := in.u32(); {
	case op <= 11, op == 92, op == 93: // loads and stores
		memory()
	case op == 12, op == 13: // constant, shuffle
		in.take(16)
	case op >= 21 && op <= 34: // lanes
		in.take(1)
	case op >= 84 && op <= 91: // loads and stores of lanes
		memory()
		in.take(1)
	}
}
