package pgstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/migrations/pgtest"
)

// chosen are the plans of searches in one large typed collection.
var chosen = []struct {
	name   string
	filter knowledge.Filter
	method string
	plan   string // of the server, a pattern
}{
	{"no filter", knowledge.Filter{}, methodHNSW, walksVectors},
	{"rare keyword", is("lang", knowledge.OpEq, "rare"), methodFiltered, `Index Cond: \(s1 = 'rare'`},
	{"frequent keyword", is("lang", knowledge.OpEq, "often"), methodIterative, walksVectors},
	{"few numbers", is("n", knowledge.OpEq, 77.0), methodFiltered, `Index Cond: \(n1 = '77'`},
	{"short range", between("n", 100.0, 103.0), methodFiltered, `Index Cond: \(\(n1 >= '100'.* AND \(n1 < '103'`},
	{"long range", is("n", knowledge.OpGte, 300.0), methodIterative, walksVectors},
	{"hour", between("day", "2027-01-01T00:00:00Z", "2027-01-01T01:00:00Z"), methodFiltered, `Index Cond: \(\(n2 >= .* AND \(n2 < `},
	{"rare boolean", is("ok", knowledge.OpEq, false), methodFiltered, `Index Cond: \(n3 = '0'`},
	{"in few", is("lang", knowledge.OpIn, "rare", "rarer"), methodFiltered, `Index Cond: \(s1 = ANY`},
	{"in many that are nowhere", is("lang", knowledge.OpIn, nowhere()...), methodFiltered, `Index Cond: \(s1 = ANY`},
	{"or", combined(knowledge.OpOr, is("lang", knowledge.OpEq, "rare"), is("n", knowledge.OpEq, 5.0)), methodFiltered, `BitmapOr(.|\n)*Index Cond: \(s1 = 'rare'(.|\n)*Index Cond: \(n1 = '5'`},
	{"not rare", combined(knowledge.OpNot, is("lang", knowledge.OpEq, "rare")), methodIterative, walksVectors},
	{"ne rare", is("lang", knowledge.OpNe, "rare"), methodIterative, walksVectors},
	{"not of not", combined(knowledge.OpNot, combined(knowledge.OpNot, is("lang", knowledge.OpEq, "rare"))), methodFiltered, `Index Cond: \(s1 = 'rare'`},
	{"not of or", combined(knowledge.OpNot, combined(knowledge.OpOr, is("lang", knowledge.OpNe, "rare"), is("ok", knowledge.OpEq, false))), methodFiltered, `Index Cond: \(s1 = 'rare'`},
	{"rare and undeclared", combined(knowledge.OpAnd, is("other", knowledge.OpEq, 1.0), is("lang", knowledge.OpEq, "rare")), methodFiltered, `Index Cond: \(s1 = 'rare'`},
	{"rare or undeclared", combined(knowledge.OpOr, is("other", knowledge.OpEq, 1.0), is("lang", knowledge.OpEq, "rare")), methodIterative, walksVectors},
	{"undeclared", is("other", knowledge.OpEq, 1.0), methodIterative, walksVectors},
	{"keywords are checked row by row", is("tags", knowledge.OpContains, "t7"), methodIterative, walksVectors},
	{"text is checked row by row", knowledge.Filter{Op: knowledge.OpMatch, Values: []any{"passage"}}, methodIterative, walksVectors},
}

// walksVectors is a plan that takes the order from the vector index.
const walksVectors = `Index Scan using records_\d+_vector[^\n]*\n\s*Order By:`

func is(field string, op knowledge.Op, values ...any) knowledge.Filter {
	return knowledge.Filter{Op: op, Field: field, Values: values}
}

func between(field string, from, to any) knowledge.Filter {
	return combined(knowledge.OpAnd, is(field, knowledge.OpGte, from), is(field, knowledge.OpLt, to))
}

func combined(op knowledge.Op, terms ...knowledge.Filter) knowledge.Filter {
	return knowledge.Filter{Op: op, Terms: terms}
}

func nowhere() []any {
	values := make([]any, knowledge.MaxFilterValues)
	for i := range values {
		values[i] = fmt.Sprintf("nowhere-%d", i)
	}
	return values
}

