package tenancy

import (
	"context"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
)

// Recent is a directory that remembers the keys and tenants that were asked for in
// the last second ([recent.Stale]), so that a request does not cost a statement.
// What is changed through it is seen at once; a key that another node revoked is of
// use for so long at most. Make it with [NewRecent] and end it with Close. Safe for
// concurrent use; what it returns is shared and must not be changed.
type Recent struct {
	Directory
	keys    recent.Answers[string, StoredKey]
	tenants recent.Answers[knowledge.TenantID, Tenant]
}

var _ Directory = (*Recent)(nil)

// NewRecent returns a directory that remembers what d answers.
func NewRecent(d Directory) *Recent {
	return &Recent{Directory: d, keys: recent.New[string, StoredKey](), tenants: recent.New[knowledge.TenantID, Tenant]()}
}

// Close ends what forgets in the background. The directory behind stays as it is.
func (r *Recent) Close() {
	r.keys.Close()
	r.tenants.Close()
}

// FindKey implements [Directory]. A prefix that no key has is not remembered.
func (r *Recent) FindKey(ctx context.Context, prefix string) (StoredKey, error) {
	return r.keys.Get(ctx, prefix, func(ctx context.Context) (StoredKey, error) { return r.Directory.FindKey(ctx, prefix) })
}

// Tenant implements [Directory].
func (r *Recent) Tenant(ctx context.Context, id knowledge.TenantID) (Tenant, error) {
	return r.tenants.Get(ctx, id, func(ctx context.Context) (Tenant, error) { return r.Directory.Tenant(ctx, id) })
}

// RevokeKey implements [Directory].
func (r *Recent) RevokeKey(ctx context.Context, tenant knowledge.TenantID, keyID string) error {
	err := r.Directory.RevokeKey(ctx, tenant, keyID)
	// Whatever err says: it may have been done.
	r.keys.Forget(func(_ string, k StoredKey) bool { return k.Tenant == tenant && k.ID == keyID })
	return err
}
