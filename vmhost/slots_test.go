package vmhost

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// granted reports whether a waiter has its slot.
func (w *waiter) has() bool {
	select {
	case <-w.granted:
		return true
	default:
		return false
	}
}

// enqueueAll puts calls of the accounts, one letter each, in their lines.
func enqueueAll(t *testing.T, s *slots, accounts string) []*waiter {
	t.Helper()
	waiters := make([]*waiter, len(accounts))
	for i, a := range strings.Split(accounts, "") {
		w, err := s.enqueue(Account(a), 0)
		if err != nil {
			t.Fatalf("enqueue(%s), call %d: %v", a, i, err)
		}
		waiters[i] = w
	}
	return waiters
}

// TestSlotsOrder: accounts take turns, whoever came first; the calls of one
// account stay in order.
func TestSlotsOrder(t *testing.T) {
	for _, c := range []struct {
		name              string
		total, perAccount int
		queue, want       string // accounts in the order of coming, and of being served
	}{
		{"one account", 1, 1, "aaaa", "aaaa"},
		{"a flood before another", 1, 1, "aaaaaab", "abaaaaa"},
		{"two floods", 1, 1, "aaaabbbb", "abababab"},
		{"three accounts", 1, 1, "aaaabbcc", "abcabcaa"},
		{"own bound before the node's", 3, 1, "aaab", "abaa"},
		{"two slots", 2, 2, "aaaabb", "aababa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSlots(c.total, c.perAccount, 100)
			waiters := enqueueAll(t, s, c.queue)
			served := ""
			running := ""
			for done := make(map[*waiter]bool); len(served) < len(c.queue); {
				for i, w := range waiters {
					if w.has() && !done[w] {
						done[w] = true
						served += c.queue[i : i+1]
						running += c.queue[i : i+1]
					}
				}
				if running == "" {
					t.Fatalf("nothing runs after %q were served", served)
				}
				s.release(Account(running[:1]))
				running = running[1:]
			}
			if served != c.want {
				t.Errorf("calls of %s were served in the order %s, want %s", c.queue, served, c.want)
			}
		})
	}
}

// TestSlotsInvariants: under any sequence of coming, giving up and leaving, no
// bound is passed, no slot is lost, and none lies idle while somebody may have
// it.
func TestSlotsInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 4).Draw(t, "total")
		perAccount := rapid.IntRange(1, total).Draw(t, "perAccount")
		s := newSlots(total, perAccount, 3)
		type call struct {
			account Account
			w       *waiter
		}
		var calls []call
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(calls) == 0 || rapid.Bool().Draw(t, "come") {
				account := Account(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account"))
				if w, err := s.enqueue(account, 0); err == nil {
					calls = append(calls, call{account, w})
				} else if !errors.Is(err, ErrBusy) {
					t.Fatalf("enqueue: %v", err)
				}
			} else {
				i := rapid.IntRange(0, len(calls)-1).Draw(t, "leave")
				if c := calls[i]; c.w.has() || !s.abandon(c.account, c.w) {
					s.release(c.account)
				}
				calls = append(calls[:i:i], calls[i+1:]...)
			}
			running, waiting := make(map[Account]int), make(map[Account]int)
			busy := 0
			for _, c := range calls {
				if c.w.has() {
					running[c.account]++
					busy++
				} else {
					waiting[c.account]++
				}
			}
			if busy+s.free != total {
				t.Fatalf("%d calls run and %d slots are free, want %d in all", busy, s.free, total)
			}
			for _, a := range []Account{"a", "b", "c"} {
				if running[a] > perAccount || waiting[a] > 3 {
					t.Fatalf("account %s: %d run and %d wait, want at most %d and 3", a, running[a], waiting[a], perAccount)
				}
				if waiting[a] > 0 && running[a] < perAccount && s.free > 0 {
					t.Fatalf("account %s waits with %d slots free", a, s.free)
				}
			}
		}
		for _, c := range calls {
			if !c.w.has() && s.abandon(c.account, c.w) {
				continue
			}
			s.release(c.account)
		}
		if len(s.lines) != 0 || s.free != total {
			t.Fatalf("when all are gone, %d accounts are known and %d slots free, want 0 and %d", len(s.lines), s.free, total)
		}
	})
}

// TestSlotsWaiting: how waiting ends, other than with a slot.
func TestSlotsWaiting(t *testing.T) {
	const limit = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 1, 1)
		if waited, err := s.acquire(t.Context(), "a", 0, limit); waited != 0 || err != nil {
			t.Errorf("acquire of a free slot = %v, %v, want 0, nil", waited, err)
		}
		if waited, err := s.acquire(t.Context(), "a", 0, limit); waited != limit || !errors.Is(err, ErrBusy) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire = %v, %v, want ErrBusy alone after %v", waited, err, limit)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if waited, err := s.acquire(short, "b", 0, limit); waited != time.Second || !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire with a deadline = %v, %v, want both errors after 1s", waited, err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := s.acquire(cancelled, "a", 0, limit); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBusy) {
				t.Errorf("acquire that is cancelled: %v, want context.Canceled alone", err)
			}
		})
		synctest.Wait()
		if _, err := s.acquire(t.Context(), "a", 0, limit); !errors.Is(err, errQueueFull) || !errors.Is(err, ErrBusy) {
			t.Errorf("acquire behind a full queue: %v, want ErrBusy at once", err)
		}
		cancel()
		group.Wait()
		group.Go(func() {
			if waited, err := s.acquire(t.Context(), "b", 0, limit); waited != 3*time.Second || err != nil {
				t.Errorf("acquire = %v, %v, want 3s, nil", waited, err)
			}
		})
		time.Sleep(3 * time.Second) // of the bubble's clock
		s.release("a")
		group.Wait()
	})
}

// TestSlotsOfAPoorerAccount: a call that names a smaller number than the node's
// waits for its own account's calls, and others go ahead of it.
func TestSlotsOfAPoorerAccount(t *testing.T) {
	s := newSlots(4, 3, 100)
	var waiters []*waiter
	for range 3 {
		w, err := s.enqueue("poor", 2)
		if err != nil {
			t.Fatal(err)
		}
		waiters = append(waiters, w)
	}
	if got := []bool{waiters[0].has(), waiters[1].has(), waiters[2].has()}; !slices.Equal(got, []bool{true, true, false}) {
		t.Errorf("slots of three calls of an account that may have two = %v, want the first two", got)
	}
	if w, err := s.enqueue("rich", 99); err != nil || !w.has() {
		t.Errorf("enqueue of another account = %v, %v; want a slot", w.has(), err)
	}
	s.release("poor")
	if !waiters[2].has() {
		t.Error("the third call has no slot after one was given back, want one")
	}
}