// typedStore has a collection with declared fields, most of it in main.
func typedStore(t testing.TB, options Options, n int) (*Store, definition, *pgtest.Database) {
	t.Helper()
	s, db := newStore(t, options)
	c := knowledge.Collection{
		Name: "typed", Embedder: knowledge.EmbedderInfo{Dimension: 16},
		Index: knowledge.Index{Kind: knowledge.IndexHNSW, M: 8, EfConstruction: 32},
		Fields: []knowledge.Field{
			{Name: "lang", Type: knowledge.Keyword},
			{Name: "n", Type: knowledge.Number},
			{Name: "day", Type: knowledge.Datetime},
			{Name: "ok", Type: knowledge.Boolean},
			{Name: "tags", Type: knowledge.Keywords},
		},
	}
	records := randomRecords(rand.New(rand.NewPCG(1, 1)), n, 16)
	for i := range records {
		lang := "often"
		switch {
		case i%1000 == 0:
			lang = "rare"
		case i%1000 == 1:
			lang = "rarer"
		case i%3 == 0:
			lang = "other"
		}
		records[i].Text = fmt.Sprintf("passage %d", i)
		records[i].Metadata = map[string]any{
			"lang": lang, "n": float64(i % 1000), "ok": i%500 != 3,
			"day":  fmt.Sprintf("2027-01-%02dT%02d:%02d:00Z", 1+i%28, i/28%24, i%60),
			"tags": []any{fmt.Sprintf("t%d", i%10)}, "other": float64(i % 2),
		}
	}
	fill(t, s, "alice", c, records[:n-100])
	promote(t, s, "typed")
	d := fill(t, s, "alice", c, records[n-100:]) // written since
	if d.main == noMain {
		t.Fatal("the collection has no main")
	}
	return s, d, db
}

// TestChosenPlans holds each class of search to its method, and the server to the
// plan that the method is about, as tars_app: an index of a declared field finds
// the rows of a narrow filter, the vector index those of a wide one, the write
// place is searched beside main, and no other leaf is.
func TestChosenPlans(t *testing.T) {
	s, d, _ := typedStore(t, Options{ExactBelow: 1}, 10_000)
	search := knowledge.Search{Collection: "typed", Vector: randomRecords(rand.New(rand.NewPCG(2, 2)), 1, 16)[0].Vector, Limit: 10}
	for _, test := range chosen {
		search.Filter = test.filter
		t.Run(test.name, func(t *testing.T) { wantPlan(t, s, d, search, test.method, test.plan) })
	}
	t.Run("exact", func(t *testing.T) {
		search.Filter, search.Exact = knowledge.Filter{}, true
		wantPlan(t, s, d, search, methodExact, `Seq Scan on records_\d{4}`)
		search.Filter = is("lang", knowledge.OpEq, "rare")
		wantPlan(t, s, d, search, methodFiltered, `Index Cond: \(s1 = 'rare'`)
	})
	t.Run("ef is obeyed", func(t *testing.T) {
		search.Exact, search.Ef, search.MaxScan = false, 17, 333
		wantPlan(t, s, d, search, methodIterative, walksVectors)
		found, err := s.Search(t.Context(), "alice", search)
		if err != nil || found.Plan.Ef != 17 || found.Plan.MaxScan != 333 {
			t.Errorf("Search(ef 17, max_scan 333) = plan %+v, %v, want these", found.Plan, err)
		}
	})
}

func wantPlan(t *testing.T, s *Store, d definition, search knowledge.Search, method, pattern string) {
	t.Helper()
	plan, err := s.plan(t.Context(), "alice", d, search)
	if err != nil || plan.Method != method {
		t.Errorf("plan = %+v, %v, want %s", plan, err, method)
	}
	explained, err := s.explain(t.Context(), "alice", d, search)
	if err != nil {
		t.Fatalf("explain = %v, want nil", err)
	}
	if !regexp.MustCompile(pattern).MatchString(explained) {
		t.Errorf("the server's plan lacks %s:\n%.6000s", pattern, explained)
	}
	found := leafName.FindAllString(explained, -1)
	slices.Sort(found)
	if want := []string{fmt.Sprintf("records_%d", d.placement), fmt.Sprintf("records_%d", d.main)}; !slices.Equal(slices.Compact(found), want) {
		t.Errorf("search looks at %v, want %v:\n%.6000s", slices.Compact(found), want, explained)
	}
}

// TestFieldIndexWhateverItsCost: a server that takes its disks for slow would rather
// read all of main; a search whose plan is the index of a field uses it all the same.
func TestFieldIndexWhateverItsCost(t *testing.T) {
	s, d, db := typedStore(t, Options{ExactBelow: 1}, 2_000)
	if _, err := db.OwnerPool(t).Exec(t.Context(), "ALTER DATABASE "+db.Name+" SET random_page_cost = 20"); err != nil {
		t.Fatal(err)
	}
	s.pool.Reset()
	search := knowledge.Search{Collection: "typed", Vector: randomRecords(rand.New(rand.NewPCG(2, 2)), 1, 16)[0].Vector, Limit: 10, Filter: is("n", knowledge.OpLt, 50.0)}
	wantPlan(t, s, d, search, methodFiltered, `Index Cond: \(n1 < '50'`)
}

