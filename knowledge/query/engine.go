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
	For(c knowledge.Collection) (knowledge.Embedder, error)
}

// Engine answers queries. Set every field before the first use; safe for
// concurrent use.
type Engine struct {
	Store     knowledge.Store
	Embedders embedders
	Plugins   Plugins
	Parallel  int           // most legs, or synthesizers, of one query at once; at least 1
	Timeout   time.Duration // of a query that gives none; up to [MaxTimeout]
}

// SearchText is a search whose vector may be given as text.
type SearchText struct {
	knowledge.Search
	Text string // embedded when Vector is empty; just one of the two
}

// Search finds the nearest records of one collection, without plugins. Errors
// are those of [knowledge.Records.Search] and [knowledge.Embedder.Embed].
func (e *Engine) Search(ctx context.Context, tenant knowledge.TenantID, s SearchText) (knowledge.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	switch {
	case s.Text == "" && len(s.Vector) == 0:
		return knowledge.Found{}, knowledge.Invalid("text", "and vector are both missing; need one of them")
	case s.Text != "" && len(s.Vector) > 0:
		return knowledge.Found{}, knowledge.Invalid("text", "and vector are both given; need one of them")
	case len(s.Vector) == 0:
		c, err := e.Store.Collection(ctx, tenant, s.Collection)
		if err != nil {
			return knowledge.Found{}, fmt.Errorf("search: %w", err)
		}
		if s.Vector, err = e.embed(ctx, c, "text", s.Text); err != nil {
			return knowledge.Found{}, err
		}
	}
	return e.Store.Search(ctx, tenant, s.Search)
}

// Answer answers a query: legs in parallel, fusion, rank plugins one after the
// other, synthesizers side by side, citations verified. The store must answer or
// the query fails; a plugin that fails is named in Missing, unless its call says
// [Fail]. It returns an [knowledge.InvalidError] for a bad query, an error
// wrapping [knowledge.ErrNotFound] for an unknown collection, a *[PluginError]
// for a plugin under [Fail], or the error of the store or of ctx.
func (e *Engine) Answer(ctx context.Context, tenant knowledge.TenantID, q Query) (Answer, error) {
	start := time.Now()
	q, err := q.withDefaults(e.Timeout)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()

	found, plans, err := e.retrieve(ctx, tenant, q)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Plans: plans}
	candidates := fuse(q.Legs, found)
	if len(candidates) > MaxCandidates {
		candidates = candidates[:MaxCandidates]
	}
	if candidates, err = e.rank(ctx, tenant, q, candidates, &answer); err != nil {
		return Answer{}, err
	}
	if len(candidates) > q.Limit {
		candidates = candidates[:q.Limit]
	}
	answer.Matches = candidates
	if err := e.synthesize(ctx, tenant, q, candidates, &answer); err != nil {
		return Answer{}, err
	}
	answer.Took = time.Since(start)
	return answer, nil
}

