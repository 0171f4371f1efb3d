package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

// embedders finds the embedder that a collection is pinned to; knowledge/embed
// has it.
type embedders interface {
	For(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Embedder, error)
}

// Engine answers queries. Set every field before the first use; safe for
// concurrent use.
type Engine struct {
	Store     knowledge.Store
	Embedders embedders
	Plugins   Plugins
	Parallel  int              // most legs, or synthesizers, of one query at once; at least 1
	Timeout   time.Duration    // of a query that gives none; up to [MaxTimeout]
	Now       func() time.Time // nil means [time.Now]
}

// present is the time that boosts compare with.
func (e *Engine) present() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// Answer answers a query: legs in parallel, [Stages], rank plugins one after the
// other, synthesizers side by side, citations verified. Plugins are called also
// when nothing was found, with no candidates, so that what becomes of a query
// does not depend on the data: an unknown plugin is always an error, and a
// synthesizer may say that it knows nothing.
//
// The store must answer or the query fails; a plugin that fails is named in
// Missing, unless its call says [Fail]. It returns an [knowledge.InvalidError]
// for a bad query, an error wrapping [knowledge.ErrNotFound] for an unknown
// collection or plugin, a *[PluginError] for a plugin under [Fail], the error of
// the store, [context.DeadlineExceeded] past the query's time, or ctx's error.
// Nothing of the query goes on once it has returned.
func (e *Engine) Answer(ctx context.Context, tenant knowledge.TenantID, q Query) (Answer, error) {
	start := time.Now()
	q, err := q.withDefaults(e.Timeout)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	if q, err = e.withPresets(ctx, tenant, q); err != nil {
		return Answer{}, err
	}

	found, err := e.retrieve(ctx, tenant, q.Legs, q.Stages, e.Parallel)
	if err != nil {
		return Answer{}, err
	}
	trace := &trace{}
	trace.add("retrieve", 0, found.count(), start)
	candidates, kind := q.Stages.run(found.lists, e.present(), MaxCandidates, trace)
	answer := Answer{Plans: found.plans, ScoreKind: kind}
	candidates = window(candidates, 0, MaxCandidates)
	outcomes := make([]outcome, len(q.Plugins))
	if candidates, err = e.rank(ctx, tenant, q, candidates, outcomes); err != nil {
		return Answer{}, err
	}
	trace.stage("limit", &candidates, func(c []Candidate) []Candidate { return window(c, 0, q.Limit) })
	answer.Matches = candidates
	for i, call := range q.Plugins {
		if call.Capability == Rank && outcomes[i].missing == nil {
			answer.ScoreKind = ScorePlugin
		}
	}
	if q.Stages.Explain {
		answer.Stages = trace.stages
	}
	if err := e.synthesize(ctx, tenant, q, candidates, outcomes); err != nil {
		return Answer{}, err
	}
	answer.add(outcomes)
	answer.Took = time.Since(start)
	return answer, nil
}

// outcome is what became of one plugin call of a query.
type outcome struct {
	receipt Receipt // zero when the call did not run
	result  *Result
	missing *Missing
}

// add puts what became of the plugin calls into the answer, in the order of the
// query.
func (a *Answer) add(outcomes []outcome) {
	for _, o := range outcomes {
		if o.result != nil {
			a.Results = append(a.Results, *o.result)
		}
		if o.missing != nil {
			a.Missing = append(a.Missing, *o.missing)
		}
		if o.receipt.Plugin != "" {
			a.Receipts = append(a.Receipts, o.receipt)
		}
	}
}

// rank hands the candidates to each rank plugin, in order. outcomes has a slot
// for each plugin call of the query.
func (e *Engine) rank(ctx context.Context, tenant knowledge.TenantID, q Query, candidates []Candidate, outcomes []outcome) ([]Candidate, error) {
	for i, call := range q.Plugins {
		if call.Capability != Rank {
			continue
		}
		start := time.Now()
		ranked, receipt, err := e.Plugins.Rank(ctx, tenant, call, q.Text, candidates)
		outcomes[i].receipt = receipt
		if err == nil {
			candidates = ranked
		} else if outcomes[i].missing, err = failed(ctx, i, call, err, time.Since(start)); err != nil {
			return nil, err
		}
	}
	return candidates, nil
}

// synthesize asks all synthesizers at once and verifies what they cite. One that
// ends the query ends the others.
func (e *Engine) synthesize(ctx context.Context, tenant knowledge.TenantID, q Query, passages []Candidate, outcomes []outcome) error {
	g, shared := errgroup.WithContext(ctx)
	g.SetLimit(e.Parallel)
	for i, call := range q.Plugins {
		if call.Capability != Synthesize {
			continue
		}
		g.Go(func() error {
			start := time.Now()
			draft, receipt, err := e.Plugins.Synthesize(shared, tenant, call, q.Text, passages)
			outcomes[i].receipt = receipt
			if err != nil {
				outcomes[i].missing, err = failed(ctx, i, call, err, time.Since(start))
				return err
			}
			result := verify(draft, receipt, passages)
			outcomes[i].result = &result
			return nil
		})
	}
	return g.Wait()
}

// failed decides what becomes of a query whose i-th plugin call failed: a
// Missing, or an error that ends it. What is the query's own end, or the caller's
// mistake, or an internal fault, ends it whatever the call says.
func failed(ctx context.Context, i int, call PluginCall, err error, after time.Duration) (*Missing, error) {
	var plugin *PluginError
	switch ours := !errors.As(err, &plugin); {
	case ours && ctx.Err() != nil:
		return nil, ctx.Err()
	case ours:
		return nil, knowledge.At(fmt.Sprintf("plugins[%d]", i), err)
	case call.OnError == Fail:
		return nil, err
	}
	return &Missing{Source: "plugin " + call.Name, Reason: plugin.Reason, Detail: plugin.Detail, Budget: plugin.Budget, After: after}, nil
}
