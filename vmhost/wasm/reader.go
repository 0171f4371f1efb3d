package wasm

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// reader reads the bytes of a module from pos up to end. It never reads past
// end, which never lies past the module. Readers of parts share the module's
// bytes, so that every offset is one from the start of the module.
type reader struct {
	module  []byte
	pos     int
	end     int
	section string // named in errors
}

// fail returns an error at an offset.
func (r *reader) fail(offset int, format string, args ...any) error {
	return &Error{Section: r.section, Offset: int64(offset), Detail: fmt.Sprintf(format, args...)}
}

// over returns the error for something of which there is too much.
func (r *reader) over(offset int, what string, need, limit int64) error {
	return r.fail(offset, "%s: %d, over the limit of %d", what, need, limit)
}

// unsupported returns the error for a proposal that is not accepted.
func (r *reader) unsupported(offset int, proposal string) error {
	return r.fail(offset, "the module uses %s, which is not accepted", proposal)
}

// left returns the number of bytes not read yet.
func (r *reader) left() int { return r.end - r.pos }

// byte reads one byte.
func (r *reader) byte() (byte, error) {
	if r.pos >= r.end {
		return 0, r.fail(r.pos, "ends too early: 1 byte more is needed")
	}
	b := r.module[r.pos]
	r.pos++
	return b, nil
}

// bytes reads n bytes, which the caller must not change.
func (r *reader) bytes(n int) ([]byte, error) {
	if n > r.left() {
		return nil, r.fail(r.pos, "ends too early: %d bytes are needed and %d are left", n, r.left())
	}
	b := r.module[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b, nil
}

// sub returns a reader for the next n bytes, which count as read.
func (r *reader) sub(n int) (reader, error) {
	start := r.pos
	if _, err := r.bytes(n); err != nil {
		return reader{}, err
	}
	return reader{module: r.module, pos: start, end: r.pos, section: r.section}, nil
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() (uint32, error) {
	if r.pos < r.end && r.module[r.pos] < 0x80 {
		r.pos++
		return uint32(r.module[r.pos-1]), nil
	}
	v, err := r.unsigned(32)
	return uint32(v), err
}

// unsigned reads an unsigned LEB128 number of at most bits bits. As in the
// specification, it may be padded, but not past ⌈bits/7⌉ bytes.
func (r *reader) unsigned(bits int) (uint64, error) {
	start := r.pos
	var v uint64
	for shift := 0; shift < bits; shift += 7 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		if rest := bits - shift; rest < 7 && b&0x7f>>rest != 0 {
			return 0, r.fail(start, "number over %d bits", bits)
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, r.fail(start, "number in more than %d bytes", (bits+6)/7)
}

// signed reads a signed LEB128 number of at most bits bits.
func (r *reader) signed(bits int) (int64, error) {
	start := r.pos
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		if rest := bits - shift; rest < 7 {
			// The bits past the number must repeat its sign.
			if sign := int8(b<<1) >> rest; sign != 0 && sign != -1 {
				return 0, r.fail(start, "number over %d bits", bits)
			}
		}
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if sign := 64 - shift - 7; sign > 0 {
				v = v << sign >> sign
			}
			return v, nil
		}
	}
	return 0, r.fail(start, "number in more than %d bytes", (bits+6)/7)
}

// count reads the number of elements of a vector, each of which takes at least
// size bytes (size ≥ 1), and checks it against a limit and against the bytes
// that are left, so that the caller may allocate for that many.
func (r *reader) count(what string, size, limit int) (int, error) {
	start := r.pos
	n, err := r.u32()
	if err != nil {
		return 0, err
	}
	if int64(n) > int64(limit) {
		return 0, r.over(start, what, int64(n), int64(limit))
	}
	if int64(n) > int64(r.left()/size) {
		return 0, r.fail(start, "%s: %d declared, but the %d bytes left hold at most %d", what, n, r.left(), r.left()/size)
	}
	return int(n), nil
}

// index reads an index into a space of n things.
func (r *reader) index(what string, n int) (uint32, error) {
	start := r.pos
	i, err := r.u32()
	if err != nil {
		return 0, err
	}
	if int64(i) >= int64(n) {
		return 0, r.fail(start, "%s index %d is out of range: there are %d", what, i, n)
	}
	return i, nil
}

// name reads a name: valid UTF-8 of at most limit bytes. The string is a copy.
func (r *reader) name(what string, limit int) (string, error) {
	start := r.pos
	n, err := r.count(what+", bytes", 1, limit)
	if err != nil {
		return "", err
	}
	b, err := r.bytes(n)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", r.fail(start, "%s is not valid UTF-8", what)
	}
	return string(b), nil
}

// fixed32 reads four bytes as a little-endian number.
func (r *reader) fixed32() (uint32, error) {
	b, err := r.bytes(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// fixed64 reads eight bytes as a little-endian number.
func (r *reader) fixed64() (uint64, error) {
	b, err := r.bytes(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// done returns an error unless everything was read.
func (r *reader) done() error {
	if r.left() > 0 {
		return r.fail(r.pos, "%d bytes too many", r.left())
	}
	return nil
}
