//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	"github.com/tars-project/tars/vmhost/cell/internal/lies"
)

// liarSource is a program of the liar, where the module's text says how its load
// goes.
func liarSource(module string) vmhost.Source {
	src := probeSource(module)
	src.Limits.Input, src.Limits.Output = 1<<20, 2<<20
	return src
}

// neighbour calls a program over and over while a test does something else, and
// wants a good answer each time.
type neighbour struct {
	stop  context.CancelFunc
	calls int
	work  sync.WaitGroup
}

func startNeighbour(t *testing.T, p vmhost.Program) *neighbour {
	ctx, stop := context.WithCancel(context.Background())
	n := &neighbour{stop: stop}
	n.work.Go(func() {
		for ; ctx.Err() == nil; n.calls++ {
			input := fmt.Sprint("call ", n.calls)
			reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: lies.Echo, Input: []byte(input)})
			if err != nil || string(reply.Output) != input {
				t.Errorf("the neighbour's call %d = %.20q, %v, want %q", n.calls, reply.Output, err, input)
				return
			}
		}
	})
	return n
}

func (n *neighbour) end(t *testing.T) {
	n.stop()
	n.work.Wait()
	if n.calls < 10 {
		t.Errorf("the neighbour made %d calls, want more", n.calls)
	}
}

// peak returns the most memory that this process has had resident, in KiB, since
// the last reset.
func peak(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); !ok || err != nil {
		t.Fatalf("no VmHWM in %q", status)
	}
	return kib
}

// resetPeak forgets the peak until now.
func resetPeak(t *testing.T) {
	t.Helper()
	const highWaterMark = "5"
	if err := os.WriteFile("/proc/self/clear_refs", []byte(highWaterMark), 0); err != nil {
		t.Fatal(err)
	}
}

// TestLiesFromAJail: a worker that has been taken over, in a real jail, lies in
// every way: its call has the right kind of error not long after the deadline,
// calls in another cell go on, and the host keeps little of what it is sent.
func TestLiesFromAJail(t *testing.T) {
	d := newDriver(t, binLiar, func(o *cell.Options) { o.LoadTimeout = 5 * time.Second })
	innocent := startNeighbour(t, load(t, d, liarSource("innocent")))
	answer := make([]byte, 1<<20)
	// What the race detector and the collector make of a few values of 1 and
	// 2 MiB.
	const allowed = 128 << 10 // KiB
	for lie, fate := range lies.Fates() {
		t.Run(lie, func(t *testing.T) {
			p := load(t, d, liarSource("liar"))
			resetPeak(t)
			before := peak(t)
			deadline := 30 * time.Second
			if lies.Stalls(lie) {
				deadline = 300 * time.Millisecond
			}
			start := time.Now()
			reply, err := p.Call(within(t, deadline), vmhost.Request{
				Capability: lie, Input: []byte(strings.Repeat("i", 1<<20)),
				Host: func(context.Context, vmhost.HostCall) ([]byte, error) { return answer, nil },
			})
			if !slices.ContainsFunc(fate, func(kind error) bool { return errors.Is(err, kind) && (kind != nil || err == nil) }) {
				t.Errorf("Call = %d bytes, %v, want one of %v", len(reply.Output), err, fate)
			}
			if took := time.Since(start); took > 20*time.Second+deadline {
				t.Errorf("Call took %v, its deadline was %v", took, deadline)
			}
			if grown := peak(t) - before; grown > allowed {
				t.Errorf("the host has grown by %d KiB, want at most %d", grown, allowed)
			}
			eventually(t, "the program answers again", func() bool {
				// One that plays dead after its answer costs the next call its deadline.
				reply, err := p.Call(within(t, 2*time.Second), vmhost.Request{Capability: lies.Echo, Input: []byte("x")})
				return err == nil && string(reply.Output) == "x"
			})
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	for lie := range lies.Loads() {
		t.Run("load "+lie, func(t *testing.T) {
			p, err := d.Load(context.Background(), liarSource(lie))
			if err == nil && p == nil || err != nil && !errors.Is(err, vmhost.ErrUnavailable) {
				t.Errorf("Load = %v, %v, want ErrUnavailable or a program", p, err)
			}
			if p != nil {
				_ = p.Close() // never fails
			}
		})
	}
	innocent.end(t)
}
