package knowledge

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// Admits reports that a record of c passes the filter, which is valid for c. It is
// the plain meaning of filters, which stores must keep to; but words are told apart
// here as in no language: runs of letters and digits, without stems.
func (f Filter) Admits(c Collection, r Record) bool {
	if f.IsZero() {
		return true
	}
	each := func(term Filter) bool { return term.Admits(c, r) }
	value := r.Metadata[f.Field] // nil when it is missing, which is the same as null
	switch f.Op {
	case OpAnd:
		return !slices.ContainsFunc(f.Terms, func(term Filter) bool { return !each(term) })
	case OpOr:
		return slices.ContainsFunc(f.Terms, each)
	case OpNot:
		return !each(f.Terms[0])
	case OpNe:
		f.Op = OpEq
		return !each(f)
	case OpExists:
		return (value != nil) == f.Values[0].(bool)
	case OpMatch:
		text, ok := value.(string)
		if f.Field == "" {
			text, ok = r.Text, true
		}
		return ok && matches(text, f.Values[0].(string))
	}
	declared := typeOf(c, f.Field)
	return slices.ContainsFunc(f.Values, func(want any) bool { return compares(f.Op, declared, value, want) })
}

// typeOf is the type of a declared field; empty for any other.
func typeOf(c Collection, field string) FieldType {
	for _, f := range c.Fields {
		if f.Name == field && f.State != FieldFilling {
			return f.Type
		}
	}
	return ""
}

// compares reports "value op want" for a field that is declared, or not.
func compares(op Op, declared FieldType, value, want any) bool {
	list, isList := value.([]any)
	switch {
	case op == OpContains:
		return slices.ContainsFunc(list, func(item any) bool { return holds(OpEq, item, want) })
	case declared == Keywords:
		return slices.ContainsFunc(list, func(item any) bool { return holds(op, item, want) })
	case declared == Datetime && !isList:
		return holds(op, instant(value), instant(want))
	}
	return holds(op, value, want)
}

// instant is what a datetime is compared by; nil for what is none.
func instant(value any) any {
	s, _ := value.(string)
	if seconds, err := DatetimeSeconds(s); err == nil {
		return seconds
	}
	return nil
}

// holds reports "value op want". Values of different types never compare, nor
// do arrays and objects.
func holds(op Op, value, want any) bool {
	var order int
	switch w := want.(type) {
	case bool:
		v, ok := value.(bool)
		return ok && v == w
	case float64:
		v, ok := value.(float64)
		if !ok {
			return false
		}
		order = cmp.Compare(v, w)
	case string:
		v, ok := value.(string)
		if !ok {
			return false
		}
		order = cmp.Compare(v, w) // bytes of UTF-8 are ordered as code points
	default:
		return false
	}
	switch op {
	case OpGt:
		return order > 0
	case OpGte:
		return order >= 0
	case OpLt:
		return order < 0
	case OpLte:
		return order <= 0
	}
	return order == 0 // eq, in
}

// matches reports that every word of wanted is in text. Words are runs of letters
// and digits, whatever their case; there are no stems.
func matches(text, wanted string) bool {
	words, need := wordsOf(text), wordsOf(wanted)
	for word := range need {
		if !words[word] {
			return false
		}
	}
	return len(need) > 0
}

func wordsOf(s string) map[string]bool {
	words := map[string]bool{}
	between := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	for word := range strings.FieldsFuncSeq(strings.ToLower(s), between) {
		words[word] = true
	}
	return words
}
