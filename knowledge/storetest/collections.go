package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

func testPutCollection(t *testing.T, s suite) {
	ctx := t.Context()
	for _, c := range []knowledge.Collection{
		dimension("plain", 3),
		{Name: "l2", Metric: knowledge.L2, Embedder: knowledge.EmbedderInfo{ID: "local", Version: "1", Dimension: 8}},
		{Name: "ip_indexed", Metric: knowledge.IP, Embedder: knowledge.EmbedderInfo{Dimension: 8}, Index: knowledge.Index{Kind: knowledge.IndexHNSW}},
		{Name: "0-indexed", Embedder: knowledge.EmbedderInfo{Dimension: knowledge.MaxIndexedDimension}, Index: knowledge.Index{Kind: knowledge.IndexHNSW, M: 8, EfConstruction: 32}},
		{Name: "l2-half", Metric: knowledge.L2, Embedder: knowledge.EmbedderInfo{Dimension: knowledge.MaxFullDimension + 1}, Index: knowledge.Index{Kind: knowledge.IndexHNSW}},
		dimension("most", knowledge.MaxDimension),
	} {
		c = valid(t, c)
		stored, created, err := s.Store.PutCollection(ctx, alice, c)
		if err != nil || !created {
			t.Fatalf("PutCollection(%s) = created %v, %v, want created", c.Name, created, err)
		}
		if age := time.Since(stored.Created); age < -time.Minute || age > time.Minute {
			t.Errorf("PutCollection(%s).Created = %v, want now", c.Name, stored.Created)
		}
		want := c
		want.Created, want.Updated, want.Version = stored.Created, stored.Created, 1
		if !reflect.DeepEqual(stored, want) {
			t.Errorf("PutCollection(%s) = %+v, want %+v", c.Name, stored, want)
		}
		again, created, err := s.Store.PutCollection(ctx, alice, c)
		if !reflect.DeepEqual(again, stored) || created || err != nil {
			t.Errorf("PutCollection(%s) again = %+v, created %v, %v, want %+v, not created", c.Name, again, created, err, stored)
		}
		if got, err := s.Store.Collection(ctx, alice, c.Name); !reflect.DeepEqual(got, stored) || err != nil {
			t.Errorf("Collection(%s) = %+v, %v, want %+v", c.Name, got, err, stored)
		}
		testPutConflicts(t, s, c)
	}
}

// testPutConflicts puts every neighbour of c under its name.
func testPutConflicts(t *testing.T, s suite, c knowledge.Collection) {
	for what, change := range map[string]func(*knowledge.Collection){
		"metric":    func(c *knowledge.Collection) { c.Metric = other(c.Metric, knowledge.Cosine, knowledge.L2) },
		"dimension": func(c *knowledge.Collection) { c.Embedder.Dimension-- },
		"embedder":  func(c *knowledge.Collection) { c.Embedder.ID = "another" },
		"version":   func(c *knowledge.Collection) { c.Embedder.Version += "+" },
		"index": func(c *knowledge.Collection) {
			c.Index.Kind = other(c.Index.Kind, knowledge.IndexNone, knowledge.IndexHNSW)
			c.Index.M, c.Index.EfConstruction = 0, 0
			c.Embedder.Dimension = min(c.Embedder.Dimension, knowledge.MaxIndexedDimension)
		},
	} {
		changed := c
		change(&changed)
		_, _, err := s.Store.PutCollection(t.Context(), alice, valid(t, changed))
		wantKind(t, fmt.Sprintf("PutCollection(%s) with another %s", c.Name, what), err, knowledge.ErrConflict)
	}
}

// other returns the one of a and b that x is not.
func other[T comparable](x, a, b T) T {
	if x == a {
		return b
	}
	return a
}

