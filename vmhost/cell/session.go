package cell

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// session is the host's end of one cell: it sends calls and matches what comes
// back. Nothing that comes back is believed. Safe for concurrent use.
type session struct {
	proc Process
	w    *wire.Writer
	r    *wire.Reader // of the goroutine that reads
	opts Options

	place  int      // among the driver's
	served bool     // has been its program's cell; guarded by the program
	watch  cpuWatch // of the janitor alone

	mu     sync.Mutex
	owner  *program        // nil as long as it belongs to nobody
	src    vmhost.Source   // what runs in the cell; set with owner
	hello  chan wire.Hello // one, buffered
	hailed bool            // hello came
	loaded chan error      // one, buffered; nil when no load is under way
	pong   chan struct{}   // one, buffered; nil when no ping is under way
	calls  map[uint32]*call
	lastID uint32
	cause  error         // why the cell is of no use any more
	dead   chan struct{} // closed with cause
	pins   int           // who uses or is about to use the cell; its starter at first
	idle   time.Time     // since when there is none

	work  sync.WaitGroup // the reader, and host functions
	ended chan struct{}  // the process is reaped and all is released
}

// newSession takes over a process that belongs to nobody and returns its session,
// pinned. died is told, once, if it ended as it should not have, and before anybody
// who waits for a process that ended by itself: who sees a call fail for it finds it
// counted. onEnd is told, once, when it is gone and nothing of it is left.
func newSession(proc Process, place int, opts Options, died func(Death), onEnd func(s *session, exit Exit)) *session {
	s := &session{
		proc: proc, w: wire.NewWriter(proc.Wire()), opts: opts, place: place,
		hello: make(chan wire.Hello, 1), calls: make(map[uint32]*call),
		dead: make(chan struct{}), ended: make(chan struct{}), idle: time.Now(), pins: 1,
	}
	s.r = wire.NewReader(proc.Wire(), s.bound)
	s.work.Add(1)
	go s.read()
	go func() {
		exit := proc.Wait()
		s.exited(exit, died)
		s.work.Wait()
		onEnd(s, exit)
		close(s.ended)
	}()
	return s
}

// adopt makes the session, of which the worker has been told nothing, a program's
// for the rest of its life. memory is the limit on the process's real memory. On
// an error the session must be stopped.
func (s *session) adopt(p *program, memory int64) error {
	err := s.proc.Adopt(Adoption{
		Account: p.src.Account, AccountMemory: p.src.AccountMemory, Overhead: s.opts.Overhead, Memory: memory, CPUs: s.opts.CPUs,
	})
	if err != nil {
		return fmt.Errorf("%w: adopt a cell: %w", vmhost.ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner, s.src = p, p.src
	return nil
}

// program returns whose the session is, nil if nobody's.
func (s *session) program() *program {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner
}

// end makes the session dead for the reason given, if it is not yet, and kills
// the process.
func (s *session) end(cause error) {
	s.mu.Lock()
	if s.cause == nil {
		s.cause = cause
		close(s.dead)
	}
	s.mu.Unlock()
	s.proc.Kill()
}

// exited makes the session dead, if it is not yet, for the way its process ended.
func (s *session) exited(exit Exit, died func(Death)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	alive := s.cause == nil
	if alive {
		s.cause = crash(exit)
	}
	if death, ok := deathOf(s.cause, exit); ok {
		died(death)
	}
	if alive {
		close(s.dead)
	}
}

// why returns the reason of a dead session.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// stop ends the session if it is alive, and waits until nothing is left of it.
func (s *session) stop(cause error) {
	s.mu.Lock()
	alive := s.cause == nil
	if alive {
		s.cause = cause
		close(s.dead)
	}
	s.mu.Unlock()
	if alive {
		s.quit()
	}
	<-s.ended
}

// retire is stop for a session that nobody uses. It does nothing to others.
func (s *session) retire() {
	s.mu.Lock()
	if s.cause != nil || s.pins > 0 {
		s.mu.Unlock()
		return
	}
	s.cause = errRetired
	close(s.dead)
	s.mu.Unlock()
	s.quit()
	<-s.ended
}

// quit asks the worker to end, and kills it if it does not at once.
func (s *session) quit() {
	time.AfterFunc(s.opts.Grace, s.proc.Kill)
	_ = s.w.Write(wire.OpQuit, 0, 0) // cannot block for longer than that
}

// pin reserves the session for a call, so that it is not taken for idle. It
// reports false if the session is dead.
func (s *session) pin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return false
	}
	s.pins++
	return true
}

func (s *session) unpin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins--
	s.idle = time.Now()
}

// idleSince reports since when no call uses the session, and false if one does
// or the session is dead.
func (s *session) idleSince() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle, s.pins == 0 && s.cause == nil
}

// awaitHello waits for the worker to say that it has closed its seal.
func (s *session) awaitHello(ctx context.Context) (wire.Hello, error) {
	select {
	case h := <-s.hello:
		if h.Version != wire.Version {
			return h, fmt.Errorf("%w: the cell's binary speaks version %d of the wire, this one %d", vmhost.ErrUnavailable, h.Version, wire.Version)
		}
		return h, nil
	case <-s.dead:
		return wire.Hello{}, s.startError()
	case <-ctx.Done():
		return wire.Hello{}, fmt.Errorf("%w: no hello from the cell: %w", vmhost.ErrUnavailable, ctx.Err())
	}
}

// startError says why a cell died before it could serve, with its own words.
func (s *session) startError() error {
	exit := s.proc.Wait()
	return fmt.Errorf("%w: the cell died: %w: %q", vmhost.ErrUnavailable, s.why(), exit.Stderr)
}

// setUp tells the worker what it is for.
func (s *session) setUp(memory int64) error {
	return s.w.Write(wire.OpSetup, 0, 0, setupFor(memory, s.opts.procs()).Append(nil))
}

// setupFor is what a worker is told first.
func setupFor(memory int64, procs int) wire.Setup {
	m := wire.Setup{Wall: time.Now(), Memory: memory, Procs: int32(procs)}
	_, _ = rand.Read(m.Entropy[:]) // never fails: crypto/rand ends the program instead
	return m
}

// ping reports whether the worker answers within the time. One that does not is
// ended.
func (s *session) ping(patience time.Duration) bool {
	pong := make(chan struct{}, 1)
	s.mu.Lock()
	busy := s.pong != nil
	if !busy {
		s.pong = pong
	}
	s.mu.Unlock()
	if busy {
		return true // somebody else is asking
	}
	// Also of the write, which blocks if the worker has not read for long. A
	// call that has come in between is tried again.
	late := time.AfterFunc(patience, func() { s.end(errKilled) })
	defer late.Stop()
	if err := s.w.Write(wire.OpPing, 0, 0, wire.Token(0)); err != nil {
		return false
	}
	select {
	case <-pong:
		return true
	case <-s.dead:
		return false
	}
}
