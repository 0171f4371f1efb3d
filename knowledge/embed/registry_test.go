package embed_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// counting is a client that notes what becomes of it.
type counting struct {
	named
	key    string
	closed bool
}

func (c *counting) Close() { c.closed = true }

func (c *counting) Embed(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error) {
	vectors, _, err := c.EmbedMeasured(ctx, kind, texts)
	return vectors, err
}

func (c *counting) EmbedMeasured(_ context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, embed.Usage, error) {
	usage := embed.UsageOf(texts)
	usage.Tokens = 7
	vectors := make([][]float32, len(texts))
	for i := range vectors {
		vectors[i] = make([]float32, c.Info().Dimension)
	}
	return vectors, usage, nil
}

// registry is one under test, with the clients that it opened.
type registry struct {
	*embed.Registry
	store  *embedtest.Memory
	opened []*counting
}

func newRegistry(t *testing.T, cache *embed.QueryCache) *registry {
	t.Helper()
	ring, err := tenancy.NewRing(bytes.Repeat([]byte{3}, tenancy.RingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	node, err := embed.NewSet(named{"local", "1", 2}, named{"big", "1", 3})
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{store: embedtest.NewMemory(memstore.New(memstore.Options{MaxCollections: 10}))}
	r.Registry = embed.NewRegistry(embed.Parts{Node: node, Store: r.store, Ring: ring, Cache: cache, Open: func(_ context.Context, d embed.Definition, key string) (embed.Client, error) {
		if key == "bad" {
			return nil, knowledge.Invalid("api_key", "was refused")
		}
		dimension := d.Dimension
		if dimension == 0 {
			dimension = 4
		}
		c := &counting{named: named{string(d.Name), d.Model, dimension}, key: key}
		r.opened = append(r.opened, c)
		return c, nil
	}})
	t.Cleanup(r.Close)
	return r
}

func (r *registry) put(t *testing.T, tenant knowledge.TenantID, name embed.Name, key string) {
	t.Helper()
	if _, _, err := r.Put(t.Context(), tenant, embed.Definition{Name: name, Provider: embed.ProviderOpenAI, BaseURL: "https://example.com", Model: "m"}, key); err != nil {
		t.Fatalf("Put(%s) = %v, want no error", name, err)
	}
}

func (r *registry) get(t *testing.T, tenant knowledge.TenantID, id string) knowledge.Embedder {
	t.Helper()
	e, err := r.Get(t.Context(), tenant, id)
	if err != nil {
		t.Fatalf("Get(%s, %s) = %v, want no error", tenant, id, err)
	}
	return e
}

func TestRegistryGet(t *testing.T) {
	r := newRegistry(t, nil)
	r.put(t, "alice", "mine", "k1")
	if got, want := r.get(t, "alice", "mine").Info(), (knowledge.EmbedderInfo{ID: "mine", Version: "m", Dimension: 4}); got != want {
		t.Errorf("Get(mine).Info() = %+v, want %+v, as the server showed", got, want)
	}
	r.get(t, "alice", "mine")
	r.get(t, "bob", "local")
	if len(r.opened) != 2 || !r.opened[0].closed || r.opened[1].closed || r.opened[1].key != "k1" {
		t.Errorf("clients = %+v, want one of the probe, closed, and one that is kept, with the key", r.opened)
	}
	for _, id := range []string{"mine", "other", "none", "", "NO!"} {
		if e, err := r.Get(t.Context(), "bob", id); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Get(bob, %q) = %v, %v, want ErrNotFound", id, e, err)
		}
	}
}

func TestRegistryRotates(t *testing.T) {
	r := newRegistry(t, nil)
	r.put(t, "alice", "mine", "k1")
	r.get(t, "alice", "mine")
	r.put(t, "alice", "mine", "k2")
	r.get(t, "alice", "mine")
	last := r.opened[len(r.opened)-1]
	if !r.opened[1].closed || last.closed || last.key != "k2" {
		t.Errorf("clients = first closed %t, last closed %t with key %q; want the first dropped and the last with the new key", r.opened[1].closed, last.closed, last.key)
	}
	if _, _, err := r.Put(t.Context(), "alice", embed.Definition{Name: "mine", Model: "m"}, "bad"); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Put with a key that is refused = %v, want ErrInvalid", err)
	}
	if e := r.get(t, "alice", "mine"); e.Info().Version != "m" {
		t.Errorf("Get after a refused Put = %+v, want what was before", e.Info())
	}
	if err := r.Delete(t.Context(), "alice", "mine"); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Get(t.Context(), "alice", "mine"); !errors.Is(err, knowledge.ErrNotFound) || !last.closed && !r.opened[len(r.opened)-1].closed {
		t.Errorf("Get after Delete = %v, %v, want ErrNotFound and the client closed", e, err)
	}
}

