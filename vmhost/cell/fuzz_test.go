package cell

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/internal/lies"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// script is what a lying worker does, read from the input of a fuzz test byte by
// byte. After its end all bytes are 0.
type script struct{ b []byte }

func (s *script) u8() byte {
	if len(s.b) == 0 {
		return 0
	}
	b := s.b[0]
	s.b = s.b[1:]
	return b
}

func (s *script) take(n int) string {
	n = min(n, len(s.b))
	b := s.b[:n]
	s.b = s.b[n:]
	return string(b)
}

// id is one that the host has given, mostly.
func (s *script) id() uint32 {
	if n := uint32(s.u8() % 8); n < 7 {
		return n
	}
	return 1<<32 - 1
}

// Shapes of what a worker sends, by number.
const (
	shapeFrame  = iota // operation, method, id, length, body
	shapeHalf          // operation, method, id, pages: frames that go on
	shapeRaw           // length, bytes
	shapeHeader        // 12 bytes
	shapeResult        // id, length, output: well formed
	shapeFault         // id, kind: well formed
	shapeLog           // id, level, length, text
	shapeAsk           // id, function, length, text: a host call
	shapeWait          // milliseconds
	shapeStall         // until the host has had enough
	shapes
)

// play sends one thing after the other until the script or the wire ends.
func (s *script) play(conn io.Writer, gone <-chan struct{}) {
	w := wire.NewWriter(conn)
	for len(s.b) > 0 {
		var err error
		switch s.u8() % shapes {
		case shapeFrame:
			op, method, id, n := wire.Op(s.u8()%32), uint16(s.u8()), s.id(), int(s.u8())
			_, err = io.WriteString(conn, lies.Header(uint32(n), op, 0, method, id)+padded(s.take(n), n))
		case shapeHalf:
			op, method, id, pages := wire.Op(s.u8()%32), uint16(s.u8()), s.id(), int(s.u8()%8)
			for range pages {
				_, err = io.WriteString(conn, lies.Header(4<<10, op, lies.More, method, id)+strings.Repeat("x", 4<<10))
			}
		case shapeRaw:
			_, err = io.WriteString(conn, s.take(int(s.u8())))
		case shapeHeader:
			_, err = io.WriteString(conn, s.take(12))
		case shapeResult:
			id := s.id()
			err = w.Write(wire.OpResult, 0, id, wire.Result{Used: s.used()}.Append(nil), []byte(s.take(int(s.u8()))))
		case shapeFault:
			kinds := []error{vmhost.ErrTrapped, vmhost.ErrBusy, vmhost.ErrRefused, wire.ErrHostFailed, context.Canceled, vmhost.ErrDeadline, &vmhost.GuestError{Code: "c"}, vmhost.ErrUnavailable}
			id := s.id()
			method, body := wire.Fault{Used: s.used(), Err: kinds[int(s.u8())%len(kinds)]}.Encode()
			err = w.Write(wire.OpError, method, id, body)
		case shapeLog:
			id, level := s.id(), uint16(s.u8())
			err = w.Write(wire.OpLog, level, id, []byte(s.take(int(s.u8()))))
		case shapeAsk:
			id, function := s.id(), uint16(s.u8()%5)
			err = w.Write(wire.OpHostCall, function, id, make([]byte, 12), []byte(s.take(int(s.u8()))))
		case shapeWait:
			time.Sleep(time.Duration(s.u8()%4) * time.Millisecond)
		case shapeStall:
			<-gone
			return
		}
		if err != nil {
			return
		}
	}
}

func padded(s string, n int) string { return s + strings.Repeat("\x00", n-len(s)) }

// used is what a worker says that a call cost: each figure small, negative or
// out of all bounds.
func (s *script) used() wire.Used {
	n := s.u8()
	if n < 128 {
		return wire.Used{Fuel: int64(n)}
	}
	v := int64(binary.LittleEndian.Uint64(append([]byte(s.take(8)), make([]byte, 8)...)))
	return wire.Used{VM: time.Duration(v), Fuel: v, PeakMemory: v, HostCalls: v, LogsDropped: v}
}

