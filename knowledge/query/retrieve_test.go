package query_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// legs searches each collection by vector.
func legs(names ...knowledge.CollectionName) []query.Leg {
	var legs []query.Leg
	for _, name := range names {
		legs = append(legs, query.Leg{Collection: name, Mode: query.Vector})
	}
	return legs
}

func TestLegsRunAtOnceWithinBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second) // of the bubble
			return found(s.Collection, match("x", 1)), nil
		}, nil)
		e.Parallel = 2
		start := time.Now()
		a, err := e.Answer(t.Context(), tenant, query.Query{Text: "q", Legs: legs("a", "b", "c", "d", "e")})
		if err != nil || len(a.Matches) != 5 {
			t.Fatalf("Answer = %d matches, %v, want 5, nil", len(a.Matches), err)
		}
		if most.Load() != 2 || time.Since(start) != 3*time.Second {
			t.Errorf("5 legs of 1s ran %d at once in %v, want 2 in 3s", most.Load(), time.Since(start))
		}
		for i, p := range a.Plans {
			if want := (query.LegPlan{Leg: i, Mode: query.Vector, Collection: legs("a", "b", "c", "d", "e")[i].Collection, Plan: knowledge.Plan{Method: "exact"}, Found: 1, Took: time.Second}); !reflect.DeepEqual(p, want) {
				t.Errorf("Plans[%d] = %+v, want %+v", i, p, want)
			}
		}
		if a.Took != 3*time.Second {
			t.Errorf("Took = %v, want 3s", a.Took)
		}
	})
}

// TestFusion compares with reciprocal ranks computed by hand:
// weight / (60 + rank), summed over the legs.
func TestFusion(t *testing.T) {
	all := fixed(map[knowledge.CollectionName]knowledge.Found{
		"docs": found("docs", match("a", 0.9), match("b", 0.8), match("c", 0.7)),
		"faq":  found("faq", match("a", -3), match("z", -4)),
	})
	e := engine(all, nil)
	q := query.Query{Text: "q", Legs: []query.Leg{
		{Collection: "docs"},
		{Collection: "faq", Weight: 2},
		{Collection: "docs", Weight: 0.5},
	}}
	a, err := e.Answer(t.Context(), tenant, q)
	if err != nil {
		t.Fatalf("Answer = %v, want nil", err)
	}
	want := []struct {
		id    string
		score float64
	}{
		{"faq/a", 2.0 / 61},
		{"faq/z", 2.0 / 62},
		{"docs/a", 1.0/61 + 0.5/61},
		{"docs/b", 1.0/62 + 0.5/62},
		{"docs/c", 1.0/63 + 0.5/63},
	}
	if len(a.Matches) != len(want) {
		t.Fatalf("Matches = %s, want %v", order(a.Matches), want)
	}
	for i, w := range want {
		got := a.Matches[i]
		if string(got.Collection)+"/"+string(got.ID) != w.id || math.Abs(got.Score-w.score) > 1e-15 {
			t.Errorf("Matches[%d] = %s/%s %v, want %v", i, got.Collection, got.ID, got.Score, w)
		}
	}
	// 2/61 = 0.0328, 1.5/61 = 0.0246: numbers that a reader can check.
	if got := a.Matches[2].Score; math.Abs(got-0.024590163934426229) > 1e-15 {
		t.Errorf("score of docs/a = %.18f, want 0.024590163934426229", got)
	}
	if got, want := a.Matches[2].Legs, []query.LegScore{{Leg: 0, Mode: query.Vector, Rank: 1, Score: 0.9}, {Leg: 2, Mode: query.Vector, Rank: 1, Score: 0.9}}; !reflect.DeepEqual(got, want) {
		t.Errorf("Legs of docs/a = %v, want %v", got, want)
	}
}

func TestSingleLegKeepsScores(t *testing.T) {
	e := engine(fixed(map[knowledge.CollectionName]knowledge.Found{
		"docs": found("docs", match("a", 0.9), match("b", -0.5)),
	}), nil)
	a, err := e.Answer(t.Context(), tenant, query.Query{Text: "q", Legs: []query.Leg{{Collection: "docs", Mode: query.Vector, Weight: 50}}})
	if err != nil || order(a.Matches) != "a b" || a.Matches[0].Score != 0.9 || a.Matches[1].Score != -0.5 {
		t.Errorf("Answer = %+v, %v, want a 0.9 and b -0.5", a.Matches, err)
	}
}

