package cell

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// fakeLauncher starts fake processes whose workers say hello and answer pings.
type fakeLauncher struct {
	mu     sync.Mutex
	broken error        // of every start
	mortal bool         // workers die as soon as they have said hello
	adopt  func() error // of every process; nil lets all be adopted
	starts int
	last   *fakeProcess
}

func (l *fakeLauncher) Name() string { return "fake" }
func (l *fakeLauncher) Close() error { return nil }
func (l *fakeLauncher) Probe(context.Context) (Report, error) {
	return Report{Grade: GradeJail, Blanks: true}, nil
}

func (l *fakeLauncher) set(change func(l *fakeLauncher)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *fakeLauncher) Start(context.Context, Spec) (Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts++
	if l.broken != nil {
		return nil, l.broken
	}
	l.last = newFakeProcess()
	go serveFake(l.last, l.mortal)
	return &adoptable{fakeProcess: l.last, adopt: l.adopt}, nil
}

// serveFake plays a worker.
func serveFake(p *fakeProcess, mortal bool) {
	defer p.Kill()
	w := wire.NewWriter(p.cell)
	hello := wire.Hello{Version: wire.Version, Namespaces: true}
	if err := w.Write(wire.OpHello, 0, 0, hello.Append(nil)); err != nil || mortal {
		return
	}
	r := wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 1 << 20 })
	for {
		v, err := r.Next()
		if err != nil || v.Op == wire.OpQuit {
			return
		}
		p.mu.Lock()
		p.heard = append(p.heard, v.Op)
		p.mu.Unlock()
		switch v.Op {
		case wire.OpPing:
			_ = w.Write(wire.OpPong, 0, 0, v.Body) // the host's end is the test's to look at
		case wire.OpLoad:
			_ = w.Write(wire.OpLoaded, 0, 0)
		}
	}
}

// adoptable is a fake process whose adoption may fail.
type adoptable struct {
	*fakeProcess
	adopt func() error
}

// Adopt implements [Process].
func (p *adoptable) Adopt(Adoption) error {
	p.mu.Lock()
	p.heardAtAdoption = append([]wire.Op(nil), p.heard...)
	p.mu.Unlock()
	if p.adopt == nil {
		return nil
	}
	return p.adopt()
}

// newFakeDriver returns a driver on a fake launcher, in a bubble of synctest.
func newFakeDriver(t *testing.T, l *fakeLauncher, blanks int) *Driver {
	t.Helper()
	opts, err := Options{Blanks: blanks, Grace: time.Second}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	report, err := l.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newDriver(opts, l, report)
}

func fakeSource() vmhost.Source {
	return vmhost.Source{Account: "a", Limits: vmhost.Limits{Wall: time.Minute, Memory: 1 << 20, Input: 100, Output: 100, Logs: 100}}
}

// TestBlankStorm: starts that fail, and cells that die as soon as they are there,
// are tried again at a pace that falls to one in half a minute.
func TestBlankStorm(t *testing.T) {
	for name, l := range map[string]*fakeLauncher{
		"no start": {broken: errors.New("no process")}, "dead at once": {mortal: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newFakeDriver(t, l, 2)
				time.Sleep(time.Hour)
				synctest.Wait()
				// 0.1, 0.2, … 25.6 s, then every 30 s for the rest of the hour. The
				// second may be under way when the first dies.
				var starts int
				l.set(func(l *fakeLauncher) { starts = l.starts })
				if starts < 120 || starts > 2*130 {
					t.Errorf("%d starts in an hour, want 127 to twice that", starts)
				}
				if got := d.Stats().BlankFailures; got != int64(starts) {
					t.Errorf("%d failures counted of %d", got, starts)
				}
				l.set(func(l *fakeLauncher) { l.broken, l.mortal = nil, false })
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := d.Stats().Blanks; got != 2 {
					t.Errorf("%d blank cells after the trouble is over, want 2", got)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestAdoptBeforeFirstByte: a cell is under its limits before it hears anything of
// its tenant, and one that they cannot be set for hears nothing and dies.
func TestAdoptBeforeFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeLauncher{}
		d := newFakeDriver(t, l, 1)
		synctest.Wait()
		first := l.last
		p, err := d.Load(t.Context(), fakeSource())
		if err != nil {
			t.Fatal(err)
		}
		if op, ok := tenantOp(first.heardAtAdoption); ok {
			t.Errorf("before its adoption the cell had heard %v", op)
		}
		if op, ok := tenantOp(first.heard); !ok || op != wire.OpSetup {
			t.Errorf("the cell heard %v, want setup and load", first.heard)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}

		l.set(func(l *fakeLauncher) { l.adopt = func() error { return errors.New("no such cgroup") } })
		synctest.Wait()
		for s := d.blanks.giveUp(); s != nil; s = d.blanks.giveUp() {
			s.stop(errRetired) // was started while it could be adopted
		}
		time.Sleep(time.Second) // for another
		synctest.Wait()
		second := l.last
		if _, err := d.Load(t.Context(), fakeSource()); !errors.Is(err, vmhost.ErrUnavailable) {
			t.Errorf("Load into a cell that cannot be limited = %v, want ErrUnavailable", err)
		}
		if op, ok := tenantOp(second.heard); ok {
			t.Errorf("a cell that could not be limited has heard %v", op)
		}
		select {
		case <-second.ended:
		default:
			t.Error("a cell that could not be limited is alive")
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// tenantOp returns the first of the operations by which a worker is told about its
// tenant.
func tenantOp(heard []wire.Op) (wire.Op, bool) {
	for _, op := range heard {
		if op != wire.OpPing && op != wire.OpQuit {
			return op, true
		}
	}
	return 0, false
}

func TestBlankBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 9: 25600 * time.Millisecond, 10: 30 * time.Second, 1000: 30 * time.Second} {
		if got := blankBackoff(failures); got != want {
			t.Errorf("blankBackoff(%d) = %v, want %v", failures, got, want)
		}
	}
}
