package vmhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// queued is a call in a queue under test, whose clock is the test's.
type queued struct {
	need need
	w    *waiter // nil: it had its slot at once
	slot slot
	over bool // gave its slot back, or gave up
}

// has reports whether a call has its slot, or had.
func (q *queued) has() bool {
	if q.w == nil {
		return true
	}
	select {
	case <-q.w.done:
		if q.w.err == nil {
			q.slot = q.w.slot
		}
		return q.w.err == nil
	default:
		return false
	}
}

// waits reports whether a call is in its line still.
func (q *queued) waits() bool { return !q.over && q.w != nil && q.w.line != nil }

// runs reports whether a call has its slot now.
func (q *queued) runs() bool { return !q.over && q.has() }

// ends makes a call give back its slot.
func (q *queued) ends(s *slots) {
	q.over = true
	s.release(q.slot)
}

// comes puts a call into the queue.
func comes(t interface{ Fatalf(string, ...any) }, s *slots, n need) *queued {
	q, err := tries(s, n)
	if err != nil {
		t.Fatalf("enqueue(%+v): %v", n, err)
	}
	return q
}

func tries(s *slots, n need) (*queued, error) {
	got, w, err := s.enqueue(n, time.Now(), time.Now().Add(time.Hour))
	return &queued{need: n, w: w, slot: got}, err
}

// of is a call of an account that needs a byte.
func of(account string) need { return need{account: Account(account), memory: 1, wait: time.Hour} }

// room is the memory of a node that nobody uses up.
func room() memoryTree { return memoryTree{most: 1 << 40} }

// TestSlotsOrder: accounts whose calls take the same take turns, whoever came
// first; the calls of one account stay in order.
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
			synctest.Test(t, func(t *testing.T) {
				s := newSlots(c.total, c.perAccount, 100, room())
				var calls []*queued
				for _, a := range strings.Split(c.queue, "") {
					n := of(a)
					n.expect = time.Second
					calls = append(calls, comes(t, s, n))
				}
				var served string
				var running []*queued
				for done := make(map[*queued]bool); len(served) < len(c.queue); {
					for _, q := range calls {
						if q.has() && !done[q] {
							done[q] = true
							served += string(q.need.account)
							running = append(running, q)
						}
					}
					if len(running) == 0 {
						t.Fatalf("nothing runs after %q were served", served)
					}
					time.Sleep(time.Second / time.Duration(c.total))
					running[0].ends(s)
					running = running[1:]
				}
				if served != c.want {
					t.Errorf("calls of %s were served in the order %s, want %s", c.queue, served, c.want)
				}
			})
		})
	}
}

// TestSlotsShares: accounts that always have calls waiting get slot time by their
// weight, however long their calls are, whether the host knew or not.
func TestSlotsShares(t *testing.T) {
	type account struct {
		weight int
		took   time.Duration
		expect time.Duration
	}
	long, short := 10*time.Millisecond, time.Millisecond
	for _, c := range []struct {
		name     string
		slots    int
		accounts map[string]account
	}{
		{"light with long calls", 1, map[string]account{"a": {1, long, long}, "b": {3, short, short}}},
		{"light with short calls", 1, map[string]account{"a": {1, short, short}, "b": {3, long, long}}},
		{"calls of unknown length", 1, map[string]account{"a": {1, long, 0}, "b": {3, short, 0}}},
		{"calls that promise to be short", 1, map[string]account{"a": {1, long, short}, "b": {3, short, long}}},
		{"several slots", 3, map[string]account{"a": {1, long, long}, "b": {3, short, short}, "c": {2, short, short}}},
		{"equal weights", 2, map[string]account{"a": {0, long, long}, "b": {1, short, short}, "c": {1, 3 * short, short}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const span = 20 * time.Second
				s := newSlots(c.slots, c.slots, 100, room())
				ctx, cancel := context.WithTimeout(t.Context(), span)
				defer cancel()
				served := make(map[string]*time.Duration)
				var group sync.WaitGroup
				for name, a := range c.accounts {
					sum := new(time.Duration)
					served[name] = sum
					var mu sync.Mutex
					for range 2*c.slots + 2 { // so that some always wait
						group.Go(func() {
							n := of(name)
							n.weight, n.expect = a.weight, a.expect
							for {
								got, _, err := s.acquire(ctx, n)
								if err != nil {
									return
								}
								time.Sleep(a.took)
								s.release(got)
								mu.Lock()
								*sum += a.took
								mu.Unlock()
							}
						})
					}
				}
				group.Wait()
				var weights int
				var total time.Duration
				for name, a := range c.accounts {
					weights += max(a.weight, 1)
					total += *served[name]
				}
				if total < span*time.Duration(c.slots)*99/100 {
					t.Errorf("%v of slot time were used, want nearly %v: no slot idle while calls wait", total, span*time.Duration(c.slots))
				}
				for name, a := range c.accounts {
					want := float64(max(a.weight, 1)) / float64(weights)
					got := float64(*served[name]) / float64(total)
					if got < want*0.9 || got > want*1.1 {
						t.Errorf("account %s had %.3f of the slot time, want %.3f within a tenth", name, got, want)
					}
				}
			})
		})
	}
}

