package vmhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var errQueueFull = errors.New("the account's queue is full")

// slots hands out the right to run a call: so many at once on the node, so many
// of one account, so many waiting. Those of one account are served in the order
// in which they came, and accounts take turns, so that a flood of one account
// delays another's call by one call at most, not by the flood.
//
// Safe for concurrent use.
type slots struct {
	perAccount int // most running calls of one account that names no smaller number
	queue      int // most waiting calls of one account

	mu    sync.Mutex
	free  int
	lines map[Account]*waitLine
	turns []*waitLine // lines that have waiters and may run one more; the first is next
}

// waitLine is what is known of an account that has calls waiting or running.
type waitLine struct {
	account Account
	most    int // running calls, as the account's latest call had it
	running int
	waiters []*waiter
	inTurn  bool // in slots.turns
}

// waiter is a call that waits. granted is closed with the slot handed over.
type waiter struct{ granted chan struct{} }

func newSlots(total, perAccount, queue int) *slots {
	return &slots{free: total, perAccount: perAccount, queue: queue, lines: make(map[Account]*waitLine)}
}

// acquire waits for a slot until ctx ends, or for at most limit, and says how
// long that took. most is how many calls of the account may run at once; 0, or
// more than those of the node, means those of the node. The slot must be
// released. An error that is not ctx's is [ErrBusy]; a deadline that passed while
// waiting is both.
func (s *slots) acquire(ctx context.Context, account Account, most int, limit time.Duration) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	w, err := s.enqueue(account, most)
	if err != nil {
		return 0, err
	}
	select {
	case <-w.granted: // nobody before us: no timer
		return 0, nil
	default:
	}
	start := time.Now()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.granted:
		return time.Since(start), nil
	case <-timer.C:
		err = fmt.Errorf("%w after %v", ErrBusy, limit)
	case <-ctx.Done():
		err = ctx.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	if s.abandon(account, w) {
		return time.Since(start), err
	}
	s.release(account) // the slot came in the same moment
	return time.Since(start), err
}

// enqueue puts a call in its account's line and lets those go ahead that can.
func (s *slots) enqueue(account Account, most int) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[account]
	if l == nil {
		l = &waitLine{account: account}
		s.lines[account] = l
	}
	l.most = s.perAccount
	if most > 0 {
		l.most = min(l.most, most)
	}
	if len(l.waiters) >= s.queue && (s.free == 0 || l.running >= l.most) {
		s.forget(l)
		return nil, fmt.Errorf("%w: %w: %d calls wait", ErrBusy, errQueueFull, len(l.waiters))
	}
	w := &waiter{granted: make(chan struct{})}
	l.waiters = append(l.waiters, w)
	s.line(l)
	s.grant()
	return w, nil
}

// abandon takes a call out of its line, and reports false if it is no longer in
// it because it has its slot.
func (s *slots) abandon(account Account, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[account]
	if l == nil {
		return false
	}
	for i, other := range l.waiters {
		if other == w {
			l.waiters = append(l.waiters[:i:i], l.waiters[i+1:]...)
			s.forget(l)
			return true
		}
	}
	return false
}

// release gives a slot back.
func (s *slots) release(account Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	l := s.lines[account]
	l.running--
	s.line(l)
	s.grant()
	s.forget(l)
}

// line gives an account a turn if it can use one.
func (s *slots) line(l *waitLine) {
	if l.inTurn || len(l.waiters) == 0 || l.running >= l.most {
		return
	}
	l.inTurn = true
	s.turns = append(s.turns, l)
}

// grant hands out free slots, one a turn.
func (s *slots) grant() {
	for s.free > 0 && len(s.turns) > 0 {
		l := s.turns[0]
		s.turns = s.turns[1:]
		l.inTurn = false
		if len(l.waiters) == 0 || l.running >= l.most {
			s.forget(l) // its calls gave up since
			continue
		}
		w := l.waiters[0]
		l.waiters = l.waiters[1:]
		l.running++
		s.free--
		close(w.granted)
		s.line(l) // behind the others
	}
}

// forget drops an account that has nothing waiting or running.
func (s *slots) forget(l *waitLine) {
	if len(l.waiters) == 0 && l.running == 0 && !l.inTurn {
		delete(s.lines, l.account)
	}
}
