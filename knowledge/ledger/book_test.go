package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
)

// ailing is a store whose writes fail as a test says.
type ailing struct {
	*ledgertest.Memory

	mu    sync.Mutex
	tries int
	fail  func(try int, b ledger.Batch) (before, after error) // what a write fails with, before it or after it was done
}

func (a *ailing) Write(ctx context.Context, b ledger.Batch) error {
	a.mu.Lock()
	a.tries++
	try, fail := a.tries, a.fail
	a.mu.Unlock()
	var before, after error
	if fail != nil {
		before, after = fail(try, b)
	}
	if before != nil {
		return before
	}
	return errors.Join(a.Memory.Write(ctx, b), after)
}

// mend ends the failures.
func (a *ailing) mend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = nil
}

// world is a book over a store, in a bubble of time.
type world struct {
	*ledger.Book
	t     *testing.T
	store *ailing
	log   bytes.Buffer
}

func inBubble(t *testing.T, options ledger.Options, run func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: &ailing{Memory: ledgertest.NewMemory()}}
		options.Log = slog.New(slog.NewTextHandler(&w.log, nil))
		w.Book = ledger.NewBook(w.store, options)
		run(t, w)
		if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close = %v, want no error", err)
		}
	})
}

func (w *world) call(outcome string) ledger.Call {
	c := ledger.Call{ID: ledger.NewID(time.Now()), Plugin: "p", Started: time.Now(), Outcome: outcome, VM: 1500 * time.Nanosecond, Fuel: 10}
	w.Called(w.t.Context(), "alice", c)
	return c
}

// usage is what is written of alice's, in sum.
func (w *world) usage() ledger.Usage {
	w.t.Helper()
	day := ledger.DayOf(time.Now())
	found, err := w.store.Usage(w.t.Context(), "alice", ledger.Question{From: day, To: day})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(found) == 0 {
		return ledger.Usage{}
	}
	return found[0].Usage
}

