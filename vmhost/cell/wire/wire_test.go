package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

func anything(Op, uint32) int64 { return 1 << 30 }

// TestValues: values of every length around the borders of frames come over
// whole, also interleaved.
func TestValues(t *testing.T) {
	lengths := []int{0, 1, chunk - 1, chunk, chunk + 1, chunk + slack, chunk + slack + 1, 3*chunk + 7}
	var stream bytes.Buffer
	w := NewWriter(&lockedWriter{w: &stream})
	var group sync.WaitGroup
	for i, n := range lengths {
		group.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, n)
			if err := w.Write(OpResult, uint16(i), uint32(i), body[:n/3], nil, body[n/3:]); err != nil {
				t.Errorf("Write of %d bytes: %v", n, err)
			}
		})
	}
	group.Wait()
	r := NewReader(&stream, anything)
	for range lengths {
		v, err := r.Next()
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		want := bytes.Repeat([]byte{byte(v.ID)}, lengths[v.ID])
		if v.Op != OpResult || v.Method != uint16(v.ID) || !bytes.Equal(v.Body, want) {
			t.Errorf("value %d: %v, method %d, %d bytes, want result, %d, %d bytes", v.ID, v.Op, v.Method, len(v.Body), v.ID, len(want))
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("Next at the end = %v, want io.EOF", err)
	}
}

// TestRecycle: long values come over whole in bodies that were given back, and one
// that is in use is never used again.
func TestRecycle(t *testing.T) {
	var stream bytes.Buffer
	w, r := NewWriter(&stream), NewReader(&stream, anything)
	held := bytes.Repeat([]byte{'h'}, 6*chunk)
	next := func(want []byte) []byte {
		t.Helper()
		if err := w.Write(OpHostResult, 0, 1, want); err != nil {
			t.Fatalf("Write: %v", err)
		}
		v, err := r.Next()
		if err != nil || !bytes.Equal(v.Body, want) {
			t.Fatalf("Next = %d bytes, %v, want the %d that were written", len(v.Body), err, len(want))
		}
		return v.Body
	}
	first, reused := next(held), 0
	last := &first[0]
	for i := range 40 { // a pool may forget what is in it
		body := next(bytes.Repeat([]byte{byte(i)}, (1+i%8)*chunk))
		if &body[0] == last {
			reused++
		}
		last = &body[0]
		r.Recycle(body)
	}
	if reused == 0 {
		t.Error("no body was used again")
	}
	if !bytes.Equal(first, held) {
		t.Error("a body that is in use was written over")
	}
	for _, n := range []int{0, MaxFrame, maxRecycled + 1} {
		r := NewReader(&stream, anything)
		if r.Recycle(make([]byte, n)); r.recycled() != nil {
			t.Errorf("a body of %d bytes is kept, want none as short or as long", n)
		}
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// header is a frame's header.
func header(length uint32, op Op, flags byte, method uint16, id uint32) string {
	return string([]byte{
		byte(length), byte(length >> 8), byte(length >> 16), byte(length >> 24), byte(op), flags,
		byte(method), byte(method >> 8), byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24),
	})
}

// TestBrokenStreams: what departs from the format ends the stream.
func TestBrokenStreams(t *testing.T) {
	long := header(minContinued, OpResult, flagMore, 0, 1) + strings.Repeat("x", minContinued)
	var many strings.Builder
	for id := range uint32(maxOpen + 1) {
		many.WriteString(header(minContinued, OpLog, flagMore, 0, id) + long[headerLen:])
	}
	for name, stream := range map[string]string{
		"operation 0":        header(0, 0, 0, 0, 1),
		"operation too high": header(0, opEnd, 0, 0, 1),
		"unknown flag":       header(0, OpResult, 2, 0, 1),
		"frame too long":     header(MaxFrame+1, OpResult, 0, 0, 1),
		"longest length":     header(1<<32-1, OpResult, 0, 0, 1),
		"not expected":       header(0, OpResult, 0, 0, 2),
		"over its bound":     header(3*minContinued+1, OpResult, 0, 0, 1) + strings.Repeat("x", 3*minContinued+1),
		"sum over its bound": strings.Repeat(long, 4),
		"cut into bytes":     header(minContinued-1, OpResult, flagMore, 0, 1) + long[headerLen:],
		"too many at once":   many.String(),
		"method changes":     long + header(1, OpResult, 0, 1, 1) + "x",
		"continues empty":    header(0, OpResult, flagMore, 0, 1),
		"half a header":      header(1, OpResult, 0, 0, 1)[:5],
		"header alone":       header(1, OpResult, 0, 0, 1),
		"half a body":        header(2, OpResult, 0, 0, 1) + "x",
		"half a value":       long,
	} {
		r := NewReader(strings.NewReader(stream), func(op Op, id uint32) int64 {
			if id == 1 || op == OpLog {
				return 3 * minContinued
			}
			return -1
		})
		v, err := r.Next()
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: Next = %v, %v, want ErrProtocol", name, v, err)
		}
	}
}

