package knowledge

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Bounds of a filter.
const (
	MaxFilterDepth  = 16
	MaxFilterTerms  = 256
	MaxFilterValues = 1000 // values of one In
	MaxFilterField  = 128  // bytes of a field name
)

// Op is an operator of a [Filter].
type Op string

// The operators. A comparison with a field that a record lacks, or whose value
// is of another JSON type, is false; so Not of it is true.
const (
	OpAnd Op = "and" // every one of Terms; true when there is none
	OpOr  Op = "or"  // at least one of Terms; false when there is none
	OpNot Op = "not" // not Terms[0]
	OpEq  Op = "eq"  // field is Values[0]: a bool, number or string
	OpIn  Op = "in"  // field is one of Values
	OpGt  Op = "gt"  // field > Values[0]: numbers, or strings by code point
	OpGte Op = "gte"
	OpLt  Op = "lt"
	OpLte Op = "lte"
)

// Filter is a condition on records' metadata. The zero Filter admits all.
type Filter struct {
	Op     Op
	Terms  []Filter // of And, Or, Not
	Field  string   // top-level key of the metadata, of the comparisons
	Values []any    // bool, float64 or string
}

// IsZero reports whether f is the zero Filter. One that lacks only its operator
// is not: it is malformed, and must not be taken for one that admits all.
func (f Filter) IsZero() bool {
	return f.Op == "" && f.Field == "" && len(f.Terms) == 0 && len(f.Values) == 0
}

// Validate returns an [InvalidError] that names the place unless the filter is
// well formed and within bounds.
func (f Filter) Validate() error {
	if f.IsZero() {
		return nil
	}
	terms := 0
	return f.validate(1, &terms)
}

func (f Filter) validate(depth int, terms *int) error {
	if depth > MaxFilterDepth {
		return Invalid("", "is nested deeper than %d levels", MaxFilterDepth)
	}
	if *terms++; *terms > MaxFilterTerms {
		return Invalid("", "has more than %d terms", MaxFilterTerms)
	}
	switch f.Op {
	case OpAnd, OpOr, OpNot:
		switch {
		case f.Field != "" || len(f.Values) > 0:
			return Invalid(string(f.Op), "has a field or values; need terms alone")
		case f.Op == OpNot && len(f.Terms) != 1:
			return Invalid("not", "has %d terms; need 1", len(f.Terms))
		}
		for i, term := range f.Terms {
			if err := term.validate(depth+1, terms); err != nil {
				return At(string(f.Op), At("["+itoa(i)+"]", err))
			}
		}
		return nil
	case OpEq, OpIn, OpGt, OpGte, OpLt, OpLte:
		return f.validateComparison()
	}
	return Invalid("", "has no known operator; need one of eq, in, gt, gte, lt, lte, and, or, not")
}

func (f Filter) validateComparison() error {
	switch {
	case len(f.Terms) > 0:
		return Invalid(string(f.Op), "has terms; need a field and values alone")
	case f.Field == "" || len(f.Field) > MaxFilterField:
		return Invalid("field", "has %d bytes; need 1 to %d", len(f.Field), MaxFilterField)
	case !utf8.ValidString(f.Field) || strings.IndexByte(f.Field, 0) >= 0:
		return Invalid("field", "is not UTF-8 text without NUL")
	case f.Op != OpIn && len(f.Values) != 1:
		return Invalid(string(f.Op), "has %d values; need 1", len(f.Values))
	case len(f.Values) > MaxFilterValues:
		return Invalid(string(f.Op), "has %d values; at most %d are allowed", len(f.Values), MaxFilterValues)
	}
	for i, value := range f.Values {
		switch v := value.(type) {
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return Invalid(string(f.Op), "value %d is not finite", i)
			}
		case string:
			if err := CheckText(v); err != nil {
				return At(string(f.Op), err)
			}
		case bool:
			if f.Op != OpEq && f.Op != OpIn {
				return Invalid(string(f.Op), "cannot order true and false; need a number or a string")
			}
		default:
			return Invalid(string(f.Op), "value %d is not a bool, number or string", i)
		}
	}
	return nil
}
