package pgstore

import (
	"context"
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// Names of the plans, see [knowledge.Plan].
const (
	methodExact     = "exact"
	methodFiltered  = "exact-filtered"
	methodHNSW      = "hnsw"
	methodIterative = "hnsw-iterative"
)

// isExact reports a method that compares all that it should.
func isExact(method string) bool { return method == methodExact || method == methodFiltered }

// UnindexedPolicy is what becomes of a filter that makes a search look at many
// records for a field that the collection does not declare.
type UnindexedPolicy string

// The policies.
const (
	MarkUnindexed   UnindexedPolicy = "mark"   // the plan names the field, and warns
	RefuseUnindexed UnindexedPolicy = "refuse" // an [knowledge.InvalidError] names it
)

// planned is a plan with what it was chosen by.
type planned struct {
	knowledge.Plan
	estimate estimate
	tuning   tuning
}

// plan chooses how to search. It is our choice, not the server's: whether an
// answer is exact must not depend on what the server takes for cheap.
func (s *Store) plan(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search) (planned, error) {
	var e estimate
	var err error
	undeclared := undeclaredFields(d, search.Filter)
	switch {
	case d.main != noMain && !search.Filter.IsZero():
		e, err = s.estimate(ctx, tenant, d, search.Filter)
	case len(undeclared) > 0: // only how many there are: no index serves there
		e, err = s.estimate(ctx, tenant, d, knowledge.Filter{})
	}
	if err != nil {
		return planned{}, err
	}
	t := tuning{}
	if d.main != noMain && !search.Exact && search.Ef == 0 {
		if t, err = s.tuningOf(ctx, tenant, d, search, e); err != nil {
			return planned{}, err
		}
	}
	plan := s.choose(d, search, e, t)
	if d.view == nil { // its maker sees to what it filters by
		err = s.checkUnindexed(&plan, undeclared, e)
	}
	return planned{plan, e, t}, err
}

// checkUnindexed refuses a filter, or marks its plan, that looks at many records for
// fields that the collection does not declare. Where an index of a declared field
// narrows the search down first they are not many.
func (s *Store) checkUnindexed(plan *knowledge.Plan, undeclared []string, e estimate) error {
	rows := e.total
	if e.served {
		rows = e.rows
	}
	if len(undeclared) == 0 || !e.known || rows <= s.options.UnindexedRows {
		return nil
	}
	if s.options.Unindexed == RefuseUnindexed {
		return knowledge.Invalid("filter", "would look at some %d records one by one for the field %q, which the collection does not declare; this server allows %d: declare it",
			rows, undeclared[0], max(0, s.options.UnindexedRows))
	}
	plan.Unindexed = undeclared
	plan.Warnings = append(plan.Warnings, "the filter looks at many records one by one, for fields that the collection does not declare: "+strings.Join(undeclared, ", "))
	return nil
}

// choose is the choice itself: what costs least, by the figures of costs.go, with
// the limits that were asked for and the settings that recall called for.
func (s *Store) choose(d definition, search knowledge.Search, e estimate, t tuning) knowledge.Plan {
	filtered := !search.Filter.IsZero()
	plan := knowledge.Plan{Method: methodExact}
	if filtered && e.known && d.main != noMain {
		plan.Estimated, plan.Rows, plan.Selectivity = true, e.rows, e.selectivity()
	}
	exact, exactCost := exactMethod(d, e)
	if d.main == noMain {
		return plan
	}
	asked := search.Ef > 0 || search.MaxScan > 0
	if search.Exact || d.Index.Kind == knowledge.IndexNone || !asked && d.bytes <= s.options.ExactBelow {
		plan.Method = exact
		return plan
	}
	ann := s.annPlan(search, e, t)
	ann.Estimated, ann.Rows, ann.Selectivity = plan.Estimated, plan.Rows, plan.Selectivity
	cheaper := s.options.ExactBelow >= 0 && exactCost <= annCost(d, search, ann, e)
	if !asked && (cheaper || t.exact && exactCost <= affordable) {
		plan.Method = exact
		return plan
	}
	return ann
}

// exactMethod is the cheapest that compares all, and its cost.
func exactMethod(d definition, e estimate) (method string, cost microseconds) {
	method, cost = methodExact, scanCost(d)
	if e.known && e.served {
		if c := filteredCost(d, e.rows); c < cost {
			return methodFiltered, c
		}
	}
	return method, cost
}

// annPlan is the plan by the vector index.
func (s *Store) annPlan(search knowledge.Search, e estimate, t tuning) knowledge.Plan {
	plan := knowledge.Plan{Method: methodHNSW, Ef: search.Ef, MaxScan: search.MaxScan}
	needed := float64(search.Limit) // candidates until enough of them pass
	if !search.Filter.IsZero() {
		plan.Method = methodIterative
		needed /= max(e.selectivity(), 1e-6)
	}
	if plan.Ef == 0 {
		// Twice as many as are needed: those that pass lie no denser near
		// the query than elsewhere, on average.
		plan.Ef = max(s.options.Ef, int(min(2*needed, knowledge.MaxEf)), t.ef)
	}
	if plan.MaxScan == 0 {
		// Until there is hardly a chance to find more; the estimate may be
		// wrong by some factor.
		plan.MaxScan = int(min(max(minScan, 20*needed), knowledge.MaxScan))
	}
	return plan
}

// minScan is how many entries of an index a search may look at however few it
// needs: expired ones are among them.
const minScan = 50_000
