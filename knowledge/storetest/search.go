package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
)

var metrics = []knowledge.Metric{knowledge.Cosine, knowledge.L2, knowledge.IP}

// testMetrics checks scores and order by hand, and against the reference.
func testMetrics(t *testing.T, s suite) {
	want := map[knowledge.Metric]map[knowledge.RecordID]float64{
		knowledge.Cosine: {"same": 1, "double": 1, "right": 0, "back": -1, "slant": math.Sqrt(0.5)},
		knowledge.L2:     {"same": 0, "double": -5, "right": -math.Sqrt(50), "back": -10, "slant": -5},
		knowledge.IP:     {"same": 25, "double": 50, "right": 0, "back": -25, "slant": 25},
	}
	for _, metric := range metrics {
		for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
			name := knowledge.CollectionName(fmt.Sprintf("%s-%s", metric, kind))
			s.put(t, alice, knowledge.Collection{Name: name, Metric: metric, Embedder: knowledge.EmbedderInfo{Dimension: 2}, Index: knowledge.Index{Kind: kind}})
			s.write(t, alice, name,
				knowledge.Record{ID: "same", Vector: []float32{3, 4}}, knowledge.Record{ID: "double", Vector: []float32{6, 8}},
				knowledge.Record{ID: "right", Vector: []float32{-4, 3}}, knowledge.Record{ID: "back", Vector: []float32{-3, -4}},
				knowledge.Record{ID: "slant", Vector: []float32{7, 1}}, // (3,4) + (4,-3)
			)
			found := s.search(t, alice, knowledge.Search{Collection: name, Vector: []float32{3, 4}, Limit: 10})
			if len(found.Matches) != 5 || found.Short {
				t.Errorf("Search(%s) = %v, short %v, want 5 matches", name, found.Matches, found.Short)
			}
			wantOrdered(t, found.Matches)
			for _, m := range found.Matches {
				if math.Abs(m.Score-want[metric][m.ID]) > 1e-5 {
					t.Errorf("Search(%s): score of %s = %v, want %v", name, m.ID, m.Score, want[metric][m.ID])
				}
			}
		}
	}
}

// wantOrdered fails unless the matches come best first, equal scores by id.
func wantOrdered(t testing.TB, matches []knowledge.Match) {
	t.Helper()
	ordered := slices.IsSortedFunc(matches, func(a, b knowledge.Match) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	if !ordered {
		t.Errorf("matches = %v, want the best first and equal scores by id", matches)
	}
}

// testMagnitudes searches vectors of all permitted lengths, with and without an
// index: order must not be lost to a format of less range.
func testMagnitudes(t *testing.T, s suite) {
	const n, dim = 200, 16
	for _, metric := range metrics {
		for _, scale := range []float32{1e-6, 1e6, 1e14} {
			for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
				name := knowledge.CollectionName(fmt.Sprintf("%s-%d-%s", metric, int(math.Log10(float64(scale)))+20, kind))
				c := knowledge.Collection{Name: name, Metric: metric, Embedder: knowledge.EmbedderInfo{Dimension: dim}, Index: knowledge.Index{Kind: kind}}
				reference := suite{Harness{Store: memstore.New(memstore.Options{})}}
				r := newRandom(4, dim)
				records := r.records(n)
				for _, record := range records {
					for i := range record.Vector {
						record.Vector[i] *= scale
					}
				}
				for _, store := range []suite{s, reference} {
					store.put(t, alice, c)
					store.write(t, alice, name, records...)
				}
				hits := 0
				for _, record := range records[:20] {
					search := knowledge.Search{Collection: name, Vector: record.Vector, Limit: 10}
					hits += common(s.search(t, alice, search).Matches, reference.search(t, alice, search).Matches)
				}
				if recall := float64(hits) / 200; recall < 0.98 {
					t.Errorf("recall of %s = %.3f, want 0.98 or more", name, recall)
				}
			}
		}
	}
}

// common counts the records that both found.
func common(a, b []knowledge.Match) int {
	n := 0
	for _, id := range ids(a) {
		if slices.Contains(ids(b), id) {
			n++
		}
	}
	return n
}

