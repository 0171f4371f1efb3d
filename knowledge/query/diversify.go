package query

import (
	"math"

	"github.com/tars-project/tars/knowledge"
)

// MaxDiversified is how many candidates can be diversified.
const MaxDiversified = 200

// Diversify puts candidates that are unlike those before them first, by maximal
// marginal relevance: again and again the one with the most of
//
//	Lambda * relevance - (1 - Lambda) * likeness
//
// where relevance is the score brought to 0…1 over the candidates, and likeness
// the largest cosine with one taken before. Scores stay as they were.
type Diversify struct {
	Lambda     *float64 // 0: unlike at any price, to 1: the order as it was; nil means 0.5
	Candidates int      // the first ones, which are put in order, 1 to [MaxDiversified]; 0 means 50. The others follow
}

func (d Diversify) validate() (Diversify, error) {
	half := 0.5
	if d.Lambda == nil {
		d.Lambda = &half
	}
	if d.Candidates == 0 {
		d.Candidates = 50
	}
	switch {
	case !(*d.Lambda >= 0 && *d.Lambda <= 1):
		return d, knowledge.Invalid("lambda", "is %g; need 0 to 1", *d.Lambda)
	case d.Candidates < 1 || d.Candidates > MaxDiversified:
		return d, knowledge.Invalid("candidates", "is %d; need 1 to %d", d.Candidates, MaxDiversified)
	}
	return d, nil
}

// apply orders the first candidates anew, as far as want of them are needed. One
// without a vector is like nothing. Candidates must be the best first.
func (d Diversify) apply(candidates []Candidate, want int) []Candidate {
	n := min(len(candidates), d.Candidates)
	pool, rest := candidates[:n], candidates[n:]
	relevance := relevances(pool)
	norms := make([]float64, n)
	for i, c := range pool {
		norms[i] = math.Sqrt(dot(c.Vector, c.Vector))
	}
	likeness, taken := make([]float64, n), make([]bool, n)
	ordered := make([]Candidate, 0, len(candidates))
	for len(ordered) < min(n, want) {
		best, most := -1, math.Inf(-1)
		for i := range pool {
			// Of equal ones the first, as the order was.
			if value := *d.Lambda*relevance[i] - (1-*d.Lambda)*likeness[i]; !taken[i] && value > most {
				best, most = i, value
			}
		}
		taken[best] = true
		ordered = append(ordered, pool[best])
		for i := range pool {
			if !taken[i] {
				alike := cosine(pool[i].Vector, pool[best].Vector, norms[i], norms[best])
				if len(ordered) == 1 || alike > likeness[i] {
					likeness[i] = alike
				}
			}
		}
	}
	for i, c := range pool {
		if !taken[i] {
			ordered = append(ordered, c)
		}
	}
	return append(ordered, rest...)
}

// relevances are the scores brought to 0…1; 1 where all are alike.
func relevances(pool []Candidate) []float64 {
	list := make([]float64, len(pool))
	for i, c := range pool {
		list[i] = 1
		if best, last := pool[0].Score, pool[len(pool)-1].Score; best > last {
			list[i] = (c.Score - last) / (best - last)
		}
	}
	return list
}

func dot(a, b []float32) (sum float64) {
	for i := range min(len(a), len(b)) {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// cosine is 0 where one has no direction, or they are of different spaces.
func cosine(a, b []float32, normA, normB float64) float64 {
	if normA == 0 || normB == 0 || len(a) != len(b) {
		return 0
	}
	return dot(a, b) / (normA * normB)
}
