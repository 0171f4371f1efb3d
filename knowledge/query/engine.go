package query

import (
	"cmp"
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
	Text string // embedded when Vector is empty; just one of the two; up to [MaxQueryText] bytes

	// A Limit of 0 means the default of the collection or view, or else 10.
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
	case checkText(s.Text) != nil:
		return knowledge.Found{}, knowledge.At("text", checkText(s.Text))
	}
	if len(s.Vector) > 0 && s.Limit != 0 {
		return e.Store.Search(ctx, tenant, s.Search)
	}
	named, err := e.Store.Resolve(ctx, tenant, s.Collection)
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("search: %w", err)
	}
	if s.Limit == 0 {
		s.Limit = cmp.Or(named.Preset().Limit, defaultLimit)
	}
	if len(s.Vector) == 0 {
		if s.Vector, err = e.embed(ctx, named.Collection, "text", s.Text); err != nil {
			return knowledge.Found{}, err
		}
	}
	return e.Store.Search(ctx, tenant, s.Search)
}

// Answer answers a query: legs in parallel, fusion, rank plugins one after the
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

	found, plans, err := e.retrieve(ctx, tenant, q)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Plans: plans}
	candidates := fuse(q.Legs, found)
	if len(candidates) > MaxCandidates {
		candidates = candidates[:MaxCandidates]
	}
	outcomes := make([]outcome, len(q.Plugins))
	if candidates, err = e.rank(ctx, tenant, q, candidates, outcomes); err != nil {
		return Answer{}, err
	}
	if len(candidates) > q.Limit {
		candidates = candidates[:q.Limit]
	}
	answer.Matches = candidates
	if err := e.synthesize(ctx, tenant, q, candidates, outcomes); err != nil {
		return Answer{}, err
	}
	answer.add(outcomes)
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
		named, err := e.Store.Resolve(ctx, tenant, leg.Collection)
		if err != nil {
			return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
		}
		if search.Vector, err = e.embed(ctx, named.Collection, "text", leg.Text); err != nil {
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
