package query_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/query"
)

// library is an engine over a real store with some books.
func library(t *testing.T) *query.Engine {
	t.Helper()
	s := memstore.New(memstore.Options{})
	c := knowledge.Collection{
		Name: "docs", Embedder: knowledge.EmbedderInfo{ID: "length", Version: "1", Dimension: 2}, Language: "simple",
		Fields: []knowledge.Field{{Name: "year", Type: knowledge.Number}, {Name: "lang", Type: knowledge.Keyword}, {Name: "changed", Type: knowledge.Datetime}},
	}
	if _, _, err := s.PutCollection(t.Context(), tenant, c); err != nil {
		t.Fatal(err)
	}
	var records []knowledge.Record
	for i, text := range []string{"go and plan", "plan nine", "c and plan", "go", "rust", "go nine nine"} {
		records = append(records, knowledge.Record{
			ID: knowledge.RecordID(fmt.Sprint("d", i)), Text: text, Vector: []float32{1, float32(i)},
			Metadata: map[string]any{"year": 2020 + float64(i), "lang": strings.Fields(text)[0], "changed": fmt.Sprintf("2026-01-0%dT00:00:00Z", 1+i)},
		})
	}
	if _, err := s.PutRecords(t.Context(), tenant, "docs", knowledge.Write{Records: records}); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC) }
	return &query.Engine{Store: s, Embedders: &embedder{}, Parallel: 4, Timeout: 10 * time.Second, Now: now}
}

func search(limit int) query.SearchText {
	return query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: limit}}
}

func byVector(limit int) query.SearchText {
	s := search(limit)
	s.Vector = []float32{1, 0}
	return s
}

func byWords(text string) query.SearchText {
	s := search(10)
	s.Text, s.Mode = text, query.Lexical
	return s
}

func TestModes(t *testing.T) {
	e := library(t)
	got, err := e.Search(t.Context(), tenant, byWords("plan go"))
	if err != nil || order(got.Matches) != "d3 d0 d5 d2 d1" && len(got.Matches) != 5 || got.ScoreKind != query.ScoreBM25 || got.Plan.Method != "words-exact" {
		t.Errorf("lexical = %s %s %+v, %v, want the 5 with a word", order(got.Matches), got.ScoreKind, got.Plan, err)
	}
	h := byVector(3)
	h.Text, h.Mode = "nine", query.Hybrid
	h.Stages.Explain = true
	got, err = e.Search(t.Context(), tenant, h)
	if err != nil || len(got.Matches) != 3 || got.ScoreKind != query.ScoreSum || len(got.Retrievals) != 2 {
		t.Fatalf("hybrid = %s %s %+v, %v, want 3 of a sum of two", order(got.Matches), got.ScoreKind, got.Retrievals, err)
	}
	for _, m := range got.Matches {
		for _, l := range m.Legs {
			if l.Leg != 0 || l.Rank < 1 || l.Mode == query.Lexical && !strings.Contains(m.Text, "nine") {
				t.Errorf("%s was seen as %+v, want it by words only where the word is", m.ID, l)
			}
		}
	}
	if w := got.Retrievals[1].Words; w == nil || len(w.Terms) != 1 || got.Retrievals[0].Words != nil {
		t.Errorf("Words = %+v, want those of the search by words", w)
	}
	zero := 0.0
	h.Stages.Fusion.VectorWeight = &zero
	if got, err = e.Search(t.Context(), tenant, h); err != nil || order(got.Matches[:2]) != "d5 d1" {
		t.Errorf("hybrid of words alone = %s, %v, want d5, d1 first", order(got.Matches), err)
	}
}

