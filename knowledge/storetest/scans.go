package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// numbered are n records with their number in the metadata, as field n.
func numbered(n int) []knowledge.Record {
	list := make([]knowledge.Record, n)
	for i := range list {
		list[i] = knowledge.Record{
			ID: knowledge.RecordID(fmt.Sprintf("%05d", i)), Vector: []float32{1, float32(i)},
			Metadata: map[string]any{"n": float64(i), "even": i%2 == 0},
		}
	}
	return list
}

func testDeleteRecords(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.write(t, alice, "c", record("a", ""), record("b", ""), record("c", ""), record("d", ""))
	past := record("past", "")
	past.Expires = time.Now().Add(-time.Hour)
	s.write(t, alice, "c", past)
	got, err := s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{IDs: []knowledge.RecordID{"b", "none", "a", "past", "b"}}, 100)
	if want := (knowledge.Deleted{Count: 2}); got != want || err != nil {
		t.Errorf("DeleteRecords = %+v, %v, want %+v", got, err, want)
	}
	s.wantTexts(t, "deleting a and b", "c", texts{"c": " v1", "d": " v1"})
	got, err = s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{IDs: []knowledge.RecordID{"c", "d"}}, 1)
	if want := (knowledge.Deleted{Count: 1, More: true}); got != want || err != nil {
		t.Errorf("DeleteRecords of at most one = %+v, %v, want %+v", got, err, want)
	}
	for what, selection := range map[string]knowledge.Selection{
		"nothing":      {},
		"ids and all":  {IDs: []knowledge.RecordID{"c"}, All: true},
		"filter, all":  {Filter: eq("f", 1.0), All: true},
		"ids, filter":  {IDs: []knowledge.RecordID{"c"}, Filter: eq("f", 1.0)},
		"no ids":       {IDs: []knowledge.RecordID{}},
		"too many ids": {IDs: make([]knowledge.RecordID, knowledge.MaxBatch+1)},
		"a bad id":     {IDs: []knowledge.RecordID{""}},
		"a bad filter": {Filter: eq("", 1.0)},
	} {
		_, err := s.Store.DeleteRecords(ctx, alice, "c", selection, 100)
		wantKind(t, "DeleteRecords with "+what, err, knowledge.ErrInvalid)
	}
	_, err = s.Store.DeleteRecords(ctx, bob, "c", knowledge.Selection{All: true}, 100)
	wantKind(t, "DeleteRecords of another's", err, knowledge.ErrNotFound)
	if left := s.texts(t, "c"); len(left) != 1 {
		t.Errorf("there is %v, want one record", left)
	}
}

func testDeleteByFilter(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.put(t, alice, dimension("other", 2))
	s.write(t, alice, "c", numbered(12_000)...)
	s.write(t, alice, "other", numbered(10)...)
	remaining := func() int64 {
		count, err := s.Store.CountRecords(ctx, alice, "c", knowledge.Filter{}, true)
		if err != nil {
			t.Fatalf("CountRecords = %v, want nil", err)
		}
		return count.Records
	}
	got, err := s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{Filter: eq("even", true)}, 1_000)
	if want := (knowledge.Deleted{Count: 1_000, More: true}); got != want || err != nil || remaining() != 11_000 {
		t.Errorf("DeleteRecords of at most 1,000 = %+v, %v, leaves %d, want %+v", got, err, remaining(), want)
	}
	got, err = s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{Filter: eq("even", true)}, 1_000_000)
	if want := (knowledge.Deleted{Count: 5_000}); got != want || err != nil || remaining() != 6_000 {
		t.Errorf("DeleteRecords of the rest = %+v, %v, leaves %d, want %+v", got, err, remaining(), want)
	}
	got, err = s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{All: true}, 1_000_000)
	if want := (knowledge.Deleted{Count: 6_000}); got != want || err != nil || remaining() != 0 {
		t.Errorf("DeleteRecords of all = %+v, %v, leaves %d, want %+v", got, err, remaining(), want)
	}
	if left := s.texts(t, "other"); len(left) != 10 {
		t.Errorf("the other collection has %d records, want 10", len(left))
	}
}

func testCount(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.put(t, bob, dimension("c", 2))
	s.write(t, alice, "c", numbered(300)...)
	past := record("past", "")
	past.Expires = time.Now().Add(-time.Hour)
	s.write(t, alice, "c", past)
	for _, test := range []struct {
		tenant knowledge.TenantID
		filter knowledge.Filter
		want   int64
	}{
		{alice, knowledge.Filter{}, 300},
		{alice, eq("even", true), 150},
		{alice, compare(knowledge.OpLt, "n", 7.0), 7},
		{alice, eq("none", 1.0), 0},
		{bob, knowledge.Filter{}, 0},
	} {
		got, err := s.Store.CountRecords(ctx, test.tenant, "c", test.filter, true)
		if want := (knowledge.Count{Records: test.want}); got != want || err != nil {
			t.Errorf("CountRecords(%s, %v) = %+v, %v, want %+v", test.tenant, test.filter, got, err, want)
		}
		if got, err := s.Store.CountRecords(ctx, test.tenant, "c", test.filter, false); err != nil || got.Records < 0 {
			t.Errorf("an estimate for %s, %v = %+v, %v, want a number", test.tenant, test.filter, got, err)
		}
	}
	_, err := s.Store.CountRecords(ctx, alice, "none", knowledge.Filter{}, false)
	wantKind(t, "CountRecords of an unknown collection", err, knowledge.ErrNotFound)
	_, err = s.Store.CountRecords(ctx, alice, "c", eq("", 1.0), true)
	wantInvalid(t, "CountRecords with a bad filter", err, "filter.field")
}

