package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// explain gives the server's plan of a search, as the role of the application.
func (s *Store) explain(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search) (string, error) {
	plan, err := s.plan(ctx, tenant, d, search)
	if err != nil {
		return "", err
	}
	return s.explainText(ctx, tenant, d, search, plan.Plan, "EXPLAIN (COSTS off) ")
}

// TestPlans holds each search to its plan, as tars_app and without statistics:
// an indexed one walks the index, an exact one does not, and neither looks at
// other leaves than the collection's.
func TestPlans(t *testing.T) {
	const dim = 16
	s, _ := newStore(t, Options{ExactBelow: -1})
	random := rand.New(rand.NewPCG(1, 1))
	for _, metric := range []knowledge.Metric{knowledge.Cosine, knowledge.L2, knowledge.IP} {
		for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
			name := knowledge.CollectionName(fmt.Sprintf("%s-%s", metric, kind))
			c := knowledge.Collection{Name: name, Metric: metric, Embedder: knowledge.EmbedderInfo{Dimension: dim}, Index: knowledge.Index{Kind: kind}}
			records := randomRecords(random, 1000, dim)
			fill(t, s, "alice", c, records[:900])
			promote(t, s, name)
			d := fill(t, s, "alice", c, records[900:]) // written since
			search := knowledge.Search{Collection: name, Vector: randomRecords(random, 1, dim)[0].Vector, Limit: 10}
			for _, filter := range []knowledge.Filter{{}, {Op: knowledge.OpEq, Field: "a", Values: []any{"b"}}} {
				search.Filter = filter
				for _, search.Exact = range []bool{false, true} {
					testPlan(t, s, d, search)
				}
			}
		}
	}
}

var (
	leafName = regexp.MustCompile(`records_\d+\b`)
	ordered  = regexp.MustCompile(`Index Scan using records_\d+_vector[^\n]*\n\s*Order By:`)
)

func testPlan(t *testing.T, s *Store, d definition, search knowledge.Search) {
	t.Helper()
	explained, err := s.explain(t.Context(), "alice", d, search)
	if err != nil {
		t.Fatalf("explain %+v: %v", search, err)
	}
	wantIndex := d.Index.Kind == knowledge.IndexHNSW && !search.Exact
	if got := ordered.MatchString(explained); got != wantIndex {
		t.Errorf("search of %s, exact %v, filter %v: walks the index = %v, want %v:\n%s", d.Name, search.Exact, search.Filter, got, wantIndex, explained)
	}
	leaves := []string{fmt.Sprintf("records_%d", d.placement)}
	if d.main != noMain {
		leaves = append(leaves, fmt.Sprintf("records_%d", d.main))
	}
	found := leafName.FindAllString(explained, -1)
	slices.Sort(found)
	if found = slices.Compact(found); !slices.Equal(found, leaves) {
		t.Errorf("search of %s looks at %v, want %v:\n%s", d.Name, found, leaves, explained)
	}
}

func addTenant(t testing.TB, s *Store, tenant string) {
	t.Helper()
	if _, err := s.jobs.Exec(t.Context(), "INSERT INTO tenants (tenant_id) VALUES ($1)", tenant); err != nil {
		t.Fatalf("add tenant: %v", err)
	}
}

// fill makes a collection with records and returns its definition.
func fill(t testing.TB, s *Store, tenant knowledge.TenantID, c knowledge.Collection, records []knowledge.Record) definition {
	t.Helper()
	if _, _, err := s.PutCollection(t.Context(), tenant, c); err != nil {
		t.Fatalf("PutCollection(%s) = %v, want nil", c.Name, err)
	}
	for batch := range slices.Chunk(records, 1000) {
		if _, err := s.PutRecords(t.Context(), tenant, c.Name, knowledge.Write{Records: batch}); err != nil {
			t.Fatalf("PutRecords(%s) = %v, want nil", c.Name, err)
		}
	}
	d, err := s.fetch(t.Context(), tenant, c.Name)
	if err != nil {
		t.Fatalf("fetch(%s) = %v, want nil", c.Name, err)
	}
	return d
}

func randomRecords(random *rand.Rand, n, dimension int) []knowledge.Record {
	records := make([]knowledge.Record, n)
	for i := range records {
		v := make([]float32, dimension)
		for j := range v {
			v[j] = float32(random.NormFloat64())
		}
		records[i] = knowledge.Record{ID: knowledge.RecordID(fmt.Sprint(i)), Vector: v}
	}
	return records
}
