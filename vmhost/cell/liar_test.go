package cell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/internal/lies"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// liarLauncher starts workers of which the test plays the part.
type liarLauncher struct{ play func(p *fakeProcess) }

func (liarLauncher) Name() string                          { return "fake" }
func (liarLauncher) Probe(context.Context) (Report, error) { return Report{Grade: GradeJail}, nil }
func (liarLauncher) Close() error                          { return nil }

func (l liarLauncher) Start(context.Context, Spec) (Process, error) {
	p := newFakeProcess()
	p.playing.Go(func() {
		l.play(p)
		p.Kill() // a worker that returns has exited
	})
	return p, nil
}

// goodHello is what a worker in a jail says.
var goodHello = wire.Hello{Version: wire.Version, Namespaces: true}

// lying plays a worker of the lies.
func lying(p *fakeProcess) { _ = lies.Serve(p.cell, goodHello, p.ended) }

// leakless fails a test that leaves goroutines behind, itself or in what it runs.
func leakless(t testing.TB) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

// newLiarDriver returns a driver whose cells a test plays, closed with the test.
func newLiarDriver(t testing.TB, play func(p *fakeProcess)) *Driver {
	t.Helper()
	opts, err := Options{LoadTimeout: time.Second, Grace: 20 * time.Millisecond}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver(opts, liarLauncher{play}, Report{Grade: GradeJail}, newArtifacts(opts))
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func liarSource(module string) vmhost.Source {
	return vmhost.Source{Module: []byte(module), Digest: vmhost.DigestOf([]byte(module)), Limits: vmhost.Limits{
		Wall: time.Minute, Memory: 1 << 20, Input: 1 << 20, Output: 1 << 20, Logs: 64 << 10, HostCalls: 4,
	}}
}

// oneOf reports whether err is of one of the kinds, where nil is no error.
func oneOf(err error, kinds []error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) && (kind != nil || err == nil) })
}

// soon fails a test that does not come to its end.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s has not ended after 30 s", what)
	}
}

// TestLies: each lie about a call ends it with the right kind of error, not
// long after its deadline, and the next call has an honest answer.
func TestLies(t *testing.T) {
	leakless(t)
	for lie, fate := range lies.Fates() {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			d := newLiarDriver(t, lying)
			p, err := d.Load(context.Background(), liarSource("honest"))
			if err != nil {
				t.Fatal(err)
			}
			soon(t, "the call", func() {
				deadline := 20 * time.Second
				if lies.Stalls(lie) {
					deadline = 200 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(context.Background(), deadline)
				defer cancel()
				reply, err := p.Call(ctx, vmhost.Request{
					Capability: lie, Input: []byte(strings.Repeat("i", 1<<20)),
					Host: func(context.Context, vmhost.HostCall) ([]byte, error) { return make([]byte, 1<<20), nil },
				})
				if !oneOf(err, fate) {
					t.Errorf("Call = %d bytes, %v, want one of %v", len(reply.Output), err, fate)
				}
			})
			soon(t, "the next call", func() {
				for { // what follows an answer may still end the cell under the next call, or cost it its deadline
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					reply, err := p.Call(ctx, vmhost.Request{Capability: lies.Echo, Input: []byte("x")})
					cancel()
					if oneOf(err, []error{vmhost.ErrCrashed, vmhost.ErrUnavailable, vmhost.ErrDeadline, vmhost.ErrBusy}) {
						continue
					}
					if err != nil || string(reply.Output) != "x" {
						t.Errorf("next Call = %q, %v, want x", reply.Output, err)
					}
					return
				}
			})
		})
	}
}

// TestLoadLies: a worker that lies about a load gives an error, never a program
// that is none, and the driver goes on.
func TestLoadLies(t *testing.T) {
	leakless(t)
	for lie := range lies.Loads() {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			d := newLiarDriver(t, lying)
			soon(t, "the load", func() {
				p, err := d.Load(context.Background(), liarSource(lie))
				switch {
				case err != nil && !errors.Is(err, vmhost.ErrUnavailable):
					t.Errorf("Load = %v, want ErrUnavailable", err)
				case err == nil && p == nil:
					t.Error("Load gave neither a program nor an error")
				}
			})
			soon(t, "the load of another program", func() {
				if p, err := d.Load(context.Background(), liarSource("honest")); err != nil || p == nil {
					t.Errorf("Load of another = %v, %v, want a program", p, err)
				}
			})
		})
	}
}

// TestAnotherCall: a worker may mix up the calls of its own program, and reaches
// no call of another.
func TestAnotherCall(t *testing.T) {
	leakless(t)
	var cells sync.WaitGroup
	cells.Add(2)
	d := newLiarDriver(t, func(p *fakeProcess) {
		w, r := wire.NewWriter(p.cell), wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 1 << 20 })
		_ = w.Write(wire.OpHello, 0, 0, goodHello.Append(nil))
		mine := ""
		for {
			v, err := r.Next()
			if err != nil {
				return
			}
			switch v.Op {
			case wire.OpLoad:
				m, _ := wire.DecodeLoad(v.Body)
				mine = string(m.Module)
				_ = w.Write(wire.OpLoaded, 0, 0)
			case wire.OpCall: // both cells have a call of the same id now, and answer with it
				cells.Done()
				cells.Wait()
				_ = w.Write(wire.OpResult, 0, v.ID, wire.Result{}.Append(nil), []byte(mine))
			}
		}
	})
	var calls sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		p, err := d.Load(context.Background(), liarSource(name))
		if err != nil {
			t.Fatal(err)
		}
		calls.Go(func() {
			reply, err := p.Call(context.Background(), vmhost.Request{Capability: "x"})
			if err != nil || string(reply.Output) != name {
				t.Errorf("Call of %s = %q, %v, want its own name", name, reply.Output, err)
			}
		})
	}
	calls.Wait()
}

// TestHellos: a hello that cannot be, and values that come before one, end a
// cell before it has seen a module.
func TestHellos(t *testing.T) {
	leakless(t)
	hello := func(h wire.Hello) string {
		b := h.Append(nil)
		return lies.Header(uint32(len(b)), wire.OpHello, 0, 0, 0) + string(b)
	}
	wrong, lite, past := goodHello, goodHello, goodHello
	wrong.Version, lite.Namespaces, past.Took = 1<<32-1, false, -1
	for name, said := range map[string]string{
		"nothing":          "",
		"of another time":  hello(wrong),
		"in no namespaces": hello(lite),
		"in no time":       hello(past),
		"too long":         lies.Header(1<<10, wire.OpHello, 0, 0, 0) + strings.Repeat("x", 1<<10),
		"half of many":     strings.Repeat(lies.Header(60, wire.OpHello, lies.More, 0, 1)+strings.Repeat("x", 60), 100),
		"of a call":        lies.Header(0, wire.OpHello, 0, 0, 77),
		"a result":         lies.Header(0, wire.OpResult, 0, 0, 1),
		"loaded":           lies.Header(0, wire.OpLoaded, 0, 0, 0),
		"pong":             lies.Header(0, wire.OpPong, 0, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newLiarDriver(t, func(p *fakeProcess) {
				_, _ = fmt.Fprint(p.cell, said)
				if name != "nothing" {
					<-p.ended
				}
			})
			soon(t, "the load", func() {
				if _, err := d.Load(context.Background(), liarSource("x")); !errors.Is(err, vmhost.ErrUnavailable) {
					t.Errorf("Load = %v, want ErrUnavailable", err)
				}
			})
		})
	}
}
