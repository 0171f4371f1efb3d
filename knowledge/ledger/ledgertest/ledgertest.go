// Package ledgertest tests what [ledger.Store] promises, and has one in memory.
package ledgertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
)

// Run tests a store. It calls open once for each test, which returns an empty store in
// which the tenants alice and bob are, and no other.
func Run(t *testing.T, open func(t *testing.T) ledger.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, ledger.Store)
	}{
		{"CallComesBack", testCallComesBack},
		{"List", testList},
		{"Sums", testSums},
		{"BatchCountsOnce", testBatchCountsOnce},
		{"WritersAtOnce", testWritersAtOnce},
		{"SameID", testSameID},
		{"OfOthers", testOfOthers},
		{"UnknownTenant", testUnknownTenant},
		{"TooMany", testTooMany},
		{"Sweep", testSweep},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// moment is a time as it is kept.
func moment() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// full is a call with every field unlike the others.
func full(at time.Time) ledger.Call {
	return ledger.Call{
		ID: ledger.NewID(at), Key: "key_a", Plugin: "cited", Version: 3, Digest: "sha256:00", Capability: "rank", Tier: "process", Grade: "jail",
		Started: at, Outcome: "ok", Queue: time.Microsecond, VM: 2 * time.Microsecond, CPU: 3 * time.Microsecond, Fuel: 4, PeakMemory: 5 << 32,
		HostCalls: 6, HostBytes: 7, HostTime: 8 * time.Microsecond, Input: 9, Output: 10, Rows: 11,
	}
}

// usage is a usage with every field unlike the others, times n.
func usage(n int64) ledger.Usage {
	return ledger.Usage{
		Queries: n, Searches: 2 * n, Rows: 3 * n, EmbeddedTexts: 4 * n, EmbeddedTokens: 5 * n, Calls: 6 * n, Failed: 7 * n, Fuel: n << 40,
		VM: time.Duration(n) * time.Microsecond, CPU: time.Duration(2*n) * time.Microsecond, ByteSeconds: 8 * n, HostCalls: 9 * n, Input: 10 * n, Output: 11 * n,
	}
}

// batches numbers what one writer writes.
type batches struct {
	t      *testing.T
	s      ledger.Store
	number int64
}

func (b *batches) calls(calls ...ledger.TenantCall) {
	b.write(ledger.Batch{Calls: calls})
}

func (b *batches) write(batch ledger.Batch) {
	b.t.Helper()
	b.number++
	batch.Writer, batch.Number = "w", b.number
	if err := b.s.Write(b.t.Context(), batch); err != nil {
		b.t.Fatalf("Write = %v, want no error", err)
	}
}

func list(t *testing.T, s ledger.Store, tenant knowledge.TenantID, want ledger.Selection, limit int) []ledger.Call {
	t.Helper()
	found, err := s.Calls(t.Context(), tenant, "cited", want, limit)
	if err != nil {
		t.Fatalf("Calls(%s, %+v) = %v, want no error", tenant, want, err)
	}
	return found
}

func sums(t *testing.T, s ledger.Store, tenant knowledge.TenantID, q ledger.Question) []ledger.Sum {
	t.Helper()
	found, err := s.Usage(t.Context(), tenant, q)
	if err != nil {
		t.Fatalf("Usage(%s, %+v) = %v, want no error", tenant, q, err)
	}
	return found
}

func wantSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func testCallComesBack(t *testing.T, s ledger.Store) {
	b := &batches{t: t, s: s}
	zero := ledger.Call{ID: ledger.NewID(time.UnixMilli(0)), Plugin: "cited", Started: time.UnixMilli(0).UTC(), Outcome: "deadline"}
	for _, want := range []ledger.Call{full(moment()), zero} {
		b.calls(ledger.TenantCall{Tenant: "alice", Call: want})
		got, err := s.Call(t.Context(), "alice", want.ID)
		if err != nil {
			t.Fatalf("Call = %v, want no error", err)
		}
		wantSame(t, "the call", got, want)
	}
	if _, err := s.Call(t.Context(), "alice", ledger.NewID(moment())); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Call of no such id = %v, want ErrNotFound", err)
	}
}