// fuzzLimits are small, so that scripts reach them.
var fuzzLimits = vmhost.Limits{Wall: 30 * time.Millisecond, Memory: 1 << 20, Input: 8 << 10, Output: 8 << 10, Logs: 512, HostCalls: 3}

// How a script begins: a bit of its first byte each.
const (
	badHello = 1 << iota // it says hello itself
	badLoad              // it ends the load itself
	doesNotReadCalls
)

// fuzzWorker plays the script in the first cell, and an honest worker, which
// answers each call, in those that follow.
func fuzzWorker(input []byte) func(p *fakeProcess) {
	var first sync.Once
	return func(p *fakeProcess) {
		lie := false
		first.Do(func() { lie = true })
		if !lie {
			lying(p)
			return
		}
		s := &script{input}
		how := s.u8()
		w, r := wire.NewWriter(p.cell), wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 1 << 30 })
		if how&badHello == 0 {
			_ = w.Write(wire.OpHello, 0, 0, goodHello.Append(nil))
		}
		calls := make(chan struct{}, 1)
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				v, err := r.Next()
				if err != nil {
					return
				}
				switch v.Op {
				case wire.OpLoad:
					if how&badLoad == 0 {
						_ = w.Write(wire.OpLoaded, 0, 0)
					}
				case wire.OpCall:
					select {
					case calls <- struct{}{}:
					default:
					}
					if how&doesNotReadCalls != 0 {
						return
					}
				}
			}
		})
		if how&(badHello|badLoad) == 0 {
			select {
			case <-calls:
			case <-p.ended:
			}
		}
		s.play(p.cell, p.ended)
		p.Kill()
		reading.Wait()
	}
}

// FuzzSession: whatever a worker sends, whenever, in the middle of real calls,
// the host does not panic, every call ends by its deadline with an answer within
// its limits or an error of one of the kinds, and nothing is left behind.
func FuzzSession(f *testing.F) {
	for _, seed := range [][]byte{
		{0, shapeResult, 1, 0, 2, 'o', 'k', shapeResult, 2, 0, 2, 'o', 'k', shapeFault, 3, 0, 1},
		{0, shapeLog, 1, 1, 2, 'l', 'l', shapeAsk, 1, 1, 2, '{', '}', shapeWait, 2, shapeResult, 1, 0, 0},
		{0, shapeAsk, 1, 1, 0, shapeAsk, 1, 1, 0, shapeAsk, 1, 1, 0, shapeFault, 1, 0, 3},
		{0, shapeHalf, byte(wire.OpLog), 1, 1, 1, shapeResult, 1, 0, 0},
		{badLoad, shapeHalf, byte(wire.OpError), 2, 0, 1, shapeFrame, byte(wire.OpLoaded), 0, 0, 0, shapeFrame, byte(wire.OpError), 2, 0, 0},
		{badLoad, shapeFault, 0, 0, 1},
		{badHello, shapeFrame, byte(wire.OpHello), 0, 0, 17, 1},
		{doesNotReadCalls, shapeResult, 1, 0, 0, shapeStall},
		{0, shapeHalf, byte(wire.OpResult), 0, 1, 7, shapeResult, 2, 255, 255, 255, 255, 255, 255, 255, 255, 127, 0, shapeStall},
		{0, shapeHeader, 255, 255, 255, 255, byte(wire.OpResult), 0, 0, 0, 1, 0, 0, 0},
		{0, shapeFrame, byte(wire.OpPong), 0, 0, 8, shapeRaw, 3, 1, 2, 3},
	} {
		f.Add(seed)
	}
	goroutines := runtime.NumGoroutine()
	base := heap()
	runs := 0
	f.Fuzz(func(t *testing.T, input []byte) {
		hung := time.AfterFunc(30*time.Second, func() { panic("a call or the driver hangs") })
		defer hung.Stop()
		opts, err := Options{LoadTimeout: 30 * time.Millisecond, StartTimeout: 30 * time.Millisecond, Grace: 3 * time.Millisecond}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		d := newDriver(opts, liarLauncher{fuzzWorker(input)}, Report{Grade: GradeJail})
		src := liarSource("x")
		src.Limits = fuzzLimits
		p, err := d.Load(context.Background(), src)
		switch {
		case err == nil && p == nil:
			t.Error("Load gave neither a program nor an error")
		case err == nil:
			fuzzCalls(t, p)
		case !errors.Is(err, vmhost.ErrUnavailable) && !errors.Is(err, vmhost.ErrRefused):
			t.Errorf("Load = %v, an error of no kind", err)
		}
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines+8; runtime.Gosched() { // some are the fuzzer's own
			if time.Now().After(end) {
				t.Fatalf("%d goroutines are left, at first there were %d", runtime.NumGoroutine(), goroutines)
			}
		}
		if runs++; runs%256 == 0 {
			const fuzzer = 100 << 20 // what its mutations may take
			if grown := heap() - base; grown > 64<<20+fuzzer {
				t.Errorf("the heap has grown by %d bytes", grown)
			}
		}
	})
}

