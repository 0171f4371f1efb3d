package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

// retrieved is what all retrievals gave, in the order of the legs; of a hybrid leg
// first by vector, then by words.
type retrieved struct {
	lists   []Retrieved
	plans   []LegPlan
	missing []Missing // retrievals that took longer than their legs may, in the order of the legs
}

func (r retrieved) count() (n int) {
	for _, l := range r.lists {
		n += len(l.Matches)
	}
	return n
}

func (r retrieved) short() bool {
	for _, p := range r.plans {
		if p.Short {
			return true
		}
	}
	return false
}

// retrieve runs the retrievals of all legs, so many at once, each into its own
// slot. Where stages look at fields, these must go with the collections'. An
// [knowledge.InvalidError] about a leg of several begins with its path.
func (e *Engine) retrieve(ctx context.Context, tenant knowledge.TenantID, legs []Leg, stages Stages, parallel int) (retrieved, error) {
	type task struct {
		leg  int
		mode Mode
	}
	var tasks []task
	for i, leg := range legs {
		switch leg.Mode {
		case Hybrid:
			tasks = append(tasks, task{i, Vector}, task{i, Lexical})
		default:
			tasks = append(tasks, task{i, leg.Mode})
		}
	}
	r := retrieved{lists: make([]Retrieved, len(tasks)), plans: make([]LegPlan, len(tasks))}
	late := make([]*Missing, len(tasks))
	g, inner := errgroup.WithContext(ctx)
	sources := sourcesOf{engine: e, tenant: tenant, within: inner}
	g.SetLimit(parallel)
	for i, t := range tasks {
		g.Go(func() (err error) {
			leg := legs[t.leg]
			if err := sources.checkBoost(inner, leg, stages.Boost); err != nil {
				return err
			}
			r.lists[i], r.plans[i], late[i], err = e.inTime(inner, leg, t.mode, stages, &sources)
			r.lists[i].Leg, r.plans[i].Leg = t.leg, t.leg
			if leg.path != "" {
				err = knowledge.At(leg.path, err)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return r, err
	}
	for i, missing := range late {
		if missing != nil {
			missing.Leg = tasks[i].leg
			r.missing = append(r.missing, *missing)
		}
	}
	return r, sources.countReads(ctx, r, legs)
}

// inTime runs one retrieval of a leg, which is missing if it takes longer than the leg
// may.
func (e *Engine) inTime(ctx context.Context, leg Leg, mode Mode, stages Stages, sources *sourcesOf) (list Retrieved, plan LegPlan, late *Missing, err error) {
	if leg.Timeout == 0 {
		list, plan, err = e.find(ctx, leg, mode, stages, sources)
		return list, plan, nil, err
	}
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, leg.Timeout)
	defer cancel()
	list, plan, err = e.find(limited, leg, mode, stages, sources)
	if err == nil || limited.Err() == nil || ctx.Err() != nil || errors.Is(err, knowledge.ErrInvalid) || errors.Is(err, knowledge.ErrNotFound) {
		return list, plan, nil, err
	}
	list = Retrieved{Mode: mode, Weight: leg.Weight}
	plan = LegPlan{Mode: mode, Owner: leg.Owner, Collection: leg.Collection, Short: true, Took: time.Since(start)}
	return list, plan, &Missing{
		Call: -1, Reason: "deadline", Detail: fmt.Sprintf("the %s retrieval took longer than the leg's %d ms", mode, leg.Timeout.Milliseconds()), After: time.Since(start),
	}, nil
}

// find runs one retrieval of a leg.
func (e *Engine) find(ctx context.Context, leg Leg, mode Mode, stages Stages, sources *sourcesOf) (list Retrieved, plan LegPlan, err error) {
	start := time.Now()
	find := e.byVector
	if mode == Lexical {
		find = e.byWords
	}
	found, err := find(ctx, leg, stages, sources)
	if err != nil {
		return list, plan, err
	}
	weight := leg.Weight
	if leg.Mode == Hybrid && mode == Vector {
		weight *= *stages.Fusion.VectorWeight
	} else if leg.Mode == Hybrid {
		weight *= *stages.Fusion.LexicalWeight
	}
	if leg.Owner != "" {
		for i := range found.Matches {
			found.Matches[i].Owner = leg.Owner
		}
	}
	list = Retrieved{Mode: mode, Weight: weight, Matches: found.Matches, Full: len(found.Matches) == leg.Candidates}
	plan = LegPlan{
		Mode: mode, Owner: leg.Owner, Collection: leg.Collection, Plan: found.Plan, Words: found.Words,
		Found: len(found.Matches), Short: found.Short, Took: time.Since(start),
	}
	return list, plan, nil
}

// byVector runs the retrieval of a leg by vectors.
func (e *Engine) byVector(ctx context.Context, leg Leg, stages Stages, sources *sourcesOf) (knowledge.Found, error) {
	search := knowledge.Search{
		Collection: leg.Collection, Vector: leg.Vector, Limit: leg.Candidates, Filter: leg.Filter,
		Exact: leg.exact, Ef: leg.ef, MaxScan: leg.maxScan, Vectors: leg.vectors || stages.Diversify != nil, Explain: stages.Explain,
	}
	from, err := sources.of(ctx, leg, len(search.Vector) == 0)
	if err != nil {
		return knowledge.Found{}, err
	}
	ctx = from.in(ctx)
	if len(search.Vector) == 0 {
		if search.Vector, err = e.embedFor(ctx, from, leg); err != nil {
			return knowledge.Found{}, err
		}
	}
	found, err := e.Store.Search(ctx, from.tenant, search)
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
	}
	return found, nil
}

// byWords runs the retrieval of a leg by words.
func (e *Engine) byWords(ctx context.Context, leg Leg, stages Stages, sources *sourcesOf) (knowledge.Found, error) {
	from, err := sources.of(ctx, leg, false)
	if err != nil {
		return knowledge.Found{}, err
	}
	found, err := e.Store.SearchText(from.in(ctx), from.tenant, knowledge.TextSearch{
		Collection: leg.Collection, Text: leg.Text, Limit: leg.Candidates, Filter: leg.Filter,
		Exact: leg.exact, Vectors: leg.vectors || stages.Diversify != nil, Explain: stages.Explain,
	})
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
	}
	return found, nil
}

// embedFor makes the vector of a leg's text. What is wrong with another tenant's
// embedder is not the caller's to read.
func (e *Engine) embedFor(ctx context.Context, from source, leg Leg) ([]float32, error) {
	vector, err := e.embed(ctx, from.tenant, from.named.Seen(), "text", leg.Text)
	if err != nil && from.share != nil && ctx.Err() == nil && !errors.Is(err, knowledge.ErrInvalid) {
		err = fmt.Errorf("%w (%v)", knowledge.Unavailable("the embedder of a shared view cannot be used now; a vector needs none"), err) //nolint:errorlint // its kind and text stay here
	}
	return vector, err
}

// embed makes the vector of a question for collection c.
func (e *Engine) embed(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection, field, text string) ([]float32, error) {
	embedder, err := e.Embedders.For(ctx, tenant, c)
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
