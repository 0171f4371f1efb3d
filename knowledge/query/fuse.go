package query

import (
	"cmp"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// rrfK damps the weight of the first ranks in reciprocal rank fusion; 60 is the
// value of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms
// Condorcet and individual Rank Learning Methods", SIGIR 2009.
const rrfK = 60

// fuse joins what the legs found into one list, best first. One leg keeps its own
// scores; several are fused by weighted reciprocal ranks, for the scores of
// different collections and metrics cannot be compared. Equal scores are ordered
// by collection and id, so that the same data gives the same answer.
func fuse(legs []Leg, found []knowledge.Found) []Candidate {
	type key struct {
		collection knowledge.CollectionName
		id         knowledge.RecordID
	}
	at := map[key]int{}
	var candidates []Candidate
	for leg, f := range found {
		for i, match := range f.Matches {
			k := key{match.Collection, match.ID}
			j, seen := at[k]
			if !seen {
				j = len(candidates)
				at[k] = j
				candidates = append(candidates, Candidate{Match: match})
			}
			c := &candidates[j]
			c.Legs = append(c.Legs, LegScore{Leg: leg, Rank: i + 1, Score: match.Score})
			if len(legs) == 1 {
				c.Score = match.Score
			} else {
				c.Score += legs[leg].Weight / float64(rrfK+i+1)
			}
		}
	}
	slices.SortStableFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.ID, b.ID))
	})
	return candidates
}