// TestSlotsAfterIdling: who had nothing to do for a while does not keep others
// waiting for what it did not use.
func TestSlotsAfterIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 1, 100, room())
		for range 100 { // a alone
			q := comes(t, s, of("a"))
			time.Sleep(time.Second)
			q.ends(s)
		}
		running := comes(t, s, of("a"))
		var calls []*queued
		for _, account := range []string{"b", "b", "b", "a", "a", "a"} {
			calls = append(calls, comes(t, s, of(account)))
		}
		order := ""
		for len(order) < len(calls) {
			time.Sleep(time.Second)
			running.ends(s)
			for _, q := range calls {
				if q.runs() {
					running = q
				}
			}
			order += string(running.need.account)
		}
		if order != "bababa" {
			t.Errorf("after 100 s of a alone, calls are served in the order %s, want bababa", order)
		}
	})
}

// TestSlotsInvariants: under any sequence of coming, giving up, leaving and time
// passing, no bound is passed, nothing is lost, what is reserved is the sum of
// what runs, and no slot lies idle while somebody may have it.
func TestSlotsInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 4).Draw(t, "total")
		perAccount := rapid.IntRange(1, total).Draw(t, "perAccount")
		memory := rapid.Int64Range(1, 20).Draw(t, "memory")
		s := newSlots(total, perAccount, 3, memoryTree{most: memory})
		caps := make(map[Account]int64) // of each account's memory, as its latest call had it
		var calls []*queued
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch i := rapid.IntRange(0, max(len(calls)-1, 0)).Draw(t, "call"); {
			case len(calls) == 0 || rapid.Bool().Draw(t, "come"):
				n := of(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account"))
				n.memory = rapid.Int64Range(1, 22).Draw(t, "need")
				n.accountMemory = rapid.Int64Range(0, 20).Draw(t, "cap")
				n.weight = rapid.IntRange(0, 4).Draw(t, "weight")
				n.expect = time.Duration(rapid.IntRange(0, 100).Draw(t, "expect")) * time.Millisecond
				never := n.memory > memory || n.accountMemory > 0 && n.memory > n.accountMemory
				q, err := tries(s, n)
				var budget *BudgetError
				switch {
				case err == nil && !never:
					calls = append(calls, q)
				case !errors.As(err, &budget) || budget.Never != never || !never && budget.Budget != BudgetQueue:
					t.Fatalf("enqueue of %d bytes: %v; want no error, or a full queue, or, if it never fits (%v), a refusal", n.memory, err, never)
				}
				if !never {
					caps[n.account] = memory
					if n.accountMemory > 0 {
						caps[n.account] = min(memory, n.accountMemory)
					}
				}
			case calls[i].runs():
				calls[i].ends(s)
			case calls[i].waits():
				s.abandon(calls[i].w)
				calls[i].over = true
			}
			checkSlots(t, s, calls, total, perAccount, caps)
		}
		for _, q := range calls {
			if q.runs() {
				q.ends(s)
			} else if q.waits() {
				s.abandon(q.w)
			}
			q.over = true
		}
		for _, q := range calls {
			if q.w != nil && q.w.line != nil {
				t.Fatalf("a call waits when all are gone")
			}
		}
		checkSlots(t, s, calls, total, perAccount, caps)
		if s.memory.used != 0 || s.free != total || len(s.hungry) != 0 || s.ready.Len() != 0 || s.ahead != 0 || s.idle != len(s.lines) {
			t.Fatalf("when all are gone: %d bytes reserved, %d slots free, %d and %d lines wait, %d ahead, %d of %d idle; want 0, %d, 0, 0, 0, all",
				s.memory.used, s.free, len(s.hungry), s.ready.Len(), s.ahead, s.idle, len(s.lines), total)
		}
	})
}

