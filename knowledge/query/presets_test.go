package query_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// presets are defaults of the collections of these tests; "none" has none.
var presets = map[knowledge.CollectionName]knowledge.Defaults{
	"three":  {Limit: 3, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank", Config: `{"a":1}`}}},
	"three2": {Limit: 3, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank", Config: `{"a":1}`}}},
	"words":  {Mode: knowledge.ModeLexical},
	"bare-v": {Mode: knowledge.ModeVector},
	"four":   {Limit: 4, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank"}}},
	"quiet":  {Plugins: []knowledge.DefaultPlugin{}},
}

// heard writes down which plugins are called, each with its config.
type heard struct {
	query.Plugins
	called *string
}

func (h heard) Rank(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	*h.called += t.Call.Name + string(t.Call.Config)
	return h.Plugins.Rank(ctx, t)
}

// TestPresetModes: how a search and a leg look that do not say.
func TestPresetModes(t *testing.T) {
	e := engine(func(context.Context, knowledge.Search) (knowledge.Found, error) { return knowledge.Found{}, nil }, nil)
	e.Store.(*store).presets = presets
	vector := []float32{1, 0}
	for _, tc := range []struct {
		name       string
		collection knowledge.CollectionName
		text       string
		vector     []float32
		want       []query.Mode // one for each retrieval; nil: refused
	}{
		{"text", "plain", "t", nil, []query.Mode{query.Vector, query.Lexical}},
		{"vector", "plain", "", vector, []query.Mode{query.Vector}},
		{"text and vector", "plain", "t", vector, []query.Mode{query.Vector, query.Lexical}},
		{"text without an embedder", "bare", "t", nil, []query.Mode{query.Lexical}},
		{"text and vector without an embedder", "bare", "t", vector, []query.Mode{query.Vector, query.Lexical}},
		{"text, as preferred", "words", "t", nil, []query.Mode{query.Lexical}},
		{"vector, whatever is preferred", "words", "", vector, []query.Mode{query.Vector}},
		{"text and vector, whatever is preferred", "words", "t", vector, []query.Mode{query.Vector, query.Lexical}},
		{"what is preferred cannot be done", "bare-v", "t", nil, nil},
	} {
		modes := func(plans []query.LegPlan) (all []query.Mode) {
			for _, p := range plans {
				all = append(all, p.Mode)
			}
			return all
		}
		for _, limit := range []int{0, 5} {
			s := query.SearchText{Search: knowledge.Search{Collection: tc.collection, Vector: tc.vector, Limit: limit}, Text: tc.text}
			found, err := e.Search(t.Context(), tenant, s)
			if !slices.Equal(modes(found.Retrievals), tc.want) || (err == nil) != (tc.want != nil) {
				t.Errorf("%s: Search with limit %d by %v, %v, want %v", tc.name, limit, modes(found.Retrievals), err, tc.want)
			}
			q := query.Query{Limit: limit, Legs: []query.Leg{{Collection: tc.collection, Text: tc.text, Vector: tc.vector}}}
			a, err := e.Answer(t.Context(), tenant, q)
			if !slices.Equal(modes(a.Plans), tc.want) || (err == nil) != (tc.want != nil) {
				t.Errorf("%s: Answer with limit %d by %v, %v, want %v", tc.name, limit, modes(a.Plans), err, tc.want)
			}
		}
	}
}

func TestPresets(t *testing.T) {
	called := ""
	rank := func(_ context.Context, candidates []query.Candidate) ([]query.Candidate, error) {
		return candidates, nil
	}
	e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
		matches := make([]knowledge.Match, 20)
		for i := range matches {
			matches[i] = knowledge.Match{ID: knowledge.RecordID(fmt.Sprint(i)), Score: float64(-i)}
		}
		return found(s.Collection, matches...), nil
	}, plugins{"p": {rank: rank}, "own": {rank: rank}})
	e.Store.(*store).presets = presets
	e.Plugins = heard{e.Plugins, &called}
	legs := func(names ...knowledge.CollectionName) []query.Leg {
		var legs []query.Leg
		for _, name := range names {
			legs = append(legs, query.Leg{Collection: name, Vector: []float32{1, 0}})
		}
		return legs
	}
	given := []query.PluginCall{{Name: "own", Capability: query.Rank}}
	for _, tc := range []struct {
		name    string
		query   query.Query
		limit   int
		plugins string // the first one called, with its config
	}{
		{"no default", query.Query{Text: "x", Legs: legs("plain")}, 10, ""},
		{"of its collection", query.Query{Text: "x", Legs: legs("three")}, 3, `p{"a":1}`},
		{"without a text no plugins", query.Query{Legs: legs("three")}, 3, ""},
		{"its own limit", query.Query{Text: "x", Legs: legs("three"), Limit: 5}, 5, `p{"a":1}`},
		{"its own plugins", query.Query{Text: "x", Legs: legs("three"), Plugins: given}, 3, "own"},
		{"its own empty list of plugins", query.Query{Text: "x", Legs: legs("three"), Plugins: []query.PluginCall{}}, 3, ""},
		{"all legs agree", query.Query{Text: "x", Legs: legs("three", "three2")}, 3, `p{"a":1}`},
		{"legs do not agree", query.Query{Text: "x", Legs: legs("three", "four")}, 10, ""},
		{"one leg has none", query.Query{Text: "x", Legs: legs("three", "plain")}, 10, ""},
		{"an empty list", query.Query{Text: "x", Legs: legs("quiet")}, 10, ""},
	} {
		called = ""
		answer, err := e.Answer(t.Context(), tenant, tc.query)
		if err != nil || len(answer.Matches) != tc.limit {
			t.Errorf("%s: Answer = %d matches, %v, want %d", tc.name, len(answer.Matches), err, tc.limit)
		}
		if called != tc.plugins {
			t.Errorf("%s: called %q, want %q", tc.name, called, tc.plugins)
		}
	}
	for name, want := range map[knowledge.CollectionName]int{"three": 3, "plain": 10} {
		var asked int
		e.Store.(*store).search = func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
			asked = s.Limit
			return knowledge.Found{}, nil
		}
		s := query.SearchText{Search: knowledge.Search{Collection: name, Vector: []float32{1, 0}}}
		if _, err := e.Search(t.Context(), tenant, s); err != nil || asked != want {
			t.Errorf("Search of %s without a limit asked for %d, %v, want %d", name, asked, err, want)
		}
		s.Limit = 7
		if _, err := e.Search(t.Context(), tenant, s); err != nil || asked != 7 {
			t.Errorf("Search of %s with the limit 7 asked for %d, %v", name, asked, err)
		}
	}
}
