package knowledge

import (
	"cmp"
	"slices"
)

// Admits reports that metadata passes a valid filter.
func (f Filter) Admits(metadata map[string]any) bool {
	if f.IsZero() {
		return true
	}
	each := func(term Filter) bool { return term.Admits(metadata) }
	switch f.Op {
	case OpAnd:
		return !slices.ContainsFunc(f.Terms, func(term Filter) bool { return !each(term) })
	case OpOr:
		return slices.ContainsFunc(f.Terms, each)
	case OpNot:
		return !each(f.Terms[0])
	}
	value, ok := metadata[f.Field]
	return ok && slices.ContainsFunc(f.Values, func(want any) bool { return holds(f.Op, value, want) })
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