func testRefusedSearch(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	s.write(t, alice, "c", knowledge.Record{ID: "1", Vector: []float32{1, 0}})
	v, nan := []float32{1, 0}, float32(math.NaN())
	for _, test := range []struct {
		field  string
		search knowledge.Search
	}{
		{"limit", knowledge.Search{Vector: v}},
		{"limit", knowledge.Search{Vector: v, Limit: -1}},
		{"limit", knowledge.Search{Vector: v, Limit: knowledge.MaxLimit + 1}},
		{"ef", knowledge.Search{Vector: v, Limit: 1, Ef: -1}},
		{"ef", knowledge.Search{Vector: v, Limit: 1, Ef: knowledge.MaxEf + 1}},
		{"vector", knowledge.Search{Limit: 1}},
		{"vector", knowledge.Search{Vector: []float32{1}, Limit: 1}},
		{"vector", knowledge.Search{Vector: []float32{1, 2, 3}, Limit: 1}},
		{"vector", knowledge.Search{Vector: []float32{0, 0}, Limit: 1}},
		{"vector[1]", knowledge.Search{Vector: []float32{1, nan}, Limit: 1}},
		{"filter", knowledge.Search{Vector: v, Limit: 1, Filter: knowledge.Filter{Op: "like", Field: "f", Values: []any{"%"}}}},
		{"filter.gt", knowledge.Search{Vector: v, Limit: 1, Filter: compare(knowledge.OpGt, "f", true)}},
		{"filter.eq", knowledge.Search{Vector: v, Limit: 1, Filter: eq("f", nil)}},
		{"filter.eq", knowledge.Search{Vector: v, Limit: 1, Filter: eq("f", math.NaN())}},
		{"filter.and[0].field", knowledge.Search{Vector: v, Limit: 1, Filter: combine(knowledge.OpAnd, eq("a\x00", 1.0))}},
	} {
		test.search.Collection = "c"
		_, err := s.Store.Search(t.Context(), alice, test.search)
		wantInvalid(t, fmt.Sprintf("Search(%+v)", test.search), err, test.field)
	}
}

func testLimit(t *testing.T, s suite) {
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		name := knowledge.CollectionName("limit-" + string(kind))
		c := dimension(name, 4)
		c.Index.Kind = kind
		s.put(t, alice, c)
		query := knowledge.Search{Collection: name, Vector: []float32{1, 2, 3, 4}, Limit: 10}
		if found := s.search(t, alice, query); len(found.Matches) != 0 || found.Short {
			t.Errorf("Search of an empty collection = %+v, want no matches, not short", found)
		}
		s.write(t, alice, name, newRandom(5, 4).records(500)...)
		for limit, want := range map[int]int{1: 1, 499: 499, 500: 500, 501: 500, knowledge.MaxLimit: 500} {
			query.Limit = limit
			for _, exact := range []bool{false, true} {
				query.Exact = exact
				found := s.search(t, alice, query)
				if len(found.Matches) != want || found.Short {
					t.Errorf("Search(%s, limit %d, exact %v) = %d matches, short %v, want %d", kind, limit, exact, len(found.Matches), found.Short, want)
				}
				if exact && found.Plan.Method != "exact" {
					t.Errorf("Search(exact).Plan = %+v, want exact", found.Plan)
				}
				wantOrdered(t, found.Matches)
			}
		}
	}
}

func testDimensions(t *testing.T, s suite) {
	for _, dim := range []int{1, 2, 384, 1536, knowledge.MaxIndexedDimension + 1, knowledge.MaxDimension} {
		name := knowledge.CollectionName(fmt.Sprintf("d%d", dim))
		reference := suite{Harness{Store: memstore.New(memstore.Options{})}}
		records := newRandom(6, dim).records(30)
		for _, store := range []suite{s, reference} {
			store.put(t, alice, dimension(name, dim))
			store.write(t, alice, name, records...)
		}
		search := knowledge.Search{Collection: name, Vector: records[0].Vector, Limit: 20}
		got, want := s.search(t, alice, search).Matches, reference.search(t, alice, search).Matches
		for i := range want {
			if len(got) != len(want) || math.Abs(got[i].Score-want[i].Score) > 1e-5 {
				t.Errorf("Search(%s) = %v, want scores of %v", name, got, want)
				break
			}
		}
		stored, err := s.Store.Record(t.Context(), alice, name, "r7")
		if err != nil || !slices.Equal(stored.Vector, records[7].Vector) {
			t.Errorf("Record(%s).Vector = %.50v, %v, want %.50v", name, stored.Vector, err, records[7].Vector)
		}
	}
}

// testIdentical searches records that only their ids tell apart. Compared all,
// the first by id come; an index may take others, but always the same.
func testIdentical(t *testing.T, s suite) {
	const n = knowledge.MaxBatch
	const indexed = 2000 // enough for what an index does about duplicates, and soon written
	records := make([]knowledge.Record, n)
	for i := range records {
		records[i] = knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("%05d", i*7919%n)), Vector: []float32{0.1, 0.2, 0.3}}
	}
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		name := knowledge.CollectionName("identical-" + string(kind))
		c := dimension(name, 3)
		c.Index.Kind = kind
		s.put(t, alice, c)
		if kind == knowledge.IndexHNSW {
			slices.SortFunc(records, func(a, b knowledge.Record) int { return cmp.Compare(a.ID, b.ID) })
			records = records[:indexed]
		}
		s.write(t, alice, name, records...)
		search := knowledge.Search{Collection: name, Vector: []float32{0.3, 0.2, 0.1}, Limit: 50}
		first := s.search(t, alice, search)
		wantOrdered(t, first.Matches)
		if len(first.Matches) != 50 || first.Short {
			t.Errorf("Search(%s) = %d matches, short %v, want 50", kind, len(first.Matches), first.Short)
		}
		for range 3 {
			if again := s.search(t, alice, search); !slices.Equal(ids(again.Matches), ids(first.Matches)) {
				t.Errorf("Search(%s) again = %q, want %q", kind, ids(again.Matches), ids(first.Matches))
			}
		}
		search.Exact = true
		for i, id := range ids(s.search(t, alice, search).Matches) {
			if want := knowledge.RecordID(fmt.Sprintf("%05d", i)); id != want {
				t.Fatalf("Search(%s, exact): match %d = %s, want %s", kind, i, id, want)
			}
		}
	}
}

