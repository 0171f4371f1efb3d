package plugins

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tars-project/tars/knowledge"
)

// Stale is how old what [Recent] answers may be: where another node has pointed an
// alias is seen after so long at most.
const Stale = time.Second

const (
	recentVersions = 10_000
	recentTimeout  = 10 * time.Second // of a look-up that several callers wait for
)

// Recent is a catalog that remembers which versions were asked for in the last
// second, so that a call of a plugin does not cost a statement. What is changed
// through it is seen at once. Make it with [NewRecent] and end it with Close. Safe for concurrent use;
// what it returns is shared and must not be changed.
type Recent struct {
	Catalog
	versions *otter.Cache[recentKey, Version]
}

// recentKey is a reference of one tenant to a version.
type recentKey struct {
	tenant knowledge.TenantID
	name   Name
	alias  Alias
	number int
	digest Digest // zero: not by digest
}

var _ Catalog = (*Recent)(nil)

// NewRecent returns a catalog that remembers what c answers.
func NewRecent(c Catalog) *Recent {
	return &Recent{Catalog: c, versions: otter.Must(&otter.Options[recentKey, Version]{
		MaximumSize: recentVersions, ExpiryCalculator: otter.ExpiryWriting[recentKey, Version](Stale),
	})}
}

// Close ends what forgets in the background. The catalog behind stays as it is.
func (r *Recent) Close() { r.versions.StopAllGoroutines() }

// Version implements [Catalog]. What is not found is not remembered.
func (r *Recent) Version(ctx context.Context, tenant knowledge.TenantID, name Name, ref Ref) (Version, error) {
	key := recentKey{tenant: tenant, name: name, alias: ref.Alias, number: ref.Number}
	if ref.Digest != nil {
		key.digest = *ref.Digest
	}
	return r.versions.Get(ctx, key, otter.LoaderFunc[recentKey, Version](func(ctx context.Context, _ recentKey) (Version, error) {
		// For all who want the same: no single one ends it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recentTimeout)
		defer cancel()
		return r.Catalog.Version(ctx, tenant, name, ref)
	}))
}

// PutVersion implements [Catalog].
func (r *Recent) PutVersion(ctx context.Context, tenant knowledge.TenantID, v Version, module []byte, maxNames int) (Version, bool, error) {
	defer r.forget(tenant, v.Name)
	return r.Catalog.PutVersion(ctx, tenant, v, module, maxNames)
}

// SetAlias implements [Catalog].
func (r *Recent) SetAlias(ctx context.Context, tenant knowledge.TenantID, name Name, alias Alias, number int) error {
	defer r.forget(tenant, name)
	return r.Catalog.SetAlias(ctx, tenant, name, alias, number)
}

// forget drops what is remembered of a plugin.
func (r *Recent) forget(tenant knowledge.TenantID, name Name) {
	for key := range r.versions.Keys() {
		if key.tenant == tenant && key.name == name {
			r.versions.Invalidate(key)
		}
	}
}
