package tenancy

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tars-project/tars/knowledge"
)

// Stale is how old what [Recent] answers may be: a key that another node revoked
// is of use for so long at most.
const Stale = time.Second

// Bounds of a [Recent].
const (
	recentKeys    = 10_000
	recentTenants = 10_000
	recentTimeout = 10 * time.Second // of a look-up that several callers wait for
)

// Recent is a directory that remembers the keys and tenants that were asked for in
// the last second, so that a request does not cost a statement. What is changed
// through it is seen at once. Make it with [NewRecent] and end it with Close. Safe for concurrent use;
// what it returns is shared and must not be changed.
type Recent struct {
	Directory
	keys    *otter.Cache[string, StoredKey]
	tenants *otter.Cache[knowledge.TenantID, Tenant]
}

var _ Directory = (*Recent)(nil)

// NewRecent returns a directory that remembers what d answers.
func NewRecent(d Directory) *Recent {
	return &Recent{
		Directory: d,
		keys: otter.Must(&otter.Options[string, StoredKey]{
			MaximumSize: recentKeys, ExpiryCalculator: otter.ExpiryWriting[string, StoredKey](Stale),
		}),
		tenants: otter.Must(&otter.Options[knowledge.TenantID, Tenant]{
			MaximumSize: recentTenants, ExpiryCalculator: otter.ExpiryWriting[knowledge.TenantID, Tenant](Stale),
		}),
	}
}

// Close ends what forgets in the background. The directory behind stays as it is.
func (r *Recent) Close() {
	r.keys.StopAllGoroutines()
	r.tenants.StopAllGoroutines()
}

// FindKey implements [Directory]. A prefix that no key has is not remembered.
func (r *Recent) FindKey(ctx context.Context, prefix string) (StoredKey, error) {
	return remembered(ctx, r.keys, prefix, r.Directory.FindKey)
}

// Tenant implements [Directory].
func (r *Recent) Tenant(ctx context.Context, id knowledge.TenantID) (Tenant, error) {
	return remembered(ctx, r.tenants, id, r.Directory.Tenant)
}

// RevokeKey implements [Directory].
func (r *Recent) RevokeKey(ctx context.Context, tenant knowledge.TenantID, keyID string) error {
	err := r.Directory.RevokeKey(ctx, tenant, keyID)
	for prefix, k := range r.keys.All() { // whatever err says: it may have been done
		if k.Tenant == tenant && k.ID == keyID {
			r.keys.Invalidate(prefix)
		}
	}
	return err
}

// remembered answers from a cache, or else from a look-up that all who want the
// same wait for, and that no single one of them ends.
func remembered[K comparable, V any](ctx context.Context, cache *otter.Cache[K, V], key K, find func(context.Context, K) (V, error)) (V, error) {
	return cache.Get(ctx, key, otter.LoaderFunc[K, V](func(ctx context.Context, key K) (V, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recentTimeout)
		defer cancel()
		return find(ctx, key)
	}))
}
