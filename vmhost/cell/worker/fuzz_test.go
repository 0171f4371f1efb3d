package worker

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// guests are what a fuzzed worker runs.
func guests() map[string]fakevm.Func {
	return map[string]fakevm.Func{
		"echo": func(_ context.Context, c *fakevm.Call) ([]byte, error) { return c.Input, nil },
		"wait": func(ctx context.Context, _ *fakevm.Call) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		"fail": func(context.Context, *fakevm.Call) ([]byte, error) { panic("as asked") },
		"ask": func(ctx context.Context, c *fakevm.Call) (b []byte, err error) {
			for range 3 {
				if b, err = c.Search(ctx, strings.ToValidUTF8(string(c.Input), "?")); err != nil {
					return nil, err
				}
				c.Log(1, string(b))
			}
			return b, nil
		},
	}
}

// modules are what a lying host loads, by number.
func modules() [][]byte {
	return [][]byte{fakevm.Module("echo"), fakevm.Module("wait"), fakevm.Module("fail"), fakevm.Module("ask", "search"), []byte("\x00asm"), nil}
}

// script is what a lying host does, byte by byte; after its end all are 0.
type hostScript struct{ b []byte }

func (s *hostScript) u8() byte {
	if len(s.b) == 0 {
		return 0
	}
	b := s.b[0]
	s.b = s.b[1:]
	return b
}

func (s *hostScript) take(n int) []byte {
	n = min(n, len(s.b))
	b := s.b[:n:n]
	s.b = s.b[n:]
	return b
}

// Shapes of what a host sends, by number.
const (
	shapeSetup  = iota // flags, perhaps 48 bytes of its own
	shapeLoad          // module, flags
	shapeCall          // id, flags, milliseconds, length, input
	shapeAnswer        // id, outcome, length, body
	shapeCancel        // id
	shapePing          // length, token
	shapeFrame         // operation, method, id, length, body
	shapeHalf          // operation, method, id, pages
	shapeRaw           // length, bytes
	shapeWait          // milliseconds
	shapeQuit
	shapes
)

// next sends one thing.
func (s *hostScript) next(conn io.Writer, w *wire.Writer) error {
	switch s.u8() % shapes {
	case shapeSetup:
		m := wire.Setup{Wall: time.Now(), Memory: 1 << 30, Procs: 2}
		body := m.Append(nil)
		if s.u8() > 127 {
			copy(body, s.take(len(body)))
		}
		return w.Write(wire.OpSetup, 0, 0, body)
	case shapeLoad:
		all := modules()
		module, flags := all[int(s.u8())%len(all)], s.u8()
		m := wire.Load{
			Remaining: time.Minute, Digest: vmhost.DigestOf(module), Grants: vmhost.Grants{Search: true, Log: true},
			Limits: vmhost.Limits{Wall: time.Minute, Memory: 1 << 20, Input: 1 << 10, Output: 1 << 10, Logs: 256, HostCalls: 2 + int(flags&1)},
		}
		if flags > 127 {
			m.Digest[0]++
		}
		return w.Write(wire.OpLoad, 0, uint32(flags&64), m.Append(nil), module)
	case shapeCall:
		id, flags, left := uint32(s.u8()%8), s.u8(), s.u8()
		m := wire.Call{Remaining: time.Duration(int8(left)) * time.Millisecond, HasHost: flags&1 == 0, Capability: "rank"}
		return w.Write(wire.OpCall, 0, id, m.Append(nil), s.take(int(s.u8())))
	case shapeAnswer:
		id, outcome := uint32(s.u8()%8), uint16(s.u8()%4)
		return w.Write(wire.OpHostResult, outcome, id, s.take(int(s.u8())))
	case shapeCancel:
		return w.Write(wire.OpCancel, 0, uint32(s.u8()%8))
	case shapePing:
		return w.Write(wire.OpPing, 0, 0, s.take(int(s.u8()%9)))
	case shapeFrame:
		op, method, id := wire.Op(s.u8()%32), uint16(s.u8()), uint32(s.u8()%8)
		if op == 0 {
			return nil
		}
		return w.Write(op, method, id, s.take(int(s.u8())))
	case shapeHalf:
		op, method, id, pages := s.u8()%32, s.u8(), s.u8()%8, s.u8()%8
		for range pages {
			header := []byte{0, 16, 0, 0, op, 1, method, 0, id, 0, 0, 0}
			if _, err := fmt.Fprintf(conn, "%s%s", header, strings.Repeat("x", 4<<10)); err != nil {
				return err
			}
		}
		return nil
	case shapeRaw:
		_, err := conn.Write(s.take(int(s.u8())))
		return err
	case shapeWait:
		time.Sleep(time.Duration(s.u8()%3) * time.Millisecond)
		return nil
	default:
		return w.Write(wire.OpQuit, 0, 0)
	}
}

