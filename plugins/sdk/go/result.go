package tars

import "unsafe"

// result is how result<T, error> lies in memory, for T a string or a list: a
// tag in the first byte, then from byte 4 on either address and length of the
// T, or address and length of the error's code and of its message. 20 bytes
// with an alignment of 4. WebAssembly is little-endian, so the tag is the low
// byte of the first word.
type result [5]uint32

// The tags of a result.
const (
	tagOK  = 0
	tagErr = 1
)

// lower writes what a call came to into memory for the host, and returns the
// address of the result.
func (m *memory) lower(output []byte, failure *Error) address {
	b := newBlock(uint32(unsafe.Sizeof(result{})))
	r := (*result)(unsafe.Pointer(unsafe.SliceData(b)))
	if failure == nil {
		r[0] = tagOK
		r[1], r[2] = m.lowerBytes(output)
	} else {
		r[0] = tagErr
		r[1], r[2] = m.lowerBytes([]byte(failure.Code))
		r[3], r[4] = m.lowerBytes([]byte(failure.Message))
	}
	return m.keep(b)
}

func (m *memory) lowerBytes(b []byte) (at, n uint32) {
	if len(b) == 0 {
		return 0, 0
	}
	return uint32(m.keep(b)), uint32(len(b))
}

// lift reads what a host function came to, for lists whose elements have size
// bytes each. The error is an *Error.
func (m *memory) lift(r *result, size uint64) ([]byte, error) {
	if byte(r[0]) == tagOK {
		return m.take(address(r[1]), uint64(r[2])*size), nil
	}
	code := m.take(address(r[1]), uint64(r[2]))
	message := m.take(address(r[3]), uint64(r[4]))
	return nil, &Error{Code: string(code), Message: string(message)}
}
