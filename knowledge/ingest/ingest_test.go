package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/memstore"
)

const tenant = knowledge.TenantID("acme")

// embedder makes of a text its length and one; it counts its calls.
type embedder struct {
	err   error
	few   bool // gives one vector too few
	calls int
}

func (e *embedder) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: "length", Version: "1", Dimension: 2}
}

func (e *embedder) Embed(_ context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error) {
	e.calls++
	if e.err != nil {
		return nil, e.err
	}
	if kind != knowledge.EmbedDocument {
		return nil, errors.New("records are documents")
	}
	var vectors [][]float32
	for _, text := range texts {
		vectors = append(vectors, []float32{float32(len(text)), 1})
	}
	if e.few {
		vectors = vectors[1:]
	}
	return vectors, nil
}

// For hands out the embedder for every collection.
func (e *embedder) For(context.Context, knowledge.TenantID, knowledge.Collection) (knowledge.Embedder, error) {
	return e, nil
}

// open returns a writer on a store with the collections "texts", which is
// embedded, and "vectors", which is not; both have two dimensions.
func open(t *testing.T) (*ingest.Writer, *memstore.Store, *embedder) {
	t.Helper()
	store, e := memstore.New(memstore.Options{}), &embedder{}
	for _, c := range []knowledge.Collection{
		{Name: "texts", Embedder: e.Info()},
		{Name: "vectors", Embedder: knowledge.EmbedderInfo{ID: knowledge.NoEmbedder, Dimension: 2}},
	} {
		if _, _, err := store.PutCollection(t.Context(), tenant, c); err != nil {
			t.Fatalf("PutCollection(%s) = %v, want nil", c.Name, err)
		}
	}
	return &ingest.Writer{Store: store, Embedders: e}, store, e
}

// put prepares a write and puts it, all or none.
func put(t *testing.T, w *ingest.Writer, store *memstore.Store, tenant knowledge.TenantID, name knowledge.CollectionName, records []knowledge.Record) ([]int64, error) {
	t.Helper()
	p, err := w.Prepare(t.Context(), tenant, name, knowledge.Write{Records: records})
	if err != nil {
		return nil, err
	}
	results, err := p.Put(t.Context(), store, tenant, name)
	var versions []int64
	for _, r := range results {
		versions = append(versions, r.Version)
	}
	return versions, err
}

func TestPut(t *testing.T) {
	w, store, e := open(t)
	records := []knowledge.Record{{ID: "a", Text: "four"}, {ID: "b", Text: "seven!!"}}
	for version := range int64(2) {
		// The second time shows that the first changed nothing of the caller's.
		versions, err := put(t, w, store, tenant, "texts", records)
		if want := []int64{version + 1, version + 1}; err != nil || !reflect.DeepEqual(versions, want) {
			t.Fatalf("Put = %v, %v, want %v, nil", versions, err, want)
		}
	}
	if records[0].Vector != nil {
		t.Errorf("Put changed the caller's record: vector %v", records[0].Vector)
	}
	if e.calls != 2 {
		t.Errorf("Put asked the embedder %d times in 2 calls, want 2", e.calls)
	}
	r, err := store.Record(t.Context(), tenant, "texts", "b")
	if want := []float32{7, 1}; err != nil || !reflect.DeepEqual(r.Vector, want) {
		t.Errorf("Record(b) = %v, %v, want the vector %v of its own text", r.Vector, err, want)
	}
	if _, err := put(t, w, store, tenant, "vectors", []knowledge.Record{{ID: "v", Vector: []float32{1, 2}}}); err != nil {
		t.Errorf("Put of a vector = %v, want nil", err)
	}
}

func TestPutRefuses(t *testing.T) {
	text := func(id string) knowledge.Record { return knowledge.Record{ID: knowledge.RecordID(id), Text: "text"} }
	for _, tc := range []struct {
		name       string
		collection knowledge.CollectionName
		records    []knowledge.Record
		want       string
	}{
		{"no records", "texts", nil, "records"},
		{"id twice", "texts", []knowledge.Record{text("a"), text("a")}, "records[1].id"},
		{"bad id", "texts", []knowledge.Record{text("a"), text("\x00")}, "records[1].id"},
		{"bad metadata", "texts", []knowledge.Record{text("a"), {ID: "b", Text: "t", Metadata: map[string]any{"m": "\xff"}}}, "records[1].metadata.m"},
		{"NUL in text", "texts", []knowledge.Record{{ID: "a", Text: "a\x00"}}, "records[0].text"},
		{"vector beside an embedder", "texts", []knowledge.Record{{ID: "a", Text: "t", Vector: []float32{1, 2}}}, "records[0].vector"},
		{"no vector", "vectors", []knowledge.Record{text("a")}, "records[0].vector"},
		{"bad vector", "vectors", []knowledge.Record{{ID: "a", Vector: []float32{0, 0}}}, "records[0].vector"},
		{"wrong dimension", "vectors", []knowledge.Record{{ID: "a", Vector: []float32{1, 2, 3}}}, "records[0].vector"},
	} {
		w, store, e := open(t)
		_, err := put(t, w, store, tenant, tc.collection, tc.records)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != tc.want {
			t.Errorf("%s: Put = %v, want an *InvalidError at %q", tc.name, err, tc.want)
		}
		if e.calls > 0 {
			t.Errorf("%s: Put asked the embedder before it refused", tc.name)
		}
		if c, err := store.Collection(t.Context(), tenant, tc.collection); err != nil || c.Records != 0 {
			t.Errorf("%s: there are %d records, %v, want none, nil", tc.name, c.Records, err)
		}
	}
}