func TestTiesAreOrdered(t *testing.T) {
	all := fixed(map[knowledge.CollectionName]knowledge.Found{
		"docs": found("docs", match("z", 1), match("m", 1), match("a", 1)),
		"faq":  found("faq", match("q", 1), match("b", 1), match("c", 1)),
	})
	e := engine(all, nil)
	a, err := e.Answer(t.Context(), tenant, query.Query{Text: "q", Legs: legs("docs")})
	if err != nil || order(a.Matches) != "a m z" {
		t.Errorf("equal scores of one leg are in the order %q, %v, want by id", order(a.Matches), err)
	}
	for _, l := range [][]query.Leg{legs("docs", "faq"), legs("faq", "docs")} {
		a, err := e.Answer(t.Context(), tenant, query.Query{Text: "q", Legs: l})
		if want := "z faq/q m faq/b a faq/c"; err != nil || order(a.Matches) != want {
			t.Errorf("equal ranks of two legs are in the order %q, %v, want %q whichever leg was first", order(a.Matches), err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	many := func(name knowledge.CollectionName, n int) knowledge.Found {
		var matches []knowledge.Match
		for i := range n {
			matches = append(matches, match(knowledge.RecordID(fmt.Sprintf("%04d", i)), -float64(i)))
		}
		return found(name, matches...)
	}
	given := 0
	e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
		return many(s.Collection, s.Limit), nil
	}, plugins{"count": {rank: func(_ context.Context, c []query.Candidate) ([]query.Candidate, error) {
		given = len(c)
		return c, nil
	}}})
	for _, tc := range []struct {
		limit, candidates int
		legs              []query.Leg
		found, matches    int
		given             int
	}{
		{0, 0, legs("docs"), 50, 10, 50}, // the defaults
		{1, 0, legs("docs"), 50, 1, 50},
		{200, 200, legs("docs"), 200, 200, 200},
		{200, 200, legs("docs", "faq"), 200, 200, 200}, // 400 found, 200 given to plugins
		{100, 5, legs("docs"), 5, 5, 5},
	} {
		for i := range tc.legs {
			tc.legs[i].Candidates = tc.candidates
		}
		q := query.Query{Text: "q", Legs: tc.legs, Limit: tc.limit, Plugins: []query.PluginCall{{Name: "count", Capability: query.Rank}}}
		a, err := e.Answer(t.Context(), tenant, q)
		if err != nil || len(a.Matches) != tc.matches || a.Plans[0].Found != tc.found || given != tc.given {
			t.Errorf("limit %d, %d candidates: %d matches of %d found, %d given to the plugin, %v, want %d of %d, %d",
				tc.limit, tc.candidates, len(a.Matches), a.Plans[0].Found, given, err, tc.matches, tc.found, tc.given)
		}
	}
}

func TestLegAsksForWhatItSays(t *testing.T) {
	var asked []knowledge.Search
	e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
		asked = append(asked, s)
		return knowledge.Found{}, nil
	}, nil)
	e.Parallel = 1
	filter := knowledge.Filter{Op: knowledge.OpEq, Field: "lang", Values: []any{"go"}}
	_, err := e.Answer(t.Context(), tenant, query.Query{Text: "four", Legs: []query.Leg{
		{Collection: "docs", Filter: filter, Candidates: 7},
		{Collection: "docs", Text: "seven!!"},
		{Collection: "bare", Vector: []float32{3, 4}},
	}})
	want := []knowledge.Search{
		{Collection: "docs", Vector: []float32{4, 1}, Limit: 7, Filter: filter},
		{Collection: "docs", Vector: []float32{7, 1}, Limit: 50},
		{Collection: "bare", Vector: []float32{3, 4}, Limit: 50},
	}
	if err != nil || !reflect.DeepEqual(asked, want) {
		t.Errorf("legs asked for %+v, %v, want %+v", asked, err, want)
	}
}