func testListCollections(t *testing.T, s suite) {
	names := []knowledge.CollectionName{"0", "a", "a-b", "a0", "a_b", "b", "z"} // by code point
	for _, i := range []int{3, 0, 6, 2, 5, 1, 4} {
		s.put(t, alice, dimension(names[i], 2))
	}
	s.put(t, bob, dimension("a1", 2))
	s.write(t, alice, "b", knowledge.Record{ID: "1", Vector: []float32{1, 0}}, knowledge.Record{ID: "2", Vector: []float32{1, 0}})
	for _, test := range []struct {
		after knowledge.CollectionName
		limit int
		want  []knowledge.CollectionName
	}{
		{"", 100, names},
		{"", 2, names[:2]},
		{"a", 3, names[2:5]},
		{"a-a", 1, names[2:3]}, // after a name that is not there
		{"z", 10, nil},
	} {
		list, err := s.Store.ListCollections(t.Context(), alice, test.after, test.limit)
		if err != nil {
			t.Fatalf("ListCollections(%q, %d) = %v, want nil", test.after, test.limit, err)
		}
		var got []knowledge.CollectionName
		for _, c := range list {
			got = append(got, c.Name)
			if want := map[knowledge.CollectionName]int64{"b": 2}[c.Name]; c.Records != want {
				t.Errorf("ListCollections: %s has %d records, want %d", c.Name, c.Records, want)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("ListCollections(%q, %d) = %q, want %q", test.after, test.limit, got, test.want)
		}
	}
}

func testDeleteCollection(t *testing.T, s suite) {
	ctx := t.Context()
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		c := dimension("c", 2)
		c.Index.Kind = kind
		s.put(t, alice, c)
		s.put(t, alice, dimension("beside", 2))
		record := knowledge.Record{ID: "1", Vector: []float32{1, 0}}
		s.write(t, alice, "c", record)
		s.write(t, alice, "beside", record)
		query := knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 10}
		if got := s.search(t, alice, query).Matches; len(got) != 1 {
			t.Fatalf("Search(%s) = %v, want 1 match", kind, got)
		}
		if err := s.Store.DeleteCollection(ctx, alice, "c"); err != nil {
			t.Fatalf("DeleteCollection(%s) = %v, want nil", kind, err)
		}
		_, err := s.Store.Search(ctx, alice, query)
		wantKind(t, "Search of a deleted collection", err, knowledge.ErrNotFound)
		_, err = s.Store.Record(ctx, alice, "c", "1")
		wantKind(t, "Record of a deleted collection", err, knowledge.ErrNotFound)
		wantKind(t, "DeleteCollection again", s.Store.DeleteCollection(ctx, alice, "c"), knowledge.ErrNotFound)

		// A new one of that name, of another form, has nothing of the old.
		s.put(t, alice, dimension("c", 3))
		query.Vector = []float32{1, 0, 0}
		if got := s.search(t, alice, query).Matches; len(got) != 0 {
			t.Errorf("Search of the new collection = %v, want none", got)
		}
		if err := s.Store.DeleteCollection(ctx, alice, "c"); err != nil {
			t.Fatalf("DeleteCollection of the new = %v, want nil", err)
		}
		if _, err := s.Store.Record(ctx, alice, "beside", "1"); err != nil {
			t.Errorf("Record of the collection beside = %v, want nil", err)
		}
	}
}

// everyCall does each operation that names a collection, validly if it has 2
// dimensions.
func everyCall(ctx context.Context, s suite, tenant knowledge.TenantID, name knowledge.CollectionName) map[string]error {
	outcomes := map[string]error{}
	_, outcomes["Resolve"] = s.Store.Resolve(ctx, tenant, name)
	_, outcomes["Collection"] = s.Store.Collection(ctx, tenant, name)
	_, outcomes["PutRecords"] = s.putRecords(ctx, tenant, name, []knowledge.Record{{ID: "1", Vector: []float32{0, 1}, Text: "foreign"}})
	_, outcomes["PatchRecord"] = s.Store.PatchRecord(ctx, tenant, name, knowledge.Patch{ID: "1", Metadata: map[string]any{"a": 1.0}})
	_, outcomes["ScrollRecords"] = s.Store.ScrollRecords(ctx, tenant, name, knowledge.Scroll{Limit: 10})
	_, outcomes["CountRecords"] = s.Store.CountRecords(ctx, tenant, name, knowledge.Filter{}, true)
	_, outcomes["DeleteRecords"] = s.Store.DeleteRecords(ctx, tenant, name, knowledge.Selection{All: true}, 10)
	_, outcomes["Record"] = s.Store.Record(ctx, tenant, name, "1")
	outcomes["DeleteRecord"] = s.Store.DeleteRecord(ctx, tenant, name, "1")
	_, outcomes["Search"] = s.Store.Search(ctx, tenant, knowledge.Search{Collection: name, Vector: []float32{1, 0}, Limit: 10})
	_, outcomes["SearchText"] = s.Store.SearchText(ctx, tenant, knowledge.TextSearch{Collection: name, Text: "foreign", Limit: 10})
	_, outcomes["Facets"] = s.Store.Facets(ctx, tenant, knowledge.FacetSearch{Collection: name, Facets: []knowledge.Facet{{Field: "a", Limit: 10}}})
	_, outcomes["EarliestExpiry"] = s.Store.EarliestExpiry(ctx, tenant, name, []knowledge.RecordID{"1"})
	_, outcomes["ChangeCollection"] = s.Store.ChangeCollection(ctx, tenant, name, 0, func(c knowledge.Collection) (knowledge.Collection, error) {
		c.TTL = time.Hour
		return c, nil
	})
	_, _, outcomes["PutDocument"] = s.Store.PutDocument(ctx, tenant, name, documentOf("d", "foreign"))
	_, outcomes["Document"] = s.Store.Document(ctx, tenant, name, "d")
	_, _, outcomes["DocumentContent"] = s.Store.DocumentContent(ctx, tenant, name, "d")
	_, outcomes["ListDocuments"] = s.Store.ListDocuments(ctx, tenant, name, knowledge.DocumentList{Limit: 10})
	_, outcomes["DeleteDocument"] = s.Store.DeleteDocument(ctx, tenant, name, "d", 0)
	outcomes["Exclusively"] = s.Store.Exclusively(ctx, tenant, name, func(knowledge.Session) error { return nil })
	outcomes["FillFields"] = s.Store.FillFields(ctx, tenant, name, nil)
	outcomes["DeleteCollection"] = s.Store.DeleteCollection(ctx, tenant, name)
	outcomes["DeleteCollectionAndAliases"] = s.Store.DeleteCollectionAndAliases(ctx, tenant, name)
	return outcomes
}

