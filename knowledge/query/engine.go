package query

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
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
	Shares    shares           // nil: nothing is shared
	Parallel  int              // most retrievals of one query at once; at least 1
	Timeout   time.Duration    // of a query that gives none; up to [MaxTimeout]
	Now       func() time.Time // nil means [time.Now]
	Ledger    notes            // nil: nothing is noted
	Answers   *AnswerCache     // nil: no answer is kept
}

// present is the time that boosts compare with.
func (e *Engine) present() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// Answer answers a query, in these steps, each of which is left out when nothing
// asks for it: guards before the search, legs in parallel, fusion or a merge
// plugin, boost, threshold, diversification, rankers, guards after ranking, the
// limit, synthesizers side by side, verification of what they cite. Plugins are
// called also when nothing was found, with no candidates, so that what becomes of
// a query does not depend on the data: an unknown plugin is always an error, and a
// synthesizer may say that it knows nothing.
//
// The store must answer or the query fails; a plugin that fails is named in
// Missing, unless its call says [Fail]. The query's time is shared out to the
// steps, so that one that hangs leaves the others theirs. It returns an
// [knowledge.InvalidError] for a bad query, an error wrapping
// [knowledge.ErrNotFound] for an unknown collection or plugin, or
// [knowledge.ErrForbidden] when a guard refuses, a *[PluginError] for a plugin
// under [Fail], the error of the store, [context.DeadlineExceeded] past the query's
// time, or ctx's error. Nothing of the query goes on once it has returned.
func (e *Engine) Answer(ctx context.Context, tenant knowledge.TenantID, q Query) (Answer, error) {
	return e.Stream(ctx, tenant, q, func(Part) error { return nil })
}

// Part is a part of an answer as it comes. One field is set.
type Part struct {
	Matches *Matches // once
	Result  *Result
	Missing *Missing
	Receipt *Receipt
}

// Matches are those of an answer: nothing after them changes them.
type Matches struct {
	Matches   []Candidate
	ScoreKind ScoreKind
}

// Stream is [Engine.Answer] that hands the parts of the answer to emit as they
// come, one at a time, before it returns the whole: the same, but that results,
// missing and receipts may come in another order, which their Call tells. An error
// of emit ends the query, and is returned.
func (e *Engine) Stream(ctx context.Context, tenant knowledge.TenantID, q Query, emit func(Part) error) (Answer, error) {
	return e.ask(ctx, tenant, q, e.Parallel, emit)
}

// ask is [Engine.Stream] with so many retrievals at once.
func (e *Engine) ask(ctx context.Context, tenant knowledge.TenantID, q Query, parallel int, emit func(Part) error) (Answer, error) {
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
	r := &run{
		engine: e, tenant: tenant, q: q, end: start.Add(q.Timeout), parallel: parallel, emit: emit,
		outcomes: make([]outcome, len(q.Plugins)), dropped: map[int]bool{},
		sources: &sourcesOf{engine: e, tenant: tenant}, trace: &trace{},
	}
	if err := r.find(ctx); err != nil {
		return Answer{}, err
	}
	lookup, err := r.lookUp(ctx)
	if err != nil {
		return Answer{}, err
	}
	if lookup != nil {
		answer, hit, err := r.cached(ctx, lookup)
		if err != nil {
			return Answer{}, err
		}
		if hit {
			answer.Took = time.Since(start)
			return answer, nil
		}
		ctx = context.WithValue(ctx, watchKey{}, lookup.watch)
	}
	if err := r.answer(gated(ctx, parallel)); err != nil {
		return Answer{}, err
	}
	if lookup != nil {
		if err := r.keep(ctx, lookup, r.read); err != nil {
			return Answer{}, err
		}
	}
	r.whole.Took = time.Since(start)
	return r.whole, nil
}

// run is one query on its way. What plugins that run at once share is guarded by
// mu; the rest belongs to the goroutine of [Engine.Stream].
type run struct {
	engine   *Engine
	tenant   knowledge.TenantID
	q        Query
	end      time.Time
	parallel int       // retrievals at once
	versions []Version // of the query's plugins
	sources  *sourcesOf
	dropped  map[int]bool // legs that a guard took away
	trace    *trace
	read     []Candidate // what was handed on from the legs
	whole    Answer

	mu       sync.Mutex
	emit     func(Part) error // called under mu
	outcomes []outcome        // of the query's plugins
}

