// Package storetest holds the tests that every [knowledge.Store] passes. They
// say what the contract promises; what a store does beyond it, and how, is
// tested beside the store.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// Harness is one empty store for one test.
type Harness struct {
	Store knowledge.Store
	// AddTenant makes a tenant known to the store's surroundings, where they
	// need that. Nil: any tenant will do.
	AddTenant func(t testing.TB, tenant knowledge.TenantID)
	// Spread carries a share of a collection's records, 0 to 1, over to where a
	// large collection has them. Nil: there is one place only.
	Spread func(t testing.TB, tenant knowledge.TenantID, collection knowledge.CollectionName, share float64)
}

// Run tests the stores that open makes, one for each subtest.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, suite)
	}{
		{"PutCollection", testPutCollection},
		{"ListCollections", testListCollections},
		{"DeleteCollection", testDeleteCollection},
		{"ChangeCollection", testChangeCollection},
		{"FillFields", testFillFields},
		{"ManyFields", testManyFields},
		{"CollectionDefaults", testCollectionDefaults},
		{"Precision", testPrecision},
		{"Aliases", testAliases},
		{"AliasSwap", testAliasSwap},
		{"NamesAreShared", testNamesAreShared},
		{"Views", testViews},
		{"ViewsOfAliases", testViewsOfAliases},
		{"LimitedToViews", testLimitedToViews},
		{"EveryCall", testEveryCall},
		{"Unknown", testUnknown},
		{"Tenancy", testTenancy},
		{"RoundTrip", testRoundTrip},
		{"Versions", testVersions},
		{"RefusedBatch", testRefusedBatch},
		{"LargeBatch", testLargeBatch},
		{"Expiry", testExpiry},
		{"DeleteRecord", testDeleteRecord},
		{"ConcurrentUpserts", testConcurrentUpserts},
		{"DeleteWhileWriting", testDeleteWhileWriting},
		{"Filters", testFilters},
		{"FiltersAgree", testFiltersAgree},
		{"HostileFilters", testHostileFilters},
		{"Metrics", testMetrics},
		{"Magnitudes", testMagnitudes},
		{"RefusedSearch", testRefusedSearch},
		{"Limit", testLimit},
		{"Dimensions", testDimensions},
		{"Identical", testIdentical},
		{"Recall", testRecall},
		{"Cancellation", testCancellation},
		{"WriteModes", testWriteModes},
		{"IfVersion", testIfVersion},
		{"SkippedRecords", testSkippedRecords},
		{"ConcurrentConditions", testConcurrentConditions},
		{"Restore", testRestore},
		{"DefaultTTL", testDefaultTTL},
		{"Patch", testPatch},
		{"ConcurrentPatches", testConcurrentPatches},
		{"DeleteRecords", testDeleteRecords},
		{"DeleteByFilter", testDeleteByFilter},
		{"Count", testCount},
		{"Scroll", testScroll},
		{"ScrollWhileWriting", testScrollWhileWriting},
		{"Once", testOnce},
		{"OnceAtATime", testOnceAtATime},
		{"Atomically", testAtomically},
		{"Exclusively", testExclusively},
		{"OtherEmbedder", testOtherEmbedder},
		{"Snapshot", testSnapshot},
		{"Imports", testImports},
		{"Documents", testDocuments},
		{"DocumentRefusals", testDocumentRefusals},
		{"ListDocuments", testListDocuments},
		{"DocumentsKeptApart", testDocumentsKeptApart},
		{"DocumentExpiry", testDocumentExpiry},
		{"RestoreDocument", testRestoreDocument},
		{"DocumentsAtOnce", testDocumentsAtOnce},
		{"Words", testWords},
		{"WordsRank", testWordsRank},
		{"WordsOfView", testWordsOfView},
		{"WordsChanges", testWordsChanges},
		{"RefusedWords", testRefusedWords},
		{"HostileWords", testHostileWords},
		{"WordsAgree", testWordsAgree},
		{"Facets", testFacets},
		{"WriteVersions", testWriteVersions},
		{"EarliestExpiry", testEarliestExpiry},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t)
			if h.AddTenant == nil {
				h.AddTenant = func(testing.TB, knowledge.TenantID) {}
			}
			h.AddTenant(t, alice)
			h.AddTenant(t, bob)
			test.run(t, suite{Harness: h})
		})
	}
}

