// Package audittest tests what [audit.Store] promises, and has one in memory.
package audittest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
)

// Run tests a store. It calls open once for each test, which returns an empty store and,
// of the same, as another node has it.
func Run(t *testing.T, open func(t *testing.T) (one, other audit.Store)) {
	for name, test := range map[string]func(*testing.T, audit.Store, audit.Store){
		"ComesBack": testComesBack, "Lists": testLists, "Twice": testTwice, "OfOthers": testOfOthers, "OneChain": testOneChain,
		"After": testAfter, "Sweep": testSweep, "Log": testLog,
	} {
		t.Run(name, func(t *testing.T) {
			one, other := open(t)
			test(t, one, other)
		})
	}
}

// Event is an event with something in each field.
func Event(n int) audit.Event {
	return audit.Event{
		At: time.Now(), Actor: fmt.Sprintf("key_%d", n%3), Remote: "2001:db8::1", Operation: "putRecords", Kind: "collection", Name: fmt.Sprintf("c%d", n),
		Status: 200, Outcome: audit.OutcomeOK, RequestID: fmt.Sprintf("request-%d", n), Details: []string{"records", "mode"},
	}.Normal()
}

func put(t *testing.T, s audit.Store, owner knowledge.TenantID, events ...audit.Event) {
	t.Helper()
	if err := s.Append(t.Context(), owner, events); err != nil {
		t.Fatalf("Append = %v, want nil", err)
	}
}

// All returns the entries of a log, and where they begin and end.
func All(t *testing.T, s audit.Reader, owner knowledge.TenantID, after int64) (entries []audit.Entry, first, last audit.Mark) {
	t.Helper()
	err := s.Walk(t.Context(), owner, after, func(from, to audit.Mark) error {
		first, last = from, to
		return nil
	}, func(e audit.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatalf("Walk = %v, want nil", err)
	}
	return entries, first, last
}

// Check fails the test unless the log is one chain of so many events.
func Check(t *testing.T, s audit.Reader, owner knowledge.TenantID, want int64) {
	t.Helper()
	end, err := Verify(t.Context(), s, owner)
	if err != nil || end.Seq != want {
		t.Errorf("the log of %s ends at %d, %v, want one chain of %d", owner, end.Seq, err, want)
	}
}

// Verify checks a log from its beginning.
func Verify(ctx context.Context, s audit.Reader, owner knowledge.TenantID) (audit.Mark, error) {
	return audit.Verify(func(begin func(first, last audit.Mark) error, each func(audit.Entry) error) error {
		return s.Walk(ctx, owner, 0, begin, each)
	}, owner)
}

func testComesBack(t *testing.T, s, _ audit.Store) {
	wild := audit.Event{At: time.Now(), Actor: "key\x00\n", Name: strings.Repeat("ä", 1000) + "\xff", Details: []string{"b\nc", "a", "", "a"}}.Normal()
	want := []audit.Event{Event(1), wild, audit.Event{At: time.Now()}.Normal()}
	put(t, s, "alice", want...)
	entries, first, last := All(t, s, "alice", 0)
	if first != (audit.Mark{}) || len(entries) != 3 || last != entries[2].Mark() {
		t.Fatalf("Walk gave %d entries from %d to %d, want 3 from the beginning to the last", len(entries), first.Seq, last.Seq)
	}
	for i, e := range entries {
		if !reflect.DeepEqual(e.Event, want[i]) || e.Seq != int64(i+1) {
			t.Errorf("entry %d = %+v\nwant %+v", e.Seq, e.Event, want[i])
		}
	}
	Check(t, s, "alice", 3)
}

func testLists(t *testing.T, s, _ audit.Store) {
	start := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for n := range 9 {
		e := Event(n)
		e.At = start.Add(time.Duration(n) * time.Minute)
		if n == 4 {
			e.Operation, e.Kind, e.Name, e.Status, e.Outcome = "deleteView", "view", "v", 403, "forbidden"
		}
		put(t, s, "alice", e)
	}
	for what, test := range map[string]struct {
		s     audit.Selection
		limit int
		want  []int64
	}{
		"all, the newest first": {audit.Selection{}, 100, []int64{9, 8, 7, 6, 5, 4, 3, 2, 1}},
		"a page":                {audit.Selection{Before: 8}, 3, []int64{7, 6, 5}},
		"an actor's":            {audit.Selection{Actor: "key_1"}, 100, []int64{8, 5, 2}},
		"an operation's":        {audit.Selection{Operation: "deleteView"}, 100, []int64{5}},
		"an object's":           {audit.Selection{Kind: "collection", Name: "c7"}, 100, []int64{8}},
		"an outcome's":          {audit.Selection{Outcome: "forbidden"}, 100, []int64{5}},
		"some time's":           {audit.Selection{Since: start.Add(2 * time.Minute), Until: start.Add(4 * time.Minute)}, 100, []int64{4, 3}},
		"nobody's":              {audit.Selection{Actor: "key_1", Operation: "none"}, 100, nil},
	} {
		found, err := s.Events(t.Context(), "alice", test.s, test.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, e := range found {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("Events, %s = %v, want %v", what, got, test.want)
		}
	}
}

func testTwice(t *testing.T, s, other audit.Store) {
	a, b := Event(1), Event(2)
	put(t, s, "alice", a)
	put(t, other, "alice", a, b)
	put(t, s, "alice", a, b)
	Check(t, s, "alice", 2)
}

func testOfOthers(t *testing.T, s, _ audit.Store) {
	put(t, s, "alice", Event(1))
	put(t, s, "bob", Event(2), Event(3))
	put(t, s, audit.Operator, Event(4), Event(5), Event(6))
	for owner, want := range map[knowledge.TenantID]int64{"alice": 1, "bob": 2, audit.Operator: 3, "carol": 0} {
		Check(t, s, owner, want)
		if found, err := s.Events(t.Context(), owner, audit.Selection{}, 10); int64(len(found)) != want || err != nil {
			t.Errorf("events of %s = %d, %v, want %d", owner, len(found), err, want)
		}
	}
	if _, err := knowledge.ParseTenantID(string(audit.Operator)); err == nil {
		t.Error("a tenant can have the operator's log")
	}
}

// testOneChain: what many add at once, on two nodes, is one chain without gap or fork.
func testOneChain(t *testing.T, one, other audit.Store) {
	const writers, each = 8, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := []audit.Store{one, other}[w%2]
			for n := range each {
				events := []audit.Event{Event(n)}
				if n%4 == 0 {
					events = append(events, Event(n))
				}
				for _, owner := range []knowledge.TenantID{"alice", audit.Operator} {
					if err := s.Append(t.Context(), owner, events); err != nil {
						t.Errorf("Append = %v, want nil", err)
					}
				}
			}
		})
	}
	wg.Wait()
	Check(t, one, "alice", writers*each*5/4)
	Check(t, other, audit.Operator, writers*each*5/4)
}