// TestMessages: each message is the same after a round trip, and not itself when
// it is cut off or has more to it.
func TestMessages(t *testing.T) {
	limits := vmhost.Limits{Wall: time.Second, Memory: 1 << 20, Input: 2, Output: 3, Logs: 4, HostCalls: 5, Fuel: 6, CPU: 7, HostBytes: 8, HostTime: 9, Tables: 10, Stack: 11}
	for _, c := range []struct {
		want   any
		body   []byte
		decode func([]byte) (any, error)
		open   bool // ends in a rest of any length
	}{
		{
			want:   Hello{Version: Version, Namespaces: true, LandlockABI: 7, Took: time.Millisecond},
			body:   Hello{Version: Version, Namespaces: true, LandlockABI: 7, Took: time.Millisecond}.Append(nil),
			decode: func(b []byte) (any, error) { return DecodeHello(b) },
		},
		{
			want:   Setup{Wall: time.Unix(1, 2), Entropy: [32]byte{1, 31: 2}, Memory: 3, Procs: 4},
			body:   Setup{Wall: time.Unix(1, 2), Entropy: [32]byte{1, 31: 2}, Memory: 3, Procs: 4}.Append(nil),
			decode: func(b []byte) (any, error) { return DecodeSetup(b) },
		},
		{
			want:   Load{Remaining: 1, Limits: limits, Grants: vmhost.Grants{Embed: true, Clock: true}, Digest: vmhost.Digest{7}, Fresh: true, Samples: []vmhost.Sample{{Capability: "rank", Input: []byte("{}")}}, Module: []byte("m")},
			body:   append(Load{Remaining: 1, Limits: limits, Grants: vmhost.Grants{Embed: true, Clock: true}, Digest: vmhost.Digest{7}, Fresh: true, Samples: []vmhost.Sample{{Capability: "rank", Input: []byte("{}")}}}.Append(nil), 'm'),
			decode: func(b []byte) (any, error) { return DecodeLoad(b) }, open: true,
		},
		{
			want:   Call{Remaining: 1, HasHost: true, Seed: [32]byte{2}, Capability: "rank", Input: []byte("i")},
			body:   append(Call{Remaining: 1, HasHost: true, Seed: [32]byte{2}, Capability: "rank"}.Append(nil), 'i'),
			decode: func(b []byte) (any, error) { return DecodeCall(b) }, open: true,
		},
		{
			want:   Result{Used: Used{VM: 1, Restore: 6, Fuel: 5, PeakMemory: 2, HostCalls: 3, LogsDropped: 4}, Output: []byte("o")},
			body:   append(Result{Used: Used{VM: 1, Restore: 6, Fuel: 5, PeakMemory: 2, HostCalls: 3, LogsDropped: 4}}.Append(nil), 'o'),
			decode: func(b []byte) (any, error) { return DecodeResult(b) }, open: true,
		},
		{
			want:   &vmhost.GuestError{Code: "c", Message: "né"},
			body:   AppendGuestError(nil, &vmhost.GuestError{Code: "c", Message: "né"}),
			decode: func(b []byte) (any, error) { return DecodeGuestError(b) },
		},
	} {
		got, err := c.decode(c.body)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("decode(%T) = %+v, %v, want %+v", c.want, got, err, c.want)
		}
		end := len(c.body)
		if c.open {
			end-- // without its rest it is whole
		}
		for n := range end {
			if got, err := c.decode(c.body[:n]); !errors.Is(err, ErrProtocol) {
				t.Errorf("decode(%T cut at %d) = %+v, %v, want ErrProtocol", c.want, n, got, err)
			}
		}
		if got, err := c.decode(append(c.body, 0)); !c.open && !errors.Is(err, ErrProtocol) {
			t.Errorf("decode(%T with a byte more) = %+v, %v, want ErrProtocol", c.want, got, err)
		}
	}
}

