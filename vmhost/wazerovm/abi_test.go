package wazerovm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

func TestSpan(t *testing.T) {
	mem := make(view, 100)
	for _, c := range []struct {
		ptr, n uint32
		ok     bool
	}{
		{0, 0, true},
		{0, 100, true},
		{99, 1, true},
		{100, 0, true},
		{100, 1, false},
		{101, 0, false},
		{1, math.MaxUint32, false},
		{math.MaxUint32, 1, false},
		{math.MaxUint32, math.MaxUint32, false},
	} {
		b, err := mem.span(c.ptr, c.n)
		if (err == nil) != c.ok || (c.ok && (len(b) != int(c.n) || cap(b) != int(c.n))) {
			t.Errorf("span(%d, %d) of 100 bytes = %d bytes, capacity %d, %v; want ok: %v", c.ptr, c.n, len(b), cap(b), err, c.ok)
		}
	}
	if _, err := view(nil).span(0, 1); err == nil {
		t.Error("span(0, 1) of no memory succeeded")
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abc", 2, "ab"},
		{"€€", 3, "€"},
		{"€€", 5, "€"},
		{"😀😀", 7, "😀"},
		{"\x80\x80\x80\x80\x80\x80", 5, "\x80"}, // never UTF-8: how much is left does not matter
	} {
		if got := cut([]byte(c.in), c.limit); string(got) != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

// FuzzLiftHandle reads results from any memory.
func FuzzLiftHandle(f *testing.F) {
	f.Add([]byte{}, uint32(0))
	f.Add(append(wasmbuild.OK(20, 5), "hello"...), uint32(0))
	f.Add(append(wasmbuild.OK(1, math.MaxUint32), "hello"...), uint32(0))
	f.Add(append(wasmbuild.Error(20, 2, 22, 3), "hello"...), uint32(0))
	f.Add(append(wasmbuild.Error(math.MaxUint32, math.MaxUint32, 22, 3), "hello"...), uint32(4))
	f.Fuzz(func(t *testing.T, mem []byte, ptr uint32) {
		const limit = 16
		before := bytes.Clone(mem)
		output, err := liftHandle(mem, ptr, &vmhost.Limits{Output: limit})
		if !bytes.Equal(before, mem) {
			t.Errorf("liftHandle(%x, %d) wrote to memory", before, ptr)
		}
		var refusal *vmhost.GuestError
		switch {
		case err == nil:
			checkLifted(t, mem, ptr, output, limit)
		case errors.As(err, &refusal):
			if len(refusal.Code) > vmhost.MaxErrorCode || len(refusal.Message) > vmhost.MaxErrorMessage ||
				!utf8.ValidString(refusal.Code) || !utf8.ValidString(refusal.Message) {
				t.Errorf("liftHandle(%x, %d) = %#v, want it bounded and UTF-8", mem, ptr, refusal)
			}
		case errors.Is(err, vmhost.ErrTrapped), errors.Is(err, vmhost.ErrOutput):
		default:
			t.Errorf("liftHandle(%x, %d) = %v, an error of no kind", mem, ptr, err)
		}
	})
}

// checkLifted checks an output against memory: as the ABI has it, within the
// cap, UTF-8, and a copy.
func checkLifted(t *testing.T, mem []byte, ptr uint32, output []byte, limit int) {
	t.Helper()
	at := binary.LittleEndian.Uint32(mem[ptr+4:])
	n := binary.LittleEndian.Uint32(mem[ptr+8:])
	want := mem[at : at+n]
	if mem[ptr] != 0 || ptr%4 != 0 || len(output) > limit || !utf8.Valid(output) || !bytes.Equal(output, want) {
		t.Errorf("liftHandle(%x, %d) = %x, want %x of at most %d bytes", mem, ptr, output, want, limit)
	}
	for i := range mem {
		mem[i]++
	}
	if len(output) > 0 && bytes.Equal(output, want) {
		t.Error("the output changes with the memory")
	}
}
