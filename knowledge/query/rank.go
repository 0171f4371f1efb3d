package query

import (
	"cmp"
	"context"
	"slices"
)

// merge asks the merge plugin. It returns nil when that gave nothing, and the
// fusion stands.
func (r *run) merge(ctx context.Context, p plan, found retrieved, fused []Candidate) ([]Candidate, error) {
	h := r.handout(fused)
	h.Lists = handedLists(found, fused)
	var merged []Candidate
	err := each(ctx, r, "merge", p.merge[0], r.budget(shareStep, p.left(shareStep, p.rank, p.after)), h, r.engine.Plugins.Merge, func(_ int, scores []Scored) {
		merged, _ = byScore(fused, scores)
	})
	if merged != nil {
		r.trace.last().Out = len(merged)
	}
	return merged, err
}

// handedLists are the lists that were found, of the candidates that are there.
func handedLists(found retrieved, candidates []Candidate) []HandedList {
	at := make(map[matchKey]int, len(candidates))
	for i, c := range candidates {
		at[keyOf(c.Match)] = i
	}
	lists := make([]HandedList, len(found.lists))
	for i, l := range found.lists {
		lists[i] = HandedList{Leg: l.Leg, Mode: l.Mode, Weight: l.Weight}
		for _, m := range l.Matches {
			if j, ok := at[keyOf(m)]; ok {
				lists[i].Entries = append(lists[i].Entries, Scored{Index: j, Score: m.Score})
			}
		}
	}
	return lists
}

// rank hands the candidates to the rankers, one step after the other.
func (r *run) rank(ctx context.Context, p plan, candidates []Candidate) ([]Candidate, error) {
	for n, s := range p.rank {
		var rankings []ranking
		budget := r.budget(shareStep, p.left(0, p.rank[n:], p.after))
		err := each(ctx, r, "rank", s, budget, r.handout(candidates), r.engine.Plugins.Rank, func(i int, scores []Scored) {
			rankings = append(rankings, ranking{cmp.Or(r.q.Plugins[i].Weight, 1), scores})
		})
		if err != nil {
			return nil, err
		}
		if len(rankings) > 0 {
			candidates = ranked(candidates, rankings)
			r.whole.ScoreKind = ScorePlugin
		}
	}
	return candidates, nil
}

// ranking is what one ranker gave.
type ranking struct {
	weight float64
	scores []Scored
}

// ranked orders candidates by one ranking, or by several: then a score is the sum
// of weight / (60 + rank), by which rankers can be put together whose scores have
// nothing in common. Candidates without a score follow in the order they had.
func ranked(candidates []Candidate, rankings []ranking) []Candidate {
	scores := rankings[0].scores
	if len(rankings) > 1 {
		scores = together(rankings)
	}
	first, rest := byScore(candidates, scores)
	return append(first, rest...)
}

// together makes one ranking of several.
func together(rankings []ranking) []Scored {
	at := map[int]int{}
	var sum []Scored
	var shares [][]float64
	for _, r := range rankings {
		order := slices.Clone(r.scores)
		slices.SortStableFunc(order, func(a, b Scored) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Index, b.Index)) })
		for rank, s := range order {
			i, ok := at[s.Index]
			if !ok {
				i = len(sum)
				at[s.Index] = i
				sum, shares = append(sum, Scored{Index: s.Index}), append(shares, nil)
			}
			shares[i] = append(shares[i], r.weight/float64(rrfK+rank+1))
			sum[i].Reason = cmp.Or(sum[i].Reason, s.Reason)
		}
	}
	for i := range sum {
		sum[i].Score = total(shares[i])
	}
	return sum
}

// byScore returns the candidates that have a new score, best first, and the others
// in the order they had.
func byScore(candidates []Candidate, scores []Scored) (first, rest []Candidate) {
	named := make([]bool, len(candidates))
	first = make([]Candidate, 0, len(candidates))
	// Equal ones stay in the order they had.
	slices.SortFunc(scores, func(a, b Scored) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Index, b.Index)) })
	for _, s := range scores {
		c := candidates[s.Index]
		c.Score, c.Reason = s.Score, cmp.Or(s.Reason, c.Reason)
		named[s.Index] = true
		first = append(first, c)
	}
	for i, c := range candidates {
		if !named[i] {
			rest = append(rest, c)
		}
	}
	return first, rest
}