func testAfter(t *testing.T, s, _ audit.Store) {
	for n := range 5 {
		put(t, s, "alice", Event(n))
	}
	all, _, end := All(t, s, "alice", 0)
	for after := range int64(6) {
		entries, first, last := All(t, s, "alice", after)
		if int64(len(entries)) != 5-after || first.Seq != after || last != end || after > 0 && first != all[after-1].Mark() {
			t.Errorf("Walk after %d gave %d entries from %d to %d, want the rest and its marks", after, len(entries), first.Seq, last.Seq)
		}
	}
	err := s.Walk(t.Context(), "alice", 6, func(audit.Mark, audit.Mark) error { return nil }, nil)
	if !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Walk past the end = %v, want ErrInvalid", err)
	}
	stop := errors.New("stop")
	if err := s.Walk(t.Context(), "alice", 0, func(audit.Mark, audit.Mark) error { return nil }, func(audit.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Walk whose reader has enough = %v, want its error", err)
	}
}

func testSweep(t *testing.T, s, _ audit.Store) {
	old := func(n int) audit.Event {
		e := Event(n)
		e.At = e.At.Add(-48 * time.Hour)
		return e
	}
	put(t, s, "alice", old(1), old(2), Event(3), old(4), Event(5)) // a clock was behind: the fourth stays
	put(t, s, "bob", old(1), old(2))
	put(t, s, "carol", Event(1))
	if n, err := s.Sweep(t.Context(), 24*time.Hour); n != 4 || err != nil {
		t.Errorf("Sweep = %d, %v, want 4", n, err)
	}
	if n, err := s.Sweep(t.Context(), 24*time.Hour); n != 0 || err != nil {
		t.Errorf("Sweep again = %d, %v, want 0", n, err)
	}
	for owner, want := range map[knowledge.TenantID]int64{"alice": 3, "bob": 0, "carol": 1} {
		if entries, _, _ := All(t, s, owner, 0); int64(len(entries)) != want {
			t.Errorf("%s has %d entries after the sweep, want %d", owner, len(entries), want)
		}
	}
	put(t, s, "bob", Event(3))
	Check(t, s, "alice", 5)
	Check(t, s, "bob", 3)
}

// testLog: what goes through a [audit.Log] is there, in its order, at once for who waits
// and in the end for all.
func testLog(t *testing.T, s, _ audit.Store) {
	log := audit.NewLog(s, audit.Options{})
	for n := range 50 {
		if err := log.Note(t.Context(), "alice", Event(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Record(t.Context(), "alice", Event(50)); err != nil {
		t.Fatalf("Record = %v, want nil", err)
	}
	Check(t, s, "alice", 51) // what came before it as well
	if err := log.Note(t.Context(), "bob", Event(0)); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(t.Context()); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	Check(t, s, "bob", 1)
	entries, _, _ := All(t, s, "alice", 0)
	for n, e := range entries {
		if want := fmt.Sprintf("c%d", n); e.Name != want {
			t.Errorf("entry %d is of %s, want %s", e.Seq, e.Name, want)
		}
	}
}
