package query_test

import (
	"context"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
	"github.com/tars-project/tars/knowledge/query"
)

// TestReadIsNoted: queries and searches are counted once each, with the records that
// all their retrievals found, for the key that asked; what is refused is not.
func TestReadIsNoted(t *testing.T) {
	e := library(t)
	store := ledgertest.NewMemory()
	book := ledger.NewBook(store, ledger.Options{})
	defer func() { _ = book.Close(context.Background()) }() // in memory
	e.Ledger = book
	var read ledger.Read
	ctx := ledger.CountRead(knowledge.AskedBy(t.Context(), "key_a"), &read)
	hybrid := byVector(3)
	hybrid.Text, hybrid.Mode = "nine", query.Hybrid
	hybrid.Candidates = 4
	if _, err := e.Search(ctx, tenant, hybrid); err != nil { // finds 4 by vector and 2 by words
		t.Fatal(err)
	}
	bad := byVector(0)
	bad.Limit = -1
	if _, err := e.Search(ctx, tenant, bad); err == nil {
		t.Error("Search of -1 = nil, want an error")
	}
	if all, err := e.SearchBatch(ctx, tenant, []query.SearchText{byVector(1), byVector(2), bad}); err != nil || all[2].Err == nil {
		t.Fatalf("SearchBatch = %+v, %v, want two of three to succeed", all, err)
	}
	leg := query.Leg{Collection: "docs", Vector: []float32{1, 0}, Mode: query.Vector, Candidates: 5}
	if _, err := e.Answer(ctx, tenant, query.Query{Legs: []query.Leg{leg, leg}}); err != nil {
		t.Fatal(err)
	}
	leg.Collection = "none"
	if _, err := e.Answer(ctx, tenant, query.Query{Legs: []query.Leg{leg}}); err == nil {
		t.Error("Answer of no collection = nil, want an error")
	}
	if err := book.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	day := ledger.DayOf(time.Now())
	got, err := store.Usage(ctx, tenant, ledger.Question{From: day, To: day, ByKey: true})
	want := ledger.Sum{Key: "key_a", Usage: ledger.Usage{Queries: 1, Searches: 3, Rows: 4 + 2 + 1 + 2 + 5 + 5}}
	if err != nil || len(got) != 1 || got[0] != want || read.Records() != want.Rows {
		t.Errorf("usage = %+v with %d records, %v, want %+v", got, read.Records(), err, want)
	}
}
