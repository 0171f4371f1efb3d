package ingest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/memstore"
)

// carried is a re-embedding of 1,200 records from "texts" to "next", for which the
// alias "docs" is to stand.
func carried(t *testing.T) (*ingest.Reembedder, *memstore.Store, ingest.Reembedding) {
	t.Helper()
	w, store, e := open(t)
	var records []knowledge.Record
	for i := range 1200 {
		records = append(records, knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("r%04d", i)), Text: fmt.Sprint("text ", i)})
	}
	if _, err := put(t, w, store, tenant, "texts", records); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.PutCollection(t.Context(), tenant, knowledge.Collection{Name: "next", Embedder: e.Info()}); err != nil {
		t.Fatal(err)
	}
	x := ingest.Reembedding{From: "texts", To: "next", Alias: "docs"}
	point(t, store, x.From)
	return &ingest.Reembedder{Store: store, Embedders: e}, store, x
}

// point makes the alias stand for a collection.
func point(t *testing.T, store *memstore.Store, at knowledge.CollectionName) {
	t.Helper()
	if _, err := store.ChangeAliases(t.Context(), tenant, []knowledge.AliasAction{{Alias: "docs", Collection: at}}); err != nil {
		t.Fatal(err)
	}
}

// added writes a record of somebody else's by the alias.
func added(t *testing.T, store *memstore.Store, id knowledge.RecordID) {
	t.Helper()
	w := knowledge.Write{Records: []knowledge.Record{{ID: id, Text: "new", Vector: []float32{1, 1}}}}
	if _, err := store.PutRecords(t.Context(), tenant, "docs", w); err != nil {
		t.Fatal(err)
	}
}

func TestReembedCarriesAndMoves(t *testing.T) {
	r, store, x := carried(t)
	var last ingest.ReembedProgress
	if err := r.Reembed(t.Context(), tenant, x, func(p ingest.ReembedProgress) { last = p }); err != nil {
		t.Fatalf("Reembed = %v, want nil", err)
	}
	alias, err := store.Alias(t.Context(), tenant, "docs")
	got, counted := store.CountRecords(t.Context(), tenant, "docs", knowledge.Filter{}, true)
	if err != nil || counted != nil || alias.Collection != "next" || got.Records != 1200 || last.Embedded != 1200 || last.Done != 1200 {
		t.Errorf("the alias stands for %s with %d records, after %+v, want next with 1200, each embedded once", alias.Collection, got.Records, last)
	}

	// Begun again, as after a crash before it was noted as done, it leaves what was
	// written since alone.
	added(t, store, "since")
	if err := r.Reembed(t.Context(), tenant, x, nil); err != nil {
		t.Errorf("Reembed once more = %v, want nil", err)
	}
	if _, err := store.Record(t.Context(), tenant, "docs", "since"); err != nil {
		t.Errorf("what was written after the move = %v, want it there", err)
	}
}

// TestReembedOvertaken: an attempt that another one has overtaken, because its server
// stood still, changes nothing of what was written since.
func TestReembedOvertaken(t *testing.T) {
	r, store, x := carried(t)
	err := r.Reembed(t.Context(), tenant, x, func(p ingest.ReembedProgress) {
		if p.Pass == 1 && p.Done == 500 { // the other one has come to its end
			point(t, store, x.To)
			added(t, store, "r0600x") // which From does not have
		}
	})
	if !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Reembed = %v, want ErrUnavailable: the job is tried again, and finds that it is done", err)
	}
	if _, err := store.Record(t.Context(), tenant, "docs", "r0600x"); err != nil {
		t.Errorf("what was written since = %v, want it there", err)
	}
	point(t, store, "vectors")
	if err := r.Reembed(t.Context(), tenant, x, nil); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Reembed where the alias stands for another collection = %v, want an InvalidError", err)
	}
}

func TestReembedRefuses(t *testing.T) {
	r, store, x := carried(t)
	w := knowledge.Write{Records: []knowledge.Record{{ID: "r0700", Vector: []float32{1, 1}}}}
	if _, err := store.PutRecords(t.Context(), tenant, "texts", w); err != nil {
		t.Fatal(err)
	}
	var invalid *knowledge.InvalidError
	if err := r.Reembed(t.Context(), tenant, x, nil); !errors.As(err, &invalid) {
		t.Errorf("Reembed of a record without a text = %v, want an InvalidError that names it", err)
	}
	if alias, err := store.Alias(t.Context(), tenant, "docs"); err != nil || alias.Collection != "texts" {
		t.Errorf("after it the alias stands for %s, %v, want texts", alias.Collection, err)
	}
}
