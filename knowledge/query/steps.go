package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

// step are plugin calls that run at once, by their index in the query.
type step []int

// plan says in which steps the plugins of a query run.
type plan struct {
	before, merge, rank, after, synthesize []step
}

// plan sorts the query's plugin calls into steps.
func (r *run) plan() plan {
	var p plan
	for i, call := range r.q.Plugins {
		switch {
		case call.Capability == Guard && call.Stage == Pre:
			r.join(&p.before, i)
		case call.Capability == Guard:
			r.join(&p.after, i)
		case call.Capability == Merge:
			p.merge = append(p.merge, step{i})
		case call.Capability == Rank:
			r.join(&p.rank, i)
		case len(p.synthesize) == 0:
			p.synthesize = []step{{i}}
		default:
			p.synthesize[0] = append(p.synthesize[0], i)
		}
	}
	return p
}

// join puts a call into the step of its group, or into a new one.
func (r *run) join(steps *[]step, i int) {
	if group := r.q.Plugins[i].Group; group != "" {
		for j, s := range *steps {
			if r.q.Plugins[s[0]].Group == group {
				(*steps)[j] = append(s, i)
				return
			}
		}
	}
	*steps = append(*steps, step{i})
}

// Shares of the query's time, against those of the steps that are still to come.
// What a step does not use is left to the others.
const (
	shareStep       = 1
	shareRetrieval  = 3 // which nothing cuts off: no query does without
	shareSynthesize = 3 // the longest work of most queries
)

// left is how much the steps from this one on share.
func (p plan) left(own int, later ...[]step) int {
	for _, steps := range later {
		own += shareStep * len(steps)
	}
	if len(p.synthesize) > 0 {
		own += shareSynthesize
	}
	return own
}

// budget is the time for a step that has so much of what the steps from it on
// share. Something is kept to write the answer with.
func (r *run) budget(own, left int) time.Duration {
	rest := time.Until(r.end)
	rest -= min(max(rest/20, 5*time.Millisecond), 100*time.Millisecond)
	return max(rest*time.Duration(own)/time.Duration(left), time.Millisecond)
}

// outcome is what became of one plugin call of a query.
type outcome struct {
	receipt Receipt // zero when the call did not run
	result  *Result
	missing *Missing
}

// addTo puts what became of a plugin call into the answer.
func (o outcome) addTo(a *Answer) {
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

// find looks the query's plugins up, and pins their versions: which they are does
// not change while the query runs.
func (r *run) find(ctx context.Context) error {
	r.versions = make([]Version, len(r.q.Plugins))
	for i, call := range r.q.Plugins {
		version, err := r.engine.Plugins.Find(ctx, r.tenant, call)
		if err != nil {
			return knowledge.At(fmt.Sprintf("plugins[%d]", i), err)
		}
		r.versions[i], r.q.Plugins[i].Version = version, version.Digest
	}
	return nil
}

// each runs the calls of a step at once, each for as long as budget at most, and
// notes what became of them. do returns what one gave, for take, or the error of
// [Plugins]; take is called for those that went well, in the order of the query.
// The error ends the query.
func each[T any](ctx context.Context, r *run, name string, s step, budget time.Duration, h *Handout,
	do func(context.Context, Task) (T, Receipt, error), take func(i int, got T),
) error {
	start := time.Now()
	got, fine := make([]T, len(s)), make([]bool, len(s))
	g, shared := errgroup.WithContext(ctx)
	for k, i := range s {
		g.Go(func() (err error) {
			got[k], fine[k], err = call(shared, r, i, budget, h, do)
			return err
		})
	}
	err := g.Wait()
	if ctx.Err() != nil && err != nil {
		err = ctx.Err() // whoever noticed first
	}
	if err != nil {
		return err
	}
	for k, i := range s {
		if fine[k] {
			take(i, got[k])
		}
	}
	r.traceStep(name, s, budget, h, start)
	return nil
}

// call makes one plugin call and notes what became of it; ok says that it went
// well. The error is one that ends the query.
func call[T any](ctx context.Context, r *run, i int, budget time.Duration, h *Handout, do func(context.Context, Task) (T, Receipt, error)) (got T, ok bool, err error) {
	asked := r.q.Plugins[i]
	if asked.Timeout == 0 || asked.Timeout > budget {
		asked.Timeout = budget
	}
	// The plugin keeps to the timeout; this is for one that does not.
	limited, cancel := context.WithTimeout(ctx, asked.Timeout+grace)
	defer cancel()
	start := time.Now()
	got, receipt, err := do(limited, Task{
		Tenant: r.tenant, Index: i, Call: asked, Handout: h,
		Deterministic: r.q.Deterministic, Seed: r.seed(i),
	})
	var known *PluginError
	if err != nil && limited.Err() != nil && ctx.Err() == nil && !errors.As(err, &known) { // whatever it says of its end
		err = &PluginError{Plugin: asked.Name, Reason: "deadline", Detail: fmt.Sprintf("the call took longer than the %d ms that it was given", asked.Timeout.Milliseconds()), Err: err}
	}
	var missing *Missing
	if err != nil {
		missing, err = failed(ctx, i, asked, err, time.Since(start))
	}
	if tellErr := r.note(i, receipt, missing); err == nil {
		err = tellErr
	}
	return got, missing == nil && err == nil, err
}

// grace is how long after its timeout a call is given up that does not keep to it.
const grace = 2 * time.Millisecond

// note keeps what a call ran and what is missing of it, and tells it.
func (r *run) note(i int, receipt Receipt, missing *Missing) error {
	receipt.Call = i
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[i].receipt, r.outcomes[i].missing = receipt, missing
	if missing != nil {
		if err := r.emit(Part{Missing: missing}); err != nil {
			return err
		}
	}
	if receipt.Plugin == "" {
		return nil
	}
	return r.emit(Part{Receipt: &receipt})
}

// tell hands on a part of the answer.
func (r *run) tell(p Part) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.emit(p)
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
	return &Missing{Call: i, Leg: -1, Source: "plugin " + call.Name, Reason: plugin.Reason, Detail: plugin.Detail, Budget: plugin.Budget, After: after}, nil
}