func checkSlots(t *rapid.T, s *slots, calls []*queued, total, perAccount int, caps map[Account]int64) {
	running, waiting := make(map[Account]int), make(map[Account]int)
	reserved := make(map[Account]int64)
	var busy int
	var sum int64
	for _, q := range calls {
		switch {
		case q.runs():
			running[q.need.account]++
			reserved[q.need.account] += q.need.memory
			sum += q.need.memory
			busy++
		case q.waits():
			waiting[q.need.account]++
		}
	}
	if busy+s.free != total {
		t.Fatalf("%d calls run and %d slots are free, want %d in all", busy, s.free, total)
	}
	if sum != s.memory.used || sum > s.memory.most {
		t.Fatalf("calls with %d bytes run, %d are reserved, of %d", sum, s.memory.used, s.memory.most)
	}
	for account, l := range s.lines {
		if l.memory.used != reserved[account] || l.running != running[account] || l.waiting != waiting[account] {
			t.Fatalf("account %s: %d bytes, %d running, %d waiting, want %d, %d, %d",
				account, l.memory.used, l.running, l.waiting, reserved[account], running[account], waiting[account])
		}
		if running[account] > perAccount || waiting[account] > 3 {
			t.Fatalf("account %s: %d run and %d wait, want at most %d and 3", account, running[account], waiting[account], perAccount)
		}
		if l.first == nil || running[account] >= perAccount || s.free == 0 {
			continue
		}
		first := l.first.memory
		if reserved[account]+first <= caps[account] && sum+first <= s.memory.most && s.ahead < s.overtakers {
			t.Fatalf("account %s waits with %d slots and %d bytes free for %d", account, s.free, s.memory.most-sum, first)
		}
	}
}

// TestSlotsMemoryOfAnAccount: a call that waits for its account's memory makes
// the account's others wait, in order, and nobody else.
func TestSlotsMemoryOfAnAccount(t *testing.T) {
	s := newSlots(10, 10, 100, memoryTree{most: 100})
	a := func(memory int64) *queued {
		return comes(t, s, need{account: "a", memory: memory, accountMemory: 10, wait: time.Hour})
	}
	first, large, small := a(8), a(5), a(1)
	if !first.has() || large.has() || small.has() {
		t.Errorf("calls of 8, 5 and 1 of 10 bytes run: %v, %v, %v, want the first alone", first.has(), large.has(), small.has())
	}
	if other := comes(t, s, need{account: "b", memory: 90, wait: time.Hour}); !other.has() {
		t.Error("another account's call waits, want it to run")
	}
	first.ends(s)
	if !large.has() || !small.has() {
		t.Errorf("after the first, the others run: %v, %v, want both", large.has(), small.has())
	}
	_, err := tries(s, need{account: "a", memory: 11, accountMemory: 10})
	if want := (BudgetError{BudgetAccountMemory, 11, 10, true}); !isBudget(err, want) || !errors.Is(err, ErrRefused) || errors.Is(err, ErrBusy) {
		t.Errorf("a call of 11 bytes of 10: %v, want %v at once, of the kind ErrRefused", err, want)
	}
	_, err = tries(s, need{account: "c", memory: 101})
	if want := (BudgetError{BudgetNodeMemory, 101, 100, true}); !isBudget(err, want) {
		t.Errorf("a call of 101 bytes of 100: %v, want %v at once", err, want)
	}
}

// TestSlotsAccountThatIsCutDown: a call that waits and can never run any more is
// refused when that is known.
func TestSlotsAccountThatIsCutDown(t *testing.T) {
	s := newSlots(1, 1, 100, memoryTree{most: 100})
	first := comes(t, s, need{account: "a", memory: 50})
	waits := comes(t, s, need{account: "a", memory: 50})
	small := comes(t, s, need{account: "a", memory: 5, accountMemory: 10})
	if want := (BudgetError{BudgetAccountMemory, 50, 10, true}); !isBudget(waits.w.err, want) {
		t.Errorf("a call of 50 bytes of an account cut down to 10 waits (%v), want %v", waits.w.err, want)
	}
	first.ends(s)
	if !small.has() {
		t.Error("the call behind it does not run, want it to")
	}
}