// testEveryCall fails when a method of the store is left out of everyCall, for then
// nothing shows that it keeps tenants apart and keeps to views.
func testEveryCall(t *testing.T, s suite) {
	known := everyCall(t.Context(), s, alice, "c")
	for _, other := range []string{ // that create a name, or have tests of their own
		"PutCollection", "ListCollections", "ChangeAliases", "Alias", "ListAliases", "PutView", "View", "ListViews", "DeleteView",
		"WriteVersions", "StartImport", "ResumeImport", "PutImport", "Import",
		"Atomically", "Once", "Replay", "SweepReplies", "Snapshot", // that name none
	} {
		known[other] = nil
	}
	for method := range reflect.TypeFor[knowledge.Store]().Methods() {
		if _, ok := known[method.Name]; !ok {
			t.Errorf("everyCall does not call %s", method.Name)
		}
	}
}

func testUnknown(t *testing.T, s suite) {
	for what, err := range everyCall(t.Context(), s, alice, "c") {
		wantKind(t, what+" of an unknown collection", err, knowledge.ErrNotFound)
	}
}

func testTenancy(t *testing.T, s suite) {
	ctx := t.Context()
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		c := dimension("c", 2)
		c.Index.Kind = kind
		s.put(t, alice, c)
		s.write(t, alice, "c", knowledge.Record{ID: "1", Text: "hers", Vector: []float32{1, 0}})

		for what, err := range everyCall(t.Context(), s, bob, "c") {
			wantKind(t, fmt.Sprintf("%s of another tenant's collection (%s)", what, kind), err, knowledge.ErrNotFound)
		}
		if list, err := s.Store.ListCollections(ctx, bob, "", 10); len(list) != 0 || err != nil {
			t.Errorf("ListCollections(bob) = %v, %v, want none", list, err)
		}

		// The same names again, his own.
		s.put(t, bob, dimension("c", 2))
		s.write(t, bob, "c", knowledge.Record{ID: "1", Text: "his", Vector: []float32{1, 0}}, knowledge.Record{ID: "2", Vector: []float32{1, 0}})
		if err := s.Store.DeleteRecord(ctx, bob, "c", "1"); err != nil {
			t.Errorf("DeleteRecord(bob) = %v, want nil", err)
		}
		found := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 10})
		if len(found.Matches) != 1 || found.Matches[0].Text != "hers" || found.Matches[0].Version != 1 {
			t.Errorf("Search(alice) = %+v, want her record as it was", found.Matches)
		}
		for _, tenant := range []knowledge.TenantID{bob, alice} {
			if err := s.Store.DeleteCollection(ctx, tenant, "c"); err != nil {
				t.Errorf("DeleteCollection(%s) = %v, want nil", tenant, err)
			}
		}
	}
}
