package query_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// presets are defaults of the collections of these tests; "none" has none.
var presets = map[knowledge.CollectionName]knowledge.Defaults{
	"three":  {Limit: 3, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank", Config: `{"a":1}`}}},
	"three2": {Limit: 3, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank", Config: `{"a":1}`}}},
	"four":   {Limit: 4, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank"}}},
	"quiet":  {Plugins: []knowledge.DefaultPlugin{}},
}

// heard writes down which plugins are called, each with its config.
type heard struct {
	query.Plugins
	called *string
}

func (h heard) Rank(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall, text string, candidates []query.Candidate) ([]query.Candidate, query.Receipt, error) {
	*h.called += call.Name + string(call.Config)
	return h.Plugins.Rank(ctx, tenant, call, text, candidates)
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
