package query

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of a batch of queries, and of them all together.
const (
	MaxBatchQueries = 100
	MaxBatchLegs    = 200
	MaxBatchCalls   = 200 // of plugins, without those that are called by default
)

// Answered is what became of one query of a batch.
type Answered struct {
	Answer Answer
	Err    error // as of [Engine.Answer]
}

// AnswerBatch runs up to [MaxBatchQueries] queries, several at once, within the
// time of one: timeout, or the engine's where that is 0. Each has an answer or an
// error of its own, in order. It returns an [knowledge.InvalidError] for a batch
// that is over its bounds.
func (e *Engine) AnswerBatch(ctx context.Context, tenant knowledge.TenantID, queries []Query, timeout time.Duration) ([]Answered, error) {
	if err := checkBatch(queries, timeout); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(timeout, e.Timeout))
	defer cancel()
	all := make([]Answered, len(queries))
	var g errgroup.Group
	g.SetLimit(e.Parallel)
	for i, q := range queries {
		g.Go(func() error {
			if end, ok := ctx.Deadline(); ok && (q.Timeout == 0 || q.Timeout > time.Until(end)) {
				q.Timeout = max(time.Until(end), 1) // so that it is shared out
			}
			all[i].Answer, all[i].Err = e.ask(ctx, tenant, q, 1, func(Part) error { return nil })
			return nil
		})
	}
	_ = g.Wait() // each says what became of it
	return all, nil
}

func checkBatch(queries []Query, timeout time.Duration) error {
	if len(queries) < 1 || len(queries) > MaxBatchQueries {
		return knowledge.Invalid("queries", "has %d entries; need 1 to %d", len(queries), MaxBatchQueries)
	}
	if timeout < 0 || timeout > MaxTimeout {
		return knowledge.Invalid("timeout_ms", "is %d; need 1 to %d", timeout.Milliseconds(), MaxTimeout.Milliseconds())
	}
	legs, calls, matches := 0, 0, 0
	for i, q := range queries {
		legs, calls, matches = legs+len(q.Legs), calls+len(q.Plugins), matches+min(max(0, q.Limit), MaxCandidates)
		for _, bound := range []struct {
			member, what string
			have, most   int
		}{
			{"legs", "legs", legs, MaxBatchLegs},
			{"plugins", "plugin calls", calls, MaxBatchCalls},
			{"limit", "matches", matches, MaxBatchMatches},
		} {
			if bound.have > bound.most {
				return knowledge.Invalid(fmt.Sprintf("queries[%d].%s", i, bound.member), "makes %d %s together with those before; at most %d are allowed", bound.have, bound.what, bound.most)
			}
		}
	}
	return nil
}
