package pgembed_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/embed/pgembed"
	"github.com/tars-project/tars/knowledge/pgstore"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/pgtenancy"
	"github.com/tars-project/tars/migrations/pgtest"
)

// open returns a store beside the tenants alice and bob, and what makes collections.
func open(t *testing.T) (*pgembed.Store, embedtest.Pin) {
	t.Helper()
	db := pgtest.DB(t)
	app, jobs := db.AppPool(t), db.JobsPool(t)
	directory := pgtenancy.New(app, jobs)
	for _, id := range []knowledge.TenantID{"alice", "bob"} {
		if _, err := directory.CreateTenant(t.Context(), tenancy.Tenant{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	store := pgstore.New(app, jobs, pgstore.Options{})
	return pgembed.New(app), func(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, to knowledge.EmbedderInfo) error {
		_, _, err := store.PutCollection(ctx, tenant, knowledge.Collection{Name: name, Embedder: to})
		return err
	}
}

func TestDefinitions(t *testing.T) {
	embedtest.RunDefinitions(t, func(t *testing.T) (embed.Definitions, embedtest.Pin) {
		s, pin := open(t)
		return s, pin
	})
}

func definition(name embed.Name) embed.Definition {
	return embed.Definition{Name: name, Provider: embed.ProviderOpenAI, BaseURL: "https://example.com", Model: "m", Space: "m", Dimension: 2}
}

func TestUnknownTenant(t *testing.T) {
	s, _ := open(t)
	if _, _, err := s.PutEmbedder(t.Context(), "carol", definition("e")); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("PutEmbedder of no tenant = %v, want ErrNotFound", err)
	}
}

// What is stored opens for its tenant and name alone, and is not the credential.
func TestCredentialIsSealed(t *testing.T) {
	s, _ := open(t)
	ring, err := tenancy.NewRing(bytes.Repeat([]byte{1}, tenancy.RingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	d := definition("e")
	d.Key = ring.Seal("alice", d.SecretName(), []byte("sk-secret"))
	if _, _, err := s.PutEmbedder(t.Context(), "alice", d); err != nil {
		t.Fatal(err)
	}
	got, err := s.Embedder(t.Context(), "alice", "e")
	if err != nil || bytes.Contains(got.Key.Bytes, []byte("secret")) {
		t.Fatalf("Embedder = key %q, %v, want it sealed", got.Key.Bytes, err)
	}
	if key, err := ring.Open("alice", got.SecretName(), got.Key); err != nil || string(key) != "sk-secret" {
		t.Errorf("Open = %q, %v, want the credential", key, err)
	}
	if key, err := ring.Open("bob", got.SecretName(), got.Key); err == nil {
		t.Errorf("Open for another tenant = %q, want an error", key)
	}
	if key, err := ring.Open("alice", "embedder/other", got.Key); err == nil {
		t.Errorf("Open for another name = %q, want an error", key)
	}
}

// Whatever wins, no collection is left that is pinned to a space that its embedder
// does not have any more.
func TestChangeAgainstCollections(t *testing.T) {
	s, pin := open(t)
	for round := range 20 {
		name := embed.Name("e" + string(rune('a'+round)))
		collection := knowledge.CollectionName(name)
		before := definition(name)
		if _, _, err := s.PutEmbedder(t.Context(), "alice", before); err != nil {
			t.Fatal(err)
		}
		after := before
		after.Space = "other"
		var made, changed error
		var both sync.WaitGroup
		both.Go(func() { made = pin(t.Context(), "alice", collection, before.Info()) })
		both.Go(func() { _, _, changed = s.PutEmbedder(t.Context(), "alice", after) })
		both.Wait()
		if made != nil || changed != nil && !errors.Is(changed, knowledge.ErrConflict) {
			t.Fatalf("round %d: collection %v, change %v, want no error, and none or ErrConflict", round, made, changed)
		}
		if changed == nil {
			// The collection came second; what it needs can be put back, and nothing else.
			if _, _, err := s.PutEmbedder(t.Context(), "alice", before); err != nil {
				t.Errorf("round %d: PutEmbedder of the space that the collection has = %v, want no error", round, err)
			}
		}
	}
}