// The tenants of each test.
const (
	alice knowledge.TenantID = "alice"
	bob   knowledge.TenantID = "bob"
)

// suite has what the tests do again and again. Its methods fail the test.
type suite struct{ Harness }

// put makes a collection for tenant.
func (s suite) put(t testing.TB, tenant knowledge.TenantID, c knowledge.Collection) knowledge.Collection {
	t.Helper()
	stored, _, err := s.Store.PutCollection(t.Context(), tenant, valid(t, c))
	if err != nil {
		t.Fatalf("PutCollection(%s, %s) = %v, want nil", tenant, c.Name, err)
	}
	return stored
}

// valid fills in the defaults, as callers of PutCollection must.
func valid(t testing.TB, c knowledge.Collection) knowledge.Collection {
	t.Helper()
	c, err := c.Validate()
	if err != nil {
		t.Fatalf("Validate(%+v) = %v, want nil", c, err)
	}
	return c
}

// write puts records, in batches where they are too many for one.
func (s suite) write(t testing.TB, tenant knowledge.TenantID, name knowledge.CollectionName, records ...knowledge.Record) {
	t.Helper()
	for len(records) > 0 {
		n := min(len(records), knowledge.MaxBatch)
		if _, err := s.putRecords(t.Context(), tenant, name, records[:n]); err != nil {
			t.Fatalf("PutRecords(%s, %s) = %v, want nil", tenant, name, err)
		}
		records = records[n:]
	}
}

// putRecords is an upsert of all or none, and the versions that it gave.
func (s suite) putRecords(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, records []knowledge.Record) ([]int64, error) {
	results, err := s.Store.PutRecords(ctx, tenant, name, knowledge.Write{Records: records})
	var versions []int64
	for _, r := range results {
		versions = append(versions, r.Version)
	}
	return versions, err
}

func (s suite) search(t testing.TB, tenant knowledge.TenantID, search knowledge.Search) knowledge.Found {
	t.Helper()
	found, err := s.Store.Search(t.Context(), tenant, search)
	if err != nil {
		t.Fatalf("Search(%s, %s) = %v, want nil", tenant, search.Collection, err)
	}
	if len(found.Matches) > search.Limit {
		t.Errorf("Search(%s, %s) = %d matches, want at most %d", tenant, search.Collection, len(found.Matches), search.Limit)
	}
	return found
}

// wantKind fails unless err is of the kind.
func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s = %v, want an error that is %q", what, err, kind)
	}
}

// wantInvalid fails unless err names the field.
func wantInvalid(t testing.TB, what string, err error, field string) {
	t.Helper()
	var invalid *knowledge.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field {
		t.Errorf("%s = %v, want an InvalidError about %q", what, err, field)
	}
}

// dimension makes a collection of vectors that callers bring.
func dimension(name knowledge.CollectionName, n int) knowledge.Collection {
	return knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{Dimension: n}}
}

func ids(matches []knowledge.Match) []knowledge.RecordID {
	list := make([]knowledge.RecordID, len(matches))
	for i, m := range matches {
		list[i] = m.ID
	}
	return list
}

// random makes vectors that lie in clusters, as embeddings do; the same for
// the same seed.
type random struct {
	*rand.Rand
	centres [][]float32
}

func newRandom(seed uint64, dimension int) *random {
	r := &random{Rand: rand.New(rand.NewPCG(seed, 1))}
	for range 64 {
		centre := make([]float32, dimension)
		for i := range centre {
			centre[i] = float32(r.NormFloat64())
		}
		r.centres = append(r.centres, centre)
	}
	return r
}

func (r *random) vector() []float32 {
	centre := r.centres[r.IntN(len(r.centres))]
	v := make([]float32, len(centre))
	for i := range v {
		v[i] = centre[i] + float32(1.5*r.NormFloat64())
	}
	return v
}

// records makes n records r0, r1, …
func (r *random) records(n int) []knowledge.Record {
	list := make([]knowledge.Record, n)
	for i := range list {
		list[i] = knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("r%d", i)), Vector: r.vector()}
	}
	return list
}
