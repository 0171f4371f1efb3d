package wazerovm_test

import (
	"fmt"
	"math"
	"math/bits"
)

// arithmetic runs an operation on integers: of 32 bits up to 0x78, of 64 after.
func (m *interpreter) arithmetic(op byte) {
	switch {
	case op == 0x45:
		m.push(bit(uint32(m.pop()) == 0))
	case op == 0x50:
		m.push(bit(m.pop() == 0))
	case op >= 0x67 && op <= 0x69 || op >= 0x79 && op <= 0x7b || op >= 0xa7:
		m.push(unary(op, m.pop()))
	case op >= 0x46 && op <= 0x4f:
		b, a := m.pop(), m.pop()
		m.push(compare(op-0x46, uint64(int64(int32(a))), uint64(int64(int32(b))), uint64(uint32(a)), uint64(uint32(b))))
	case op >= 0x51 && op <= 0x5a:
		b, a := m.pop(), m.pop()
		m.push(compare(op-0x51, a, b, a, b))
	case op >= 0x6a && op <= 0x78:
		b, a := m.pop(), m.pop()
		m.push(uint64(binary32(op-0x6a, uint32(a), uint32(b))))
	case op >= 0x7c && op <= 0x8a:
		b, a := m.pop(), m.pop()
		m.push(binary64(op-0x7c, a, b))
	default:
		panic(fmt.Sprintf("opcode %#x is not interpreted", op))
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func unary(op byte, a uint64) uint64 {
	switch op {
	case 0x67:
		return uint64(bits.LeadingZeros32(uint32(a)))
	case 0x68:
		return uint64(bits.TrailingZeros32(uint32(a)))
	case 0x69:
		return uint64(bits.OnesCount32(uint32(a)))
	case 0x79:
		return uint64(bits.LeadingZeros64(a))
	case 0x7a:
		return uint64(bits.TrailingZeros64(a))
	case 0x7b:
		return uint64(bits.OnesCount64(a))
	case 0xa7, 0xad:
		return uint64(uint32(a))
	case 0xac, 0xc4:
		return uint64(int64(int32(a)))
	case 0xc0:
		return uint64(uint32(int8(a)))
	case 0xc1:
		return uint64(uint32(int16(a)))
	case 0xc2:
		return uint64(int64(int8(a)))
	case 0xc3:
		return uint64(int64(int16(a)))
	}
	panic(fmt.Sprintf("opcode %#x is not interpreted", op))
}

// compare takes both numbers with and without their sign.
func compare(op byte, sa, sb, a, b uint64) uint64 {
	switch op {
	case 0:
		return bit(a == b)
	case 1:
		return bit(a != b)
	case 2:
		return bit(int64(sa) < int64(sb))
	case 3:
		return bit(a < b)
	case 4:
		return bit(int64(sa) > int64(sb))
	case 5:
		return bit(a > b)
	case 6:
		return bit(int64(sa) <= int64(sb))
	case 7:
		return bit(a <= b)
	case 8:
		return bit(int64(sa) >= int64(sb))
	default:
		return bit(a >= b)
	}
}

func binary32(op byte, a, b uint32) uint32 {
	switch op {
	case 3:
		return uint32(int32(a) / int32(b))
	case 5:
		return uint32(int32(a) % int32(b))
	case 10:
		return a << (b & 31)
	case 11:
		return uint32(int32(a) >> (b & 31))
	case 12:
		return a >> (b & 31)
	case 13:
		return bits.RotateLeft32(a, int(b&31))
	case 14:
		return bits.RotateLeft32(a, -int(b&31))
	}
	return uint32(binary64(op, uint64(a), uint64(b)))
}

func binary64(op byte, a, b uint64) uint64 {
	switch op {
	case 0:
		return a + b
	case 1:
		return a - b
	case 2:
		return a * b
	case 3:
		return uint64(int64(a) / int64(b))
	case 4:
		return a / b
	case 5:
		return uint64(int64(a) % int64(b))
	case 6:
		return a % b
	case 7:
		return a & b
	case 8:
		return a | b
	case 9:
		return a ^ b
	case 10:
		return a << (b & 63)
	case 11:
		return uint64(int64(a) >> (b & 63))
	case 12:
		return a >> (b & 63)
	case 13:
		return bits.RotateLeft64(a, int(b&63))
	case 14:
		return bits.RotateLeft64(a, -int(b&63))
	}
	return math.MaxUint64
}
