package cell

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/internal/lies"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// heap is what is held on the heap.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryOfACell: a worker that begins as many values as it may, as long as
// they may be, and ends none, makes the host keep no more than session.bound
// says.
func TestMemoryOfACell(t *testing.T) {
	leakless(t)
	const calls, page = 4, 64 << 10
	limits := vmhost.Limits{Wall: time.Minute, Memory: 1 << 20, Input: 4 << 20, Output: 8 << 20, Logs: 64 << 10, HostCalls: 10}
	begun := make(chan struct{})
	d := newLiarDriver(t, func(p *fakeProcess) {
		w, r := wire.NewWriter(p.cell), wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 1 << 20 })
		_ = w.Write(wire.OpHello, 0, 0, goodHello.Append(nil))
		half := func(op wire.Op, method uint16, id uint32, length int64) {
			for ; length >= page; length -= page {
				_, _ = p.cell.Write([]byte(lies.Header(page, op, lies.More, method, id) + strings.Repeat("x", page)))
			}
		}
		var ids []uint32
		for len(ids) < calls {
			v, err := r.Next()
			if err != nil {
				return
			}
			switch v.Op {
			case wire.OpLoad:
				_ = w.Write(wire.OpLoaded, 0, 0)
			case wire.OpCall:
				ids = append(ids, v.ID)
			}
		}
		for _, id := range ids {
			for range limits.Logs / 64 {
				_ = w.Write(wire.OpLog, 1, id, []byte(strings.Repeat("l", 32)))
			}
			for range 2 { // one is answered, one waits
				_ = w.Write(wire.OpHostCall, wire.FuncSearch, id, make([]byte, 12+limits.Input))
			}
			half(wire.OpHostCall, wire.FuncSearch, id, limits.Input)
			half(wire.OpResult, 0, id, limits.Output)
		}
		close(begun)
		<-p.ended
	})
	src := liarSource("x")
	src.Limits = limits
	program, err := d.Load(context.Background(), src)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	ctx, cancel := context.WithCancel(context.Background())
	answer := make([]byte, wire.MaxHostResult)
	host := func(context.Context, vmhost.HostCall) ([]byte, error) { return answer, nil } // nobody reads it
	var callers sync.WaitGroup
	for range calls {
		callers.Go(func() {
			if _, err := program.Call(ctx, vmhost.Request{Capability: "x", Host: host}); !errors.Is(err, context.Canceled) {
				t.Errorf("Call = %v, want it cancelled", err)
			}
		})
	}
	<-begun
	most := calls*(limits.Output+wire.MaxFault+vmhost.MaxLogText+limits.Logs+3*limits.Input) + wire.MaxHostResult + 2<<20
	if grown := heap() - before; grown > most {
		t.Errorf("the host keeps %d bytes for the cell, want at most %d", grown, most)
	}
	cancel()
	callers.Wait()
}

// TestPings: pongs are taken when one is awaited, and no others are kept; a
// worker that does not read a ping is ended like one that does not answer.
func TestPings(t *testing.T) {
	pong := lies.Header(8, wire.OpPong, 0, 0, 0) + "12345678"
	half := func(id uint32) string { return lies.Header(4, wire.OpPong, lies.More, 0, id) + "1234" }
	for name, c := range map[string]struct {
		said string
		want bool // that the ping is answered
	}{
		"one":               {pong, true},
		"halves of two":     {half(1) + lies.Header(8, wire.OpPong, 0, 0, 2) + "12345678" + lies.Header(4, wire.OpPong, 0, 0, 1) + "1234", false},
		"halves of many":    {strings.Repeat(half(1)+half(2)+half(3), 100), false},
		"too long":          {lies.Header(9, wire.OpPong, 0, 0, 0) + "123456789", false},
		"none, and no read": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			leakless(t)
			s, p := newFakeSession(t)
			answered := make(chan bool, 1)
			go func() { answered <- s.ping(200 * time.Millisecond) }()
			if c.said != "" {
				if _, err := wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 8 }).Next(); err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = p.cell.Write([]byte(c.said)) }() // ends with the session
			}
			soon(t, "the ping", func() {
				if got := <-answered; got != c.want {
					t.Errorf("ping = %v, want %v", got, c.want)
				}
			})
			if alive := s.alive(); alive != c.want {
				t.Errorf("the session is alive: %v, want %v", alive, c.want)
			}
		})
	}
}

// TestPongs: a second pong ends the cell, and blocks nobody.
func TestPongs(t *testing.T) {
	leakless(t)
	s, p := newFakeSession(t)
	go func() { _, _ = p.cell.Write([]byte(lies.Header(0, wire.OpPong, 0, 0, 0))) }()
	soon(t, "the session", func() { <-s.dead })
	if err := s.why(); !errors.Is(err, vmhost.ErrCrashed) {
		t.Errorf("the session ended by %v, want ErrCrashed", err)
	}
}

// TestIDsComeRound: an id that is in use is not given to another call.
func TestIDsComeRound(t *testing.T) {
	s, p := newFakeSession(t)
	go func() { // ends with the session
		r := wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 1 << 10 })
		for {
			if _, err := r.Next(); err != nil {
				return
			}
		}
	}()
	s.lastID = 1<<32 - 2
	var ids []uint32
	for range 4 {
		c, err := s.begin(context.Background(), vmhost.Request{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.id)
		if len(ids) == 2 {
			s.lastID = 1<<32 - 2 // as after another four billion calls
		}
	}
	if want := [4]uint32{1<<32 - 1, 1, 2, 3}; [4]uint32(ids) != want {
		t.Errorf("ids %v, want %v", ids, want)
	}
}