func TestRetrieveFails(t *testing.T) {
	broken := errors.New("broken")
	good := func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
		if s.Collection == "broken" {
			return knowledge.Found{}, broken
		}
		return found(s.Collection, match("a", 1)), nil
	}
	unavailable := fmt.Errorf("%w: embedding server", knowledge.ErrUnavailable)
	for _, tc := range []struct {
		name  string
		legs  []query.Leg
		embed error
		kind  error
		field string
	}{
		{"store", legs("docs", "broken"), nil, broken, ""},
		{"unknown collection", legs("docs", "none"), nil, knowledge.ErrNotFound, ""},
		{"unknown collection by vector", []query.Leg{{Collection: "none", Vector: []float32{1, 2}}}, nil, knowledge.ErrNotFound, ""},
		{"no embedder", legs("docs", "bare"), nil, knowledge.ErrInvalid, "legs[1].text"},
		{"embedder", legs("docs"), unavailable, knowledge.ErrUnavailable, ""},
		{"white space", []query.Leg{{Collection: "docs", Text: " "}}, nil, knowledge.ErrInvalid, "legs[0].text"},
		{"bad vector", []query.Leg{{Collection: "docs", Vector: []float32{0, float32(math.NaN())}}}, nil, knowledge.ErrInvalid, "legs[0].vector[1]"},
	} {
		e := engine(good, nil)
		e.Embedders = &embedder{err: tc.embed}
		a, err := e.Answer(t.Context(), tenant, query.Query{Text: "q", Legs: tc.legs})
		if !errors.Is(err, tc.kind) || a.Matches != nil {
			t.Errorf("%s: Answer = %+v, %v, want %v alone", tc.name, a, err, tc.kind)
		}
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) && invalid.Field != tc.field {
			t.Errorf("%s: Answer = %v at %q, want it at %q", tc.name, err, invalid.Field, tc.field)
		}
	}
	if _, err := engine(good, nil).Answer(t.Context(), "other", query.Query{Text: "q", Legs: legs("docs")}); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Answer for another tenant = %v, want ErrNotFound", err)
	}
}

// TestFailingLegEndsOthers: legs that are still at it are told to stop.
func TestFailingLegEndsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		e := engine(func(ctx context.Context, s knowledge.Search) (knowledge.Found, error) {
			if s.Collection == "broken" {
				return knowledge.Found{}, broken
			}
			<-ctx.Done()
			return knowledge.Found{}, ctx.Err()
		}, nil)
		start := time.Now()
		_, err := e.Answer(t.Context(), tenant, query.Query{Text: "q", Legs: legs("docs", "faq", "broken")})
		if !errors.Is(err, broken) || time.Since(start) != 0 {
			t.Errorf("Answer = %v after %v, want the error of the leg that broke at once", err, time.Since(start))
		}
	})
}

func TestSearch(t *testing.T) {
	var asked knowledge.Search
	e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
		asked = s
		return found(s.Collection, match("a", 1)), nil
	}, nil)
	got, err := e.Search(t.Context(), tenant, query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: 3, Exact: true}, Text: "four", Mode: query.Vector})
	if want := (knowledge.Search{Collection: "docs", Limit: 3, Exact: true, Vector: []float32{4, 1}}); err != nil || len(got.Matches) != 1 || !reflect.DeepEqual(asked, want) {
		t.Errorf("Search asked for %+v and gave %v, %v, want %+v and one match", asked, got, err, want)
	}
	vector := []float32{1, 2}
	for _, tc := range []struct {
		name string
		s    query.SearchText
		kind error
	}{
		{"neither", query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: 1}}, knowledge.ErrInvalid},
		{"both", query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: 1, Vector: vector}, Text: "t", Mode: query.Vector}, knowledge.ErrInvalid},
		{"long text", query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: 1}, Text: string(make([]byte, query.MaxQueryText+1))}, knowledge.ErrInvalid},
		{"text with NUL", query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: 1}, Text: "a\x00"}, knowledge.ErrInvalid},
		{"no embedder", query.SearchText{Search: knowledge.Search{Collection: "bare", Limit: 1}, Text: "t", Mode: query.Vector}, knowledge.ErrInvalid},
		{"unknown", query.SearchText{Search: knowledge.Search{Collection: "none", Limit: 1}, Text: "t"}, knowledge.ErrNotFound},
		{"unknown by vector", query.SearchText{Search: knowledge.Search{Collection: "none", Limit: 1, Vector: vector}}, knowledge.ErrNotFound},
	} {
		if got, err := e.Search(t.Context(), tenant, tc.s); !errors.Is(err, tc.kind) {
			t.Errorf("%s: Search = %v, %v, want %v", tc.name, got, err, tc.kind)
		}
	}
}
