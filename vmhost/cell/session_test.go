package cell

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// fakeProcess is a worker of which the test plays the part, over a pipe.
type fakeProcess struct {
	host, cell net.Conn
	end        sync.Once
	ended      chan struct{}

	mu              sync.Mutex
	heard           []wire.Op // what the host has said
	heardAtAdoption []wire.Op

	playing sync.WaitGroup // who plays it, if that is not the test itself
}

func newFakeProcess() *fakeProcess {
	p := &fakeProcess{ended: make(chan struct{})}
	p.host, p.cell = net.Pipe()
	return p
}

func (p *fakeProcess) Wire() io.ReadWriteCloser { return p.host }
func (p *fakeProcess) Grade() Grade             { return GradeJail }
func (p *fakeProcess) Usage() (Usage, error)    { return Usage{}, nil }
func (p *fakeProcess) Adopt(Adoption) error     { return nil }

func (p *fakeProcess) Kill() {
	p.end.Do(func() {
		_ = p.host.Close()
		_ = p.cell.Close()
		close(p.ended)
	})
}

func (p *fakeProcess) Wait() Exit {
	<-p.ended
	p.playing.Wait()
	return Exit{Code: -1, Signal: 9}
}

// newFakeSession returns a session on a fake process, which ends with the test.
func newFakeSession(t testing.TB) (*session, *fakeProcess) {
	t.Helper()
	opts, err := Options{Grace: time.Second}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p := newFakeProcess()
	limits := vmhost.Limits{Wall: time.Minute, Memory: 1 << 20, Input: 100, Output: 100, Logs: 100, HostCalls: 1}
	s := newSession(p, 0, opts, func(Death) {}, func(*session, Exit) {})
	s.mu.Lock()
	s.src = vmhost.Source{Limits: limits}
	s.mu.Unlock()
	t.Cleanup(func() {
		p.Kill()
		<-s.ended
	})
	return s, p
}

// TestPing: a worker that answers is alive, one that does not is not.
func TestPing(t *testing.T) {
	s, p := newFakeSession(t)
	r := wire.NewReader(p.cell, func(wire.Op, uint32) int64 { return 8 })
	answered := make(chan bool, 1)
	go func() { answered <- s.ping(time.Minute) }()
	v, err := r.Next()
	if err != nil || v.Op != wire.OpPing {
		t.Fatalf("the worker got %v, %v, want a ping", v.Op, err)
	}
	if err := wire.NewWriter(p.cell).Write(wire.OpPong, 0, 0, v.Body); err != nil {
		t.Fatal(err)
	}
	if !<-answered {
		t.Error("ping of a worker that answers = false")
	}
	go func() { answered <- s.ping(time.Millisecond) }()
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if <-answered {
		t.Error("ping of a worker that does not answer = true")
	}
}

// TestHello: a worker of another version is not used.
func TestHello(t *testing.T) {
	s, p := newFakeSession(t)
	hello := wire.Hello{Version: wire.Version + 1}
	if err := wire.NewWriter(p.cell).Write(wire.OpHello, 0, 0, hello.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.awaitHello(context.Background()); !errors.Is(err, vmhost.ErrUnavailable) {
		t.Errorf("awaitHello of another version = %v, want ErrUnavailable", err)
	}
	s, _ = newFakeSession(t)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.awaitHello(gone); !errors.Is(err, vmhost.ErrUnavailable) {
		t.Errorf("awaitHello without one = %v, want ErrUnavailable", err)
	}
}

func TestBackoffSteps(t *testing.T) {
	want := []time.Duration{0, 0, 100 * time.Millisecond, time.Second, 10 * time.Second, 10 * time.Second}
	for deaths, w := range want {
		if got := backoff(deaths); got != w {
			t.Errorf("backoff(%d) = %v, want %v", deaths, got, w)
		}
	}
}

func TestGrades(t *testing.T) {
	for _, g := range []Grade{GradeJailLite, GradeJail, GradeJailCgroup} {
		if got, err := ParseGrade(g.String()); err != nil || got != g {
			t.Errorf("ParseGrade(%q) = %v, %v, want %v", g, got, err, g)
		}
	}
	if g, err := ParseGrade("none"); err == nil {
		t.Errorf("ParseGrade(none) = %v, want an error", g)
	}
}