// TestPlansWithoutStatistics: when the server has lost its statistics there is no
// estimate, and each filtered search walks the vector index and is complete.
func TestPlansWithoutStatistics(t *testing.T) {
	s, d, db := typedStore(t, Options{ExactBelow: 1}, 2_000)
	if _, err := db.OwnerPool(t).Exec(t.Context(), "DELETE FROM pg_statistic WHERE starelid = $1::regclass", fmt.Sprintf("tars.records_%d", d.main)); err != nil {
		t.Fatal(err)
	}
	search := knowledge.Search{Collection: "typed", Vector: randomRecords(rand.New(rand.NewPCG(2, 2)), 1, 16)[0].Vector, Limit: 5, Ef: 100}
	for _, test := range chosen {
		search.Filter = test.filter
		method := methodIterative
		if test.filter.IsZero() {
			method = methodHNSW
		} else if e, err := s.estimate(t.Context(), "alice", d, search.Filter); err != nil || e.known {
			t.Errorf("%s: estimate without statistics = %+v, %v, want none", test.name, e, err)
		}
		t.Run(test.name, func(t *testing.T) { wantPlan(t, s, d, search, method, walksVectors) })
	}
	search.Filter = is("lang", knowledge.OpEq, "rare")
	found, err := s.Search(t.Context(), "alice", search)
	if err != nil || len(found.Matches) != 2 || found.Short {
		t.Errorf("Search = %d matches, short %v, %v, want the 2 that there are", len(found.Matches), found.Short, err)
	}
}

// TestUnindexed: a filter on an undeclared field is marked, or refused, where it
// looks at more records than the policy allows, and nowhere else.
func TestUnindexed(t *testing.T) {
	s, d, db := typedStore(t, Options{ExactBelow: 1, UnindexedRows: 500}, 2_000)
	if _, err := db.OwnerPool(t).Exec(t.Context(), "ANALYZE tars.records"); err != nil {
		t.Fatal(err)
	}
	undeclared := is("other", knowledge.OpEq, 1.0)
	small := knowledge.Collection{Name: "small", Embedder: knowledge.EmbedderInfo{Dimension: 16}}
	fill(t, s, "alice", small, randomRecords(rand.New(rand.NewPCG(1, 1)), 10, 16))
	vector := randomRecords(rand.New(rand.NewPCG(2, 2)), 1, 16)[0].Vector
	for _, test := range []struct {
		name       string
		collection knowledge.CollectionName
		filter     knowledge.Filter
		marked     bool
	}{
		{"undeclared", d.Name, undeclared, true},
		{"in a disjunction", d.Name, combined(knowledge.OpOr, undeclared, is("lang", knowledge.OpEq, "rare")), true},
		{"beside a wide declared one", d.Name, combined(knowledge.OpAnd, undeclared, is("lang", knowledge.OpEq, "often")), true},
		{"beside a narrow declared one", d.Name, combined(knowledge.OpAnd, undeclared, is("lang", knowledge.OpEq, "rare")), false},
		{"declared", d.Name, is("lang", knowledge.OpEq, "often"), false},
		{"none", d.Name, knowledge.Filter{}, false},
		{"in a small collection", "small", undeclared, false},
	} {
		search := knowledge.Search{Collection: test.collection, Vector: vector, Limit: 3, Filter: test.filter}
		s.options.Unindexed = MarkUnindexed
		found, err := s.Search(t.Context(), "alice", search)
		if err != nil || test.marked != slices.Equal(found.Plan.Unindexed, []string{"other"}) || test.marked != (len(found.Plan.Warnings) == 1) {
			t.Errorf("%s: Search = plan %+v, %v, want marked %v", test.name, found.Plan, err, test.marked)
		}
		s.options.Unindexed = RefuseUnindexed
		_, err = s.Search(t.Context(), "alice", search)
		if test.marked != errors.Is(err, knowledge.ErrInvalid) || !test.marked && err != nil {
			t.Errorf("%s: Search under refusal = %v, want refused %v", test.name, err, test.marked)
		}
		if test.marked && !strings.Contains(err.Error(), `"other"`) {
			t.Errorf("%s: Search under refusal = %q, want the field named", test.name, err)
		}
	}
}

