package knowledge

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Bounds of facets.
const (
	MaxFacets      = 8   // of one request
	MaxFacetValues = 100 // of one facet
	MaxFacetRanges = 32  // of one facet
	// MaxFacetRecords is how many records are counted at most; where more pass
	// the filter, the counts are of these alone.
	MaxFacetRecords = 100_000
)

// Facet asks for the values of one metadata field, with how many records have each.
// Strings, numbers and booleans are counted, and in a list each once; other values
// are not.
type Facet struct {
	Field  string  // top-level key of the metadata, 1 to [MaxFilterField] bytes
	Limit  int     // values wanted, the most frequent, 1 to [MaxFacetValues]; ignored with Ranges
	Ranges []Range // count numbers that lie in each of these instead
}

// Range is a half-open range of numbers; nil is no bound.
type Range struct{ From, To *float64 }

// FacetSearch asks for facets of the records of a collection that pass a filter.
type FacetSearch struct {
	Collection CollectionName
	Filter     Filter
	Facets     []Facet // 1 to [MaxFacets]
}

// FacetCounts are the counts of one facet.
type FacetCounts struct {
	Field   string
	Values  []ValueCount // most frequent first, then by kind and value; of a facet of values
	Ranges  []int64      // in the order of the request; of a facet of ranges
	Counted int64        // records that were looked at
	// Approximate says that more than [MaxFacetRecords] pass the filter, and
	// that some of them only were counted.
	Approximate bool
}

// ValueCount is a value, a string, float64 or bool, and how many records have it.
type ValueCount struct {
	Value any
	Count int64
}

// CheckFields refuses facets that cannot be of the declared fields; fields that
// are not declared may hold anything. It returns an [InvalidError].
func (s FacetSearch) CheckFields(declared []Field) error {
	for i, f := range s.Facets {
		for _, d := range declared {
			if d.Name == f.Field && len(f.Ranges) > 0 && d.Type != Number {
				return Invalid("["+itoa(i)+"].ranges", "are of numbers, but the field %q is declared as %s", f.Field, d.Type)
			}
		}
	}
	return nil
}

// CheckView refuses facets of fields that a view hides; a nil view hides none. It
// returns an [InvalidError] whose field begins with facets.
func (s FacetSearch) CheckView(v *View) error {
	for i, f := range s.Facets {
		if err := v.CheckField(f.Field); err != nil {
			return At("facets["+itoa(i)+"].field", err)
		}
	}
	return nil
}

// Validate checks the request but for the collection's fields; it returns an
// [InvalidError] whose field begins with facets or filter.
func (s FacetSearch) Validate() error {
	if len(s.Facets) < 1 || len(s.Facets) > MaxFacets {
		return Invalid("facets", "has %d entries; need 1 to %d", len(s.Facets), MaxFacets)
	}
	for i, f := range s.Facets {
		if err := f.validate(); err != nil {
			return At("facets["+itoa(i)+"]", err)
		}
	}
	return At("filter", s.Filter.Validate(Collection{}))
}

func (f Facet) validate() error {
	if err := CheckFieldName(f.Field); err != nil {
		return At("field", err)
	}
	if len(f.Ranges) > MaxFacetRanges {
		return Invalid("ranges", "has %d entries; at most %d are allowed", len(f.Ranges), MaxFacetRanges)
	}
	if len(f.Ranges) == 0 && (f.Limit < 1 || f.Limit > MaxFacetValues) {
		return Invalid("limit", "is %d; need 1 to %d", f.Limit, MaxFacetValues)
	}
	for i, r := range f.Ranges {
		for _, bound := range []*float64{r.From, r.To} {
			if bound != nil && (math.IsNaN(*bound) || math.IsInf(*bound, 0)) {
				return Invalid("ranges["+itoa(i)+"]", "has a bound that is not finite")
			}
		}
		if r.From != nil && r.To != nil && *r.From >= *r.To {
			return Invalid("ranges["+itoa(i)+"]", "is empty; need from below to")
		}
	}
	return nil
}

// CheckFieldName refuses what cannot be the name of a metadata field; it returns
// an [InvalidError].
func CheckFieldName(name string) error {
	switch {
	case name == "" || len(name) > MaxFilterField:
		return Invalid("", "has %d bytes; need 1 to %d", len(name), MaxFilterField)
	case !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0:
		return Invalid("", "is not UTF-8 text without NUL")
	}
	return nil
}
