package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

func testRoundTrip(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 3))
	future := time.Date(2999, 12, 31, 23, 59, 59, 123456000, time.UTC)
	records := []knowledge.Record{
		{ID: "plain", Text: "text", Vector: []float32{1, 2, 3}},
		{ID: `'"; DROP TABLE records; --\`, Text: `'"\ %s $1 @id ::text`, Vector: []float32{1e-15, 1e15, -0.1}},
		{ID: "日本語/é/e\u0301/🦜?&=#", Text: "naïve \u2028 \U0001F99C\r\n\t\x01", Vector: []float32{math.SmallestNonzeroFloat32, 1, math.Nextafter32(1, 2)}},
		{ID: knowledge.RecordID(strings.Repeat("i", knowledge.MaxRecordID)), Text: strings.Repeat("x", knowledge.MaxText), Vector: []float32{1, 0, 0}},
		{ID: " ", Vector: []float32{-1, -2, -3}, Expires: future},
		{ID: "meta", Vector: []float32{1, 1, 1}, Metadata: map[string]any{
			"": "empty key", "null": nil, "true": true, "false": false, "str": `q"'\ 🦜 </script>`,
			"int": 42.0, "big": 9007199254740993.0, "huge": math.MaxFloat64, "tiny": math.SmallestNonzeroFloat64, "neg": -0.1, "third": 1.0 / 3,
			"list": []any{nil, true, 1.5, "x", []any{}, map[string]any{}}, "deep": map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": nil}}}},
			"__proto__": "x", "a.b": "dots", "$where": "dollar", "ключ": "значение",
		}},
	}
	versions, err := s.putRecords(t.Context(), alice, "c", records)
	if want := slices.Repeat([]int64{1}, len(records)); !slices.Equal(versions, want) || err != nil {
		t.Fatalf("PutRecords = %v, %v, want %v", versions, err, want)
	}
	for _, want := range records {
		got, err := s.Store.Record(t.Context(), alice, "c", want.ID)
		if err != nil {
			t.Errorf("Record(%.20q) = %v, want nil", want.ID, err)
			continue
		}
		if age := time.Since(got.Created); age < -time.Minute || age > time.Minute || !got.Updated.Equal(got.Created) {
			t.Errorf("Record(%.20q) was created %v and updated %v, want now", want.ID, got.Created, got.Updated)
		}
		want.Version, want.Created, want.Updated = 1, got.Created, got.Updated
		if want.Metadata == nil {
			want.Metadata = map[string]any{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Record(%.20q) = %.500v, want %.500v", want.ID, got, want)
		}
	}
	found := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 1, 1}, Limit: 1})
	if len(found.Matches) != 1 || !reflect.DeepEqual(found.Matches[0].Metadata, records[5].Metadata) {
		t.Errorf("Search = %.500v, want the metadata that was put", found.Matches)
	}
	if c, err := s.Store.Collection(t.Context(), alice, "c"); c.Records != int64(len(records)) || err != nil {
		t.Errorf("Collection.Records = %d, %v, want %d", c.Records, err, len(records))
	}
}

func testVersions(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	record := func(id knowledge.RecordID, text string) knowledge.Record {
		return knowledge.Record{ID: id, Text: text, Vector: []float32{1, 0}, Metadata: map[string]any{text: true}}
	}
	s.write(t, alice, "c", record("b", "old"))
	first, _ := s.Store.Record(ctx, alice, "c", "b")
	versions, err := s.putRecords(ctx, alice, "c", []knowledge.Record{record("c", "new"), record("b", "new"), record("a", "new")})
	if want := []int64{1, 2, 1}; !slices.Equal(versions, want) || err != nil {
		t.Errorf("PutRecords(c, b, a) = %v, %v, want %v", versions, err, want)
	}
	got, err := s.Store.Record(ctx, alice, "c", "b")
	if got.Text != "new" || got.Version != 2 || len(got.Metadata) != 1 || got.Metadata["new"] != true || err != nil {
		t.Errorf("Record(b) = %+v, %v, want all of the new one, version 2", got, err)
	}
	if !got.Created.Equal(first.Created) || got.Updated.Before(first.Updated) {
		t.Errorf("Record(b) was created %v, updated %v, want created as before, %v", got.Created, got.Updated, first.Created)
	}
	if err := s.Store.DeleteRecord(ctx, alice, "c", "b"); err != nil {
		t.Fatalf("DeleteRecord(b) = %v, want nil", err)
	}
	if versions, err := s.putRecords(ctx, alice, "c", []knowledge.Record{record("b", "again")}); !slices.Equal(versions, []int64{1}) || err != nil {
		t.Errorf("PutRecords after a delete = %v, %v, want version 1", versions, err)
	}
}

