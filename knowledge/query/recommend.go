package query

import (
	"math"

	"github.com/tars-project/tars/knowledge"
)

// MaxExamples is how many records a recommendation can start from, of each kind.
const MaxExamples = 16

// Recommend asks for records like some and unlike others of the same collection.
// What is searched for is the mean of the positive vectors, plus, if there are
// negative ones, its difference from theirs. For the cosine metric each counts by
// its direction alone. The examples are not part of the result.
type Recommend struct {
	Positive []knowledge.RecordID // 1 to [MaxExamples]
	Negative []knowledge.RecordID // up to [MaxExamples]; none that is positive too
}

func (r Recommend) validate() error {
	switch {
	case len(r.Positive) < 1 || len(r.Positive) > MaxExamples:
		return knowledge.Invalid("positive", "has %d entries; need 1 to %d", len(r.Positive), MaxExamples)
	case len(r.Negative) > MaxExamples:
		return knowledge.Invalid("negative", "has %d entries; at most %d are allowed", len(r.Negative), MaxExamples)
	}
	positive := map[knowledge.RecordID]bool{}
	for _, id := range r.Positive {
		positive[id] = true
	}
	for _, id := range r.Negative {
		if positive[id] {
			return knowledge.Invalid("negative", "has %q, which is positive as well", id)
		}
	}
	return nil
}

// average is the vector to search for. All vectors have c's dimension.
func average(c knowledge.Collection, positive, negative [][]float32) ([]float32, error) {
	up, down := mean(c, positive), mean(c, negative)
	vector := make([]float32, len(up))
	for i := range up {
		x := up[i]
		if len(negative) > 0 {
			x += up[i] - down[i]
		}
		vector[i] = float32(x)
	}
	// The examples may cancel each other out, or add up beyond what can be compared.
	if err := knowledge.CheckVector(vector, c); err != nil {
		return nil, knowledge.Invalid("", "gives no vector to search for: the examples cancel each other out, or are too large")
	}
	return vector, nil
}

func mean(c knowledge.Collection, vectors [][]float32) []float64 {
	sum := make([]float64, c.Dimension())
	for _, v := range vectors {
		scale := 1 / float64(len(vectors))
		if c.Metric == knowledge.Cosine {
			scale /= math.Sqrt(dot(v, v))
		}
		for i, x := range v {
			sum[i] += scale * float64(x)
		}
	}
	return sum
}

// without drops records by their ids.
func without(matches []knowledge.Match, ids map[knowledge.RecordID]bool) []knowledge.Match {
	if len(ids) == 0 {
		return matches
	}
	kept := make([]knowledge.Match, 0, len(matches))
	for _, m := range matches {
		if !ids[m.ID] {
			kept = append(kept, m)
		}
	}
	return kept
}
