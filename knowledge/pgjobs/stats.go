package pgjobs

import (
	"cmp"
	"slices"
	"sync"
)

// Stat is how often something came out in one way on this node, since its start.
type Stat struct {
	Kind string // of a job, or the name of periodic work
	// Outcome is a final state; "retried", "released" (the server was stopped) or
	// "lost" (another took the job over), after which the job is run again; or
	// "rescued": it was taken from a server that is gone.
	Outcome string
	N       int64
}

// counts are the figures of a node. Safe for concurrent use.
type counts struct {
	mu sync.Mutex
	n  map[Stat]int64 // by what it is, with N 0
}

func (c *counts) add(kind, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[Stat]int64)
	}
	c.n[Stat{Kind: kind, Outcome: outcome}]++
}

// Stats returns the node's figures, in the order of kinds and outcomes.
func (r *Runner) Stats() []Stat {
	r.counts.mu.Lock()
	defer r.counts.mu.Unlock()
	all := make([]Stat, 0, len(r.counts.n))
	for s, n := range r.counts.n {
		s.N = n
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Outcome, b.Outcome))
	})
	return all
}
