package cell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// program is a loaded module. It has at most one cell, which comes and goes.
type program struct {
	d     *Driver
	src   vmhost.Source
	slots chan struct{} // one for each call that a cell takes at once

	mu       sync.Mutex
	closed   bool
	live     *session  // nil when there is no cell
	starting *starting // nil when none is being started
	proven   bool      // was loaded once
	deaths   int       // one after the other, without a good call between
	spotless bool      // the quarantine knows of no deaths since the last good call
	retryAt  time.Time // no start before
	work     sync.WaitGroup
	stop     context.CancelFunc // ends a start
	ctx      context.Context    // of starts; ends with the program
}

// starting is a cell being started, for all who wait for it.
type starting struct {
	done chan struct{} // closed with the rest
	err  error
}

var _ vmhost.Program = (*program)(nil)

func newProgram(d *Driver, src vmhost.Source) *program {
	p := &program{d: d, src: src, slots: make(chan struct{}, d.opts.CallsPerCell)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Ready starts the program's cell if there is none, and waits until it takes
// calls. A caller that does this before it sets the deadline of a call keeps
// the time to compile out of it. Errors are those of Call.
func (p *program) Ready(ctx context.Context) error {
	s, err := p.session(ctx)
	if err != nil {
		return err
	}
	p.d.release(s)
	return nil
}

// Call implements [vmhost.Program]. A call whose cell was killed because of
// another call is tried once more.
func (p *program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	start := time.Now()
	if err := ctx.Err(); err != nil {
		return vmhost.Reply{}, ended(err)
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return vmhost.Reply{}, waited(ctx, "a slot in its cell")
	}
	ctx, cancel := p.withDeadline(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		s, err := p.session(ctx)
		if err != nil {
			return vmhost.Reply{}, err
		}
		queued := time.Since(start)
		reply, err := s.call(ctx, req)
		p.d.release(s)
		reply.Usage.Queue = queued
		switch {
		case errors.Is(err, errKilled) && attempt == 1:
			continue
		case errors.Is(err, errKilled):
			return reply, fmt.Errorf("%w: %w, twice", vmhost.ErrCrashed, err)
		case !errors.Is(err, vmhost.ErrCrashed):
			p.served(s)
		}
		return reply, err
	}
}

// withDeadline gives a call that came without a deadline the program's own.
func (p *program) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.src.Limits.Wall)
}

// waited is the error of a call whose context ended before it got into a cell.
func waited(ctx context.Context, what string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: the deadline passed waiting for %s", vmhost.ErrBusy, what)
	}
	return ctx.Err()
}

// session returns the program's cell, pinned, and starts one if need be. The
// caller must give it back by Driver.release.
func (p *program) session(ctx context.Context) (*session, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errStopped
		}
		last := p.live
		if last != nil && last.pin() {
			p.mu.Unlock()
			return last, nil
		}
		if last != nil && !errors.Is(last.why(), errRetired) {
			p.mu.Unlock() // what it died of decides whether there is another
			select {
			case <-last.ended:
				continue
			case <-ctx.Done():
				return nil, waited(ctx, "its cell to end")
			}
		}
		st, err := p.startLocked()
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-st.done:
			if st.err != nil {
				return nil, st.err
			}
		case <-ctx.Done():
			return nil, waited(ctx, "its cell to start")
		}
	}
}

// startLocked begins to start a cell, or joins a start under way. It refuses
// while the program is kept back because its cells died, or in quarantine. The
// caller holds mu.
func (p *program) startLocked() (*starting, error) {
	if p.starting != nil {
		return p.starting, nil
	}
	if err := p.d.quarantine.check(p.src.Account, p.src.Digest); err != nil {
		return nil, err
	}
	if wait := time.Until(p.retryAt); wait > 0 {
		return nil, fmt.Errorf("%w: %d cells of the program died in a row, the next may start in %v",
			vmhost.ErrUnavailable, p.deaths, wait.Round(time.Millisecond))
	}
	st := &starting{done: make(chan struct{})}
	p.starting = st
	p.work.Add(1)
	go func() {
		defer p.work.Done()
		s, err := p.d.start(p.ctx, p)
		p.mu.Lock()
		p.starting = nil
		switch {
		case err == nil && p.closed:
			st.err = errStopped
		case err == nil:
			p.live, s.served, p.proven = s, true, true
			s.unpin()
		default:
			if p.proven && errors.Is(err, vmhost.ErrRefused) {
				err = fmt.Errorf("%w: a module that was taken before is refused: %v", vmhost.ErrUnavailable, err) //nolint:errorlint // it is this machine's fault
			}
			st.err = err
			blamed := errors.Is(err, vmhost.ErrRefused) || errors.Is(err, vmhost.ErrQuarantined) || errors.Is(err, vmhost.ErrBusy)
			if !blamed && p.ctx.Err() == nil {
				p.countDeath()
			}
		}
		p.mu.Unlock()
		close(st.done)
		if err == nil && st.err != nil {
			s.stop(errStopped)
		}
	}()
	return st, nil
}

// backoff is how long after so many deaths in a row the next cell may start.
func backoff(deaths int) time.Duration {
	steps := [...]time.Duration{0, 0, 100 * time.Millisecond, time.Second, 10 * time.Second}
	return steps[min(deaths, len(steps)-1)]
}

// countDeath notes a death that is nobody's wish. The caller holds mu.
func (p *program) countDeath() {
	p.deaths++
	p.retryAt = time.Now().Add(backoff(p.deaths))
}

// died is told by the driver that a cell of the program is gone.
func (p *program) died(s *session, exit Exit) {
	cause := s.why()
	death, unnatural := deathOf(cause, exit)
	p.mu.Lock()
	guilty := unnatural && (death == DeathSyscall || death.blames() && s.served) // else it is the start that failed
	if guilty {
		p.spotless = false
		p.countDeath()
	}
	p.mu.Unlock()
	if unnatural {
		p.log("cell died", slog.Any("cause", cause), slog.String("exit", exit.String()), slog.String("stderr", exit.Stderr))
	}
	if guilty && p.d.quarantine.strike(p.src.Account, p.src.Digest, reasonOf(death, cause, exit), death == DeathSyscall) {
		p.log("program put into quarantine", slog.String("death", string(death)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == s { // not before all is known of it: see session
		p.live = nil
	}
}

func (p *program) log(message string, attrs ...any) {
	p.d.opts.Logger.With(slog.String("program", p.src.Digest.String()), slog.String("account", string(p.src.Account))).Error(message, attrs...)
}

// reasonOf says what a cell died of, without anything that comes from inside.
func reasonOf(death Death, cause error, exit Exit) string {
	switch death {
	case DeathProtocol:
		return "killed for breaking the protocol"
	case DeathCPU:
		return fmt.Sprintf("killed: %v", cause)
	default:
		return exit.String()
	}
}

// served notes a call that its cell lived through.
func (p *program) served(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != s {
		return
	}
	p.deaths = 0
	if !p.spotless {
		p.d.quarantine.acquit(p.src.Account, p.src.Digest)
		p.spotless = true
	}
}

// pardon lets the next cell start at once.
func (p *program) pardon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaths, p.retryAt = 0, time.Time{}
}

// Close implements [vmhost.Program]. It waits until nothing is left of the
// program's cell.
func (p *program) Close() error {
	p.mu.Lock()
	p.closed = true
	s := p.live
	p.mu.Unlock()
	p.stop()
	if s != nil {
		s.stop(errStopped)
	}
	p.work.Wait()
	p.d.forget(p)
	return nil
}
