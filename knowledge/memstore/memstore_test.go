package memstore_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		return storetest.Harness{Store: memstore.New(memstore.Options{})}
	})
}

func TestMaxCollections(t *testing.T) {
	s := memstore.New(memstore.Options{MaxCollections: 1})
	put := func(tenant knowledge.TenantID, name knowledge.CollectionName) error {
		_, _, err := s.PutCollection(t.Context(), tenant, knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{Dimension: 1}})
		return err
	}
	if err := errors.Join(put("alice", "a"), put("bob", "a"), put("alice", "a")); err != nil {
		t.Fatalf("PutCollection up to the limit = %v, want nil", err)
	}
	if err := put("alice", "b"); !errors.Is(err, knowledge.ErrLimit) {
		t.Errorf("PutCollection over the limit = %v, want an error that is %q", err, knowledge.ErrLimit)
	}
}

// What a caller does to its records afterwards is no concern of the store's.
func TestNothingShared(t *testing.T) {
	s := memstore.New(memstore.Options{})
	if _, _, err := s.PutCollection(t.Context(), "alice", knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 1}}); err != nil {
		t.Fatal(err)
	}
	r := knowledge.Record{ID: "1", Vector: []float32{1}, Metadata: map[string]any{"list": []any{"kept"}}}
	if _, err := s.PutRecords(t.Context(), "alice", "c", knowledge.Write{Records: []knowledge.Record{r}}); err != nil {
		t.Fatal(err)
	}
	spoil := func(r knowledge.Record) { r.Vector[0], r.Metadata["list"].([]any)[0] = 9, "spoiled" }
	for range 2 {
		spoil(r)
		var err error
		if r, err = s.Record(t.Context(), "alice", "c", "1"); err != nil {
			t.Fatal(err)
		}
		if r.Vector[0] != 1 || r.Metadata["list"].([]any)[0] != "kept" {
			t.Errorf("Record = %v, want what was put", r)
		}
	}
}