// What the operator does not allow any more is no fault of who searches.
func TestRegistryNotAllowedAnyMore(t *testing.T) {
	r := newRegistry(t, nil)
	r.put(t, "alice", "mine", "k1")
	r.Open = func(context.Context, embed.Definition, string) (embed.Client, error) {
		return nil, knowledge.Invalid("base_url", "is not public")
	}
	var lack *knowledge.UnavailableError
	if _, err := r.Get(t.Context(), "alice", "mine"); !errors.As(err, &lack) || errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Get = %v, want an UnavailableError alone", err)
	}
}

// A credential of one row does not open under another.
func TestRegistryKeyIsBound(t *testing.T) {
	r := newRegistry(t, nil)
	r.put(t, "alice", "mine", "k1")
	stolen, err := r.store.Embedder(t.Context(), "alice", "mine")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.store.PutEmbedder(t.Context(), "bob", stolen); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Get(t.Context(), "bob", "mine"); err == nil {
		t.Errorf("Get with another tenant's sealed key = %v, want an error", e)
	}
}

func TestRegistryList(t *testing.T) {
	r := newRegistry(t, nil)
	for _, name := range []embed.Name{"a", "c", "m"} {
		r.put(t, "alice", name, "")
	}
	var got []string
	for after := ""; ; {
		page, err := r.List(t.Context(), "alice", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			got = append(got, e.Info.ID)
			if (e.Own == nil) != (e.Info.ID == "big" || e.Info.ID == "local") {
				t.Errorf("entry %s has own %v, want it for the tenant's alone", e.Info.ID, e.Own)
			}
		}
		if len(page) < 2 {
			break
		}
		after = page[1].Info.ID
	}
	if want := []string{"a", "big", "c", "local", "m"}; !slices.Equal(got, want) {
		t.Errorf("List, page by page = %q, want %q", got, want)
	}
}

func TestRegistryCounts(t *testing.T) {
	r := newRegistry(t, nil)
	r.put(t, "alice", "mine", "")
	for range 2 {
		if _, _, err := embed.EmbedMeasured(t.Context(), r.get(t, "alice", "mine"), knowledge.EmbedDocument, []string{"ab", "c"}); err != nil {
			t.Fatal(err)
		}
	}
	want := []embed.Used{{Provider: "openai", Scope: "tenant", Calls: 2, Usage: embed.Usage{Texts: 4, Bytes: 6, Tokens: 14}}}
	if got := r.Used(); !slices.Equal(got, want) {
		t.Errorf("Used() = %+v, want %+v", got, want)
	}
}

// TestEmbeddingIsNoted: texts and tokens count for the tenant whose they were, and
// questions that were remembered do not.
func TestEmbeddingIsNoted(t *testing.T) {
	cache := embed.NewQueryCache(1 << 20)
	defer cache.Close()
	r := newRegistry(t, cache)
	store := ledgertest.NewMemory()
	book := ledger.NewBook(store, ledger.Options{})
	defer func() { _ = book.Close(context.Background()) }() // in memory
	r.Ledger = book
	r.put(t, "alice", "mine", "")
	ctx := knowledge.AskedBy(t.Context(), "key_a")
	c := knowledge.Collection{Name: "c", Embedder: r.get(t, "alice", "mine").Info()}
	for range 3 {
		e, err := r.For(ctx, "alice", c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Embed(ctx, knowledge.EmbedQuery, []string{"q"}); err != nil {
			t.Fatal(err)
		}
	}
	r.put(t, "bob", "mine", "")
	for _, tenant := range []knowledge.TenantID{"alice", "bob"} {
		if _, err := r.get(t, tenant, "mine").Embed(ctx, knowledge.EmbedDocument, []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := book.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	day := ledger.DayOf(time.Now())
	for tenant, want := range map[knowledge.TenantID]ledger.Usage{"alice": {EmbeddedTexts: 3, EmbeddedTokens: 14}, "bob": {EmbeddedTexts: 2, EmbeddedTokens: 7}} {
		got, err := store.Usage(ctx, tenant, ledger.Question{From: day, To: day, ByKey: true})
		if err != nil || len(got) != 1 || got[0].Key != "key_a" || got[0].Usage != want {
			t.Errorf("usage of %s = %+v, %v, want %+v of key_a", tenant, got, err, want)
		}
	}
}

func TestRegistryFor(t *testing.T) {
	cache := embed.NewQueryCache(1 << 20)
	defer cache.Close()
	r := newRegistry(t, cache)
	r.put(t, "alice", "mine", "")
	info := r.get(t, "alice", "mine").Info()
	c := knowledge.Collection{Name: "c", Embedder: info}
	for range 3 {
		e, err := r.For(t.Context(), "alice", c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Embed(t.Context(), knowledge.EmbedQuery, []string{"q"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := cache.Stats(); got.Hits != 2 || got.Misses != 1 || got.Entries != 1 {
		t.Errorf("cache after three equal questions = %+v, want one miss and two hits", got)
	}
	c.Embedder.Version = "older"
	if _, err := r.For(t.Context(), "alice", c); !errors.Is(err, knowledge.ErrConflict) {
		t.Errorf("For of another space = %v, want ErrConflict", err)
	}
	if _, err := r.For(t.Context(), "bob", c); !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("For of another tenant's embedder = %v, want ErrUnavailable", err)
	}
}
