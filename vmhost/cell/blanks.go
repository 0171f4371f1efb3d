package cell

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// blanks are the cells that are kept ready before it is known for whom. They are
// pinned, so that nobody takes them for idle. Safe for concurrent use.
type blanks struct {
	d      *Driver
	want   int
	memory int64         // that they may be adopted with
	signal chan struct{} // one, buffered: there may be something to do

	mu       sync.Mutex
	ready    []*session // oldest first
	failures int        // starts that failed and cells that died, one after the other
	retryAt  time.Time  // no start before
}

func newBlanks(d *Driver, want int) *blanks {
	return &blanks{d: d, want: want, memory: d.opts.memory(d.opts.GuestMemory), signal: make(chan struct{}, 1)}
}

// wake has fill look again.
func (b *blanks) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// fill starts cells, one after the other, until ctx ends. No start is closer than
// the back-off to one that failed.
func (b *blanks) fill(ctx context.Context) {
	if b.want == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.signal:
		case <-timer.C:
		}
		for ctx.Err() == nil {
			wait, missing := b.missing()
			if !missing {
				break
			}
			if wait > 0 {
				timer.Reset(wait)
				break
			}
			place, ok := b.d.spare()
			if !ok {
				break // woken when a place comes free
			}
			b.add(ctx, place)
		}
	}
}

// missing reports whether there are too few, and how long to wait before the next
// start.
func (b *blanks) missing() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.retryAt), len(b.ready) < b.want
}

// add starts one in a place that was reserved for it.
func (b *blanks) add(ctx context.Context, place int) {
	s, err := b.d.launch(ctx, place, b.memory)
	if err != nil {
		if ctx.Err() == nil {
			b.failed("a blank cell could not be started", slog.Any("error", err))
		}
		return
	}
	b.mu.Lock()
	alive := s.alive()
	if alive {
		b.ready = append(b.ready, s) // and out again by lost, should it end from here on
	}
	b.mu.Unlock()
	if !alive {
		b.failed("a blank cell died", slog.Any("error", s.startError()))
	}
}

// failed counts a failure, says so, and puts off the next start.
func (b *blanks) failed(message string, attrs ...any) {
	b.mu.Lock()
	attrs = append(attrs, b.failedLocked()...)
	b.mu.Unlock()
	b.report(message, attrs)
}

// failedLocked counts a failure, puts off the next start, and returns what to say
// of that. The caller holds mu.
func (b *blanks) failedLocked() []any {
	b.failures++
	wait := blankBackoff(b.failures)
	b.retryAt = time.Now().Add(wait)
	return []any{slog.Int("failures", b.failures), slog.Duration("next_start_in", wait)}
}

func (b *blanks) report(message string, attrs []any) {
	b.d.counts.blankFailures.Add(1)
	b.wake()
	b.d.opts.Logger.Error(message, attrs...)
}

// blankBackoff is how long after so many failures in a row the next blank cell may
// start.
func blankBackoff(failures int) time.Duration {
	const first, most = 100 * time.Millisecond, 30 * time.Second
	return min(first<<min(failures-1, 20), most)
}

// blankPatience is how long a blank cell may take to answer before it is adopted.
// One that has been stopped would otherwise take its first caller's time.
const blankPatience = 500 * time.Millisecond

// refillPause is how long after one was taken the next may start, so that it does
// not take a processor from the program that is being loaded.
const refillPause = 50 * time.Millisecond

// take returns one that answers and may be adopted with so much memory, or nil. It
// is the caller's from then on.
func (b *blanks) take(memory int64) *session {
	for memory <= b.memory {
		s := b.giveUp()
		if s == nil {
			return nil
		}
		if s.ping(blankPatience) {
			b.mu.Lock()
			b.failures, b.retryAt = 0, time.Now().Add(refillPause)
			b.mu.Unlock()
			b.wake()
			return s
		}
		s.end(errSilent) // its place is given back when it is gone
		b.failed("a blank cell does not answer")
	}
	return nil
}

// giveUp takes the oldest out, or returns nil. It is the caller's from then on.
func (b *blanks) giveUp() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return nil
	}
	s := b.ready[0]
	b.ready = b.ready[1:]
	return s
}

// lost is told that a cell which belonged to nobody is gone.
func (b *blanks) lost(s *session, exit Exit) {
	b.mu.Lock()
	i := slices.Index(b.ready, s)
	if i < 0 { // who has it knows
		b.mu.Unlock()
		return
	}
	b.ready = slices.Delete(b.ready, i, i+1)
	attrs := b.failedLocked() // in one: fill must not find one missing and no reason to wait
	b.mu.Unlock()
	b.report("a blank cell died", append(attrs, slog.Any("cause", s.why()), slog.String("stderr", exit.Stderr)))
}

// count returns how many are ready.
func (b *blanks) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ready)
}

// all returns those that are ready. They may be somebody's by the time that the
// caller looks at them.
func (b *blanks) all() []*session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*session(nil), b.ready...)
}

// end ends them all, when fill has returned.
func (b *blanks) end() {
	var ending sync.WaitGroup
	for s := b.giveUp(); s != nil; s = b.giveUp() {
		ending.Go(func() { s.stop(errStopped) })
	}
	ending.Wait()
}
