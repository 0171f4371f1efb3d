package knowledge

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Validate returns an [InvalidError] that names the place unless the filter is
// well formed, within bounds, and of the types of the fields that c declares. For
// the zero Collection, which declares none, it checks the form alone.
func (f Filter) Validate(c Collection) error {
	if f.IsZero() {
		return nil
	}
	check := filterCheck{fields: make(map[string]FieldType, len(c.Fields))}
	for _, field := range c.Fields {
		if field.State != FieldFilling { // not yet
			check.fields[field.Name] = field.Type
		}
	}
	return check.term(f, 1)
}

// filterCheck checks one filter.
type filterCheck struct {
	fields map[string]FieldType // declared ones
	terms  int                  // seen so far
	bytes  int                  // see [MaxFilterBytes]
}

func (k *filterCheck) term(f Filter, depth int) error {
	if depth > MaxFilterDepth {
		return Invalid("", "is nested deeper than %d levels", MaxFilterDepth)
	}
	if k.terms++; k.terms > MaxFilterTerms {
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
			if err := k.term(term, depth+1); err != nil {
				return At(string(f.Op), At("["+itoa(i)+"]", err))
			}
		}
		return nil
	case OpEq, OpNe, OpIn, OpGt, OpGte, OpLt, OpLte, OpContains, OpExists, OpMatch:
		return k.comparison(f)
	}
	return Invalid("", "has no known operator; need one of %s", filterOps)
}

func (k *filterCheck) comparison(f Filter) error {
	k.bytes += len(f.Field)
	anywhere := f.Op == OpMatch && f.Field == ""
	switch {
	case len(f.Terms) > 0:
		return Invalid(string(f.Op), "has terms; need a field and values alone")
	case !anywhere && f.Field == "" || len(f.Field) > MaxFilterField:
		return Invalid("field", "has %d bytes; need 1 to %d", len(f.Field), MaxFilterField)
	case !utf8.ValidString(f.Field) || strings.IndexByte(f.Field, 0) >= 0:
		return Invalid("field", "is not UTF-8 text without NUL")
	case f.Op != OpIn && len(f.Values) != 1:
		return Invalid(string(f.Op), "has %d values; need 1", len(f.Values))
	case len(f.Values) > MaxFilterValues:
		return Invalid(string(f.Op), "has %d values; at most %d are allowed", len(f.Values), MaxFilterValues)
	}
	for i, value := range f.Values {
		if err := k.value(f, value); err != nil {
			at := string(f.Op)
			if f.Op == OpIn {
				at += "[" + itoa(i) + "]"
			}
			return At(at, err)
		}
	}
	if declared, ok := k.fields[f.Field]; ok && !anywhere {
		return At(string(f.Op), checkOperator(declared, f))
	}
	return nil
}

// value checks what a comparison compares with.
func (k *filterCheck) value(f Filter, value any) error {
	size := 8
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Invalid("", "is not finite")
		}
	case string:
		if err := checkFilterText(f.Op, v); err != nil {
			return err
		}
		size += len(v)
	case bool:
	default:
		return Invalid("", "is not a bool, number or string")
	}
	if k.bytes += size; k.bytes > MaxFilterBytes {
		return Invalid("", "makes the filter larger than %d bytes", MaxFilterBytes)
	}
	_, isBool := value.(bool)
	_, isText := value.(string)
	switch {
	case f.Op == OpExists && !isBool:
		return Invalid("", "is neither true nor false")
	case f.Op == OpMatch && !isText:
		return Invalid("", "is not a string of words")
	case isBool && (f.Op == OpGt || f.Op == OpGte || f.Op == OpLt || f.Op == OpLte):
		return Invalid("", "cannot order true and false; need a number or a string")
	}
	if declared, ok := k.fields[f.Field]; ok && f.Op != OpExists && f.Op != OpMatch {
		return checkFilterType(declared, f.Field, value)
	}
	return nil
}

func checkFilterText(op Op, s string) error {
	most := MaxFilterValue
	if op == OpMatch {
		most = MaxMatch
	}
	if len(s) > most {
		return Invalid("", "has %d bytes; at most %d are allowed", len(s), most)
	}
	return CheckText(s)
}

// checkFilterType refuses a value that no value of a declared field compares with.
func checkFilterType(declared FieldType, field string, value any) error {
	need, ok := "", false
	switch declared {
	case Keyword, Keywords:
		_, ok = value.(string)
		need = "a string"
	case Number:
		_, ok = value.(float64)
		need = "a number"
	case Boolean:
		_, ok = value.(bool)
		need = "true or false"
	case Datetime:
		if s, isText := value.(string); isText {
			_, err := ParseDatetime(s)
			ok = err == nil
		}
		need = "a time as in RFC 3339, such as 2027-01-31T12:00:00Z"
	}
	if !ok {
		return Invalid("", "cannot be compared with the field %q, which is declared as %s; need %s", field, declared, need)
	}
	return nil
}

// checkOperator refuses an operator that a declared field's type does not have.
func checkOperator(declared FieldType, f Filter) error {
	switch f.Op {
	case OpContains:
		if declared != Keywords {
			return Invalid("", "needs a list; the field %q is declared as %s", f.Field, declared)
		}
	case OpMatch:
		if declared != Keyword {
			return Invalid("", "needs a string; the field %q is declared as %s", f.Field, declared)
		}
	}
	return nil
}