// FuzzWorker: whatever a host sends, whenever, the worker does not panic, goes
// on or ends by itself, what it says is in the language, and its calls end with
// it.
func FuzzWorker(f *testing.F) {
	f.Add([]byte{shapeSetup, 0, shapeLoad, 0, 0, shapeWait, 2, shapeCall, 1, 0, 100, 2, 'h', 'i', shapeWait, 2})
	f.Add([]byte{shapeSetup, 0, shapeLoad, 3, 1, shapeWait, 2, shapeCall, 1, 0, 100, 2, '{', '}', shapeWait, 2, shapeAnswer, 1, 0, 2, '{', '}', shapeWait, 1, shapeAnswer, 1, 1, 0})
	f.Add([]byte{shapeSetup, 0, shapeLoad, 1, 0, shapeWait, 2, shapeCall, 1, 0, 100, 0, shapeCall, 1, 0, 100, 0})
	f.Add([]byte{shapeSetup, 0, shapeLoad, 1, 0, shapeWait, 2, shapeCall, 2, 0, 100, 0, shapeCancel, 2, shapePing, 8, shapeQuit})
	f.Add([]byte{shapeSetup, 200, shapeLoad, 4, 200, shapeHalf, byte(wire.OpCall), 0, 1, 3})
	goroutines := runtime.NumGoroutine()
	f.Fuzz(func(t *testing.T, input []byte) {
		hung := time.AfterFunc(30*time.Second, func() { panic("the worker hangs") })
		defer hung.Stop()
		host, cell := net.Pipe()
		engine := fakevm.New(guests())
		s := newServer(cell, engine, func(wire.Setup) {})
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = s.serve() // an error is how it should end
			_ = cell.Close()
		}()
		heard := make(chan error, 1)
		go func() { heard <- listen(host) }()
		script, w := &hostScript{input}, wire.NewWriter(host)
		for len(script.b) > 0 {
			if err := script.next(host, w); err != nil {
				break // the worker has ended
			}
		}
		if err := host.Close(); err != nil {
			t.Error(err)
		}
		<-served
		if err := <-heard; err != nil {
			t.Errorf("the worker said what is no language: %v", err)
		}
		// The process would end here, and its calls with it.
		s.mu.Lock()
		for _, c := range s.calls {
			c.cancel()
		}
		s.mu.Unlock()
		if err := engine.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines+8; runtime.Gosched() { // some are the fuzzer's own
			if time.Now().After(end) {
				t.Fatalf("%d goroutines are left, at first there were %d", runtime.NumGoroutine(), goroutines)
			}
		}
	})
}

// listen reads what a worker says, and decodes it, until the wire ends. The
// error is of the kind wire.ErrProtocol.
func listen(conn io.Reader) error {
	r := wire.NewReader(conn, func(wire.Op, uint32) int64 { return 1 << 20 })
	for {
		v, hungUp := r.Next() // perhaps in the middle of a value
		if hungUp != nil {
			return nil //nolint:nilerr // what does not decode has no module to load
		}
		var err error
		switch v.Op {
		case wire.OpResult:
			_, err = wire.DecodeResult(v.Body)
		case wire.OpError:
			_, err = wire.DecodeFault(v.Method, v.Body)
		case wire.OpLog:
			_, err = wire.DecodeLog(v.Method, v.Body)
		case wire.OpHostCall:
			_, err = wire.DecodeHostCall(v.Method, v.Body)
		case wire.OpLoaded, wire.OpPong:
		default:
			err = wire.Broken("%v from a worker", v.Op)
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, conn) // not to hold the worker up
			return err
		}
	}
}