func testRefusedBatch(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	good := knowledge.Record{ID: "good", Vector: []float32{1, 0}}
	bad := func(change func(*knowledge.Record)) []knowledge.Record {
		r := knowledge.Record{ID: "bad", Vector: []float32{1, 0}}
		change(&r)
		return []knowledge.Record{good, r}
	}
	inf := float32(math.Inf(1))
	for _, test := range []struct {
		field   string
		records []knowledge.Record
	}{
		{"records", nil},
		{"records", make([]knowledge.Record, knowledge.MaxBatch+1)},
		{"records[1].id", []knowledge.Record{good, good}},
		{"records[1].id", bad(func(r *knowledge.Record) { r.ID = "" })},
		{"records[1].id", bad(func(r *knowledge.Record) { r.ID = "a\x00b" })},
		{"records[1].text", bad(func(r *knowledge.Record) { r.Text = "a\x00b" })},
		{"records[1].text", bad(func(r *knowledge.Record) { r.Text = "\xff" })},
		{"records[1].vector", bad(func(r *knowledge.Record) { r.Vector = nil })},
		{"records[1].vector", bad(func(r *knowledge.Record) { r.Vector = []float32{1} })},
		{"records[1].vector", bad(func(r *knowledge.Record) { r.Vector = []float32{1, 2, 3} })},
		{"records[1].vector", bad(func(r *knowledge.Record) { r.Vector = []float32{0, 0} })},
		{"records[1].vector[1]", bad(func(r *knowledge.Record) { r.Vector = []float32{1, inf} })},
		{"records[1].vector[0]", bad(func(r *knowledge.Record) { r.Vector = []float32{inf - inf, 1} })},
		{"records[1].metadata.k", bad(func(r *knowledge.Record) { r.Metadata = map[string]any{"k": "\x00"} })},
		{"records[1].metadata.k", bad(func(r *knowledge.Record) { r.Metadata = map[string]any{"k": math.NaN()} })},
	} {
		_, err := s.putRecords(t.Context(), alice, "c", test.records)
		wantInvalid(t, fmt.Sprintf("PutRecords(%.200v)", test.records), err, test.field)
	}
	if c, err := s.Store.Collection(t.Context(), alice, "c"); c.Records != 0 || err != nil {
		t.Errorf("Collection.Records = %d, %v after refused batches, want 0", c.Records, err)
	}

	half := knowledge.Collection{
		Name: "half", Metric: knowledge.L2, Index: knowledge.Index{Kind: knowledge.IndexHNSW},
		Embedder: knowledge.EmbedderInfo{Dimension: knowledge.MaxFullDimension + 1},
	}
	s.put(t, alice, half)
	v := make([]float32, knowledge.MaxFullDimension+1)
	v[7] = 65505
	_, err := s.putRecords(t.Context(), alice, "half", []knowledge.Record{{ID: "1", Vector: v}})
	wantInvalid(t, "PutRecords beyond half precision", err, "records[0].vector[7]")
	v[7] = 65504
	s.write(t, alice, "half", knowledge.Record{ID: "1", Vector: v})
}

func testLargeBatch(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 4))
	records := newRandom(1, 4).records(knowledge.MaxBatch)
	s.write(t, alice, "c", records...)
	versions, err := s.putRecords(t.Context(), alice, "c", records)
	if want := slices.Repeat([]int64{2}, len(records)); !slices.Equal(versions, want) || err != nil {
		t.Errorf("PutRecords of %d known records = %.50v, %v, want version 2 of each", len(records), versions, err)
	}
	for _, i := range []int{0, 999, 1000, 1001, knowledge.MaxBatch - 1} {
		got, err := s.Store.Record(t.Context(), alice, "c", records[i].ID)
		if err != nil || !slices.Equal(got.Vector, records[i].Vector) {
			t.Errorf("Record(%s).Vector = %v, %v, want %v", records[i].ID, got.Vector, err, records[i].Vector)
		}
	}
	if c, err := s.Store.Collection(t.Context(), alice, "c"); c.Records != knowledge.MaxBatch || err != nil {
		t.Errorf("Collection.Records = %d, %v, want %d", c.Records, err, knowledge.MaxBatch)
	}
}