var errOfHost = errors.New("the host function's own")

// fuzzCalls makes three calls at once of a program.
func fuzzCalls(t *testing.T, p vmhost.Program) {
	answers := []vmhost.HostFunc{
		nil,
		func(context.Context, vmhost.HostCall) ([]byte, error) { return []byte(`"four"`)[1:5], nil },
		func(_ context.Context, hc vmhost.HostCall) ([]byte, error) {
			if len(hc.Text)%2 == 1 {
				return nil, &vmhost.GuestError{Code: "c", Message: hc.Text}
			}
			return nil, errOfHost
		},
	}
	var calls sync.WaitGroup
	for i, host := range answers {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), fuzzLimits.Wall)
			defer cancel()
			if i == 2 {
				time.AfterFunc(5*time.Millisecond, cancel)
			}
			reply, err := p.Call(ctx, vmhost.Request{Capability: lies.Echo, Input: bytes.Repeat([]byte("i"), i*4<<10), Host: host})
			checkReply(t, reply, err)
		})
	}
	calls.Wait()
}

// kinds are the errors that a call may have.
var kinds = []error{
	vmhost.ErrTrapped, vmhost.ErrDeadline, vmhost.ErrMemory, vmhost.ErrOutput, vmhost.ErrInput, vmhost.ErrCrashed, vmhost.ErrBusy,
	vmhost.ErrUnavailable, vmhost.ErrRefused, context.Canceled, errOfHost,
}

// checkReply holds an answer to the limits.
func checkReply(t *testing.T, reply vmhost.Reply, err error) {
	var guest *vmhost.GuestError
	if err != nil && !errors.As(err, &guest) && !oneOf(err, kinds) {
		t.Errorf("Call = %v, an error of no kind", err)
	}
	if len(reply.Output) > int(fuzzLimits.Output) || !utf8.Valid(reply.Output) || err != nil && reply.Output != nil {
		t.Errorf("Call = %d bytes of output, %v", len(reply.Output), err)
	}
	logs := 0
	for _, l := range reply.Logs {
		logs += len(l.Text) + 32
	}
	u := reply.Usage
	if logs > int(fuzzLimits.Logs) || u.HostCalls < 0 || u.HostCalls > fuzzLimits.HostCalls || u.PeakMemory < 0 || u.PeakMemory > fuzzLimits.Memory ||
		u.Fuel < 0 || u.Fuel > maxFuel || u.VM < 0 || u.VM > time.Hour || u.LogsDropped < 0 {
		t.Errorf("Call used %+v, with %d bytes of log: out of the limits", u, logs)
	}
}