func isBudget(err error, want BudgetError) bool {
	var got *BudgetError
	return errors.As(err, &got) && *got == want
}

// TestSlotsHungry: a call that needs much of the node's memory lets a bounded
// number of others go ahead, however many come; then it is served. What does not
// fit beside it waits its turn behind it.
func TestSlotsHungry(t *testing.T) {
	const total = 4
	s := newSlots(total, total, 1000, memoryTree{most: 10})
	small := func(i int) *queued {
		return comes(t, s, need{account: Account(fmt.Sprint("small ", i%7)), memory: 3, wait: time.Hour})
	}
	var calls []*queued
	for i := range 3 {
		calls = append(calls, small(i))
	}
	large := comes(t, s, need{account: "large", memory: 9, wait: time.Hour})
	behind := comes(t, s, need{account: "behind", memory: 8, wait: time.Hour})
	ahead := 0
	for step := 0; !large.has(); step++ {
		if step > 1000 {
			t.Fatalf("a call of 9 of 10 bytes does not run while calls of 3 come and go")
		}
		calls = append(calls, small(step), small(step+1)) // more come than leave
		for _, q := range calls {
			if q.runs() {
				q.ends(s)
				break
			}
		}
	}
	for _, q := range calls[3:] {
		if q.has() {
			ahead++
		}
	}
	if ahead == 0 || ahead > 2*total {
		t.Errorf("%d calls went ahead of the large one, want 1 to %d", ahead, 2*total)
	}
	if behind.has() {
		t.Error("a call of 8 bytes runs beside one of 9 of 10")
	}
	large.ends(s)
	for step := 0; !behind.has() && step < 1000; step++ {
		for _, q := range calls {
			if q.runs() {
				q.ends(s)
				break
			}
		}
	}
	if !behind.has() {
		t.Error("the call behind it does not run")
	}
}

// TestSlotsHungryGivesUp: nothing stays kept for a call that waits no longer.
func TestSlotsHungryGivesUp(t *testing.T) {
	s := newSlots(1, 1, 100, memoryTree{most: 10, resident: func() int64 { return 3 }})
	s.free, s.overtakers = 5, 1
	first := comes(t, s, need{account: "a", memory: 5})
	large := comes(t, s, need{account: "b", memory: 10})
	ahead := comes(t, s, need{account: "c", memory: 1})
	other := comes(t, s, need{account: "d", memory: 1})
	if large.has() || !ahead.has() || other.has() {
		t.Errorf("calls of 10, 1 and 1 bytes beside 5 and 3 that machines keep, of 10, run: %v, %v, %v, want the second alone", large.has(), ahead.has(), other.has())
	}
	s.abandon(large.w)
	if want := (BudgetError{BudgetNodeMemory, 10, 10, false}); !isBudget(large.w.err, want) || !errors.Is(large.w.err, ErrBusy) {
		t.Errorf("error of the call that gave up: %v, want %v", large.w.err, want)
	}
	if !other.has() {
		t.Error("the call behind it waits, want it to run")
	}
	for _, q := range []*queued{other, ahead, first} {
		q.ends(s)
	}
	if q := comes(t, s, need{account: "b", memory: 9}); !q.has() {
		t.Error("a call of 9 bytes on an idle node waits for what idle machines keep, want it to run")
	}
}

// TestSlotsDeadlines: a call whose time is over never gets a slot, and the next
// does.
func TestSlotsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 1, 100, room())
		running := comes(t, s, of("a"))
		_, soon, err := s.enqueue(of("a"), time.Now(), time.Now().Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		later := comes(t, s, of("a"))
		time.Sleep(time.Second)
		running.ends(s)
		if want := (BudgetError{BudgetQueueTime, 1_000_000, 1_000_000, false}); !isBudget(soon.err, want) || !errors.Is(soon.err, ErrBusy) {
			t.Errorf("a call whose time was over when a slot came free: %v, want %v", soon.err, want)
		}
		if !later.has() {
			t.Error("the call behind it waits, want it to run")
		}
	})
}