func testList(t *testing.T, s ledger.Store) {
	start := moment().Add(-time.Hour)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * 1500 * time.Microsecond) }
	all := make([]ledger.TenantCall, 7)
	for i := range all {
		c := full(at(i))
		c.Version = 1 + i%2
		if i%3 == 0 {
			c.Outcome = "fuel"
		}
		if i == 5 {
			c.Key = ""
		}
		if i == 6 {
			c.Plugin = "other"
		}
		all[i] = ledger.TenantCall{Tenant: "alice", Call: c}
	}
	(&batches{t: t, s: s}).calls(all...)
	key, none := "key_a", ""
	for _, c := range []struct {
		what  string
		want  ledger.Selection
		limit int
		which []int
	}{
		{"all", ledger.Selection{}, 100, []int{5, 4, 3, 2, 1, 0}},
		{"a page", ledger.Selection{}, 2, []int{5, 4}},
		{"the next page", ledger.Selection{Before: all[4].ID}, 2, []int{3, 2}},
		{"the last page", ledger.Selection{Before: all[0].ID}, 2, nil},
		{"a key's", ledger.Selection{Key: &key}, 100, []int{4, 3, 2, 1, 0}},
		{"no key's", ledger.Selection{Key: &none}, 100, []int{5}},
		{"a version's", ledger.Selection{Version: 2}, 100, []int{5, 3, 1}},
		{"failed", ledger.Selection{Outcome: "fuel"}, 100, []int{3, 0}},
		{"good", ledger.Selection{Outcome: "ok", Version: 1}, 100, []int{4, 2}},
		{"since", ledger.Selection{Since: at(3)}, 100, []int{5, 4, 3}},
		{"since a moment later", ledger.Selection{Since: at(3).Add(time.Microsecond)}, 100, []int{5, 4}},
		{"until", ledger.Selection{Until: at(3)}, 100, []int{2, 1, 0}},
		{"until a moment later", ledger.Selection{Until: at(3).Add(time.Microsecond)}, 100, []int{3, 2, 1, 0}},
		{"between", ledger.Selection{Since: at(1), Until: at(4)}, 100, []int{3, 2, 1}},
	} {
		var want []ledger.Call
		for _, i := range c.which {
			want = append(want, all[i].Call)
		}
		wantSame(t, c.what, list(t, s, "alice", c.want, c.limit), want)
	}
}

func testSums(t *testing.T, s ledger.Store) {
	b := &batches{t: t, s: s}
	of := func(day, key, plugin string) ledger.Part {
		return ledger.Part{Tenant: "alice", Day: ledger.Day(day), Key: key, Plugin: plugin}
	}
	b.write(ledger.Batch{Usage: map[ledger.Part]ledger.Usage{
		of("2026-02-28", "key_a", ""): usage(1), of("2026-03-01", "key_a", ""): usage(2), of("2026-03-01", "key_a", "cited"): usage(4),
		of("2026-03-01", "key_b", "cited"): usage(8), of("2026-03-02", "", "cited"): usage(16),
	}})
	b.write(ledger.Batch{Usage: map[ledger.Part]ledger.Usage{of("2026-03-01", "key_a", "cited"): usage(32), of("2026-03-02", "Key", "a"): usage(64)}})
	march := ledger.Question{From: "2026-03-01", To: "2026-03-31"}
	all := ledger.Question{From: "2026-02-01", To: "2026-03-31"}
	key := "key_a"
	sum := func(day, key, plugin string, n int64) ledger.Sum {
		return ledger.Sum{Day: ledger.Day(day), Key: key, Plugin: plugin, Usage: usage(n)}
	}
	for _, c := range []struct {
		what string
		q    ledger.Question
		want []ledger.Sum
	}{
		{"all", all, []ledger.Sum{sum("", "", "", 127)}},
		{"march", march, []ledger.Sum{sum("", "", "", 126)}},
		{"one day", ledger.Question{From: "2026-02-28", To: "2026-02-28"}, []ledger.Sum{sum("", "", "", 1)}},
		{"a day of nothing", ledger.Question{From: "2026-02-27", To: "2026-02-27"}, nil},
		{"by day", ledger.Question{From: all.From, To: all.To, ByDay: true}, []ledger.Sum{sum("2026-02-28", "", "", 1), sum("2026-03-01", "", "", 46), sum("2026-03-02", "", "", 80)}},
		{"by key", ledger.Question{From: all.From, To: all.To, ByKey: true}, []ledger.Sum{sum("", "", "", 16), sum("", "Key", "", 64), sum("", "key_a", "", 39), sum("", "key_b", "", 8)}},
		{"by plugin", ledger.Question{From: all.From, To: all.To, ByPlugin: true}, []ledger.Sum{sum("", "", "", 3), sum("", "", "a", 64), sum("", "", "cited", 60)}},
		{"a key by plugin", ledger.Question{From: all.From, To: all.To, ByPlugin: true, Key: &key}, []ledger.Sum{sum("", "", "", 3), sum("", "", "cited", 36)}},
		{"by all", ledger.Question{From: march.From, To: march.To, ByDay: true, ByKey: true, ByPlugin: true}, []ledger.Sum{
			sum("2026-03-01", "key_a", "", 2), sum("2026-03-01", "key_a", "cited", 36), sum("2026-03-01", "key_b", "cited", 8),
			sum("2026-03-02", "", "cited", 16), sum("2026-03-02", "Key", "a", 64),
		}},
	} {
		if got := sums(t, s, "alice", c.q); len(got)+len(c.want) > 0 {
			wantSame(t, c.what, got, c.want)
		}
	}
	for _, bad := range []ledger.Question{{From: "2026-03-02", To: "2026-03-01"}, {From: "2025-01-01", To: "2026-01-02"}} {
		if _, err := s.Usage(t.Context(), "alice", bad); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("Usage(%+v) = %v, want ErrInvalid", bad, err)
		}
	}
	if got := sums(t, s, "alice", ledger.Question{From: "2025-01-01", To: "2026-01-01"}); len(got) != 0 {
		t.Errorf("Usage of 366 days = %v, want none, and no error", got)
	}
}

