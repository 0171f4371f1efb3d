package vmhost

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// slots hands out the right to run a call: so many at once on the node and of
// one account, so much memory of the node and of one account, so many waiting.
//
// Calls of one account are served in the order in which they came. Between
// accounts the next slot goes to the one that has had the least slot time for
// its weight (start-time fair queueing: deficit round robin with a quantum of
// nothing). A call is charged with what calls like it took lately when it
// starts, and with the difference when it ends; so an account with long calls
// gets no more of the node than one with short ones, and a flood of one delays
// another's call by one call at most, not by the flood. An account that was
// idle comes back level with the others, not ahead of them.
//
// A call that waits for memory of its account makes nobody else wait. One that
// waits for memory of the node lets a bounded number of others go ahead; then
// what comes free is kept for it.
//
// Safe for concurrent use.
type slots struct {
	perAccount int // most running calls of one account that names no smaller number
	queue      int // most waiting calls of one account
	overtakers int // most calls that may go ahead of the first hungry one

	mu      sync.Mutex
	free    int
	memory  memoryTree
	lines   map[Account]*line
	idle    int // lines that are idle
	ready   lineHeap
	hungry  []*line // lines whose first call waits for memory of the node, the longest waiting first
	ahead   int     // calls that went ahead of the first of hungry
	reached float64 // virtual time: that of the line that was served last, at its turn
	turns   uint64
}

// maxIdle is how many accounts are remembered that have nothing to do. What they
// were served beyond the others is forgiven when they are forgotten.
const maxIdle = 1024

// need is what a call asks for.
type need struct {
	account       Account
	most          int           // running calls of the account; 0, or more than the node's, means the node's
	weight        int           // 0 means 1
	memory        int64         // of this call
	accountMemory int64         // most of the account; 0 means the node's
	expect        time.Duration // how long the call will take, as far as is known
	wait          time.Duration // longest wait
}

// slot is the right to run a call; it must be released once. The zero slot is
// none.
type slot struct {
	line    *line
	memory  int64
	charged float64 // virtual time
	since   time.Time
}

func newSlots(total, perAccount, queue int, memory memoryTree) *slots {
	return &slots{
		free: total, perAccount: perAccount, queue: queue, overtakers: 2 * total,
		memory: memory, lines: make(map[Account]*line),
	}
}

// fits returns an error if a call of so many bytes, of an account that may have
// so many, will never run.
func (s *slots) fits(memory, account int64) error { return s.memory.check(memory, account) }

// acquire waits for a slot until ctx ends, or for as long as the call may wait,
// and says how long that took. The slot must be released. An error that is not
// ctx's is a [*BudgetError]; a deadline of ctx that passed while waiting is both.
func (s *slots) acquire(ctx context.Context, n need) (slot, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return slot{}, 0, err
	}
	start := time.Now()
	got, w, err := s.enqueue(n, start, deadlineOf(ctx, start.Add(n.wait)))
	if w == nil {
		return got, 0, err
	}
	timer := time.NewTimer(n.wait)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
		s.abandon(w)
	case <-ctx.Done():
		s.abandon(w)
	}
	waited := time.Since(start)
	if err := s.ended(ctx, w); err != nil {
		return slot{}, waited, err
	}
	return w.slot, waited, nil
}

// ended returns the error of a call that waits no longer. A slot that came in
// the same moment as ctx's end is given back.
func (s *slots) ended(ctx context.Context, w *waiter) error {
	err := ctx.Err()
	if d, ok := ctx.Deadline(); ok && err == nil && !time.Now().Before(d) {
		err = context.DeadlineExceeded // its timer is about to say so
	}
	switch {
	case err == nil:
		return w.err
	case w.err == nil:
		s.release(w.slot)
		w.err = w.late()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", w.err, err)
	}
	return err
}

// deadlineOf returns the earlier of ctx's deadline and another.
func deadlineOf(ctx context.Context, other time.Time) time.Time {
	if d, ok := ctx.Deadline(); ok && d.Before(other) {
		return d
	}
	return other
}

// enqueue gives a call its slot, or puts it in its account's line.
func (s *slots) enqueue(n need, now, deadline time.Time) (slot, *waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.memory.check(n.memory, n.accountMemory); err != nil {
		return slot{}, nil, err
	}
	l := s.lineOf(n)
	if l.first != nil { // the account may have more now, or less
		s.settle(l)
		s.grant(now)
	}
	if l.first == nil && s.free > 0 && len(s.ready) == 0 && len(s.hungry) == 0 && l.able(n.memory) && s.memory.fits(n.memory) {
		s.wake(l)
		return s.give(l, n.memory, n.expect, now), nil, nil
	}
	if l.waiting >= s.queue {
		return slot{}, nil, &BudgetError{Budget: BudgetQueue, Used: int64(l.waiting) + 1, Allowed: int64(s.queue)}
	}
	w := &waiter{memory: n.memory, expect: n.expect, since: now, deadline: deadline, done: make(chan struct{})}
	s.wake(l)
	l.push(w)
	s.settle(l)
	s.grant(now)
	return slot{}, w, nil
}

// lineOf returns the line of a call's account, with what the call says of the
// account.
func (s *slots) lineOf(n need) *line {
	l := s.lines[n.account]
	if l == nil {
		if s.idle >= maxIdle {
			s.forget()
		}
		l = &line{account: n.account, place: -1, served: s.reached}
		s.lines[n.account] = l
		s.idle++
	}
	l.most = s.perAccount
	if n.most > 0 {
		l.most = min(l.most, n.most)
	}
	l.weight = float64(min(max(n.weight, 1), MaxWeight))
	l.memory.most = s.memory.most
	if n.accountMemory > 0 {
		l.memory.most = min(l.memory.most, n.accountMemory)
	}
	return l
}