// testRecall puts a small tenant beside a large one with an index and measures
// both against the exact answer.
func testRecall(t *testing.T, s suite) {
	const large, small, dim = 20_000, 100, 24
	indexed := dimension("c", dim)
	indexed.Index = knowledge.Index{Kind: knowledge.IndexHNSW, M: 12, EfConstruction: 48} // below the default: the writes are most of this test's time
	s.put(t, alice, indexed)
	s.put(t, bob, indexed)
	r := newRandom(7, dim)
	records := r.records(large)
	for i := range records {
		records[i].Metadata = map[string]any{"percent": float64(r.IntN(100)), "permille": float64(r.IntN(1000))}
	}
	s.write(t, alice, "c", records...)
	s.write(t, bob, "c", r.records(small)...)
	for _, test := range []struct {
		name   string
		tenant knowledge.TenantID
		filter knowledge.Filter
	}{
		{"large", alice, knowledge.Filter{}},
		{"small", bob, knowledge.Filter{}},
		{"half of large", alice, compare(knowledge.OpLt, "percent", 50.0)},
		{"1 % of large", alice, eq("percent", 7.0)},
		{"1 ‰ of large", alice, eq("permille", 7.0)},
	} {
		recall, method := s.recall(t, test.tenant, test.filter, r, 50)
		t.Logf("recall@10 of %s by %s = %.4f", test.name, method, recall)
		if recall < 0.95 {
			t.Errorf("recall@10 of %s = %.4f, want 0.95 or more", test.name, recall)
		}
	}
}

// recall is the share of the exact 10 nearest that a search finds, over some
// queries, and how it went about the last. It fails t when one is short.
func (s suite) recall(t *testing.T, tenant knowledge.TenantID, filter knowledge.Filter, r *random, queries int) (share float64, method string) {
	t.Helper()
	hits, total := 0, 0
	for range queries {
		search := knowledge.Search{Collection: "c", Vector: r.vector(), Limit: 10, Filter: filter}
		got := s.search(t, tenant, search)
		method = got.Plan.Method
		search.Exact = true
		want := s.search(t, tenant, search)
		if got.Short || len(got.Matches) != len(want.Matches) {
			t.Errorf("Search(%v) = %d matches, short %v, want %d", filter, len(got.Matches), got.Short, len(want.Matches))
		}
		wantOrdered(t, got.Matches)
		hits += common(got.Matches, want.Matches)
		total += len(want.Matches)
	}
	return float64(hits) / float64(total), method
}

// testCancellation cancels calls before and in the middle.
func testCancellation(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 1000))
	s.write(t, alice, "c", newRandom(8, 1000).records(5000)...)
	search := knowledge.Search{Collection: "c", Vector: newRandom(9, 1000).vector(), Limit: 10}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Store.Search(ended, alice, search)
	wantKind(t, "Search with an ended context", err, context.Canceled)
	_, err = s.putRecords(ended, alice, "c", []knowledge.Record{{ID: "late", Vector: search.Vector}})
	wantKind(t, "PutRecords with an ended context", err, context.Canceled)
	_, err = s.Store.Record(t.Context(), alice, "c", "late")
	wantKind(t, "Record that a cancelled call would have put", err, knowledge.ErrNotFound)

	// Whenever it ends, a search returns soon, with an answer or the context's error.
	for wait := time.Microsecond; wait < 100*time.Millisecond; wait *= 3 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		start := time.Now()
		found, err := s.Store.Search(ctx, alice, search)
		if late := time.Since(start) - wait; late > time.Second {
			t.Errorf("Search returned %v after its context had ended, want at once", late)
		}
		if err == nil && len(found.Matches) != 10 {
			t.Errorf("Search = %d matches, want 10 or an error", len(found.Matches))
		}
		if err != nil {
			wantKind(t, "Search with a deadline", err, context.DeadlineExceeded)
		}
		cancel()
	}
	if found := s.search(t, alice, search); len(found.Matches) != 10 {
		t.Errorf("Search after cancelled ones = %d matches, want 10", len(found.Matches))
	}
}
