package wasm

import "encoding/binary"

// appendUnsigned appends an unsigned LEB128 number.
func appendUnsigned(out []byte, v uint64) []byte { return binary.AppendUvarint(out, v) }

// appendSigned appends a signed LEB128 number.
func appendSigned(out []byte, v int64) []byte {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(out, low)
		}
		out = append(out, low|0x80)
	}
}

// appendIndexed appends an instruction of one byte with an index.
func appendIndexed(out []byte, op opcode, index uint32) []byte {
	return appendUnsigned(append(out, byte(op)), uint64(index))
}

// appendOps appends instructions of one byte without immediates.
func appendOps(out []byte, ops ...opcode) []byte {
	for _, op := range ops {
		out = append(out, byte(op))
	}
	return out
}

// appendI64 appends i64.const.
func appendI64(out []byte, v int64) []byte {
	return appendSigned(append(out, byte(opI64Const)), v)
}

// appendName appends a name with its length.
func appendName(out []byte, s string) []byte {
	return append(appendUnsigned(out, uint64(len(s))), s...)
}

// appendSized appends bytes with their number before them.
func appendSized(out, content []byte) []byte {
	return append(appendUnsigned(out, uint64(len(content))), content...)
}

// appendSection appends a section, unless it has no content.
func appendSection(out []byte, id byte, content []byte) []byte {
	if len(content) == 0 {
		return out
	}
	return appendSized(append(out, id), content)
}

// appendFuncType appends a function type, with the bytes of its parameters and
// results as the module encodes them.
func appendFuncType(out, params, results []byte) []byte {
	const form = 0x60
	return appendSized(appendSized(append(out, form), params), results)
}
