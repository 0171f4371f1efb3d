package cell

import (
	"context"
	"slices"
	"sync"

	"github.com/tars-project/tars/vmhost"
)

// turns hands out a number of slots. Those who wait get theirs account by account
// in turn, so that one with many does not keep the others waiting. Safe for
// concurrent use.
type turns struct {
	mu    sync.Mutex
	free  []int
	order []vmhost.Account // those with somebody waiting; the first is next
	queue map[vmhost.Account][]chan int
}

func newTurns(slots int) *turns {
	t := &turns{queue: make(map[vmhost.Account][]chan int)}
	for slot := range slots {
		t.free = append(t.free, slot)
	}
	return t
}

// take waits for a slot, which the caller must give back. The error is ctx's.
func (t *turns) take(ctx context.Context, account vmhost.Account) (slot int, err error) {
	t.mu.Lock()
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
		t.mu.Unlock()
		return slot, nil
	}
	mine := make(chan int, 1)
	if len(t.queue[account]) == 0 {
		t.order = append(t.order, account)
	}
	t.queue[account] = append(t.queue[account], mine)
	t.mu.Unlock()
	select {
	case slot = <-mine:
		return slot, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.queue[account], mine)
	if i >= 0 {
		t.remove(account, i)
	}
	t.mu.Unlock()
	if i < 0 { // it came at the same moment
		t.give(<-mine)
	}
	return 0, ctx.Err()
}

// remove takes somebody off a queue. The caller holds mu.
func (t *turns) remove(account vmhost.Account, i int) {
	t.queue[account] = slices.Delete(t.queue[account], i, i+1)
	if len(t.queue[account]) == 0 {
		delete(t.queue, account)
		t.order = slices.DeleteFunc(t.order, func(a vmhost.Account) bool { return a == account })
	}
}

// give gives a slot back.
func (t *turns) give(slot int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == 0 {
		t.free = append(t.free, slot)
		return
	}
	account := t.order[0]
	next := t.queue[account][0]
	t.order = append(t.order[1:], account)
	t.remove(account, 0)
	next <- slot
}
