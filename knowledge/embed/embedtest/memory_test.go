package embedtest_test

import (
	"context"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/memstore"
)

func TestMemory(t *testing.T) {
	embedtest.RunDefinitions(t, func(*testing.T) (embed.Definitions, embedtest.Pin) {
		store := memstore.New(memstore.Options{MaxCollections: 10})
		return embedtest.NewMemory(store), func(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, to knowledge.EmbedderInfo) error {
			_, _, err := store.PutCollection(ctx, tenant, knowledge.Collection{Name: name, Embedder: to})
			return err
		}
	})
}