func (w *world) calls() []ledger.Call {
	w.t.Helper()
	found, err := w.store.Calls(w.t.Context(), "alice", "p", ledger.Selection{}, 100_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func (w *world) want(what string, got, want any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

// What was noted is written a second later, for the key that asked, without more.
func TestWrittenWithinASecond(t *testing.T) {
	inBubble(t, ledger.Options{}, func(t *testing.T, w *world) {
		ctx := knowledge.AskedBy(t.Context(), "key_a")
		c := ledger.Call{
			ID: ledger.NewID(time.Now()), Plugin: "p", Started: time.Now(), Outcome: "fuel", VM: 2_000_000_900, CPU: 7_999, Fuel: 10,
			PeakMemory: 3_000_001, HostCalls: 4, Input: 5, Output: 6,
		}
		w.Called(ctx, "alice", c)
		w.Add(ctx, "alice", ledger.Usage{Queries: 1, Rows: 7})
		w.Add(t.Context(), "alice", ledger.Usage{Searches: 2, Rows: 8})
		w.Add(ctx, "bob", ledger.Usage{Queries: 100})
		w.want("usage before", w.usage(), ledger.Usage{})
		time.Sleep(ledger.FlushPause)
		synctest.Wait()
		day := ledger.DayOf(time.Now())
		got, err := w.store.Usage(t.Context(), "alice", ledger.Question{From: day, To: day, ByDay: true, ByKey: true, ByPlugin: true})
		if err != nil {
			t.Fatal(err)
		}
		w.want("usage", got, []ledger.Sum{
			{Day: day, Usage: ledger.Usage{Searches: 2, Rows: 8}},
			{Day: day, Key: "key_a", Usage: ledger.Usage{Queries: 1, Rows: 7}},
			{Day: day, Key: "key_a", Plugin: "p", Usage: ledger.Usage{
				Calls: 1, Failed: 1, Fuel: 10, VM: 2 * time.Second, CPU: 7 * time.Microsecond, ByteSeconds: 6_000_002, HostCalls: 4, Input: 5, Output: 6,
			}},
		})
		c.Key, c.VM, c.CPU, c.Started = "key_a", 2*time.Second, 7*time.Microsecond, c.Started.UTC()
		w.want("calls", w.calls(), []ledger.Call{c})
		time.Sleep(time.Minute)
		if w.store.tries != 1 {
			t.Errorf("%d writes, want one: nothing came after it", w.store.tries)
		}
	})
}

// A call counts for the day on which it began.
func TestDayOfCall(t *testing.T) {
	inBubble(t, ledger.Options{}, func(t *testing.T, w *world) {
		began := time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC)
		w.Called(t.Context(), "alice", ledger.Call{ID: ledger.NewID(began), Plugin: "p", Started: began.In(time.FixedZone("", 7200)), Outcome: "ok"})
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := w.store.Usage(t.Context(), "alice", ledger.Question{From: "2026-02-28", To: "2026-02-28"})
		if err != nil || len(got) != 1 || got[0].Calls != 1 {
			t.Errorf("usage of the day = %+v, %v, want the call", got, err)
		}
	})
}

// Sums are exact whatever the database does, also when nobody knows what it did.
func TestSumsSurvive(t *testing.T) {
	inBubble(t, ledger.Options{}, func(t *testing.T, w *world) {
		w.store.fail = func(try int, _ ledger.Batch) (before, after error) {
			switch try % 4 {
			case 0:
				return nil, nil
			case 1: // the connection broke before the commit
				return fmt.Errorf("write: %w", knowledge.ErrUnavailable), nil
			default: // or after it
				return nil, fmt.Errorf("write: %w", knowledge.ErrUnavailable)
			}
		}
		want := ledger.Usage{}
		for range 100 {
			w.call("ok")
			w.Add(t.Context(), "alice", ledger.Usage{Queries: 1, Rows: 3})
			want.Add(ledger.Usage{Queries: 1, Rows: 3, Calls: 1, Fuel: 10, VM: time.Microsecond})
			time.Sleep(ledger.FlushPause / 3)
		}
		w.store.mend()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		w.want("usage", w.usage(), want)
		if n := len(w.calls()); n != 100 {
			t.Errorf("%d calls, want 100", n)
		}
		w.want("stats", w.Stats(), ledger.Stats{})
	})
}

// While the database is away the calls beyond the bound are given up, and counted; the
// log tells the beginning and the end.
func TestCallsAreBounded(t *testing.T) {
	inBubble(t, ledger.Options{MaxCalls: 10}, func(t *testing.T, w *world) {
		w.store.fail = func(int, ledger.Batch) (before, after error) { return knowledge.ErrUnavailable, nil }
		for range 7 {
			w.call("ok")
		}
		time.Sleep(10 * time.Second)
		for range 7 {
			w.call("ok")
		}
		time.Sleep(10 * time.Second)
		w.want("stats", w.Stats(), ledger.Stats{Dropped: 4, Waiting: 10, Failing: true})
		w.store.mend()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n, u := len(w.calls()), w.usage(); n != 10 || u.Calls != 14 {
			t.Errorf("%d calls are kept and %d counted, want 10 and 14", n, u.Calls)
		}
		w.want("stats", w.Stats(), ledger.Stats{Dropped: 4})
		w.call("ok")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := len(w.calls()); n != 11 {
			t.Errorf("%d calls, want there to be room again", n)
		}
		if got := strings.Count(w.log.String(), "\n"); got != 2 {
			t.Errorf("log has %d lines, want one for the failure and one for its end:\n%s", got, w.log.String())
		}
	})
}

// Many calls do not wait for the second.
func TestManyCallsAreWrittenAtOnce(t *testing.T) {
	inBubble(t, ledger.Options{MaxCalls: 10}, func(t *testing.T, w *world) {
		for range 100 {
			w.call("ok")
			synctest.Wait()
		}
		if s := w.Stats(); s.Dropped != 0 || len(w.calls()) < 95 {
			t.Errorf("stats = %+v with %d written, want all but the last few, and none dropped", s, len(w.calls()))
		}
	})
}

// A call that cannot be kept, for whatever reason of its own, does not keep sums back.
func TestFaultyCalls(t *testing.T) {
	inBubble(t, ledger.Options{}, func(t *testing.T, w *world) {
		w.store.fail = func(_ int, b ledger.Batch) (before, after error) {
			if len(b.Calls) > 0 {
				return errors.New("no such column"), nil
			}
			return nil, nil
		}
		w.call("ok")
		w.call("ok")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if u := w.usage(); u.Calls != 2 || len(w.calls()) != 0 {
			t.Errorf("%d calls counted and %d kept, want 2 and none", u.Calls, len(w.calls()))
		}
		w.want("stats", w.Stats(), ledger.Stats{Dropped: 2})
	})
}

// stuck is a store that answers to nothing but the end of its context.
type stuck struct{}

func (stuck) Write(ctx context.Context, _ ledger.Batch) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestCloseOfAStuckStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := ledger.NewBook(stuck{}, ledger.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		b.Add(t.Context(), "alice", ledger.Usage{Queries: 1})
		time.Sleep(2 * ledger.FlushPause) // it is stuck now
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := b.Close(ctx); err == nil || time.Since(start) != 3*time.Second {
			t.Errorf("Close = %v after %s, want an error when its time is over", err, time.Since(start))
		}
	})
}

func TestIDs(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7_000_000, time.UTC)
	id := ledger.NewID(at)
	if got, err := ledger.ParseID(string(id)); got != id || err != nil || len(id) != 21 {
		t.Errorf("ParseID(%q) = %q, %v, want it, of 21 characters", id, got, err)
	}
	if first, next := ledger.FirstID(at), ledger.FirstID(at.Add(time.Millisecond)); id < first || id >= next {
		t.Errorf("id %q is not between %q and %q, those of its millisecond and the next", id, first, next)
	}
	if id == ledger.NewID(at) {
		t.Errorf("two ids of one moment are %q both", id)
	}
	for _, bad := range []string{"", "call_", string(id[:20]), string(id) + "0", "CALL_" + string(id[5:]), "call_" + strings.Repeat("w", 16), "call_" + strings.Repeat("\x00", 16), "job__" + string(id[5:])} {
		if got, err := ledger.ParseID(bad); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("ParseID(%q) = %q, %v, want ErrInvalid", bad, got, err)
		}
	}
	for s, want := range map[string]bool{"2026-02-28": true, "2024-02-29": true, "2026-02-29": false, "2026-2-3": false, "1969-12-31": false, "": false, "2026-02-28T00:00:00Z": false, "99999-01-01": false} {
		if day, err := ledger.ParseDay(s); (err == nil) != want || want && (string(day) != s || ledger.DayOf(day.Time()) != day) {
			t.Errorf("ParseDay(%q) = %q, %v, want it to be good: %t", s, day, err, want)
		}
	}
}
