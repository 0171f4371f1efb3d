package storetest

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func testFacets(t *testing.T, s suite) {
	c := dimension("c", 1)
	c.Fields = []knowledge.Field{{Name: "lang", Type: knowledge.Keyword}, {Name: "year", Type: knowledge.Number}}
	s.put(t, alice, c)
	s.put(t, bob, c)
	metadata := []map[string]any{
		{"lang": "go", "year": 2020.0, "tags": []any{"a", "b", "a"}, "ok": true},
		{"lang": "go", "year": 2021.0, "tags": []any{"b"}, "ok": false},
		{"lang": "c", "year": 1999.5, "tags": "b", "mixed": 1.0},
		{"lang": "ada", "mixed": "1"},
		{"tags": map[string]any{"a": 1.0}, "mixed": true, "ok": nil},
	}
	for i, m := range metadata {
		s.write(t, alice, "c", knowledge.Record{ID: knowledge.RecordID(fmt.Sprint(i)), Vector: []float32{1}, Metadata: m})
	}
	s.write(t, bob, "c", knowledge.Record{ID: "b", Vector: []float32{1}, Metadata: metadata[0]})
	at := func(x float64) *float64 { return &x }
	values := func(list ...any) (counts []knowledge.ValueCount) {
		for i := 0; i < len(list); i += 2 {
			counts = append(counts, knowledge.ValueCount{Value: list[i], Count: int64(list[i+1].(int))})
		}
		return counts
	}
	for _, test := range []struct {
		facet  knowledge.Facet
		filter knowledge.Filter
		values []knowledge.ValueCount
		ranges []int64
		over   int64
	}{
		{knowledge.Facet{Field: "lang", Limit: 10}, knowledge.Filter{}, values("go", 2, "ada", 1, "c", 1), nil, 5},
		{knowledge.Facet{Field: "lang", Limit: 1}, knowledge.Filter{}, values("go", 2), nil, 5},
		{knowledge.Facet{Field: "lang", Limit: 10}, eq("ok", false), values("go", 1), nil, 1},
		{knowledge.Facet{Field: "tags", Limit: 10}, knowledge.Filter{}, values("b", 3, "a", 1), nil, 5},
		{knowledge.Facet{Field: "ok", Limit: 10}, knowledge.Filter{}, values(false, 1, true, 1), nil, 5},
		{knowledge.Facet{Field: "mixed", Limit: 10}, knowledge.Filter{}, values(true, 1, 1.0, 1, "1", 1), nil, 5},
		{knowledge.Facet{Field: "none", Limit: 10}, knowledge.Filter{}, values(), nil, 5},
		{knowledge.Facet{Field: "lang", Limit: 10}, eq("lang", "none"), values(), nil, 0},
		{knowledge.Facet{Field: "year", Ranges: []knowledge.Range{{To: at(2000)}, {From: at(2000), To: at(2020)}, {From: at(2020), To: at(2021)}, {From: at(2020)}, {}}}, knowledge.Filter{}, nil, []int64{1, 0, 1, 2, 3}, 5},
	} {
		got, err := s.Store.Facets(t.Context(), alice, knowledge.FacetSearch{Collection: "c", Filter: test.filter, Facets: []knowledge.Facet{test.facet, {Field: "lang", Limit: 1}}})
		if err != nil || len(got) != 2 {
			t.Errorf("Facets(%+v) = %v, %v, want two", test.facet, got, err)
			continue
		}
		f := got[0]
		if len(f.Values)+len(test.values) > 0 && !reflect.DeepEqual(f.Values, test.values) || !reflect.DeepEqual(f.Ranges, test.ranges) || f.Counted != test.over || f.Approximate || f.Field != test.facet.Field {
			t.Errorf("Facets(%+v, %+v) = %+v, want %v or %v over %d", test.facet, test.filter, f, test.values, test.ranges, test.over)
		}
	}
	for _, test := range []struct {
		field  string
		facets []knowledge.Facet
	}{
		{"facets", nil},
		{"facets", make([]knowledge.Facet, knowledge.MaxFacets+1)},
		{"facets[0].field", []knowledge.Facet{{Limit: 1}}},
		{"facets[1].limit", []knowledge.Facet{{Field: "a", Limit: 1}, {Field: "a"}}},
		{"facets[0].limit", []knowledge.Facet{{Field: "a", Limit: knowledge.MaxFacetValues + 1}}},
		{"facets[0].field", []knowledge.Facet{{Field: "a\x00", Limit: 1}}},
		{"facets[0].ranges[0]", []knowledge.Facet{{Field: "a", Ranges: []knowledge.Range{{From: at(2), To: at(2)}}}}},
		{"facets[0].ranges[0]", []knowledge.Facet{{Field: "a", Ranges: []knowledge.Range{{From: at(math.NaN())}}}}},
		{"facets[0].ranges", []knowledge.Facet{{Field: "a", Ranges: make([]knowledge.Range, knowledge.MaxFacetRanges+1)}}},
		{"facets[0].ranges", []knowledge.Facet{{Field: "lang", Ranges: []knowledge.Range{{From: at(1)}}}}},
	} {
		_, err := s.Store.Facets(t.Context(), alice, knowledge.FacetSearch{Collection: "c", Facets: test.facets})
		wantInvalid(t, fmt.Sprintf("Facets(%+v)", test.facets), err, test.field)
	}
	_, err := s.Store.Facets(t.Context(), alice, knowledge.FacetSearch{Collection: "none", Facets: []knowledge.Facet{{Field: "a", Limit: 1}}})
	wantKind(t, "Facets of an unknown collection", err, knowledge.ErrNotFound)
}