// answer goes through the steps.
func (r *run) answer(ctx context.Context) error {
	plan := r.plan()
	if err := r.guardBefore(ctx, plan); err != nil {
		return err
	}
	found, err := r.retrieve(ctx)
	if err != nil {
		return err
	}
	candidates, err := r.fuse(ctx, plan, found)
	if err != nil {
		return err
	}
	if candidates, err = r.rank(ctx, plan, candidates); err != nil {
		return err
	}
	if candidates, err = r.guardAfter(ctx, plan, candidates); err != nil {
		return err
	}
	r.trace.stage("limit", &candidates, func(c []Candidate) []Candidate { return window(c, 0, r.q.Limit) })
	r.whole.Matches, r.whole.Plans = candidates, found.plans
	if err := r.tell(Part{Matches: &Matches{Matches: candidates, ScoreKind: r.whole.ScoreKind}}); err != nil {
		return err
	}
	if err := r.synthesize(ctx, plan, candidates); err != nil {
		return err
	}
	for _, o := range r.outcomes {
		o.addTo(&r.whole)
	}
	if r.q.Stages.Explain {
		r.whole.Stages = r.trace.stages
	}
	return nil
}

// retrieve runs the legs that are left.
func (r *run) retrieve(ctx context.Context) (retrieved, error) {
	legs, at := make([]Leg, 0, len(r.q.Legs)), make([]int, 0, len(r.q.Legs))
	vectors := false
	for _, v := range r.versions {
		vectors = vectors || v.Vectors
	}
	for i, leg := range r.q.Legs {
		if !r.dropped[i] {
			leg.vectors = vectors
			legs, at = append(legs, leg), append(at, i)
		}
	}
	start := time.Now()
	found, err := r.engine.retrieve(ctx, r.tenant, legs, r.q.Stages, r.parallel)
	if err != nil {
		return found, err
	}
	r.engine.note(ctx, r.tenant, ledger.Usage{Queries: 1}, found)
	for i := range found.lists {
		found.lists[i].Leg = at[found.lists[i].Leg]
		found.plans[i].Leg = found.lists[i].Leg
	}
	for _, m := range found.missing {
		m.Leg = at[m.Leg]
		m.Source = fmt.Sprintf("leg %d", m.Leg)
		r.whole.Missing = append(r.whole.Missing, m)
		if err := r.tell(Part{Missing: &m}); err != nil {
			return found, err
		}
	}
	r.trace.add("retrieve", 0, found.count(), start)
	return found, nil
}

// fuse makes one list of what was found, by the built-in fusion or by a merge
// plugin, and takes it through the stages up to the rankers.
func (r *run) fuse(ctx context.Context, plan plan, found retrieved) ([]Candidate, error) {
	stages, now := r.q.Stages, r.engine.present()
	if len(plan.merge) == 0 {
		candidates, kind := stages.run(found.lists, now, MaxCandidates, r.trace)
		r.whole.ScoreKind, r.read = kind, window(candidates, 0, MaxCandidates)
		return r.read, nil
	}
	candidates, kind := stages.fused(found.lists, r.trace)
	candidates = window(candidates, 0, MaxCandidates)
	r.read = candidates
	merged, err := r.merge(ctx, plan, found, candidates)
	if err != nil {
		return nil, err
	}
	if merged != nil {
		candidates, kind = merged, ScorePlugin
	}
	candidates, kind = stages.order(candidates, kind, now, MaxCandidates, r.trace)
	r.whole.ScoreKind = kind
	return candidates, nil
}

// embedder is the embedding of a text for the plugins of the query.
func (r *run) embedder(ctx context.Context, text string) ([]float32, error) {
	var chosen *knowledge.Collection
	for _, leg := range r.q.Legs {
		if leg.Owner != "" { // whose embedder is not for the tenant's plugins
			continue
		}
		from, err := r.sources.get(ctx, leg)
		if err != nil {
			return nil, err
		}
		switch c := from.named.Collection; {
		case c.Embedder.ID == knowledge.NoEmbedder:
		case chosen == nil:
			chosen = &c
		case chosen.Embedder != c.Embedder:
			return nil, knowledge.Invalid("", "the collections of the query have different embedders")
		}
	}
	if chosen == nil {
		return nil, knowledge.Invalid("", "the collections of the query have no embedder")
	}
	return r.engine.embed(ctx, r.tenant, *chosen, "", text)
}
