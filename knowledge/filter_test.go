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
		{"in with infinity", comparison(knowledge.OpIn, 1.0, math.Inf(-1)), "in"},
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
		{"and with a field", knowledge.Filter{Op: knowledge.OpAnd, Field: "f"}, "and"},
		{"or with values", knowledge.Filter{Op: knowledge.OpOr, Values: []any{1.0}}, "or"},
		{"eq with terms", knowledge.Filter{Op: knowledge.OpEq, Field: "f", Values: []any{1.0}, Terms: terms(1)}, "eq"},
	} {
		got := "ok"
		err := tc.f.Validate()
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
