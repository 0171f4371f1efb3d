package wasmbuild

import (
	"encoding/binary"
	"slices"
)

// Instructions of the binary format. Those that push and pop follow the order
// of the text format; [Code] joins them.

// Code joins instructions.
func Code(parts ...[]byte) []byte { return slices.Concat(parts...) }

// I32 is i32.const.
func I32(n int32) []byte { return slices.Concat([]byte{0x41}, signed(int64(n))) }

// I64 is i64.const.
func I64(n int64) []byte { return slices.Concat([]byte{0x42}, signed(n)) }

// Get is local.get.
func Get(local uint32) []byte { return index(0x20, local) }

// Set is local.set.
func Set(local uint32) []byte { return index(0x21, local) }

// Tee is local.tee.
func Tee(local uint32) []byte { return index(0x22, local) }

// GlobalGet is global.get.
func GlobalGet(global uint32) []byte { return index(0x23, global) }

// GlobalSet is global.set.
func GlobalSet(global uint32) []byte { return index(0x24, global) }

// Call is call.
func Call(function uint32) []byte { return index(0x10, function) }

// If runs body if the i32 on the stack is not 0. Neither takes or leaves
// values.
func If(body ...[]byte) []byte { return block(0x04, body) }

// Loop is a loop, whose beginning is what Branch(0) in its body goes to.
func Loop(body ...[]byte) []byte { return block(0x03, body) }

// Branch is br.
func Branch(depth uint32) []byte { return index(0x0c, depth) }

// BranchIf is br_if.
func BranchIf(depth uint32) []byte { return index(0x0d, depth) }

// Unreachable is unreachable: a trap.
func Unreachable() []byte { return []byte{0x00} }

// Return is return.
func Return() []byte { return []byte{0x0f} }

// Drop is drop.
func Drop() []byte { return []byte{0x1a} }

// End is end.
func End() []byte { return []byte{0x0b} }

// Load is i32.load with an offset.
func Load(offset uint32) []byte { return memarg(0x28, 2, offset) }

// Load8 is i32.load8_u with an offset.
func Load8(offset uint32) []byte { return memarg(0x2d, 0, offset) }

// Store is i32.store with an offset.
func Store(offset uint32) []byte { return memarg(0x36, 2, offset) }

// Store64 is i64.store with an offset.
func Store64(offset uint32) []byte { return memarg(0x37, 3, offset) }

// Store8 is i32.store8 with an offset.
func Store8(offset uint32) []byte { return memarg(0x3a, 0, offset) }

// Grow is memory.grow.
func Grow() []byte { return []byte{0x40, 0} }

// Size is memory.size.
func Size() []byte { return []byte{0x3f, 0} }

// MemoryInit is memory.init of a segment.
func MemoryInit(segment uint32) []byte {
	return slices.Concat([]byte{0xfc, 8}, unsigned(uint64(segment)), []byte{0})
}

// DataDrop is data.drop.
func DataDrop(segment uint32) []byte {
	return slices.Concat([]byte{0xfc, 9}, unsigned(uint64(segment)))
}

// TableGet is table.get of table 0.
func TableGet() []byte { return []byte{0x25, 0} }

// TableSet is table.set of table 0.
func TableSet() []byte { return []byte{0x26, 0} }

// RefIsNull is ref.is_null.
func RefIsNull() []byte { return []byte{0xd1} }

// RefFunc is ref.func of an exported function.
func RefFunc(function uint32) []byte { return index(0xd2, function) }

// Eq is i32.eq.
func Eq() []byte { return []byte{0x46} }

// Ne is i32.ne.
func Ne() []byte { return []byte{0x47} }

// Add is i32.add.
func Add() []byte { return []byte{0x6a} }

// Sub is i32.sub.
func Sub() []byte { return []byte{0x6b} }

// Mul is i32.mul.
func Mul() []byte { return []byte{0x6c} }

// And is i32.and.
func And() []byte { return []byte{0x71} }

func index(op byte, n uint32) []byte { return slices.Concat([]byte{op}, unsigned(uint64(n))) }

func memarg(op, align byte, offset uint32) []byte {
	return slices.Concat([]byte{op, align}, unsigned(uint64(offset)))
}

func block(op byte, body [][]byte) []byte {
	const empty = 0x40
	return slices.Concat([]byte{op, empty}, slices.Concat(body...), End())
}

// unsigned is LEB128 of an unsigned number.
func unsigned(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// signed is LEB128 of a signed number.
func signed(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if (n == 0 && b&0x40 == 0) || (n == -1 && b&0x40 != 0) {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
