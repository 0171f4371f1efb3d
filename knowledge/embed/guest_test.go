package embed_test

import (
	"context"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
)

// TestGuests: who reads another's collection by a share uses the owner's embedder, which
// the owner's usage has under the share, or the node's, which is in the guest's. Neither
// is answered from what the other asked.
func TestGuests(t *testing.T) {
	cache := embed.NewQueryCache(1 << 20)
	defer cache.Close()
	r := newRegistry(t, cache)
	var err error
	if r.Node, err = embed.NewSet(&counting{named: named{"local", "1", 2}}); err != nil {
		t.Fatal(err)
	}
	store := ledgertest.NewMemory()
	book := ledger.NewBook(store, ledger.Options{})
	defer func() { _ = book.Close(context.Background()) }() // in memory
	r.Ledger = book
	r.put(t, "alice", "mine", "")
	r.put(t, "bob", "mine", "")
	key := knowledge.AskedBy(t.Context(), "key_b")
	share := knowledge.ThroughShare(key, knowledge.Share{ID: "share_1", Owner: "alice", Grantee: "bob", View: "v"})
	ask := func(ctx context.Context, tenant knowledge.TenantID, id string) {
		t.Helper()
		e, err := r.For(ctx, tenant, knowledge.Collection{Name: "c", Embedder: r.get(t, tenant, id).Info()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Embed(ctx, knowledge.EmbedQuery, []string{"q"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		ask(key, "alice", "mine")
		ask(share, "alice", "mine")
		ask(key, "bob", "mine")
		ask(share, "alice", "local")
	}
	if got := cache.Stats(); got.Misses != 4 || got.Hits != 4 {
		t.Errorf("cache = %+v, want each of the four asked once", got)
	}
	if err := book.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	day := ledger.DayOf(time.Now())
	for tenant, want := range map[knowledge.TenantID]map[string]int64{
		"alice": {"key_b": 1, "share_1": 1}, "bob": {"key_b": 1, "share_1": 1},
	} {
		got, err := store.Usage(t.Context(), tenant, ledger.Question{From: day, To: day, ByKey: true})
		if err != nil || len(got) != len(want) {
			t.Errorf("usage of %s = %+v, %v, want %v", tenant, got, err, want)
		}
		for _, sum := range got {
			if sum.EmbeddedTexts != want[sum.Key] {
				t.Errorf("usage of %s = %+v, want %v", tenant, got, want)
			}
		}
	}
}