// TestSlotsWaiting: how waiting ends, other than with a slot.
func TestSlotsWaiting(t *testing.T) {
	const limit = 10 * time.Second
	n := func(account Account) need { return need{account: account, memory: 1, wait: limit} }
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 1, 1, room())
		first, waited, err := s.acquire(t.Context(), n("a"))
		if waited != 0 || err != nil {
			t.Errorf("acquire of a free slot = %v, %v, want 0, nil", waited, err)
		}
		if _, waited, err := s.acquire(t.Context(), n("a")); waited != limit || !errors.Is(err, ErrBusy) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire = %v, %v, want ErrBusy alone after %v", waited, err, limit)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		want := BudgetError{BudgetQueueTime, 1_000_000, 1_000_000, false}
		if _, waited, err := s.acquire(short, n("b")); waited != time.Second || !isBudget(err, want) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("acquire with a deadline = %v, %v, want both errors after 1s", waited, err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, _, err := s.acquire(cancelled, n("a")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBusy) {
				t.Errorf("acquire that is cancelled: %v, want context.Canceled alone", err)
			}
		})
		synctest.Wait()
		if _, _, err := s.acquire(t.Context(), n("a")); !isBudget(err, BudgetError{BudgetQueue, 2, 1, false}) || !errors.Is(err, ErrBusy) {
			t.Errorf("acquire behind a full queue: %v, want ErrBusy at once, 2 calls of 1", err)
		}
		cancel()
		group.Wait()
		group.Go(func() {
			got, waited, err := s.acquire(t.Context(), n("b"))
			if waited != 3*time.Second || err != nil {
				t.Errorf("acquire = %v, %v, want 3s, nil", waited, err)
			}
			s.release(got)
		})
		time.Sleep(3 * time.Second) // of the bubble's clock
		s.release(first)
		group.Wait()
		if s.free != 1 || s.memory.used != 0 {
			t.Errorf("%d slots free and %d bytes reserved when all are gone, want 1 and 0", s.free, s.memory.used)
		}
	})
}

// TestSlotsRace: with deadlines, cancellation and slots that come at once, none
// is lost and none is given twice.
func TestSlotsRace(t *testing.T) {
	const total = 2
	s := newSlots(total, total, 1000, memoryTree{most: 3})
	var group sync.WaitGroup
	var mu sync.Mutex
	running, most := 0, 0
	for i := range 64 {
		group.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration((i*7+j*13)%500)*time.Microsecond)
				n := of(fmt.Sprint(i % 5))
				n.memory = int64(1 + i%3)
				if got, _, err := s.acquire(ctx, n); err == nil {
					mu.Lock()
					running++
					most = max(most, running)
					mu.Unlock()
					time.Sleep(time.Duration(j%3) * 50 * time.Microsecond)
					mu.Lock()
					running--
					mu.Unlock()
					s.release(got)
				}
				cancel()
			}
		})
	}
	group.Wait()
	if most > total || s.free != total || s.memory.used != 0 || len(s.hungry) != 0 || s.ready.Len() != 0 {
		t.Errorf("at most %d ran; now %d slots are free, %d bytes reserved, %d lines wait; want %d, %d, 0, 0",
			most, s.free, s.memory.used, len(s.hungry)+s.ready.Len(), total, total)
	}
}

// TestSlotsOfAPoorerAccount: a call that names a smaller number than the node's
// waits for its own account's calls, and others go ahead of it.
func TestSlotsOfAPoorerAccount(t *testing.T) {
	s := newSlots(4, 3, 100, room())
	poor := of("poor")
	poor.most = 2
	var calls []*queued
	for range 3 {
		calls = append(calls, comes(t, s, poor))
	}
	if !calls[0].has() || !calls[1].has() || calls[2].has() {
		t.Errorf("slots of three calls of an account that may have two = %v, %v, %v, want the first two", calls[0].has(), calls[1].has(), calls[2].has())
	}
	rich := of("rich")
	rich.most = 99
	if !comes(t, s, rich).has() {
		t.Error("another account's call waits, want a slot")
	}
	calls[0].ends(s)
	if !calls[2].has() {
		t.Error("the third call has no slot after one was given back, want one")
	}
}

// TestSlotsForget: accounts that have nothing to do are not kept without a bound.
func TestSlotsForget(t *testing.T) {
	s := newSlots(1, 1, 1, room())
	for i := range 3 * maxIdle {
		comes(t, s, of(fmt.Sprint("account ", i))).ends(s)
	}
	if len(s.lines) > maxIdle || s.idle != len(s.lines) {
		t.Errorf("%d accounts are known, %d of them idle, want at most %d, all", len(s.lines), s.idle, maxIdle)
	}
}