// TestStagesInOrder: what is boosted is fused before, what is held to a score is
// boosted before, and so on.
func TestStagesInOrder(t *testing.T) {
	e := library(t)
	least, lambda := 1.0, 1.0
	s := byVector(2)
	s.Stages = query.Stages{
		Explain: true, MinScore: &least, Diversify: &query.Diversify{Lambda: &lambda},
		Boost: &query.Boosting{Boosts: []query.Boost{{Match: &query.MatchBoost{Filter: knowledge.Filter{Op: knowledge.OpGte, Field: "year", Values: []any{2023.0}}}, Weight: 100}}},
	}
	s.Offset = 1
	s.Facets = []knowledge.Facet{{Field: "lang", Limit: 1}}
	got, err := e.Search(t.Context(), tenant, s)
	if err != nil || order(got.Matches) != "d4 d5" || got.ScoreKind != query.ScoreBoosted {
		t.Fatalf("Search = %s %s, %v, want d4 d5 boosted", order(got.Matches), got.ScoreKind, err)
	}
	var names []string
	for _, stage := range got.Stages {
		names = append(names, fmt.Sprintf("%s %d-%d", stage.Stage, stage.In, stage.Out))
	}
	// d0 is at cosine 1, the others below; three are boosted.
	if got, want := strings.Join(names, ", "), "retrieve 0-6, fuse 6-6, boost 6-6, threshold 6-4, diversify 4-4, limit 4-2"; got != want {
		t.Errorf("stages = %s, want %s", got, want)
	}
	if len(got.Facets) != 1 || got.Facets[0].Values[0] != (knowledge.ValueCount{Value: "go", Count: 3}) {
		t.Errorf("Facets = %+v, want go 3 times, over all records", got.Facets)
	}
	s.Offset, s.GroupBy = 0, &query.GroupBy{Field: "lang"}
	got, err = e.Search(t.Context(), tenant, s)
	if err != nil || len(got.Matches) != 0 || len(got.Groups) != 2 || got.Groups[0].Value != "go" || order(got.Groups[0].Matches) != "d3 d5 d0" {
		t.Errorf("Groups = %+v, %v, want go with d3 d5 d0, and rust", got.Groups, err)
	}
}

func TestRecency(t *testing.T) {
	e := library(t)
	s := byWords("plan")
	s.Stages.Boost = &query.Boosting{Boosts: []query.Boost{{Decay: &query.Decay{Field: "changed", Scale: 86400}}}}
	got, err := e.Search(t.Context(), tenant, s)
	if err != nil || order(got.Matches) != "d2 d1 d0" {
		t.Errorf("recent first = %s, %v, want d2 d1 d0", order(got.Matches), err)
	}
}

// TestPages: pages of every mode put together are the whole, in order.
func TestPages(t *testing.T) {
	e := library(t)
	hybrid := byVector(1)
	hybrid.Text, hybrid.Mode = "plan go", query.Hybrid
	for _, s := range []query.SearchText{byVector(1), byWords("plan go nine"), hybrid} {
		s.Limit = 6
		whole, err := e.Search(t.Context(), tenant, s)
		if err != nil {
			t.Fatal(err)
		}
		var pages []query.Candidate
		for s.Limit = 2; s.Offset < 6; s.Offset += 2 {
			page, err := e.Search(t.Context(), tenant, s)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, page.Matches...)
		}
		if order(pages) != order(whole.Matches) || len(pages) < 5 {
			t.Errorf("%s: pages = %s, want %s", s.Mode, order(pages), order(whole.Matches))
		}
	}
}

func TestRecommend(t *testing.T) {
	e := library(t)
	s := search(10)
	s.Recommend = &query.Recommend{Positive: []knowledge.RecordID{"d0"}, Negative: []knowledge.RecordID{"d5"}}
	got, err := e.Search(t.Context(), tenant, s)
	if err != nil || order(got.Matches) != "d1 d2 d3 d4" {
		t.Errorf("like d0, unlike d5 = %s, %v, want d1 d2 d3 d4, the examples left out", order(got.Matches), err)
	}
	s.Recommend.Negative = []knowledge.RecordID{"d5", "none"}
	_, err = e.Search(t.Context(), tenant, s)
	var invalid *knowledge.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "recommend.negative[1]" {
		t.Errorf("with an unknown example = %v, want it named", err)
	}
}

