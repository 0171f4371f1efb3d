package tars

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestRealloc(t *testing.T) {
	var m memory
	for _, size := range []uint32{0, 1, 7, 8, 9, 4096} {
		for _, align := range []uint32{1, 2, 4, 8} {
			at := m.realloc(0, 0, align, size)
			if at%maxAlign != 0 {
				t.Errorf("realloc(0, 0, %d, %d) = %#x, want a multiple of %d", align, size, at, maxAlign)
			}
			if got := len(m.blocks[at]); got != int(size) {
				t.Errorf("realloc(0, 0, %d, %d) makes %d bytes, want %d", align, size, got, size)
			}
		}
	}
	if len(m.blocks) != 24 {
		t.Errorf("24 calls of realloc make %d blocks, want one each", len(m.blocks))
	}
	m.release()
	if len(m.blocks) != 0 {
		t.Errorf("release leaves %d blocks, want none", len(m.blocks))
	}
}

func TestReallocKeepsBytes(t *testing.T) {
	var m memory
	small := m.realloc(0, 0, 1, 4)
	copy(m.blocks[small], "abcd")
	large := m.realloc(small, 4, 1, 8)
	if got := m.blocks[large]; !bytes.Equal(got, []byte("abcd\x00\x00\x00\x00")) {
		t.Errorf("the larger block = %q, want the old bytes and zeros", got)
	}
	cut := m.realloc(large, 8, 1, 2)
	if got := m.blocks[cut]; string(got) != "ab" {
		t.Errorf("the smaller block = %q, want the first old bytes", got)
	}
	if len(m.blocks) != 1 {
		t.Errorf("there are %d blocks, want the last alone", len(m.blocks))
	}
}

func TestWhatIsOutsideTheABIPanics(t *testing.T) {
	for name, call := range map[string]func(*memory){
		"alignment 0":     func(m *memory) { m.realloc(0, 0, 0, 1) },
		"alignment 3":     func(m *memory) { m.realloc(0, 0, 3, 1) },
		"alignment 16":    func(m *memory) { m.realloc(0, 0, 16, 1) },
		"unknown address": func(m *memory) { m.take(12345, 1) },
		"too many bytes":  func(m *memory) { m.take(m.realloc(0, 0, 1, 4), 5) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it returns, want a panic")
				}
			}()
			call(&memory{})
		})
	}
}

func TestTake(t *testing.T) {
	var m memory
	at := m.realloc(0, 0, 1, 5)
	copy(m.blocks[at], "hello")
	if got := m.take(at, 4); string(got) != "hell" {
		t.Errorf("take = %q, want the first 4 bytes", got)
	}
	if got := m.take(at, 0); got != nil || len(m.blocks) != 0 {
		t.Errorf("take of no bytes = %q with %d blocks left, want nothing", got, len(m.blocks))
	}
}

// lifted reads a result as a host does.
func lifted(t *testing.T, m *memory, at address) (output []byte, failure *Error) {
	t.Helper()
	area := m.blocks[at]
	if len(area) != 20 {
		t.Fatalf("the result has %d bytes, want 20", len(area))
	}
	var r result
	for i := range r {
		r[i] = uint32(area[4*i]) | uint32(area[4*i+1])<<8 | uint32(area[4*i+2])<<16 | uint32(area[4*i+3])<<24
	}
	output, err := m.lift(&r, 1)
	if err != nil && !errors.As(err, &failure) {
		t.Fatalf("lift gives %v, want an *Error", err)
	}
	return output, failure
}

func TestLowerAndLift(t *testing.T) {
	for _, output := range []string{"", "x", `{"answer":"é"}`, strings.Repeat("a", 1<<20)} {
		var m memory
		got, failure := lifted(t, &m, m.lower([]byte(output), nil))
		if string(got) != output || failure != nil {
			t.Errorf("lower and lift of %d bytes = %d bytes, %v; want the same", len(output), len(got), failure)
		}
	}
	for _, want := range []Error{{}, {Code: "panic"}, {Code: "not-found", Message: "no é"}} {
		var m memory
		got, failure := lifted(t, &m, m.lower(nil, &want))
		if got != nil || failure == nil || *failure != want {
			t.Errorf("lower and lift of %+v = %q, %+v; want the same", want, got, failure)
		}
	}
}

func TestLiftReadsTheTagAlone(t *testing.T) {
	var m memory
	r := result{0xFFFFFF00, 0, 0} // the bytes after the tag are no part of it
	if got, err := m.lift(&r, 4); got != nil || err != nil {
		t.Errorf("lift = %q, %v; want an empty list", got, err)
	}
}

func TestLiftOfFloats(t *testing.T) {
	var m memory
	at := m.realloc(0, 0, 4, 12)
	r := result{tagOK, uint32(at), 3}
	if got, err := m.lift(&r, 4); len(got) != 12 || err != nil {
		t.Errorf("lift of 3 floats = %d bytes, %v; want 12", len(got), err)
	}
}