// retrieve runs all legs, each into its own slot.
func (e *Engine) retrieve(ctx context.Context, tenant knowledge.TenantID, q Query) ([]knowledge.Found, []LegPlan, error) {
	found := make([]knowledge.Found, len(q.Legs))
	plans := make([]LegPlan, len(q.Legs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(e.Parallel)
	for i, leg := range q.Legs {
		g.Go(func() error {
			start := time.Now()
			f, err := e.leg(ctx, tenant, leg)
			if err != nil {
				return knowledge.At(fmt.Sprintf("legs[%d]", i), err)
			}
			found[i] = f
			plans[i] = LegPlan{Collection: leg.Collection, Plan: f.Plan, Found: len(f.Matches), Short: f.Short, Took: time.Since(start)}
			return nil
		})
	}
	return found, plans, g.Wait()
}

// leg runs one retrieval.
func (e *Engine) leg(ctx context.Context, tenant knowledge.TenantID, leg Leg) (knowledge.Found, error) {
	search := knowledge.Search{Collection: leg.Collection, Vector: leg.Vector, Limit: leg.Candidates, Filter: leg.Filter}
	if len(search.Vector) == 0 {
		c, err := e.Store.Collection(ctx, tenant, leg.Collection)
		if err != nil {
			return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
		}
		if search.Vector, err = e.embed(ctx, c, "text", leg.Text); err != nil {
			return knowledge.Found{}, err
		}
	}
	found, err := e.Store.Search(ctx, tenant, search)
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
	}
	return found, nil
}

// embed makes the vector of a question for collection c.
func (e *Engine) embed(ctx context.Context, c knowledge.Collection, field, text string) ([]float32, error) {
	embedder, err := e.Embedders.For(c)
	if err != nil {
		return nil, knowledge.At(field, err)
	}
	vectors, err := embedder.Embed(ctx, knowledge.EmbedQuery, []string{text})
	if err != nil {
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) {
			return nil, knowledge.Invalid(field, "%s", invalid.Detail)
		}
		return nil, fmt.Errorf("embed: %w", err)
	}
	return vectors[0], nil
}

// rank hands the candidates to each rank plugin, in order.
func (e *Engine) rank(ctx context.Context, tenant knowledge.TenantID, q Query, candidates []Candidate, answer *Answer) ([]Candidate, error) {
	for _, call := range q.Plugins {
		if call.Capability != Rank {
			continue
		}
		start := time.Now()
		ranked, receipt, err := e.Plugins.Rank(ctx, tenant, call, q.Text, candidates)
		if err != nil {
			missing, err := e.failed(ctx, call, err, time.Since(start))
			if err != nil {
				return nil, err
			}
			answer.Missing = append(answer.Missing, missing)
			continue
		}
		answer.Receipts = append(answer.Receipts, receipt)
		candidates = ranked
	}
	return candidates, nil
}

// synthesize asks all synthesizers at once and verifies what they cite.
func (e *Engine) synthesize(ctx context.Context, tenant knowledge.TenantID, q Query, passages []Candidate, answer *Answer) error {
	type reply struct {
		draft   Draft
		receipt Receipt
		err     error
		took    time.Duration
	}
	replies := make([]reply, len(q.Plugins))
	var g errgroup.Group
	g.SetLimit(e.Parallel)
	for i, call := range q.Plugins {
		if call.Capability != Synthesize {
			continue
		}
		g.Go(func() error {
			start := time.Now()
			draft, receipt, err := e.Plugins.Synthesize(ctx, tenant, call, q.Text, passages)
			replies[i] = reply{draft, receipt, err, time.Since(start)}
			return nil
		})
	}
	_ = g.Wait() // replies say who failed
	for i, call := range q.Plugins {
		if call.Capability != Synthesize {
			continue
		}
		if r := replies[i]; r.err != nil {
			missing, err := e.failed(ctx, call, r.err, r.took)
			if err != nil {
				return err
			}
			answer.Missing = append(answer.Missing, missing)
		} else {
			answer.Results = append(answer.Results, verify(r.draft, r.receipt, passages))
			answer.Receipts = append(answer.Receipts, r.receipt)
		}
	}
	return nil
}

// failed decides what becomes of a query whose plugin call failed: an error that
// ends it, or a Missing. What is the query's own end, or the caller's mistake, or
// an internal fault, ends it whatever the call says.
func (e *Engine) failed(ctx context.Context, call PluginCall, err error, after time.Duration) (Missing, error) {
	var plugin *PluginError
	if ctx.Err() != nil && !errors.As(err, &plugin) {
		return Missing{}, ctx.Err()
	}
	if !errors.As(err, &plugin) || call.OnError == Fail {
		return Missing{}, err
	}
	return Missing{Source: "plugin " + call.Name, Reason: plugin.Reason, Detail: plugin.Detail, After: after}, nil
}
