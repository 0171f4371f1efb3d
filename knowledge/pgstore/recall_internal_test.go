package pgstore

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// sampledAs is what so many samples of one recall make.
func sampledAs(n int, recalls ...float64) (m measured) {
	for i := range n {
		r := recalls[i%len(recalls)]
		m.weight, m.weightSquare = m.weight*decay+1, m.weightSquare*decay*decay+1
		m.recall, m.recallSquare = m.recall*decay+r, m.recallSquare*decay+r*r
		m.samples++
	}
	return m
}

func TestRetune(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	longAgo := now.Add(-calm - time.Second)
	for _, test := range []struct {
		name   string
		m      measured
		before tuning
		raised time.Time
		target float64
		ef     int // of the last sample
		want   tuning
	}{
		{"nothing", measured{}, tuning{ef: 7}, time.Time{}, 0.95, 100, tuning{ef: 7}},
		{"few samples", sampledAs(20, 0), tuning{}, time.Time{}, 0.95, 100, tuning{}},
		{"all missed", sampledAs(40, 0), tuning{}, time.Time{}, 0.95, 100, tuning{ef: 200}},
		{"a little missed, in doubt", sampledAs(40, 1, 1, 0.8), tuning{}, time.Time{}, 0.95, 100, tuning{}},
		{"a little missed, many samples", sampledAs(400, 1, 0.8), tuning{}, time.Time{}, 0.95, 100, tuning{ef: 200}},
		{"raised before", sampledAs(400, 0.8), tuning{ef: 200}, now, 0.95, 300, tuning{ef: 600}},
		{"up to the most", sampledAs(400, 0.8), tuning{ef: 800}, now, 0.95, 800, tuning{ef: 1000}},
		{"then exact", sampledAs(400, 0.8), tuning{ef: 1000}, now, 0.95, 1000, tuning{ef: 1000, exact: true}},
		{"no further", sampledAs(400, 0.8), tuning{ef: 1000, exact: true}, now, 0.95, 1000, tuning{ef: 1000, exact: true}},
		{"well, but raised today", sampledAs(400, 1), tuning{ef: 400}, now.Add(-time.Hour), 0.95, 400, tuning{ef: 400}},
		{"well for a day", sampledAs(400, 1), tuning{ef: 400}, longAgo, 0.95, 400, tuning{ef: 200}},
		{"exact no more", sampledAs(400, 1), tuning{ef: 1000, exact: true}, longAgo, 0.95, 1000, tuning{ef: 1000}},
		{"well, few samples", sampledAs(100, 1), tuning{ef: 400}, longAgo, 0.95, 400, tuning{ef: 400}},
		{"just enough", sampledAs(400, 1, 1, 1, 0.8), tuning{ef: 400}, longAgo, 0.95, 400, tuning{ef: 400}},
		{"nothing to lower", sampledAs(400, 1), tuning{}, longAgo, 0.95, 100, tuning{}},
		{"a target of all", sampledAs(400, 1), tuning{ef: 400}, longAgo, 1, 400, tuning{ef: 400}},
	} {
		test.m.tuning, test.m.raised = test.before, test.raised
		if got := test.m.retune(test.target, test.ef, now); got != test.want {
			t.Errorf("%s: retune = %+v, want %+v (mean %.3f ± %.3f of %.0f)", test.name, got, test.want, test.m.mean(), test.m.margin(), test.m.effective())
		}
	}
}

// TestMarginCovers: where recall is what the target asks for, searches are told to
// look further in at most the share of cases that the interval promises, give or
// take what a hundred trials tell.
func TestMarginCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	const trials, target = 2000, 0.95
	wrong := 0
	for range trials {
		var recalls []float64
		for range 100 {
			hits := 0
			for range 10 {
				if random.Float64() < target {
					hits++
				}
			}
			recalls = append(recalls, float64(hits)/10)
		}
		if m := sampledAs(100, recalls...); m.retune(target, 100, time.Now()) != (tuning{}) {
			wrong++
		}
	}
	if share := float64(wrong) / trials; share > 0.08 {
		t.Errorf("a recall on target was raised in %.3f of the trials, want about 0.05", share)
	}
}

