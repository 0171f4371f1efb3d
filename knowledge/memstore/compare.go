package memstore

import (
	"cmp"
	"math"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// score compares two vectors of one dimension; higher is nearer.
func score(metric knowledge.Metric, a, b []float32) float64 {
	var dot, normA, normB, squares float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		normA += x * x
		normB += y * y
		squares += (x - y) * (x - y)
	}
	switch metric {
	case knowledge.L2:
		return -math.Sqrt(squares)
	case knowledge.IP:
		return dot
	}
	return max(-1, min(1, dot/math.Sqrt(normA*normB)))
}

// admits reports that the metadata passes a valid filter.
func admits(f knowledge.Filter, metadata map[string]any) bool {
	if f.IsZero() {
		return true
	}
	each := func(term knowledge.Filter) bool { return admits(term, metadata) }
	switch f.Op {
	case knowledge.OpAnd:
		return !slices.ContainsFunc(f.Terms, func(term knowledge.Filter) bool { return !each(term) })
	case knowledge.OpOr:
		return slices.ContainsFunc(f.Terms, each)
	case knowledge.OpNot:
		return !each(f.Terms[0])
	}
	value, ok := metadata[f.Field]
	return ok && slices.ContainsFunc(f.Values, func(want any) bool { return holds(f.Op, value, want) })
}

// holds reports "value op want". Values of different types never compare, nor
// do arrays and objects.
func holds(op knowledge.Op, value, want any) bool {
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
	case knowledge.OpGt:
		return order > 0
	case knowledge.OpGte:
		return order >= 0
	case knowledge.OpLt:
		return order < 0
	case knowledge.OpLte:
		return order <= 0
	}
	return order == 0 // eq, in
}
