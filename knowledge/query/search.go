package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
)

// Bounds of a search, beside those of [knowledge.Search].
const (
	MaxBatchSearches = 100
	MaxBatchMatches  = 10_000 // that the searches of a batch may ask for together
	// enoughCandidates is how many each retrieval of a search takes that has more
	// to do than to give them back, unless it says.
	enoughCandidates = 100
)

// SearchText is a search of one collection. What it looks for is a text, a vector,
// a text and a vector (of a hybrid), or what examples have in common.
type SearchText struct {
	knowledge.Search
	Text      string // embedded when Vector is empty and Mode needs one; up to [MaxQueryText] bytes
	Mode      Mode   // empty: the default of the collection or view, if there is a Text alone, or else Vector
	Recommend *Recommend
	Offset    int // matches to leave out, 0 or more; with Limit up to [knowledge.MaxLimit]
	// Candidates is how many each retrieval takes, up to [knowledge.MaxLimit]; 0
	// means Offset + Limit, and at least 100 when anything is done with them. Pages
	// of one search fit together as long as it does not change.
	Candidates int
	Stages     Stages
	GroupBy    *GroupBy // instead of Offset and Limit
	Facets     []knowledge.Facet

	// A Limit of 0 means the default of the collection or view, or else 10.
}

// Results is what a search gave.
type Results struct {
	Matches    []Candidate // at most Limit; those of groups are there
	ScoreKind  ScoreKind
	Groups     []Group // with GroupBy
	Facets     []knowledge.FacetCounts
	Short      bool           // a retrieval found fewer than it was to, though there may be more
	Plan       knowledge.Plan // of the retrieval by vectors, or the only one
	Retrievals []LegPlan      // one for each retrieval
	Stages     []StagePlan    // when Stages.Explain
}

// Search finds records of one collection, without plugins: it retrieves, by vector
// and by words at once in a hybrid, takes what it found through [Stages], groups
// it or takes a page of it. Errors are those of [knowledge.Records.Search] and
// [knowledge.Embedder.Embed], and an [knowledge.InvalidError] for a bad request.
// Searches by the plugins of one query, which its ctx tells, wait for each other
// where they would take more connections together than the query may.
func (e *Engine) Search(ctx context.Context, tenant knowledge.TenantID, s SearchText) (Results, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	gate, ofPlugin := ctx.Value(gateKey{}).(gate)
	if !ofPlugin {
		return e.search(ctx, tenant, s, e.Parallel)
	}
	select {
	case gate <- struct{}{}:
		defer func() { <-gate }()
		return watched(ctx, s.Collection, func() (Results, error) { return e.search(ctx, tenant, s, 1) })
	case <-ctx.Done():
		return Results{}, ctx.Err()
	}
}

// gate lets as many searches of a query's plugins through at once as it has room for.
type gate chan struct{}

type gateKey struct{}

// gated returns a context for the plugins of a query that may do so much at once. A
// search may take two connections.
func gated(ctx context.Context, parallel int) context.Context {
	return context.WithValue(ctx, gateKey{}, make(gate, max(1, parallel/2)))
}

// Searched is what became of one search of a batch.
type Searched struct {
	Results Results
	Err     error // as of [Engine.Search]
}

