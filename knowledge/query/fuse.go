package query

import (
	"cmp"
	"math"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// FusionMethod is how several lists become one.
type FusionMethod string

// The methods. The empty one is Sum for the two lists of one hybrid retrieval, and
// RRF for several legs, whose collections and metrics may differ.
const (
	// RRF adds weight / (K + rank) for each list that has the record.
	RRF FusionMethod = "rrf"
	// Sum adds weighted scores, brought to one scale by Normalize; a list that
	// lacks the record adds nothing.
	Sum FusionMethod = "sum"
)

// Normalization is how Sum brings the scores of a list to one scale. 0 is what a
// record would have that the list lacks: no shared word, or, in a list that was
// cut off, the last one's score.
type Normalization string

// The normalizations. The empty one is MinMax, which was the best on the set of
// docs/benchmarks/lexical.md.
const (
	MinMax Normalization = "minmax" // the best is 1
	ZScore Normalization = "zscore" // in standard deviations of the list's scores
)

// Bounds of a fusion.
const (
	MaxRRFK   = 1000
	MaxWeight = 100
)

// Fusion says how to fuse.
type Fusion struct {
	Method    FusionMethod
	K         int // of RRF, 1 to [MaxRRFK]; 0 means 60
	Normalize Normalization
	// Weights of the two retrievals of a hybrid, 0 to [MaxWeight], not both 0;
	// nil means 1.
	VectorWeight, LexicalWeight *float64
}

// rrfK damps the weight of the first ranks in reciprocal rank fusion; 60 is the
// value of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms
// Condorcet and individual Rank Learning Methods", SIGIR 2009.
const rrfK = 60

func (f Fusion) validate() (Fusion, error) {
	one := 1.0
	if f.VectorWeight == nil {
		f.VectorWeight = &one
	}
	if f.LexicalWeight == nil {
		f.LexicalWeight = &one
	}
	if f.K == 0 {
		f.K = rrfK
	}
	switch {
	case f.Method != "" && f.Method != RRF && f.Method != Sum:
		return f, knowledge.Invalid("method", "is not a method; need rrf or sum")
	case f.Normalize != "" && f.Normalize != ZScore && f.Normalize != MinMax:
		return f, knowledge.Invalid("normalize", "is not a normalization; need zscore or minmax")
	case f.K < 1 || f.K > MaxRRFK:
		return f, knowledge.Invalid("k", "is %d; need 1 to %d", f.K, MaxRRFK)
	case !(*f.VectorWeight >= 0 && *f.VectorWeight <= MaxWeight):
		return f, knowledge.Invalid("weights.vector", "is %g; need 0 to %d", *f.VectorWeight, MaxWeight)
	case !(*f.LexicalWeight >= 0 && *f.LexicalWeight <= MaxWeight):
		return f, knowledge.Invalid("weights.lexical", "is %g; need 0 to %d", *f.LexicalWeight, MaxWeight)
	case *f.VectorWeight == 0 && *f.LexicalWeight == 0:
		return f, knowledge.Invalid("weights", "are both 0; need one above it")
	}
	return f, nil
}

// Retrieved is what one retrieval gave.
type Retrieved struct {
	Leg     int
	Mode    Mode              // Vector or Lexical
	Weight  float64           // in a fusion
	Matches []knowledge.Match // best first
	Full    bool              // there may be more than these
}

// fuse joins lists into one, best first. A single list keeps its own scores. Equal
// scores are ordered by collection, id and owner, so that the same data gives the same
// answer, whatever the order of the lists.
func (f Fusion) fuse(lists []Retrieved) ([]Candidate, ScoreKind) {
	points, kind := f.points(lists)
	at := map[matchKey]int{}
	var candidates []Candidate
	var shares [][]float64 // of each candidate's score
	for _, list := range lists {
		give := points(list)
		for i, match := range list.Matches {
			k := keyOf(match)
			j, seen := at[k]
			if !seen {
				j = len(candidates)
				at[k] = j
				candidates, shares = append(candidates, Candidate{Match: match}), append(shares, nil)
			}
			c := &candidates[j]
			c.Legs = append(c.Legs, LegScore{Leg: list.Leg, Mode: list.Mode, Rank: i + 1, Score: match.Score})
			shares[j] = append(shares[j], give(i))
		}
	}
	for j := range candidates {
		candidates[j].Score = total(shares[j])
	}
	sortCandidates(candidates)
	return candidates, kind
}

// matchKey tells records apart.
type matchKey struct {
	owner      knowledge.TenantID
	collection knowledge.CollectionName
	id         knowledge.RecordID
}

func keyOf(m knowledge.Match) matchKey { return matchKey{m.Owner, m.Collection, m.ID} }

// total adds in an order of its own, so that rounding is the same whichever list
// came first.
func total(shares []float64) (sum float64) {
	slices.Sort(shares)
	for _, s := range shares {
		sum += s
	}
	return sum
}

// points returns how many points a list gives to its i-th match.
func (f Fusion) points(lists []Retrieved) (func(Retrieved) func(i int) float64, ScoreKind) {
	method := f.Method
	if method == "" {
		method = Sum
		for _, l := range lists {
			if l.Leg != 0 {
				method = RRF
			}
		}
	}
	switch {
	case len(lists) == 1:
		kind := ScoreMetric
		if lists[0].Mode == Lexical {
			kind = ScoreBM25
		}
		return func(l Retrieved) func(int) float64 {
			return func(i int) float64 { return l.Matches[i].Score }
		}, kind
	case method == RRF:
		return func(l Retrieved) func(int) float64 {
			return func(i int) float64 { return l.Weight / float64(f.K+i+1) }
		}, ScoreRRF
	default:
		return func(l Retrieved) func(int) float64 {
			absent, scale := f.scale(l)
			return func(i int) float64 { return l.Weight * (l.Matches[i].Score - absent) / scale }
		}, ScoreSum
	}
}

// scale is what a record would score that the list lacks, and what a score is
// divided by; above 0. A mean needs not be taken off: it is the same for all.
func (f Fusion) scale(l Retrieved) (absent, scale float64) {
	if len(l.Matches) == 0 {
		return 0, 1
	}
	best, last := l.Matches[0].Score, l.Matches[len(l.Matches)-1].Score
	absent = last
	sample := make([]float64, 0, len(l.Matches)+1)
	for _, m := range l.Matches {
		sample = append(sample, m.Score)
	}
	if l.Mode == Lexical && !l.Full {
		absent = 0 // what has no word of the question
		sample = append(sample, absent)
	}
	scale = best - absent
	if f.Normalize == ZScore {
		scale = deviation(sample)
	}
	if !(scale > 1e-12*math.Max(math.Abs(best), math.Abs(absent))) {
		// All alike: each counts as the best of a list does.
		return absent - 1, 1
	}
	return absent, scale
}

// deviation is the standard deviation of numbers, at least one.
func deviation(numbers []float64) float64 {
	n := float64(len(numbers))
	var mean, squares float64
	for _, x := range numbers {
		mean += x / n
	}
	for _, x := range numbers {
		squares += (x - mean) * (x - mean) / n
	}
	return math.Sqrt(squares)
}

// sortCandidates puts the best first, equal ones by collection, id and owner.
func sortCandidates(candidates []Candidate) {
	slices.SortStableFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Owner, b.Owner))
	})
}