// today asks for all of a tenant's usage of the day of the tests' parts.
var today = ledger.Question{From: "2026-03-01", To: "2026-03-01"}

func onDay(tenant knowledge.TenantID) ledger.Part {
	return ledger.Part{Tenant: tenant, Day: today.From, Key: "key_a", Plugin: "cited"}
}

func testBatchCountsOnce(t *testing.T, s ledger.Store) {
	batch := func(writer string, number int64) {
		t.Helper()
		c := full(moment())
		err := s.Write(t.Context(), ledger.Batch{
			Writer: writer, Number: number, Calls: []ledger.TenantCall{{Tenant: "alice", Call: c}}, Usage: map[ledger.Part]ledger.Usage{onDay("alice"): usage(1)},
		})
		if err != nil {
			t.Fatalf("Write(%s, %d) = %v, want no error", writer, number, err)
		}
	}
	for i, b := range []struct {
		writer string
		number int64
		counts int64
	}{{"v", 1, 1}, {"v", 1, 1}, {"v", 2, 2}, {"v", 1, 2}, {"v", 2, 2}, {"w", 1, 3}, {"w", 1, 3}, {"v", 3, 4}} {
		batch(b.writer, b.number)
		got := sums(t, s, "alice", today)
		if len(got) != 1 || got[0].Usage != usage(b.counts) {
			t.Errorf("after batch %d, %s's number %d: usage = %+v, want that of %d", i, b.writer, b.number, got, b.counts)
		}
		if calls := list(t, s, "alice", ledger.Selection{}, 100); int64(len(calls)) != b.counts {
			t.Errorf("after batch %d, %s's number %d: %d calls, want %d", i, b.writer, b.number, len(calls), b.counts)
		}
	}
}

// testWritersAtOnce: writers of the same sums, in any order, and each batch sent twice
// at the same time, neither lose nor double nor disturb each other.
func testWritersAtOnce(t *testing.T, s ledger.Store) {
	const writers, rounds, parts = 4, 10, 300
	var all sync.WaitGroup
	for w := range writers {
		for range 2 {
			all.Go(func() {
				for n := range rounds {
					batch := ledger.Batch{Writer: fmt.Sprintf("w%d", w), Number: int64(n + 1), Usage: map[ledger.Part]ledger.Usage{}}
					for p := range parts {
						part := onDay("alice")
						part.Plugin = fmt.Sprintf("p%d", p)
						batch.Usage[part] = usage(1)
					}
					if err := s.Write(t.Context(), batch); err != nil {
						t.Errorf("Write = %v, want no error", err)
					}
				}
			})
		}
	}
	all.Wait()
	if got := sums(t, s, "alice", today); len(got) != 1 || got[0].Usage != usage(writers*rounds*parts) {
		t.Errorf("usage = %+v, want that of %d", got, writers*rounds*parts)
	}
}

// testSameID: an id is of one tenant, and its first call stays.
func testSameID(t *testing.T, s ledger.Store) {
	b := &batches{t: t, s: s}
	c := full(moment())
	b.calls(ledger.TenantCall{Tenant: "alice", Call: c}, ledger.TenantCall{Tenant: "bob", Call: c})
	other := c
	other.Outcome, other.Fuel = "output", 99
	b.calls(ledger.TenantCall{Tenant: "alice", Call: other})
	for _, tenant := range []knowledge.TenantID{"alice", "bob"} {
		got, err := s.Call(t.Context(), tenant, c.ID)
		if err != nil {
			t.Fatalf("Call = %v, want no error", err)
		}
		wantSame(t, "the call of "+string(tenant), got, c)
	}
}