// forget drops the accounts that have nothing to do.
func (s *slots) forget() {
	for account, l := range s.lines {
		if l.idle() {
			delete(s.lines, account)
		}
	}
	s.idle = 0
}

// wake makes a line that is about to have a call take part: level with the others
// if it had none waiting, for it asked for nothing meanwhile.
func (s *slots) wake(l *line) {
	if l.idle() {
		s.idle--
	}
	if l.first == nil {
		l.served = max(l.served, s.reached)
	}
}

// maxLag is how far, in virtual time, an account may stay behind that has calls
// waiting but is at a cap of its own.
const maxLag = float64(time.Second)

// settle puts a line where it belongs after something in it has changed. Calls
// that will never run any more, since the account's memory was cut, are refused.
func (s *slots) settle(l *line) {
	for l.first != nil && l.first.memory > l.memory.most {
		s.drop(l.first, s.memory.check(l.first.memory, l.memory.most))
	}
	able := l.first != nil && l.able(l.first.memory)
	switch {
	case !able && l.place >= 0:
		heap.Remove(&s.ready, l.place)
	case !able && l.hungry:
		s.feed(l)
	case able && l.place >= 0:
		heap.Fix(&s.ready, l.place)
	case able && !l.hungry:
		l.served = max(l.served, s.reached-maxLag)
		s.turns++
		l.turn = s.turns // behind those that were served as much
		heap.Push(&s.ready, l)
	}
}

// drop ends the waiting of a call with an error. Its line must be settled.
func (s *slots) drop(w *waiter, err error) {
	l := w.line
	l.remove(w)
	w.err = err
	close(w.done)
	if l.idle() {
		s.idle++
	}
}

// abandon ends the waiting of a call whose time is over, unless it has ended.
func (s *slots) abandon(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.line == nil {
		return
	}
	l, refusal := w.line, s.refusal(w)
	if l.hungry && l.first == w {
		s.feed(l)
	}
	s.drop(w, refusal)
	s.settle(l)
	s.grant(time.Now())
}

// refusal says what a call has waited for in vain.
func (s *slots) refusal(w *waiter) *BudgetError {
	switch l := w.line; {
	case !l.memory.fits(w.memory):
		return &BudgetError{Budget: BudgetAccountMemory, Used: l.memory.used + w.memory, Allowed: l.memory.most}
	case l.hungry:
		return &BudgetError{Budget: BudgetNodeMemory, Used: w.memory, Allowed: s.memory.most}
	default:
		return w.late()
	}
}

// feed takes a line out of the hungry ones.
func (s *slots) feed(l *line) {
	i := slices.Index(s.hungry, l)
	s.hungry = slices.Delete(s.hungry, i, i+1)
	l.hungry = false
	if i == 0 {
		s.ahead = 0
	}
}

// grant hands out what is free.
func (s *slots) grant(now time.Time) {
	s.grantHungry(now)
	for s.free > 0 && len(s.ready) > 0 && s.ahead < s.overtakers {
		l := s.ready[0]
		switch w := l.first; {
		case !now.Before(w.deadline):
			s.drop(w, s.refusal(w))
			s.settle(l)
		case !s.memory.fits(w.memory):
			heap.Pop(&s.ready)
			l.hungry = true
			s.hungry = append(s.hungry, l)
		default:
			heap.Pop(&s.ready)
			s.serve(w, now)
			if len(s.hungry) > 0 {
				s.ahead++
			}
		}
	}
}

// grantHungry hands out memory to those who wait for it, in order. When enough
// have gone ahead of the first, what is free is kept for it.
func (s *slots) grantHungry(now time.Time) {
	for i := 0; i < len(s.hungry) && s.free > 0 && (i == 0 || s.ahead < s.overtakers); {
		l := s.hungry[i]
		switch w := l.first; {
		case !now.Before(w.deadline):
			refusal := s.refusal(w)
			s.feed(l)
			s.drop(w, refusal)
			s.settle(l)
		case s.memory.fits(w.memory):
			s.feed(l)
			s.serve(w, now)
			if i > 0 {
				s.ahead++
			}
		default:
			i++
		}
	}
}

// serve gives the first call of a line its slot, and the line its next place.
func (s *slots) serve(w *waiter, now time.Time) {
	l := w.line
	l.remove(w)
	w.slot = s.give(l, w.memory, w.expect, now)
	close(w.done)
	s.settle(l)
}

// give counts a call as running. Its line is in no queue, or has no other call.
func (s *slots) give(l *line, memory int64, expect time.Duration, now time.Time) slot {
	s.reached = max(s.reached, l.served)
	charge := float64(max(expect, minCharge)) / l.weight
	l.served += charge
	l.running++
	s.free--
	s.memory.reserve(&l.memory, memory)
	return slot{line: l, memory: memory, charged: charge, since: now}
}

// minCharge is the least that a call is charged for, so that calls of nothing
// take turns too.
const minCharge = time.Microsecond

// release gives a slot back.
func (s *slots) release(got slot) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := got.line
	took := float64(max(now.Sub(got.since), minCharge)) / l.weight
	l.served += took - got.charged
	l.running--
	s.free++
	s.memory.release(&l.memory, got.memory)
	if l.idle() {
		s.idle++
	}
	s.settle(l)
	s.grant(now)
}