func TestSearchRefuses(t *testing.T) {
	e := library(t)
	nan, number := math.NaN(), 5.0
	filter := knowledge.Filter{Op: knowledge.OpEq, Field: "lang", Values: []any{"go"}}
	boosts := func(b ...query.Boost) func(*query.SearchText) {
		return func(s *query.SearchText) { s.Stages.Boost = &query.Boosting{Boosts: b} }
	}
	for _, test := range []struct {
		field  string
		change func(*query.SearchText)
	}{
		{"mode", func(s *query.SearchText) { s.Mode = "fuzzy" }},
		{"text", func(s *query.SearchText) { s.Vector = nil }},
		{"text", func(s *query.SearchText) { s.Mode = query.Lexical }},
		{"text", func(s *query.SearchText) { s.Mode = query.Hybrid }},
		{"text", func(s *query.SearchText) { s.Text, s.Mode = "t", query.Vector }},
		{"text", func(s *query.SearchText) { s.Vector, s.Text = nil, "\x00" }},
		{"limit", func(s *query.SearchText) { s.Limit = 1001 }},
		{"offset", func(s *query.SearchText) { s.Offset = -1 }},
		{"offset", func(s *query.SearchText) { s.Offset = 991 }},
		{"candidates", func(s *query.SearchText) { s.Candidates = 9 }},
		{"candidates", func(s *query.SearchText) { s.Candidates = 1001 }},
		{"recommend", func(s *query.SearchText) { s.Recommend = &query.Recommend{Positive: []knowledge.RecordID{"d0"}} }},
		{"recommend.positive", func(s *query.SearchText) { s.Vector, s.Recommend = nil, &query.Recommend{} }},
		{"recommend.negative", func(s *query.SearchText) {
			s.Vector, s.Recommend = nil, &query.Recommend{Positive: []knowledge.RecordID{"d0"}, Negative: []knowledge.RecordID{"d0"}}
		}},
		{"fusion.method", func(s *query.SearchText) { s.Stages.Fusion.Method = "best" }},
		{"fusion.normalize", func(s *query.SearchText) { s.Stages.Fusion.Normalize = "none" }},
		{"fusion.k", func(s *query.SearchText) { s.Stages.Fusion.K = 1001 }},
		{"fusion.weights.vector", func(s *query.SearchText) { s.Stages.Fusion.VectorWeight = &nan }},
		{"min_score", func(s *query.SearchText) { s.Stages.MinScore = &nan }},
		{"diversify.lambda", func(s *query.SearchText) { s.Stages.Diversify = &query.Diversify{Lambda: &number} }},
		{"diversify.candidates", func(s *query.SearchText) { s.Stages.Diversify = &query.Diversify{Candidates: 201} }},
		{"group_by.field", func(s *query.SearchText) { s.GroupBy = &query.GroupBy{} }},
		{"group_by.size", func(s *query.SearchText) { s.GroupBy = &query.GroupBy{Field: "f", Groups: 100, Size: 11} }},
		{"offset", func(s *query.SearchText) { s.GroupBy, s.Offset = &query.GroupBy{Field: "f"}, 1 }},
		{"facets[0].limit", func(s *query.SearchText) { s.Facets = []knowledge.Facet{{Field: "f"}} }},
		{"facets[0].ranges", func(s *query.SearchText) {
			s.Facets = []knowledge.Facet{{Field: "lang", Ranges: make([]knowledge.Range, 1)}}
		}},
		{"boost.boosts", boosts()},
		{"boost.boosts[0]", boosts(query.Boost{})},
		{"boost.boosts[0].weight", boosts(query.Boost{Match: &query.MatchBoost{Filter: filter}, Weight: -1})},
		{"boost.boosts[1].match.filter", boosts(query.Boost{Match: &query.MatchBoost{Filter: filter}}, query.Boost{Match: &query.MatchBoost{}})},
		{"boost.boosts[0].decay.scale", boosts(query.Boost{Decay: &query.Decay{Field: "year"}})},
		{"boost.boosts[0].decay.field", boosts(query.Boost{Decay: &query.Decay{Field: "lang", Number: &number, Scale: 1}})},
		{"boost.boosts[0].decay.field", boosts(query.Boost{Decay: &query.Decay{Field: "year", Scale: 1}})},
		{"boost.boosts[0].decay.field", boosts(query.Boost{Decay: &query.Decay{Field: "changed", Number: &number, Scale: 1}})},
		{"boost.boosts[0].value_factor.field", boosts(query.Boost{Value: &query.ValueFactor{Field: "lang"}})},
		{"boost.boosts[0].value_factor.factor", boosts(query.Boost{Value: &query.ValueFactor{Field: "year", Factor: nan}})},
	} {
		s := byVector(10)
		test.change(&s)
		_, err := e.Search(t.Context(), tenant, s)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != test.field {
			t.Errorf("Search(%+v) = %v, want an InvalidError at %s", s, err, test.field)
		}
	}
	if _, err := e.Search(t.Context(), "other", byWords("go")); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Search of another tenant = %v, want ErrNotFound", err)
	}
}