// badIndex has a collection whose index has the fewest links there can be, and a
// store that asks it for the fewest candidates.
func badIndex(t *testing.T, options Options) (*Store, definition, []knowledge.Record) {
	t.Helper()
	const dim = 16
	options.ExactBelow, options.Ef, options.RecallShare, options.RecallBudget = -1, 1, 1, time.Second
	s, _ := newStore(t, options)
	c := knowledge.Collection{
		Name: "bad", Embedder: knowledge.EmbedderInfo{Dimension: dim}, RecallTarget: 0.95,
		Fields: []knowledge.Field{{Name: "n", Type: knowledge.Number}},
		Index:  knowledge.Index{Kind: knowledge.IndexHNSW, M: 2, EfConstruction: 4},
	}
	records := randomRecords(rand.New(rand.NewPCG(3, 3)), 2500, dim)
	for i := range records {
		records[i].Metadata = map[string]any{"n": float64(i % 100)}
	}
	fill(t, s, "alice", c, records[:2000])
	return s, promote(t, s, "bad"), records[2000:]
}

// searchAndMeasure searches by each query, and measures each search at once.
func searchAndMeasure(t *testing.T, s *Store, queries []knowledge.Record, filter knowledge.Filter) {
	t.Helper()
	for _, q := range queries {
		if _, err := s.Search(t.Context(), "alice", knowledge.Search{Collection: "bad", Vector: q.Vector, Limit: 10, Filter: filter}); err != nil {
			t.Fatalf("Search = %v, want nil", err)
		}
		select {
		case x := <-s.samples.queue:
			if err := s.measure(t.Context(), x); err != nil {
				t.Fatalf("measure = %v, want nil", err)
			}
		default:
			t.Fatal("the search was not sampled")
		}
	}
}

// trueRecall is measured from outside.
func trueRecall(t *testing.T, s *Store, queries []knowledge.Record) float64 {
	t.Helper()
	hits, total := 0, 0
	for _, q := range queries {
		search := knowledge.Search{Collection: "bad", Vector: q.Vector, Limit: 10}
		got, err := s.Search(t.Context(), "alice", search)
		if err != nil {
			t.Fatal(err)
		}
		search.Exact = true
		want, err := s.Search(t.Context(), "alice", search)
		if err != nil {
			t.Fatal(err)
		}
		last := want.Matches[len(want.Matches)-1].Score
		for _, m := range got.Matches {
			if m.Score >= last {
				hits++
			}
		}
		total += len(want.Matches)
	}
	return float64(hits) / float64(total)
}

// TestMendsItself makes a real index bad on purpose and sees the store find out,
// raise ef step by step, and reach the collection's target.
func TestMendsItself(t *testing.T) {
	s, d, queries := badIndex(t, Options{})
	before := trueRecall(t, s, queries[:100])
	for len(s.samples.queue) > 0 {
		<-s.samples.queue
	}
	if before > 0.8 {
		t.Fatalf("recall of the bad index = %.3f, want it bad", before)
	}
	steps := []int{}
	for range 12 {
		searchAndMeasure(t, s, queries[:60], knowledge.Filter{})
		all, err := s.measuredOf(t.Context(), "alice", d)
		if err != nil {
			t.Fatal(err)
		}
		m := all[knowledge.Unfiltered]
		steps = append(steps, m.ef)
		if m.exact || m.weight > 0 && m.effective() >= samplesToRaise && m.mean()+m.margin() >= d.RecallTarget {
			break
		}
	}
	s.tunings.forget(d.id)
	after := trueRecall(t, s, queries[100:200])
	t.Logf("recall@10 %.3f, ef raised to %v, then %.3f", before, steps, after)
	if after < d.RecallTarget-0.03 {
		t.Errorf("recall once mended = %.3f, want about %.2f or more", after, d.RecallTarget)
	}
	h, err := s.Health(t.Context(), "alice", "bad")
	if err != nil || !h.Own || h.Records != 2000 || h.IndexBytes == 0 || len(h.Recall) != 1 || h.Recall[0].Bucket != knowledge.Unfiltered {
		t.Errorf("Health = %+v, %v, want what was measured", h, err)
	}
	if h.Recall[0].Ef == 0 && !h.Recall[0].Exact {
		t.Errorf("Health = %+v, want ef raised or exact", h)
	}
	// Another node sees it, after a restart too.
	other := New(s.pool, s.jobs, s.options)
	search := knowledge.Search{Collection: "bad", Vector: queries[0].Vector, Limit: 10}
	if found, err := other.Search(t.Context(), "alice", search); err != nil || found.Plan.Ef != h.Recall[0].Ef && !isExact(found.Plan.Method) {
		t.Errorf("Search by another node = plan %+v, %v, want ef %d", found.Plan, err, h.Recall[0].Ef)
	}
	// An ef that is asked for is obeyed all the same, and tells nothing.
	search.Ef = 3
	if found, err := s.Search(t.Context(), "alice", search); err != nil || found.Plan.Ef != 3 {
		t.Errorf("Search(ef 3) = plan %+v, %v, want ef 3", found.Plan, err)
	}
}

