package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// testWriteVersions: each way of writing raises the number of a collection that keeps
// answers, in the transaction of the write, and nothing else does.
func testWriteVersions(t *testing.T, s suite) {
	ctx := t.Context()
	c := dimension("c", 2)
	c.Cache = knowledge.AnswerCache{MaxAge: time.Hour, MaxDistance: 0.1}
	if got := s.put(t, alice, c); got.Cache != c.Cache {
		t.Errorf("PutCollection keeps %+v, want %+v", got.Cache, c.Cache)
	}
	s.put(t, alice, dimension("plain", 2))
	s.alias(t, "a", "c")
	s.view(t, knowledge.View{Name: "v", Collection: "a", Filter: knowledge.Filter{Op: knowledge.OpAnd}})
	names := []knowledge.CollectionName{"c", "a", "v", "plain", "none"}
	last := int64(0)
	wantRaised := func(what string, raised bool) {
		t.Helper()
		got, err := s.Store.WriteVersions(ctx, alice, names)
		if err != nil || len(got) != len(names) || got[0] == 0 || got[1] != got[0] || got[2] != got[0] || got[3] != 0 || got[4] != 0 {
			t.Fatalf("WriteVersions after %s = %v, %v, want one number for all names of c, and 0", what, got, err)
		}
		if (got[0] != last) != raised {
			t.Errorf("after %s the number is %d, was %d, want it raised: %v", what, got[0], last, raised)
		}
		last = got[0]
	}
	wantRaised("making it", true)
	record := func(id knowledge.RecordID) knowledge.Record {
		return knowledge.Record{ID: id, Text: "t", Vector: []float32{1, 0}}
	}
	s.write(t, alice, "c", record("1"), record("2"), record("3"))
	wantRaised("a write", true)
	s.write(t, alice, "a", record("4"))
	wantRaised("a write by its alias", true)
	s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 1})
	wantRaised("a search", false)
	s.write(t, alice, "plain", record("1"))
	wantRaised("a write to another", false)
	if _, err := s.Store.PatchRecord(ctx, alice, "c", knowledge.Patch{ID: "1", Metadata: map[string]any{"a": 1.0}}); err != nil {
		t.Fatal(err)
	}
	wantRaised("a patch", true)
	if err := s.Store.DeleteRecord(ctx, alice, "c", "1"); err != nil {
		t.Fatal(err)
	}
	wantRaised("a deletion", true)
	if _, err := s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{IDs: []knowledge.RecordID{"2"}}, 10); err != nil {
		t.Fatal(err)
	}
	wantRaised("a deletion by ids", true)
	failure := errors.New("as asked")
	if err := s.Store.Atomically(ctx, alice, func(session knowledge.Session) error {
		if _, err := session.PutRecords(ctx, alice, "c", knowledge.Write{Records: []knowledge.Record{record("9")}}); err != nil {
			return err
		}
		return failure
	}); !errors.Is(err, failure) {
		t.Fatal(err)
	}
	wantRaised("a write that was taken back", false)
	if err := s.Store.Atomically(ctx, alice, func(session knowledge.Session) error {
		_, err := session.PutRecords(ctx, alice, "c", knowledge.Write{Records: []knowledge.Record{record("9")}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	wantRaised("a write in a transaction", true)
	if s.Spread != nil {
		s.Spread(t, alice, "c", 1)
		wantRaised("being carried over", false)
	}
	if got, err := s.Store.WriteVersions(knowledge.LimitToViews(ctx, []knowledge.CollectionName{"v"}), alice, names); err != nil || !slices.Equal(got, []int64{0, 0, last, 0, 0}) {
		t.Errorf("WriteVersions of who is limited to the view = %v, %v, want its number alone", got, err)
	}
	if got, err := s.Store.WriteVersions(ctx, bob, names); err != nil || !slices.Equal(got, make([]int64, len(names))) {
		t.Errorf("WriteVersions of another tenant = %v, %v, want zeros", got, err)
	}

	if _, err := s.tryChange(t, "c", 0, func(c *knowledge.Collection) { c.Cache = knowledge.AnswerCache{} }); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Store.WriteVersions(ctx, alice, names[:1]); err != nil || got[0] != 0 {
		t.Errorf("WriteVersions of one that keeps no answers any more = %v, %v, want 0", got, err)
	}
	if _, err := s.tryChange(t, "c", 0, func(c *knowledge.Collection) { c.Cache = knowledge.AnswerCache{MaxAge: time.Minute} }); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Store.WriteVersions(ctx, alice, names[:1]); err != nil || got[0] == 0 || got[0] == last {
		t.Errorf("WriteVersions of one that keeps them again = %v, %v, want a number that never was", got, err)
	}
}

// testEarliestExpiry: of those that are asked for and there.
func testEarliestExpiry(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	soon, later := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond), time.Now().Add(2*time.Hour).UTC().Truncate(time.Microsecond)
	record := func(id knowledge.RecordID, at time.Time) knowledge.Record {
		return knowledge.Record{ID: id, Text: "t", Vector: []float32{1, 0}, Expires: at}
	}
	s.write(t, alice, "c", record("stays", time.Time{}), record("soon", soon), record("later", later))
	for _, tc := range []struct {
		ids  []knowledge.RecordID
		want time.Time
	}{
		{nil, time.Time{}},
		{[]knowledge.RecordID{"stays", "unknown"}, time.Time{}},
		{[]knowledge.RecordID{"stays", "later"}, later},
		{[]knowledge.RecordID{"later", "soon"}, soon},
	} {
		if got, err := s.Store.EarliestExpiry(t.Context(), alice, "c", tc.ids); err != nil || !got.Equal(tc.want) {
			t.Errorf("EarliestExpiry of %v = %v, %v, want %v", tc.ids, got, err, tc.want)
		}
	}
	if _, err := s.Store.EarliestExpiry(t.Context(), alice, "none", nil); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("EarliestExpiry of an unknown collection = %v, want ErrNotFound", err)
	}
}
