package knowledge_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func eq(field string, value any) knowledge.Filter {
	return knowledge.Filter{Op: knowledge.OpEq, Field: field, Values: []any{value}}
}

func all(terms ...knowledge.Filter) knowledge.Filter {
	return knowledge.Filter{Op: knowledge.OpAnd, Terms: terms}
}

// nested is eq under depth-1 levels of not.
func nested(depth int) knowledge.Filter {
	f := eq("a", 1.0)
	for range depth - 1 {
		f = knowledge.Filter{Op: knowledge.OpNot, Terms: []knowledge.Filter{f}}
	}
	return f
}

func terms(n int) []knowledge.Filter {
	list := make([]knowledge.Filter, n)
	for i := range list {
		list[i] = eq("a", true)
	}
	return list
}

func TestFilterValidate(t *testing.T) {
	comparison := func(op knowledge.Op, values ...any) knowledge.Filter {
		return knowledge.Filter{Op: op, Field: "f", Values: values}
	}
	onField := func(field string, op knowledge.Op, values ...any) knowledge.Filter {
		return knowledge.Filter{Op: op, Field: field, Values: values}
	}
	long := strings.Repeat("x", knowledge.MaxFilterValue)
	typed := knowledge.Collection{Fields: []knowledge.Field{
		{Name: "k", Type: knowledge.Keyword},
		{Name: "l", Type: knowledge.Keywords},
		{Name: "n", Type: knowledge.Number},
		{Name: "b", Type: knowledge.Boolean},
		{Name: "d", Type: knowledge.Datetime},
	}}
	for _, tc := range []struct {
		name  string
		f     knowledge.Filter
		field string // of the error; "ok" when there is none
	}{
		{"none", knowledge.Filter{}, "ok"},
		{"eq", eq("lang", "go"), "ok"},
		{"injection is text", eq(`a'; DROP TABLE records; --`, `"$.x" || '1'='1`), "ok"},
		{"and of nothing", all(), "ok"},
		{"or of nothing", knowledge.Filter{Op: knowledge.OpOr}, "ok"},
		{"in of nothing", comparison(knowledge.OpIn), "ok"},
		{"in of many", comparison(knowledge.OpIn, make1000()...), "ok"},
		{"in of too many", comparison(knowledge.OpIn, append(make1000(), 1.0)...), "in"},
		{"depth 16", nested(16), "ok"},
		{"depth 17", nested(17), strings.Repeat("not[0].", 15) + "not[0]"},
		{"256 terms", all(terms(255)...), "ok"},
		{"257 terms", all(terms(256)...), "and[255]"},
		{"gt of text", comparison(knowledge.OpGt, "b"), "ok"},
		{"gt of a bool", comparison(knowledge.OpGt, true), "gt"},
		{"lte of a bool", comparison(knowledge.OpLte, false), "lte"},
		{"eq of null", comparison(knowledge.OpEq, nil), "eq"},
		{"eq of an int", comparison(knowledge.OpEq, 1), "eq"},
		{"eq of a list", comparison(knowledge.OpEq, []any{1.0}), "eq"},
		{"eq of NaN", comparison(knowledge.OpEq, math.NaN()), "eq"},
		{"in with infinity", comparison(knowledge.OpIn, 1.0, math.Inf(-1)), "in[1]"},
		{"eq of NUL", comparison(knowledge.OpEq, "a\x00"), "eq"},
		{"eq of bad UTF-8", comparison(knowledge.OpEq, "\xff"), "eq"},
		{"eq of two", comparison(knowledge.OpEq, 1.0, 2.0), "eq"},
		{"gte of nothing", comparison(knowledge.OpGte), "gte"},
		{"no field", eq("", 1.0), "field"},
		{"long field", eq(strings.Repeat("f", 129), 1.0), "field"},
		{"field of 128", eq(strings.Repeat("f", 128), 1.0), "ok"},
		{"field with NUL", eq("a\x00", 1.0), "field"},
		{"field of bad UTF-8", eq("\xc3", 1.0), "field"},
		{"not of nothing", knowledge.Filter{Op: knowledge.OpNot}, "not"},
		{"not of two", knowledge.Filter{Op: knowledge.OpNot, Terms: terms(2)}, "not"},
		{"unknown operator", knowledge.Filter{Op: "regex", Field: "f", Values: []any{"(a+)+$"}}, ""},
		// Without an operator it must not mean "all".
		{"no operator", knowledge.Filter{Field: "f", Values: []any{1.0}}, ""},
		{"terms without operator", knowledge.Filter{Terms: terms(1)}, ""},
		{"no operator inside", all(knowledge.Filter{}), "and[0]"},
		{"deep place", all(eq("a", 1.0), knowledge.Filter{Op: knowledge.OpOr, Terms: []knowledge.Filter{eq("", 1.0)}}), "and[1].or[0].field"},
		{"ne", comparison(knowledge.OpNe, false), "ok"},
		{"contains a bool", comparison(knowledge.OpContains, true), "ok"},
		{"contains null", comparison(knowledge.OpContains, nil), "contains"},
		{"exists", comparison(knowledge.OpExists, true), "ok"},
		{"exists nothing", comparison(knowledge.OpExists), "exists"},
		{"exists of text", comparison(knowledge.OpExists, "true"), "exists"},
		{"match", comparison(knowledge.OpMatch, "some words"), "ok"},
		{"match in the text", knowledge.Filter{Op: knowledge.OpMatch, Values: []any{"some words"}}, "ok"},
		{"match of a number", comparison(knowledge.OpMatch, 1.0), "match"},
		{"match of much", comparison(knowledge.OpMatch, strings.Repeat("x", knowledge.MaxMatch+1)), "match"},
		{"match of a NUL", comparison(knowledge.OpMatch, "a\x00"), "match"},
		{"a long string", eq("f", strings.Repeat("x", knowledge.MaxFilterValue)), "ok"},
		{"too long a string", eq("f", strings.Repeat("x", knowledge.MaxFilterValue+1)), "eq"},
		{"too many bytes", comparison(knowledge.OpIn, long, long, long, long), "in[3]"},
		{"keyword eq", eq("k", "x"), "ok"},
		{"keyword eq a number", eq("k", 1.0), "eq"},
		{"keyword in, one bad", onField("k", knowledge.OpIn, "a", true), "in[1]"},
		{"keyword gt", onField("k", knowledge.OpGt, "a"), "ok"},
		{"keyword contains", onField("k", knowledge.OpContains, "a"), "contains"},
		{"keyword match", onField("k", knowledge.OpMatch, "a"), "ok"},
		{"keyword exists", onField("k", knowledge.OpExists, false), "ok"},
		{"keywords eq", eq("l", "x"), "ok"},
		{"keywords contains", onField("l", knowledge.OpContains, "x"), "ok"},
		{"keywords contains a number", onField("l", knowledge.OpContains, 1.0), "contains"},
		{"keywords lt", onField("l", knowledge.OpLt, "x"), "ok"},
		{"keywords match", onField("l", knowledge.OpMatch, "x"), "match"},
		{"number eq", eq("n", 1.0), "ok"},
		{"number eq text", eq("n", "1"), "eq"},
		{"number match", onField("n", knowledge.OpMatch, "1"), "match"},
		{"boolean ne", onField("b", knowledge.OpNe, true), "ok"},
		{"boolean gt", onField("b", knowledge.OpGt, 1.0), "gt"},
		{"datetime gt", onField("d", knowledge.OpGt, "2027-01-31T12:00:00+02:00"), "ok"},
		{"datetime of a day", onField("d", knowledge.OpGt, "2027-01-31"), "gt"},
		{"datetime of the year 0", onField("d", knowledge.OpEq, "0000-12-31T23:59:59Z"), "eq"},
		{"datetime of the year 0 by its zone", onField("d", knowledge.OpEq, "0001-01-01T00:00:00+01:00"), "eq"},
		{"datetime of a number", onField("d", knowledge.OpLte, 1.0), "lte"},
		{"datetime exists", onField("d", knowledge.OpExists, true), "ok"},
		{"and with a field", knowledge.Filter{Op: knowledge.OpAnd, Field: "f"}, "and"},
		{"or with values", knowledge.Filter{Op: knowledge.OpOr, Values: []any{1.0}}, "or"},
		{"eq with terms", knowledge.Filter{Op: knowledge.OpEq, Field: "f", Values: []any{1.0}, Terms: terms(1)}, "eq"},
	} {
		got := "ok"
		err := tc.f.Validate(typed)
		if err != nil {
			var invalid *knowledge.InvalidError
			if !errors.As(err, &invalid) {
				t.Errorf("%s: Validate() = %v, want an *InvalidError", tc.name, err)
				continue
			}
			got = invalid.Field
		}
		if got != tc.field {
			t.Errorf("%s: Validate() = %v at %q, want %q", tc.name, err, got, tc.field)
		}
	}
}