// TestRecallByBucket: searches are told apart by the share of records that pass
// their filter, and each kind is measured by itself.
func TestRecallByBucket(t *testing.T) {
	s, d, queries := badIndex(t, Options{})
	for _, test := range []struct {
		filter knowledge.Filter
		bucket knowledge.Bucket
	}{
		{knowledge.Filter{}, knowledge.Unfiltered},
		{is("n", knowledge.OpLt, 50.0), knowledge.From10Percent},
		{is("n", knowledge.OpLt, 5.0), knowledge.From1Percent},
		{combined(knowledge.OpAnd, is("n", knowledge.OpEq, 5.0), is("n", knowledge.OpLt, 50.0)), knowledge.Below1Percent},
	} {
		searchAndMeasure(t, s, queries[:3], test.filter)
		all, err := s.measuredOf(t.Context(), "alice", d)
		if err != nil {
			t.Fatal(err)
		}
		m, ok := all[test.bucket]
		if !ok || m.samples != 3 {
			t.Errorf("samples of %s = %+v, want 3", test.bucket, all)
		}
		if m.mean() < 0 || m.mean() > 1 || math.IsNaN(m.mean()) {
			t.Errorf("recall of %s = %g, want 0 to 1", test.bucket, m.mean())
		}
	}
}

// TestRecallOfExactIsWhole: what cannot miss anything is found to miss nothing.
func TestRecallOfExactIsWhole(t *testing.T) {
	s, d, queries := badIndex(t, Options{})
	x := sample{tenant: "alice", d: d, search: knowledge.Search{Collection: "bad", Vector: queries[0].Vector, Limit: 10}, plan: knowledge.Plan{Method: methodExact}}
	if recall, ok, err := s.recallOf(t.Context(), x); recall != 1 || !ok || err != nil {
		t.Errorf("recallOf an exact search = %g, %v, %v, want 1", recall, ok, err)
	}
	x.search.Filter = is("n", knowledge.OpEq, -1.0)
	if _, ok, err := s.recallOf(t.Context(), x); ok || err != nil {
		t.Errorf("recallOf a search without matches = %v, %v, want none", ok, err)
	}
	x.search.Filter = knowledge.Filter{}
	x.d.generation++
	if _, ok, err := s.recallOf(t.Context(), x); ok || err != nil {
		t.Errorf("recallOf a moved collection = %v, %v, want none", ok, err)
	}
}