func testExpiry(t *testing.T, s suite) {
	ctx := t.Context()
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		name := knowledge.CollectionName("expiry-" + string(kind))
		c := dimension(name, 2)
		c.Index.Kind = kind
		s.put(t, alice, c)
		record := func(id knowledge.RecordID, expires time.Time) knowledge.Record {
			return knowledge.Record{ID: id, Vector: []float32{1, 0}, Expires: expires}
		}
		past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		s.write(t, alice, name, record("gone", time.Time{}), record("never", time.Time{}), record("later", future))
		s.write(t, alice, name, record("gone", past))

		_, err := s.Store.Record(ctx, alice, name, "gone")
		wantKind(t, "Record of an expired one", err, knowledge.ErrNotFound)
		found := s.search(t, alice, knowledge.Search{Collection: name, Vector: []float32{1, 0}, Limit: 10})
		if got, want := ids(found.Matches), []knowledge.RecordID{"later", "never"}; !slices.Equal(got, want) {
			t.Errorf("Search = %q, want %q", got, want)
		}
		if got, err := s.Store.Collection(ctx, alice, name); got.Records != 2 || err != nil {
			t.Errorf("Collection.Records = %d, %v, want 2", got.Records, err)
		}
		// What replaces an expired record is new, whether that was swept or not.
		versions, err := s.putRecords(ctx, alice, name, []knowledge.Record{record("gone", future)})
		if !slices.Equal(versions, []int64{1}) || err != nil {
			t.Errorf("PutRecords over an expired record = %v, %v, want version 1", versions, err)
		}
		s.write(t, alice, name, record("gone", past))
		wantKind(t, "DeleteRecord of an expired one", s.Store.DeleteRecord(ctx, alice, name, "gone"), knowledge.ErrNotFound)
	}
}

func testDeleteRecord(t *testing.T, s suite) {
	ctx := t.Context()
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		name := knowledge.CollectionName("delete-" + string(kind))
		c := dimension(name, 8)
		c.Index.Kind = kind
		s.put(t, alice, c)
		records := newRandom(2, 8).records(300)
		s.write(t, alice, name, records...)
		for _, r := range records[:280] {
			if err := s.Store.DeleteRecord(ctx, alice, name, r.ID); err != nil {
				t.Fatalf("DeleteRecord(%s) = %v, want nil", r.ID, err)
			}
		}
		wantKind(t, "DeleteRecord again", s.Store.DeleteRecord(ctx, alice, name, "r0"), knowledge.ErrNotFound)
		wantKind(t, "DeleteRecord of an unknown one", s.Store.DeleteRecord(ctx, alice, name, "x"), knowledge.ErrNotFound)
		found := s.search(t, alice, knowledge.Search{Collection: name, Vector: records[0].Vector, Limit: 20})
		got := ids(found.Matches)
		slices.Sort(got)
		var want []knowledge.RecordID
		for _, r := range records[280:] {
			want = append(want, r.ID)
		}
		if slices.Sort(want); !slices.Equal(got, want) || found.Short {
			t.Errorf("Search(%s) after deleting 280 of 300 = %q, short %v, want the other 20: %q", kind, got, found.Short, want)
		}
	}
}

func testConcurrentUpserts(t *testing.T, s suite) {
	const writers, rounds, n = 8, 10, 20
	s.put(t, alice, dimension("c", 2))
	seen := make([][]int64, writers) // versions given, of the record that all write
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := newRandom(uint64(w), 2)
			for range rounds {
				batch := r.records(n)
				r.Shuffle(n, func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
				versions, err := s.putRecords(t.Context(), alice, "c", batch)
				if err != nil {
					t.Errorf("PutRecords by writer %d = %v, want nil", w, err)
					return
				}
				for i := range batch {
					if batch[i].ID == "r0" {
						seen[w] = append(seen[w], versions[i])
					}
				}
			}
		})
	}
	wg.Wait()
	all := slices.Concat(seen...)
	slices.Sort(all)
	for i, version := range all {
		if version != int64(i+1) {
			t.Fatalf("versions given of one record = %v, want 1 to %d, each once", all, writers*rounds)
		}
	}
	if got, err := s.Store.Record(t.Context(), alice, "c", "r1"); got.Version != writers*rounds || err != nil {
		t.Errorf("Record(r1).Version = %d, %v, want %d", got.Version, err, writers*rounds)
	}
}

// testDeleteWhileWriting looks for records that outlive their collection and
// for writes that fail in another way than by not finding it.
func testDeleteWhileWriting(t *testing.T, s suite) {
	c := dimension("c", 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.put(t, alice, c)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			batch := newRandom(uint64(w), 2).records(30)
			for ctx.Err() == nil {
				_, err := s.putRecords(ctx, alice, "c", batch)
				if err != nil && !errors.Is(err, knowledge.ErrNotFound) && ctx.Err() == nil {
					t.Errorf("PutRecords while deleting = %v, want nil or not found", err)
				}
				found, err := s.Store.Search(ctx, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 100})
				if err != nil && !errors.Is(err, knowledge.ErrNotFound) && ctx.Err() == nil || len(found.Matches)%30 != 0 {
					t.Errorf("Search while deleting = %d matches, %v, want none, all 30, or not found", len(found.Matches), err)
				}
			}
		})
	}
	for range 15 {
		if err := s.Store.DeleteCollection(t.Context(), alice, "c"); err != nil {
			t.Errorf("DeleteCollection = %v, want nil", err)
		}
		if stored := s.put(t, alice, c); stored.Records%30 != 0 {
			t.Errorf("a new collection has %d records, want 0 or 30", stored.Records)
		}
	}
	cancel()
	wg.Wait()
}
