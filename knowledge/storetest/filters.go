package storetest

import (
	"slices"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func eq(field string, value any) knowledge.Filter { return compare(knowledge.OpEq, field, value) }

func compare(op knowledge.Op, field string, values ...any) knowledge.Filter {
	return knowledge.Filter{Op: op, Field: field, Values: values}
}

func combine(op knowledge.Op, terms ...knowledge.Filter) knowledge.Filter {
	return knowledge.Filter{Op: op, Terms: terms}
}

func not(f knowledge.Filter) knowledge.Filter { return combine(knowledge.OpNot, f) }

// testFilters tries each operator on field "f", which holds another value in
// each record; "missing" lacks it.
func testFilters(t *testing.T, s suite) {
	values := map[knowledge.RecordID]any{
		"null": nil, "true": true, "false": false, "zero": 0.0, "one": 1.0, "ten": 10.0, "pi": 3.14159, "big": 1e300, "neg": -2.5,
		"empty": "", "a": "a", "B": "B", "b": "b", "é": "é", "digits": "10", "last": "\U0010FFFF", "bmp": "\uFFFD",
		"quote": `'"\`, "list": []any{1.0, "a"}, "one-in-list": []any{1.0}, "object": map[string]any{"f": 1.0},
	}
	s.put(t, alice, dimension("c", 1))
	everyID := []knowledge.RecordID{"missing"}
	s.write(t, alice, "c", knowledge.Record{ID: "missing", Vector: []float32{1}, Metadata: map[string]any{"g": 1.0}})
	for id, value := range values {
		everyID = append(everyID, id)
		s.write(t, alice, "c", knowledge.Record{ID: id, Vector: []float32{1}, Metadata: map[string]any{"f": value, `k'"] --`: 1.0}})
	}
	for _, test := range []struct {
		filter knowledge.Filter
		want   []knowledge.RecordID
	}{
		{knowledge.Filter{}, everyID},
		{eq("f", 1.0), []knowledge.RecordID{"one"}},
		{eq("f", "a"), []knowledge.RecordID{"a"}},
		{eq("f", true), []knowledge.RecordID{"true"}},
		{eq("f", false), []knowledge.RecordID{"false"}},
		{eq("f", ""), []knowledge.RecordID{"empty"}},
		{eq("f", "10"), []knowledge.RecordID{"digits"}},
		{eq("f", `'"\`), []knowledge.RecordID{"quote"}},
		{eq("f", 1e300), []knowledge.RecordID{"big"}},
		{eq("f", 3.1415900000000003), nil},
		{eq(`k'"] --`, 1.0), slices.DeleteFunc(slices.Clone(everyID), func(id knowledge.RecordID) bool { return id == "missing" })},
		{eq("F", 1.0), nil},
		{eq("f.f", 1.0), nil},
		{eq("tenant_id", "bob"), nil},
		{compare(knowledge.OpIn, "f", 1.0, "b", true, "none"), []knowledge.RecordID{"one", "b", "true"}},
		{compare(knowledge.OpIn, "f"), nil},
		{compare(knowledge.OpGt, "f", 1.0), []knowledge.RecordID{"ten", "pi", "big"}},
		{compare(knowledge.OpGte, "f", 1.0), []knowledge.RecordID{"one", "ten", "pi", "big"}},
		{compare(knowledge.OpLt, "f", 1.0), []knowledge.RecordID{"zero", "neg"}},
		{compare(knowledge.OpLte, "f", 1.0), []knowledge.RecordID{"zero", "one", "neg"}},
		// By code point: upper case before lower, accents after, beyond the BMP last.
		{compare(knowledge.OpGt, "f", "a"), []knowledge.RecordID{"b", "é", "bmp", "last"}},
		{compare(knowledge.OpGte, "f", "\uFFFD"), []knowledge.RecordID{"bmp", "last"}},
		{compare(knowledge.OpLt, "f", "a"), []knowledge.RecordID{"empty", "B", "digits", "quote"}},
		{compare(knowledge.OpLte, "f", "B"), []knowledge.RecordID{"empty", "B", "digits", "quote"}},
		{compare(knowledge.OpNe, "f", 1.0), slices.DeleteFunc(slices.Clone(everyID), func(id knowledge.RecordID) bool { return id == "one" })},
		{not(compare(knowledge.OpNe, "f", "a")), []knowledge.RecordID{"a"}},
		{compare(knowledge.OpExists, "f", true), slices.DeleteFunc(slices.Clone(everyID), func(id knowledge.RecordID) bool { return id == "missing" || id == "null" })},
		{compare(knowledge.OpExists, "f", false), []knowledge.RecordID{"missing", "null"}},
		{not(compare(knowledge.OpExists, "f", true)), []knowledge.RecordID{"missing", "null"}},
		{compare(knowledge.OpContains, "f", 1.0), []knowledge.RecordID{"list", "one-in-list"}},
		{compare(knowledge.OpContains, "f", "a"), []knowledge.RecordID{"list"}},
		{compare(knowledge.OpContains, "f", true), nil},
		{not(eq("f", 1.0)), slices.DeleteFunc(slices.Clone(everyID), func(id knowledge.RecordID) bool { return id == "one" })},
		{not(not(eq("f", 1.0))), []knowledge.RecordID{"one"}},
		{not(compare(knowledge.OpGt, "f", -1e9)), []knowledge.RecordID{
			"missing", "null", "true", "false", "empty", "a", "B", "b", "é", "digits", "last", "bmp", "quote", "list", "one-in-list", "object",
		}},
		{combine(knowledge.OpAnd), everyID},
		{combine(knowledge.OpOr), nil},
		{not(combine(knowledge.OpOr)), everyID},
		{not(combine(knowledge.OpAnd)), nil},
		{combine(knowledge.OpAnd, compare(knowledge.OpGt, "f", 2.0), compare(knowledge.OpLt, "f", 1.0)), nil},
		{combine(knowledge.OpAnd, compare(knowledge.OpGt, "f", 0.0), compare(knowledge.OpLt, "f", 5.0)), []knowledge.RecordID{"one", "pi"}},
		{combine(knowledge.OpOr, eq("f", 1.0), combine(knowledge.OpAnd, eq("f", "a"), not(eq("g", 1.0)))), []knowledge.RecordID{"one", "a"}},
		{nest(knowledge.MaxFilterDepth), []knowledge.RecordID{"one"}},
		{compare(knowledge.OpIn, "f", slices.Repeat([]any{`"`, "b", 1.0, true, -1.0}, knowledge.MaxFilterValues/5)...), []knowledge.RecordID{"b", "one", "true"}},
		{combine(knowledge.OpOr, slices.Repeat([]knowledge.Filter{eq("f", "a")}, knowledge.MaxFilterTerms-1)...), []knowledge.RecordID{"a"}},
	} {
		found := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1}, Limit: 100, Filter: test.filter})
		want := slices.Sorted(slices.Values(test.want)) // all scores are equal, so matches come by id
		if got := ids(found.Matches); !slices.Equal(got, want) {
			t.Errorf("Search(filter %.300v) = %q, want %q", test.filter, got, want)
		}
		if found.Short {
			t.Errorf("Search(filter %.300v) is short, want all", test.filter)
		}
	}
}

// nest wraps f = 1 in an even number of negations, to the depth.
func nest(depth int) knowledge.Filter {
	f := eq("f", 1.0)
	for level := 1; level < depth-depth%2; level += 2 {
		f = not(not(f))
		if level+2 >= depth {
			return f.Terms[0].Terms[0]
		}
	}
	return f
}