// scrolled are the records of all pages of so many.
func (s suite) scrolled(t testing.TB, reader knowledge.Reader, name knowledge.CollectionName, scroll knowledge.Scroll) []knowledge.Record {
	t.Helper()
	var all []knowledge.Record
	for {
		page, err := reader.ScrollRecords(t.Context(), alice, name, scroll)
		if err != nil || len(page.Records) > scroll.Limit || page.More && len(page.Records) == 0 {
			t.Fatalf("ScrollRecords = %d records, more %v, %v, want up to %d", len(page.Records), page.More, err, scroll.Limit)
		}
		if all = append(all, page.Records...); !page.More {
			return all
		}
		scroll.After = page.Records[len(page.Records)-1].ID
	}
}

func testScroll(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	records := numbered(25)
	records[3].Text = "text"
	past := record("00003x", "")
	past.Expires = time.Now().Add(-time.Hour)
	s.write(t, alice, "c", records...)
	s.write(t, alice, "c", past, knowledge.Record{ID: "ü", Vector: []float32{0, 1}}, knowledge.Record{ID: "Z", Vector: []float32{0, 1}})
	want := []knowledge.RecordID{}
	for _, r := range records {
		want = append(want, r.ID)
	}
	want = append(want, "Z", "ü") // by code point
	for _, limit := range []int{1, 7, 26, 27, knowledge.MaxScroll} {
		var got []knowledge.RecordID
		for _, r := range s.scrolled(t, s.Store, "c", knowledge.Scroll{Limit: limit}) {
			got = append(got, r.ID)
			if r.Text != "" || r.Vector != nil || r.Metadata != nil || r.Version != 1 || r.Created.IsZero() {
				t.Errorf("ScrollRecords gives %+v, want only what was asked for", r)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("ScrollRecords by %d = %q, want %q", limit, got, want)
		}
	}
	all := knowledge.Scroll{Limit: 100, Text: true, Vector: true, Metadata: true, After: "00002", Filter: compare(knowledge.OpLt, "n", 5.0)}
	page, err := s.Store.ScrollRecords(t.Context(), alice, "c", all)
	if err != nil || len(page.Records) != 2 || page.More {
		t.Fatalf("ScrollRecords = %+v, %v, want records 3 and 4", page, err)
	}
	one, err := s.Store.Record(t.Context(), alice, "c", "00003")
	if err != nil || !reflect.DeepEqual(page.Records[0], one) {
		t.Errorf("ScrollRecords = %+v, want it as Record gives it: %+v", page.Records[0], one)
	}
	for _, limit := range []int{0, -1, knowledge.MaxScroll + 1} {
		_, err := s.Store.ScrollRecords(t.Context(), alice, "c", knowledge.Scroll{Limit: limit})
		wantInvalid(t, fmt.Sprintf("ScrollRecords by %d", limit), err, "limit")
	}
	_, err = s.Store.ScrollRecords(t.Context(), bob, "c", knowledge.Scroll{Limit: 1})
	wantKind(t, "ScrollRecords of another's", err, knowledge.ErrNotFound)
	s.put(t, alice, dimension("empty", 2))
	if got := s.scrolled(t, s.Store, "empty", knowledge.Scroll{Limit: 3}); len(got) != 0 {
		t.Errorf("ScrollRecords of an empty collection = %v, want none", got)
	}

	large := strings.Repeat("x", knowledge.MaxText)
	s.put(t, alice, dimension("large", 2))
	for i := range 20 {
		s.write(t, alice, "large", record(knowledge.RecordID(fmt.Sprintf("%02d", i)), large))
	}
	if got := s.scrolled(t, s.Store, "large", knowledge.Scroll{Limit: 100, Text: true}); len(got) != 20 || got[19].Text != large {
		t.Errorf("ScrollRecords of large records = %d, want 20 with their texts", len(got))
	}
}

// testScrollWhileWriting scrolls while other records come, go and change: those
// that are there throughout are met once, in order.
func testScrollWhileWriting(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	steady := numbered(400)
	s.write(t, alice, "c", steady...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				id := knowledge.RecordID(fmt.Sprintf("%05d+%d", (round*37+w)%400, w))
				coming := []knowledge.Record{{ID: id, Vector: []float32{1, 1}}, steady[(round*13+w)%400]}
				if _, err := s.putRecords(ctx, alice, "c", coming); err != nil && ctx.Err() == nil {
					t.Errorf("PutRecords = %v, want nil", err)
				}
				if err := s.Store.DeleteRecord(ctx, alice, "c", id); err != nil && ctx.Err() == nil {
					t.Errorf("DeleteRecord = %v, want nil", err)
				}
			}
		})
	}
	for range 5 {
		met := map[knowledge.RecordID]int{}
		list := s.scrolled(t, s.Store, "c", knowledge.Scroll{Limit: 23})
		for _, r := range list {
			met[r.ID]++
		}
		if !slices.IsSortedFunc(list, func(a, b knowledge.Record) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
			t.Error("ScrollRecords is not in order of ids")
		}
		for _, r := range steady {
			if met[r.ID] != 1 {
				t.Errorf("ScrollRecords met %s %d times, want once", r.ID, met[r.ID])
			}
		}
	}
	cancel()
	wg.Wait()
}
