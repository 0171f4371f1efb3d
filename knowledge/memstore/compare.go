package memstore

import (
	"math"

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
