package knowledge

// Bounds of a filter.
const (
	MaxFilterDepth  = 16
	MaxFilterTerms  = 256
	MaxFilterValues = 1000      // values of one In
	MaxFilterField  = 128       // bytes of a field name
	MaxFilterValue  = 64 << 10  // bytes of one string: metadata has none that is longer
	MaxFilterBytes  = 256 << 10 // of all of it, where a value counts 8 and a string and a field name their length more
	MaxMatch        = 1000      // bytes of the words of one Match
)

// Op is an operator of a [Filter].
type Op string

// The operators.
//
// A comparison (Eq, In, Gt, Gte, Lt, Lte, Contains, Match) is false for a record
// that lacks the field, has it null, or has a value of another type there; so Not
// of it is true, and so is Ne. Numbers compare with numbers, strings with strings
// by code point, and true and false are equal to themselves only.
//
// With a field that the collection declares, a value must be of the field's type;
// one that was declared later counts as undeclared until all records are filled in.
// A [Datetime] compares as an instant, with RFC 3339 strings in whatever zone. A
// comparison with [Keywords] is true when it is for one of the elements.
const (
	OpAnd Op = "and" // every one of Terms; true when there is none
	OpOr  Op = "or"  // at least one of Terms; false when there is none
	OpNot Op = "not" // not Terms[0]
	OpEq  Op = "eq"  // field is Values[0]: a bool, number or string
	OpNe  Op = "ne"  // not Eq
	OpIn  Op = "in"  // field is one of Values
	OpGt  Op = "gt"  // field > Values[0]: a number or a string
	OpGte Op = "gte"
	OpLt  Op = "lt"
	OpLte Op = "lte"
	// OpContains: field is a list, declared as Keywords or not at all, and
	// one of its elements is Values[0], a bool, number or string.
	OpContains Op = "contains"
	// OpExists: the record has the field, and not null; if Values[0] is
	// false, the opposite.
	OpExists Op = "exists"
	// OpMatch: every word of Values[0] occurs in the record's text or, with
	// a field, in that string. How words are told apart, brought to their
	// stems and left out for being too common is up to the store and the
	// collection's [Language]. Where no word is left it is false.
	OpMatch Op = "match"
)

// filterOps names the operators in messages.
const filterOps = "eq, ne, in, gt, gte, lt, lte, contains, exists, match, and, or, not"

// Filter is a condition on records' metadata, and on their text. The zero Filter
// admits all.
type Filter struct {
	Op     Op
	Terms  []Filter // of And, Or, Not
	Field  string   // top-level key of the metadata; of the others, but optional for Match
	Values []any    // bool, float64 or string
}

// IsZero reports whether f is the zero Filter. One that lacks only its operator
// is not: it is malformed, and must not be taken for one that admits all.
func (f Filter) IsZero() bool {
	return f.Op == "" && f.Field == "" && len(f.Terms) == 0 && len(f.Values) == 0
}
