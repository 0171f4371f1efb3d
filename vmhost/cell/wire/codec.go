package wire

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
)

// fields reads a body field by field. After the first field that is not there
// all others are zero, and err says so.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n < 0 || n > len(f.b) {
		f.bad = true
		return nil
	}
	p := f.b[:n:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u8() uint8 {
	if p := f.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (f *fields) u32() uint32 {
	if p := f.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (f *fields) i64() int64 {
	if p := f.take(8); p != nil {
		return int64(binary.LittleEndian.Uint64(p))
	}
	return 0
}

// bool takes 0 and 1 alone, so that each value has one encoding.
func (f *fields) bool() bool {
	b := f.u8()
	f.bad = f.bad || b > 1
	return b == 1
}

// text takes a string of at most limit bytes of valid UTF-8.
func (f *fields) text(limit int) string {
	n := f.u32()
	if int64(n) > int64(limit) {
		f.bad = true
		return ""
	}
	p := f.take(int(n))
	f.bad = f.bad || !utf8.Valid(p)
	if f.bad {
		return ""
	}
	return string(p)
}

// bytes takes at most limit bytes that have their length before them; nil for
// none.
func (f *fields) bytes(limit int) []byte {
	n := f.u32()
	if int64(n) > int64(limit) {
		f.bad = true
	}
	if f.bad || n == 0 {
		return nil
	}
	return f.take(int(n))
}

// rest takes what is left.
func (f *fields) rest() []byte { return f.take(len(f.b)) }

// end reports whether the body was read well and to its end.
func (f *fields) end(what string) error {
	if f.bad || len(f.b) > 0 {
		return Broken("malformed %s", what)
	}
	return nil
}

func appendI64(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }

func appendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// appendBytes writes the length of p, then p.
func appendBytes(b, p []byte) []byte { return append(appendU32(b, uint32(len(p))), p...) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendText writes at most limit bytes of s, as valid UTF-8: it may come from
// a guest.
func appendText(b []byte, s string, limit int) []byte {
	s = vmhost.CutText(s, limit)
	return append(appendU32(b, uint32(len(s))), s...)
}