// SearchBatch runs up to [MaxBatchSearches] searches for up to [MaxBatchMatches]
// matches, several at once, within the time of one. Each has a result or an error
// of its own, in order.
func (e *Engine) SearchBatch(ctx context.Context, tenant knowledge.TenantID, searches []SearchText) ([]Searched, error) {
	if len(searches) < 1 || len(searches) > MaxBatchSearches {
		return nil, knowledge.Invalid("searches", "has %d entries; need 1 to %d", len(searches), MaxBatchSearches)
	}
	asked := 0
	for i, s := range searches {
		asked += s.asked()
		if asked > MaxBatchMatches {
			return nil, knowledge.Invalid(fmt.Sprintf("searches[%d].limit", i), "makes %d matches together with those before; at most %d are allowed", asked, MaxBatchMatches)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	all := make([]Searched, len(searches))
	var g errgroup.Group
	g.SetLimit(e.Parallel)
	for i, s := range searches {
		g.Go(func() error {
			all[i].Results, all[i].Err = e.search(ctx, tenant, s, 1)
			return nil
		})
	}
	_ = g.Wait() // each says what became of it
	return all, nil
}

// search runs one, with so many retrievals at once.
func (e *Engine) search(ctx context.Context, tenant knowledge.TenantID, s SearchText, parallel int) (Results, error) {
	s, err := e.withPreset(ctx, tenant, s)
	if err != nil {
		return Results{}, err
	}
	if s, err = s.withDefaults(); err != nil {
		return Results{}, err
	}
	leg := Leg{
		Collection: s.Collection, Text: s.Text, Vector: s.Vector, Mode: s.Mode, Filter: s.Filter, Candidates: s.Candidates, Weight: 1,
		exact: s.Exact, ef: s.Ef, maxScan: s.MaxScan,
	}
	var excluded map[knowledge.RecordID]bool
	if s.Recommend != nil {
		if leg.Vector, err = e.recommended(ctx, tenant, s, parallel); err != nil {
			return Results{}, err
		}
		excluded = map[knowledge.RecordID]bool{}
		for _, id := range append(append([]knowledge.RecordID{}, s.Recommend.Positive...), s.Recommend.Negative...) {
			excluded[id] = true
		}
		leg.Candidates = min(leg.Candidates+len(excluded), knowledge.MaxLimit)
	}
	var results Results
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(max(2, parallel))
	if len(s.Facets) > 0 {
		g.Go(func() (err error) {
			results.Facets, err = e.Store.Facets(inner, tenant, knowledge.FacetSearch{Collection: s.Collection, Filter: s.Filter, Facets: s.Facets})
			return err
		})
	}
	trace := &trace{}
	var found retrieved
	start := time.Now()
	g.Go(func() (err error) {
		found, err = e.retrieve(inner, tenant, []Leg{leg}, s.Stages, parallel)
		return err
	})
	if err := g.Wait(); err != nil {
		return Results{}, err
	}
	e.note(ctx, tenant, ledger.Usage{Searches: 1}, found)
	for i := range found.lists {
		found.lists[i].Matches = without(found.lists[i].Matches, excluded)
	}
	trace.add("retrieve", 0, found.count(), start)
	candidates, kind := s.Stages.run(found.lists, e.present(), s.wanted(), trace)
	if s.GroupBy != nil {
		start := time.Now()
		results.Groups = s.GroupBy.apply(candidates)
		trace.add("group", len(candidates), len(results.Groups), start)
	} else {
		trace.stage("limit", &candidates, func(c []Candidate) []Candidate { return window(c, s.Offset, s.Limit) })
		results.Matches = candidates
	}
	results.ScoreKind, results.Retrievals = kind, found.plans
	results.Plan, results.Short = found.plans[0].Plan, found.short()
	if s.Stages.Explain {
		results.Stages = trace.stages
	}
	return results, nil
}

// wanted is how many candidates are given back in the end.
func (s SearchText) wanted() int {
	if s.GroupBy != nil {
		return knowledge.MaxLimit
	}
	return s.Offset + s.Limit
}

// asked is how many matches a search may give, as far as it is valid.
func (s SearchText) asked() int {
	if s.GroupBy != nil {
		if group, err := s.GroupBy.validate(); err == nil {
			return group.Groups * group.Size
		}
		return 0
	}
	return min(max(0, s.Limit), knowledge.MaxLimit)
}

// withDefaults checks a search and returns it with zero values replaced.
func (s SearchText) withDefaults() (SearchText, error) {
	if s.Mode == "" {
		s.Mode = Vector
	}
	if err := s.checkQuestion(); err != nil {
		return s, err
	}
	if s.GroupBy != nil {
		group, err := s.GroupBy.validate()
		if err != nil {
			return s, knowledge.At("group_by", err)
		}
		s.GroupBy, s.Limit = &group, max(1, s.Limit)
		if s.Offset != 0 {
			return s, knowledge.Invalid("offset", "does not go with group_by")
		}
	}
	switch {
	case s.Limit < 1 || s.Limit > knowledge.MaxLimit:
		return s, knowledge.Invalid("limit", "is %d; need 1 to %d", s.Limit, knowledge.MaxLimit)
	case s.Offset < 0 || s.Offset+s.Limit > knowledge.MaxLimit:
		return s, knowledge.Invalid("offset", "is %d; need 0 to %d, which with the limit of %d is up to %d", s.Offset, knowledge.MaxLimit-s.Limit, s.Limit, knowledge.MaxLimit)
	case s.Candidates < 0 || s.Candidates > knowledge.MaxLimit:
		return s, knowledge.Invalid("candidates", "is %d; need 1 to %d", s.Candidates, knowledge.MaxLimit)
	case s.Candidates != 0 && s.GroupBy == nil && s.Candidates < s.Offset+s.Limit:
		return s, knowledge.Invalid("candidates", "is %d; need at least offset + limit = %d", s.Candidates, s.Offset+s.Limit)
	case len(s.Facets) > knowledge.MaxFacets:
		return s, knowledge.Invalid("facets", "has %d entries; at most %d are allowed", len(s.Facets), knowledge.MaxFacets)
	}
	var err error
	if s.Stages, err = s.Stages.validate(); err != nil {
		return s, err
	}
	if s.Candidates == 0 {
		s.Candidates = s.Offset + s.Limit
		if s.Mode != Vector || s.GroupBy != nil || s.Stages.Boost != nil || s.Stages.Diversify != nil {
			s.Candidates = max(s.Candidates, enoughCandidates)
		}
		if s.GroupBy != nil {
			s.Candidates = min(knowledge.MaxLimit, max(s.Candidates, 4*s.GroupBy.Groups*s.GroupBy.Size))
		}
	}
	return s, nil
}

// checkQuestion makes sure that there is exactly what the mode looks for.
func (s SearchText) checkQuestion() error {
	text, vector := s.Text != "", len(s.Vector) > 0
	switch {
	case s.Mode != Vector && s.Mode != Lexical && s.Mode != Hybrid:
		return knowledge.Invalid("mode", "is not a mode; need vector, lexical or hybrid")
	case s.Recommend != nil && (text || vector):
		return knowledge.Invalid("recommend", "does not go with text or vector")
	case s.Recommend != nil && s.Mode != Vector:
		return knowledge.Invalid("recommend", "goes with mode vector alone")
	case s.Recommend != nil:
		return knowledge.At("recommend", s.Recommend.validate())
	case checkText(s.Text) != nil:
		return knowledge.At("text", checkText(s.Text))
	}
	return checkMode(s.Mode, text, vector)
}

// checkMode refuses a question that its mode cannot look for.
func checkMode(mode Mode, text, vector bool) error {
	switch {
	case !text && !vector:
		return knowledge.Invalid("text", "and vector are both missing; need one of them")
	case mode != Vector && !text:
		return knowledge.Invalid("text", "is missing; mode %s needs it", mode)
	case mode != Hybrid && text && vector:
		return knowledge.Invalid("text", "and vector are both given; need one of them, or mode hybrid")
	}
	return nil
}

// recommended is the vector that a recommendation looks for.
func (e *Engine) recommended(ctx context.Context, tenant knowledge.TenantID, s SearchText, parallel int) ([]float32, error) {
	named, err := e.Store.Resolve(ctx, tenant, s.Collection)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	positive, negative := make([][]float32, len(s.Recommend.Positive)), make([][]float32, len(s.Recommend.Negative))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	fetch := func(list string, i int, id knowledge.RecordID, into *[]float32) {
		g.Go(func() error {
			r, err := e.Store.Record(ctx, tenant, s.Collection, id)
			if errors.Is(err, knowledge.ErrNotFound) {
				return knowledge.Invalid(fmt.Sprintf("recommend.%s[%d]", list, i), "is no record of the collection")
			}
			*into = r.Vector
			return err
		})
	}
	for i, id := range s.Recommend.Positive {
		fetch("positive", i, id, &positive[i])
	}
	for i, id := range s.Recommend.Negative {
		fetch("negative", i, id, &negative[i])
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	vector, err := average(named.Collection, positive, negative)
	return vector, knowledge.At("recommend", err)
}