// TestExplained: what explain tells are the figures of the search that was carried
// out, with records in both places, and no vector.
func TestExplained(t *testing.T) {
	s, _, _ := typedStore(t, Options{ExactBelow: 1}, 2_000)
	vector := randomRecords(rand.New(rand.NewPCG(2, 2)), 1, 16)[0].Vector
	search := knowledge.Search{Collection: "typed", Vector: vector, Limit: 3, Explain: true}
	for _, search.Exact = range []bool{false, true} {
		for _, search.Filter = range []knowledge.Filter{{}, is("lang", knowledge.OpEq, "often")} {
			found, err := s.Search(t.Context(), "alice", search)
			if err != nil || found.Plan.Explained == nil {
				t.Fatalf("Search = plan %+v, %v, want it explained", found.Plan, err)
			}
			e := found.Plan.Explained
			if search.Filter.IsZero() && e.Waiting != 100 || e.Waiting < 40 || e.Waiting > 100 || e.Rows < e.Waiting+3 || search.Exact && search.Filter.IsZero() && e.Rows != 2000 {
				t.Errorf("Explained = %d rows, %d waiting, want 100 waiting and, exactly, 2000 in all:\n%s", e.Rows, e.Waiting, e.Text)
			}
			if e.Planning <= 0 || e.Execution <= 0 || !strings.Contains(e.Text, "Limit") || strings.Contains(e.Text, "[0.") || strings.Contains(e.Text, "bob") {
				t.Errorf("Explained = %+v, want times, and no vector", e)
			}
		}
	}
}

// TestExplainedTellsNothingOfOthers: a place is shared, and how much others have in
// it is not told, neither as rows nor as costs.
func TestExplainedTellsNothingOfOthers(t *testing.T) {
	s, db := newStore(t, Options{})
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}}
	own := fill(t, s, "alice", c, randomRecords(rand.New(rand.NewPCG(1, 1)), 7, 2))
	explain := func() *knowledge.Explained {
		t.Helper()
		search := knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 3, Explain: true}
		found, err := s.Search(t.Context(), "alice", search)
		if err != nil || found.Plan.Explained == nil {
			t.Fatalf("Search = %+v, %v, want it explained", found, err)
		}
		return found.Plan.Explained
	}
	if e := explain(); e.Rows != 7 || e.Waiting != 0 {
		t.Errorf("Explained = %+v, want 7 rows, none of them waiting", e)
	}
	for i := range 100 { // until one has the same place
		tenant := fmt.Sprintf("other-%d", i)
		addTenant(t, s, tenant)
		d := fill(t, s, knowledge.TenantID(tenant), c, nil)
		if d.placement != own.placement {
			continue
		}
		fill(t, s, knowledge.TenantID(tenant), c, randomRecords(rand.New(rand.NewPCG(1, 1)), 1234, 2))
		// The server believes that reading all of the place is best.
		if _, err := db.OwnerPool(t).Exec(t.Context(), "ALTER TABLE tars.records DROP CONSTRAINT records_pkey"); err != nil {
			t.Fatal(err)
		}
		e := explain()
		if !strings.Contains(e.Text, "Seq Scan") {
			t.Fatalf("the server does not read all of the place, which this test needs:\n%s", e.Text)
		}
		if e.Rows != 7 || strings.Contains(e.Text, "1234") || strings.Contains(e.Text, "cost=") || strings.Contains(e.Text, "Buffers") || strings.Contains(e.Text, tenant) {
			t.Errorf("Explained = %d rows, want 7 and nothing of the others':\n%s", e.Rows, e.Text)
		}
		return
	}
	t.Fatal("no other tenant has the same place")
}

// TestShortFallsBack: where the index finds too few, comparing all tells whether
// there are more, unless the caller bounded the scan.
func TestShortFallsBack(t *testing.T) {
	s, _, _ := typedStore(t, Options{ExactBelow: -1}, 2_000)
	vector := randomRecords(rand.New(rand.NewPCG(2, 2)), 1, 16)[0].Vector
	search := knowledge.Search{Collection: "typed", Vector: vector, Limit: 10, Filter: is("missing", knowledge.OpExists, true)}
	found, err := s.Search(t.Context(), "alice", search)
	if err != nil || len(found.Matches) != 0 || found.Short || !isExact(found.Plan.Method) {
		t.Errorf("Search for nothing = %+v, %v, want an exact nothing", found, err)
	}
	search.MaxScan = 1
	found, err = s.Search(t.Context(), "alice", search)
	if err != nil || !found.Short || found.Plan.Method != methodIterative || found.Plan.MaxScan != 1 {
		t.Errorf("Search(max_scan 1) = %+v, %v, want it short, by the index", found, err)
	}
}