// TestQueryStages: a query has the same stages, over all its legs.
func TestQueryStages(t *testing.T) {
	e := library(t)
	q := query.Query{
		Text: "nine", Legs: []query.Leg{{Collection: "docs", Mode: query.Hybrid, Vector: []float32{1, 0}}},
		Stages: query.Stages{Explain: true, Diversify: &query.Diversify{}},
	}
	a, err := e.Answer(t.Context(), tenant, q)
	if err != nil || len(a.Matches) != 6 || a.ScoreKind != query.ScoreSum || len(a.Plans) != 2 || a.Plans[1].Mode != query.Lexical || len(a.Stages) != 4 {
		t.Errorf("Answer = %s %s, plans %+v, stages %+v, %v", order(a.Matches), a.ScoreKind, a.Plans, a.Stages, err)
	}
	q.Legs[0].Mode, q.Legs[0].Vector = "none", nil
	if _, err := e.Answer(t.Context(), tenant, q); err == nil || !strings.HasPrefix(err.Error(), "legs[0].mode") {
		t.Errorf("unknown mode = %v, want legs[0].mode", err)
	}
	q.Legs[0].Mode = query.Vector
	q.Stages.Boost = &query.Boosting{Boosts: []query.Boost{{Value: &query.ValueFactor{Field: "lang"}}}}
	if _, err := e.Answer(t.Context(), tenant, q); err == nil || !strings.HasPrefix(err.Error(), "boost.boosts[0].value_factor.field") {
		t.Errorf("boost by a keyword = %v, want boost.boosts[0].value_factor.field", err)
	}
}

func TestBatch(t *testing.T) {
	e := library(t)
	searches := []query.SearchText{byWords("rust"), byWords(""), byVector(1), {Search: knowledge.Search{Collection: "none", Vector: []float32{1, 1}, Limit: 1}}}
	got, err := e.SearchBatch(t.Context(), tenant, searches)
	if err != nil || len(got) != 4 {
		t.Fatalf("SearchBatch = %d, %v, want 4", len(got), err)
	}
	if got[0].Err != nil || order(got[0].Results.Matches) != "d4" || got[2].Err != nil || order(got[2].Results.Matches) != "d0" {
		t.Errorf("results = %+v, want d4 and d0", got)
	}
	if !errors.Is(got[1].Err, knowledge.ErrInvalid) || !errors.Is(got[3].Err, knowledge.ErrNotFound) {
		t.Errorf("errors = %v, %v, want invalid and not found", got[1].Err, got[3].Err)
	}
	large := []query.SearchText{}
	for range 11 {
		large = append(large, byVector(1000))
	}
	var invalid *knowledge.InvalidError
	if _, err := e.SearchBatch(t.Context(), tenant, large); !errors.As(err, &invalid) || invalid.Field != "searches[10].limit" {
		t.Errorf("SearchBatch for 11,000 matches = %v, want the 11th search refused", err)
	}
	if got, err := e.SearchBatch(t.Context(), tenant, large[:10]); err != nil || len(got) != 10 {
		t.Errorf("SearchBatch for 10,000 matches = %d, %v, want 10", len(got), err)
	}
	for _, n := range []int{0, query.MaxBatchSearches + 1} {
		if _, err := e.SearchBatch(t.Context(), tenant, make([]query.SearchText, n)); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("SearchBatch of %d = %v, want invalid", n, err)
		}
	}
}

// TestBatchSharesDeadline: what does not fit into the time has an error, what did
// has its result.
func TestBatchSharesDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(func(ctx context.Context, s knowledge.Search) (knowledge.Found, error) {
			select {
			case <-time.After(4 * time.Second):
				return found(s.Collection, match("a", 1)), nil
			case <-ctx.Done():
				return knowledge.Found{}, ctx.Err()
			}
		}, nil)
		e.Parallel = 1
		start := time.Now()
		got, err := e.SearchBatch(t.Context(), tenant, []query.SearchText{byVector(1), byVector(1), byVector(1)})
		if err != nil || got[0].Err != nil || got[1].Err != nil || !errors.Is(got[2].Err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("SearchBatch = %+v, %v after %v, want two results and a deadline after 10s", got, err, time.Since(start))
		}
	})
}

// TestHybridRunsAtOnce: both retrievals of a hybrid run at the same time, and the
// failure of one ends the other.
func TestHybridRunsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		e := engine(func(ctx context.Context, s knowledge.Search) (knowledge.Found, error) {
			<-ctx.Done()
			return knowledge.Found{}, ctx.Err()
		}, nil)
		e.Store.(*store).words = func(context.Context, knowledge.TextSearch) (knowledge.Found, error) {
			time.Sleep(time.Second)
			return knowledge.Found{}, broken
		}
		start := time.Now()
		s := byVector(1)
		s.Text, s.Mode = "t", query.Hybrid
		if _, err := e.Search(t.Context(), tenant, s); !errors.Is(err, broken) || time.Since(start) != time.Second {
			t.Errorf("Search = %v after %v, want the error after 1s", err, time.Since(start))
		}
	})
}