// TestStaleSamplesDoNotCount: a sample that was planned under other settings tells
// nothing of those in force, nor does one of a deleted collection, and both do no
// harm.
func TestStaleSamplesDoNotCount(t *testing.T) {
	s, d, queries := badIndex(t, Options{})
	searchAndMeasure(t, s, queries[:1], knowledge.Filter{})
	search := knowledge.Search{Collection: "bad", Vector: queries[0].Vector, Limit: 10}
	x := sample{tenant: "alice", d: d, search: search, plan: knowledge.Plan{Method: methodHNSW, Ef: 9, MaxScan: minScan}, tuning: tuning{ef: 9}}
	if err := s.measure(t.Context(), x); err != nil {
		t.Errorf("measure of a stale sample = %v, want nil", err)
	}
	all, err := s.measuredOf(t.Context(), "alice", d)
	if err != nil || all[knowledge.Unfiltered].samples != 1 {
		t.Errorf("samples = %+v, %v, want the one that was not stale", all, err)
	}
	if err := s.DeleteCollection(t.Context(), "alice", "bad"); err != nil {
		t.Fatal(err)
	}
	x.tuning = tuning{}
	if err := s.measure(t.Context(), x); err != nil {
		t.Errorf("measure of a deleted collection = %v, want nil", err)
	}
	if all, err := s.measuredOf(t.Context(), "alice", d); err != nil || len(all) != 0 {
		t.Errorf("samples of a deleted collection = %+v, %v, want none", all, err)
	}
}

// TestSamplingNeverWaits: with nobody measuring, and with nothing of the pool free,
// searches go on and samples are dropped.
func TestSamplingNeverWaits(t *testing.T) {
	s, _, queries := badIndex(t, Options{})
	for i := range waitingSamples + 5 {
		search := knowledge.Search{Collection: "bad", Vector: queries[i].Vector, Limit: 10}
		if _, err := s.Search(t.Context(), "alice", search); err != nil {
			t.Fatalf("Search = %v, want nil", err)
		}
	}
	if got := s.RecallStats().Dropped; got != 5 {
		t.Errorf("dropped = %d, want 5", got)
	}
	for range max(1, s.pool.Stat().MaxConns()/2) {
		c, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
	}
	if err := s.measure(t.Context(), <-s.samples.queue); err != nil {
		t.Errorf("measure of a busy pool = %v, want nil", err)
	}
	if got := s.RecallStats(); got.Dropped != 6 || got.Measured != 0 {
		t.Errorf("stats = %+v, want 6 dropped and none measured", got)
	}
}

// TestMeasureRecallEnds: the loop measures what waits, and ends with its context.
func TestMeasureRecallEnds(t *testing.T) {
	s, _, queries := badIndex(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.MeasureRecall(ctx, func(err error) { t.Errorf("failed: %v", err) })
	}()
	for i := 0; s.RecallStats().Measured < 3; i++ {
		search := knowledge.Search{Collection: "bad", Vector: queries[i%len(queries)].Vector, Limit: 10}
		if _, err := s.Search(t.Context(), "alice", search); err != nil {
			t.Fatalf("Search = %v, want nil", err)
		}
	}
	cancel()
	<-done
}

// TestRecallIsTheTenants: nobody sees or changes what was measured for another.
func TestRecallIsTheTenants(t *testing.T) {
	s, d, queries := badIndex(t, Options{})
	addTenant(t, s, "bob")
	searchAndMeasure(t, s, queries[:1], knowledge.Filter{})
	if all, err := s.measuredOf(t.Context(), "bob", d); err != nil || len(all) != 0 {
		t.Errorf("bob sees %+v, %v, want nothing", all, err)
	}
	x := sample{tenant: "bob", d: d, search: knowledge.Search{Collection: "bad", Vector: queries[0].Vector, Limit: 10}, plan: knowledge.Plan{Method: methodHNSW, Ef: 9, MaxScan: minScan}}
	if _, err := s.keepRecall(t.Context(), x, 0); err != nil {
		t.Errorf("keepRecall as bob = %v, want nil and nothing kept", err)
	}
	all, err := s.measuredOf(t.Context(), "alice", d)
	if err != nil || all[knowledge.Unfiltered].samples != 1 {
		t.Errorf("alice's samples = %+v, %v, want her one", all, err)
	}
}
