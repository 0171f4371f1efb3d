package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

// retrieved is what all retrievals gave, in the order of the legs; of a hybrid leg
// first by vector, then by words.
type retrieved struct {
	lists []Retrieved
	plans []LegPlan
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
	r := retrieved{make([]Retrieved, len(tasks)), make([]LegPlan, len(tasks))}
	definitions := definitionsOf{store: e.Store, tenant: tenant}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, t := range tasks {
		g.Go(func() error {
			start, leg := time.Now(), legs[t.leg]
			if stages.Boost != nil {
				c, err := definitions.get(ctx, leg.Collection)
				if err != nil {
					return fmt.Errorf("collection %q: %w", leg.Collection, err)
				}
				if err := stages.Boost.checkFields(c.Fields); err != nil {
					return knowledge.At("boost", err)
				}
			}
			find := e.byVector
			if t.mode == Lexical {
				find = e.byWords
			}
			found, err := find(ctx, tenant, leg, stages, &definitions)
			if err != nil && leg.path != "" {
				err = knowledge.At(leg.path, err)
			}
			if err != nil {
				return err
			}
			weight := leg.Weight
			if leg.Mode == Hybrid && t.mode == Vector {
				weight *= *stages.Fusion.VectorWeight
			} else if leg.Mode == Hybrid {
				weight *= *stages.Fusion.LexicalWeight
			}
			r.lists[i] = Retrieved{Leg: t.leg, Mode: t.mode, Weight: weight, Matches: found.Matches, Full: len(found.Matches) == leg.Candidates}
			r.plans[i] = LegPlan{
				Leg: t.leg, Mode: t.mode, Collection: leg.Collection, Plan: found.Plan, Words: found.Words,
				Found: len(found.Matches), Short: found.Short, Took: time.Since(start),
			}
			return nil
		})
	}
	return r, g.Wait()
}

// byVector runs the retrieval of a leg by vectors.
func (e *Engine) byVector(ctx context.Context, tenant knowledge.TenantID, leg Leg, stages Stages, definitions *definitionsOf) (knowledge.Found, error) {
	search := knowledge.Search{
		Collection: leg.Collection, Vector: leg.Vector, Limit: leg.Candidates, Filter: leg.Filter,
		Exact: leg.exact, Ef: leg.ef, MaxScan: leg.maxScan, Vectors: leg.vectors || stages.Diversify != nil, Explain: stages.Explain,
	}
	if len(search.Vector) == 0 {
		c, err := definitions.get(ctx, leg.Collection)
		if err != nil {
			return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
		}
		if search.Vector, err = e.embed(ctx, tenant, c.Collection, "text", leg.Text); err != nil {
			return knowledge.Found{}, err
		}
	}
	found, err := e.Store.Search(ctx, tenant, search)
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
	}
	return found, nil
}

// byWords runs the retrieval of a leg by words.
func (e *Engine) byWords(ctx context.Context, tenant knowledge.TenantID, leg Leg, stages Stages, _ *definitionsOf) (knowledge.Found, error) {
	found, err := e.Store.SearchText(ctx, tenant, knowledge.TextSearch{
		Collection: leg.Collection, Text: leg.Text, Limit: leg.Candidates, Filter: leg.Filter,
		Exact: leg.exact, Vectors: leg.vectors || stages.Diversify != nil, Explain: stages.Explain,
	})
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
	}
	return found, nil
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

// definitionsOf reads each collection of a query once. It is safe for concurrent use.
type definitionsOf struct {
	store  knowledge.Store
	tenant knowledge.TenantID

	mu    sync.Mutex
	known map[knowledge.CollectionName]func() (knowledge.Resolved, error)
}

func (d *definitionsOf) get(ctx context.Context, name knowledge.CollectionName) (knowledge.Resolved, error) {
	d.mu.Lock()
	read, ok := d.known[name]
	if !ok {
		if d.known == nil {
			d.known = map[knowledge.CollectionName]func() (knowledge.Resolved, error){}
		}
		read = sync.OnceValues(func() (knowledge.Resolved, error) { return d.store.Resolve(ctx, d.tenant, name) })
		d.known[name] = read
	}
	d.mu.Unlock()
	return read()
}