func testOfOthers(t *testing.T, s ledger.Store) {
	c := full(moment())
	(&batches{t: t, s: s}).write(ledger.Batch{
		Calls: []ledger.TenantCall{{Tenant: "alice", Call: c}},
		Usage: map[ledger.Part]ledger.Usage{onDay("alice"): usage(1)},
	})
	if _, err := s.Call(t.Context(), "bob", c.ID); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("another's Call = %v, want ErrNotFound", err)
	}
	if got := list(t, s, "bob", ledger.Selection{}, 100); len(got) != 0 {
		t.Errorf("another's Calls = %+v, want none", got)
	}
	if got := sums(t, s, "bob", today); len(got) != 0 {
		t.Errorf("another's Usage = %+v, want none", got)
	}
}

func testUnknownTenant(t *testing.T, s ledger.Store) {
	c := full(moment())
	(&batches{t: t, s: s}).write(ledger.Batch{
		Calls: []ledger.TenantCall{{Tenant: "carol", Call: c}, {Tenant: "alice", Call: c}},
		Usage: map[ledger.Part]ledger.Usage{onDay("carol"): usage(1), onDay("alice"): usage(2)},
	})
	if got := list(t, s, "carol", ledger.Selection{}, 100); len(got) != 0 {
		t.Errorf("Calls of no tenant = %+v, want none", got)
	}
	if got := sums(t, s, "carol", today); len(got) != 0 {
		t.Errorf("Usage of no tenant = %+v, want none", got)
	}
	if got := sums(t, s, "alice", today); len(got) != 1 || got[0].Usage != usage(2) || len(list(t, s, "alice", ledger.Selection{}, 100)) != 1 {
		t.Errorf("Usage beside that of no tenant = %+v, want it, and the call", got)
	}
}

func testTooMany(t *testing.T, s ledger.Store) {
	b := &batches{t: t, s: s}
	add := func(from, to int) {
		batch := ledger.Batch{Usage: map[ledger.Part]ledger.Usage{}}
		for i := from; i < to; i++ {
			part := onDay("alice")
			part.Key = fmt.Sprintf("key_%d", i)
			batch.Usage[part] = usage(1)
		}
		b.write(batch)
	}
	byKey := today
	byKey.ByKey = true
	add(0, ledger.MaxSums)
	if got := sums(t, s, "alice", byKey); len(got) != ledger.MaxSums {
		t.Errorf("Usage = %d sums, want %d", len(got), ledger.MaxSums)
	}
	add(ledger.MaxSums, ledger.MaxSums+1)
	if _, err := s.Usage(t.Context(), "alice", byKey); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Usage of more than %d sums = %v, want ErrInvalid", ledger.MaxSums, err)
	}
}

func testSweep(t *testing.T, s ledger.Store) {
	b := &batches{t: t, s: s}
	old, fresh := moment().Add(-2*time.Hour), moment().Add(-30*time.Minute)
	batch := ledger.Batch{Usage: map[ledger.Part]ledger.Usage{onDay("alice"): usage(1)}}
	const many = 6000 // more than one transaction takes
	for i := range many {
		batch.Calls = append(batch.Calls, ledger.TenantCall{Tenant: "alice", Call: full(old.Add(time.Duration(i) * time.Millisecond))})
	}
	of := full(old)
	kept := []ledger.Call{full(fresh)}
	batch.Calls = append(batch.Calls, ledger.TenantCall{Tenant: "bob", Call: of}, ledger.TenantCall{Tenant: "alice", Call: kept[0]}, ledger.TenantCall{Tenant: "bob", Call: kept[0]})
	b.write(batch)
	if n, err := s.Sweep(t.Context(), time.Hour); n != many+1 || err != nil {
		t.Errorf("Sweep = %d, %v, want %d", n, err, many+1)
	}
	for _, tenant := range []knowledge.TenantID{"alice", "bob"} {
		wantSame(t, "what is left of "+string(tenant), list(t, s, tenant, ledger.Selection{}, 100), kept)
	}
	if got := sums(t, s, "alice", today); len(got) != 1 || got[0].Usage != usage(1) {
		t.Errorf("usage after the sweep = %+v, want it as it was", got)
	}
	if n, err := s.Sweep(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("Sweep once more = %d, %v, want none", n, err)
	}
}
