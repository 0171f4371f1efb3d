package query

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// mask stands where a guard took text away.
const mask = "[redacted]"

// guardBefore asks the guards that come before the search. What they decide can
// only narrow the query.
func (r *run) guardBefore(ctx context.Context, p plan) error {
	for n, s := range p.before {
		budget := r.budget(shareStep, p.left(shareRetrieval, p.before[n:], p.merge, p.rank, p.after))
		verdicts, err := r.guard(ctx, s, budget, r.handout(nil))
		if err != nil {
			return err
		}
		for _, v := range verdicts {
			r.narrow(v)
		}
	}
	if len(r.dropped) == len(r.q.Legs) {
		return knowledge.Forbidden("the query's guards left none of its legs")
	}
	return nil
}

// narrow does what a guard wants of the query.
func (r *run) narrow(v Verdict) {
	for _, n := range v.Narrow {
		leg := &r.q.Legs[n.Leg]
		if leg.Filter.IsZero() {
			leg.Filter = n.Filter
		} else {
			leg.Filter = knowledge.Filter{Op: knowledge.OpAnd, Terms: []knowledge.Filter{leg.Filter, n.Filter}}
		}
	}
	for _, i := range v.DropLegs {
		r.dropped[i] = true
	}
	if v.Limit > 0 {
		r.q.Limit = min(r.q.Limit, v.Limit)
	}
}

// guardAfter asks the guards that come after ranking, and takes away what they
// want away.
func (r *run) guardAfter(ctx context.Context, p plan, candidates []Candidate) ([]Candidate, error) {
	for n, s := range p.after {
		budget := r.budget(shareStep, p.left(0, p.after[n:]))
		verdicts, err := r.guard(ctx, s, budget, r.handout(candidates))
		if err != nil {
			return nil, err
		}
		candidates = taken(candidates, verdicts)
		r.trace.last().Out = len(candidates)
	}
	return candidates, nil
}

// guard runs one step of guards and returns their verdicts, or an error wrapping
// [knowledge.ErrForbidden] when one of them refuses.
func (r *run) guard(ctx context.Context, s step, budget time.Duration, h *Handout) ([]Verdict, error) {
	var (
		verdicts []Verdict
		refused  error
	)
	err := each(ctx, r, "guard", s, budget, h, r.engine.Plugins.Guard, func(i int, v Verdict) {
		if v.Refuse != "" && refused == nil {
			refused = knowledge.Forbidden("guard %s refused the query: %s", r.q.Plugins[i].Name, v.Refuse)
		}
		verdicts = append(verdicts, v)
	})
	return verdicts, cmp.Or(err, refused)
}

// taken returns the candidates without what guards take away. What they were
// before is left as it was: others may hold it.
func taken(candidates []Candidate, verdicts []Verdict) []Candidate {
	drop, redact, hide := map[int]bool{}, map[int][]Span{}, map[int][]string{}
	for _, v := range verdicts {
		for _, i := range v.Drop {
			drop[i] = true
		}
		for _, s := range v.Redact {
			redact[s.Index] = append(redact[s.Index], s)
		}
		for _, h := range v.Hide {
			hide[h.Index] = append(hide[h.Index], h.Fields...)
		}
	}
	kept := make([]Candidate, 0, len(candidates))
	for i, c := range candidates {
		if drop[i] {
			continue
		}
		if spans := redact[i]; len(spans) > 0 {
			c.Text, c.Redacted = redacted(c.Text, spans), true
			c.Vector = nil // which tells much of the text
		}
		if fields := hide[i]; len(fields) > 0 {
			c.Metadata, c.Redacted = maps.Clone(c.Metadata), true
			for _, f := range fields {
				delete(c.Metadata, f)
			}
		}
		kept = append(kept, c)
	}
	return kept
}

// redacted puts the mask over spans of a text, one over those that meet.
func redacted(text string, spans []Span) string {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	var b strings.Builder
	end := 0 // of what was written or masked
	for i, s := range spans {
		if i == 0 || s.Start > end {
			b.WriteString(text[end:s.Start])
			b.WriteString(mask)
		}
		end = max(end, s.End)
	}
	b.WriteString(text[end:])
	return b.String()
}