// TestHostCalls: host calls come over with their text checked.
func TestHostCalls(t *testing.T) {
	for _, want := range []vmhost.HostCall{
		{Func: "search", Text: `{"né":1}`}, {Func: "embed"}, {Func: "vectors", Leg: 1, First: 1<<32 - 1, Count: 3},
	} {
		method, body, ok := EncodeHostCall(want)
		got, err := DecodeHostCall(method, append(body, want.Text...))
		if !ok || err != nil || got != want {
			t.Errorf("DecodeHostCall = %+v, %v, want %+v", got, err, want)
		}
	}
	if _, _, ok := EncodeHostCall(vmhost.HostCall{Func: "log"}); ok {
		t.Error("EncodeHostCall(log) = true, want false: it is no call of the host")
	}
	_, body, _ := EncodeHostCall(vmhost.HostCall{Func: "search"})
	for method, body := range map[uint16][]byte{0: body, FuncVectors + 1: body, FuncSearch: append(body, 0xff)} {
		if got, err := DecodeHostCall(method, body); !errors.Is(err, ErrProtocol) {
			t.Errorf("DecodeHostCall(%d, %q) = %+v, %v, want ErrProtocol", method, body, got, err)
		}
	}
	if l, err := DecodeLog(4, []byte("x")); !errors.Is(err, ErrProtocol) {
		t.Errorf("DecodeLog of level 4 = %v, %v, want ErrProtocol", l, err)
	}
}

// TestFaults: errors keep their kind and their words over the wire.
func TestFaults(t *testing.T) {
	used := Used{VM: 1, CPU: 3, PeakMemory: 2}
	for _, sent := range []error{
		&vmhost.RefusedError{Section: "code", Offset: 7, Detail: "too long"},
		fmt.Errorf("%w: alone", vmhost.ErrRefused),
		fmt.Errorf("%w: unreachable", vmhost.ErrTrapped),
		vmhost.ErrDeadline, vmhost.ErrMemory, vmhost.ErrOutput, vmhost.ErrInput, vmhost.ErrCrashed, vmhost.ErrBusy, vmhost.ErrUnavailable,
		ErrHostFailed, context.Canceled, context.DeadlineExceeded,
		fmt.Errorf("rank: %w", &vmhost.GuestError{Code: "bad", Message: "no"}),
		fmt.Errorf("rank: %w", &vmhost.BudgetError{Budget: vmhost.BudgetFuel, Used: 8, Allowed: 7}),
		&vmhost.BudgetError{Budget: vmhost.BudgetMemory, Used: 1 << 40, Allowed: 0},
		errors.New("of no kind"),
	} {
		method, body := Fault{Used: used, Err: sent}.Encode()
		got, err := DecodeFault(method, body)
		if err != nil || got.Used != used {
			t.Errorf("DecodeFault(%v) = %+v, %v, want it used %+v", sent, got, err, used)
			continue
		}
		for _, kind := range faultKinds {
			want := errors.Is(sent, kind) || (kind == vmhost.ErrCrashed && sent.Error() == "of no kind")
			if kind != nil && errors.Is(got.Err, kind) != want {
				t.Errorf("Fault(%v) arrives as %v: errors.Is(%v) = %v, want %v", sent, got.Err, kind, !want, want)
			}
		}
		var guest, sentGuest *vmhost.GuestError
		if errors.As(sent, &sentGuest) && (!errors.As(got.Err, &guest) || *guest != *sentGuest) {
			t.Errorf("Fault(%v) arrives as %v, want the same guest error", sent, got.Err)
		}
		var budget, sentBudget *vmhost.BudgetError
		if errors.As(sent, &sentBudget) && (!errors.As(got.Err, &budget) || *budget != *sentBudget) {
			t.Errorf("Fault(%v) arrives as %v, want the same budget", sent, got.Err)
		}
		var refused, sentRefused *vmhost.RefusedError
		if errors.As(sent, &sentRefused) && (!errors.As(got.Err, &refused) || *refused != *sentRefused) {
			t.Errorf("Fault(%v) arrives as %v, want the same refusal", sent, got.Err)
		}
	}
	for _, b := range []vmhost.BudgetError{
		{Budget: vmhost.BudgetWall, Used: 2, Allowed: 1},          // the host's own
		{Budget: vmhost.BudgetAccountMemory, Used: 2, Allowed: 1}, // too
		{Budget: "fuel ", Used: 2, Allowed: 1},
		{Budget: vmhost.BudgetFuel, Used: 1, Allowed: 1}, // not used up
	} {
		body := appendI64(appendI64(appendText(used.append(nil), string(b.Budget), maxBudget), b.Used), b.Allowed)
		if got, err := DecodeFault(methodBudget, body); !errors.Is(err, ErrProtocol) {
			t.Errorf("DecodeFault of %+v = %v, %v, want ErrProtocol", b, got, err)
		}
	}
	for _, method := range []uint16{0, uint16(len(faultKinds)), 99, 1<<16 - 1} {
		if got, err := DecodeFault(method, used.append(nil)); !errors.Is(err, ErrProtocol) {
			t.Errorf("DecodeFault(%d) = %v, %v, want ErrProtocol", method, got, err)
		}
	}
}