func TestPutFails(t *testing.T) {
	one := []knowledge.Record{{ID: "a", Text: "one"}, {ID: "b", Text: "two"}}
	w, store, e := open(t)
	if _, err := put(t, w, store, "other", "texts", one); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Put into another tenant's collection = %v, want ErrNotFound", err)
	}
	e.err = fmt.Errorf("%w: server gone", knowledge.ErrUnavailable)
	if _, err := put(t, w, store, tenant, "texts", one); !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Put without embedder = %v, want ErrUnavailable", err)
	}
	e.err = knowledge.Invalid("texts[1]", "is too long")
	var invalid *knowledge.InvalidError
	if _, err := put(t, w, store, tenant, "texts", one); !errors.As(err, &invalid) || invalid.Field != "records[1].text" {
		t.Errorf("Put of a text that the embedder refuses = %v, want an *InvalidError at records[1].text", err)
	}
	e.err, e.few = nil, true
	if _, err := put(t, w, store, tenant, "texts", one); err == nil || errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Put with too few vectors = %v, want an error that is not the caller's", err)
	}
}

// With skip, each bad record is reported under its own number, and the good ones
// are embedded and written.
func TestPutSkips(t *testing.T) {
	w, store, e := open(t)
	records := []knowledge.Record{
		{ID: "a", Text: "one"}, {ID: "b", Text: " "}, {ID: "c", Text: "three"}, {ID: "d", Text: "x", Vector: []float32{1, 2}}, {ID: "e", Text: "five5"}, {ID: "c", Text: "again"},
	}
	if _, err := store.PutRecords(t.Context(), tenant, "texts", knowledge.Write{Records: []knowledge.Record{{ID: "e", Vector: []float32{1, 1}}}}); err != nil {
		t.Fatal(err)
	}
	p, err := w.Prepare(t.Context(), tenant, "texts", knowledge.Write{Records: records, OnError: knowledge.Skip, IfVersion: map[int]int64{2: 0, 4: 7}})
	if err != nil || e.calls != 1 {
		t.Fatalf("Prepare = %v after %d calls of the embedder, want nil after one", err, e.calls)
	}
	results, err := p.Put(t.Context(), store, tenant, "texts")
	if err != nil || len(results) != len(records) {
		t.Fatalf("Put = %d results, %v, want %d", len(results), err, len(records))
	}
	for i, want := range []string{"", "records[1].text", "", "records[3].vector", "records[4].if_version", "records[5].id"} {
		var invalid *knowledge.InvalidError
		var conflict *knowledge.ConflictError
		got := ""
		switch err := results[i].Err; {
		case errors.As(err, &invalid):
			got = invalid.Field
		case errors.As(err, &conflict):
			got = conflict.Field
		}
		if got != want || results[i].ID != records[i].ID || (results[i].Version == 1) != (want == "") {
			t.Errorf("result %d = %+v, want it at %q", i, results[i], want)
		}
	}
	if c, err := store.Record(t.Context(), tenant, "texts", "c"); err != nil || !reflect.DeepEqual(c.Vector, []float32{5, 1}) {
		t.Errorf("Record(c).Vector = %v, %v, want that of its own text", c.Vector, err)
	}
}

// A restored record keeps its vector, whatever the collection's embedder is.
func TestPrepareRestore(t *testing.T) {
	w, store, e := open(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := knowledge.Record{ID: "a", Text: "one", Vector: []float32{7, 8}, Version: 3, Created: now, Updated: now}
	p, err := w.Prepare(t.Context(), tenant, "texts", knowledge.Write{Mode: knowledge.Restore, Records: []knowledge.Record{r}})
	if err != nil || e.calls != 0 {
		t.Fatalf("Prepare = %v after %d calls of the embedder, want nil without one", err, e.calls)
	}
	if results, err := p.Put(t.Context(), store, tenant, "texts"); err != nil || results[0].Version != 3 {
		t.Errorf("Put = %+v, %v, want version 3", results, err)
	}
}