// A refusal of a type names the field, its type and what is needed, and nothing of
// the request's own values.
func TestFilterTypeText(t *testing.T) {
	c := knowledge.Collection{Fields: []knowledge.Field{{Name: "year", Type: knowledge.Number}}}
	err := all(eq("year", "secret")).Validate(c)
	if err == nil {
		t.Fatal("Validate() = nil, want an error")
	}
	for _, part := range []string{"and[0].eq", `"year"`, "number", "need a number"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Validate() = %q, want %q in it", err, part)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("Validate() = %q, want nothing of the value in it", err)
	}
}

func TestDatetimeSeconds(t *testing.T) {
	for s, want := range map[string]float64{
		"1970-01-01T00:00:00Z":             0,
		"1970-01-01T01:00:00.5+01:00":      0.5,
		"1969-12-31T23:59:59.75Z":          -0.25,
		"2027-01-31T12:00:00.123456Z":      1801396800.123456,
		"2027-01-31T12:00:00.1234564Z":     1801396800.123456,
		"2027-01-31T12:00:00.9999996Z":     1801396801,
		"0001-01-01T00:00:00Z":             -62135596800,
		"9999-12-31T23:59:59.999999Z":      253402300799.999999,
		"9999-12-31T23:59:59.9999-12:00":   math.NaN(),
		"2027-02-30T00:00:00Z":             math.NaN(),
		"2027-01-31 12:00:00Z":             math.NaN(),
		"infinity":                         math.NaN(),
		"":                                 math.NaN(),
		"now":                              math.NaN(),
		"2027-01-31T12:00:00Z'; SELECT 1;": math.NaN(),
	} {
		got, err := knowledge.DatetimeSeconds(s)
		if math.IsNaN(want) != (err != nil) || err == nil && got != want {
			t.Errorf("DatetimeSeconds(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
}

func make1000() []any {
	values := make([]any, 1000)
	for i := range values {
		values[i] = float64(i)
	}
	return values
}

func TestFilterIsZero(t *testing.T) {
	if !(knowledge.Filter{}).IsZero() {
		t.Error("Filter{}.IsZero() = false, want true")
	}
	for _, f := range []knowledge.Filter{all(), {Field: "f"}, {Values: []any{1.0}}, {Terms: terms(1)}} {
		if f.IsZero() {
			t.Errorf("%+v.IsZero() = true, want false: it would admit all", f)
		}
	}
}
