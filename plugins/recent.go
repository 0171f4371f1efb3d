package plugins

import (
	"context"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
)

// Recent is a catalog that remembers which versions were asked for in the last
// second ([recent.Stale]), so that a call of a plugin does not cost a statement. What
// is changed through it is seen at once; where another node has pointed an alias,
// after so long at most. Make it with [NewRecent] and end it with Close. Safe for
// concurrent use; what it returns is shared and must not be changed.
type Recent struct {
	Catalog
	versions recent.Answers[recentKey, Version]
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
	return &Recent{Catalog: c, versions: recent.New[recentKey, Version]()}
}

// Close ends what forgets in the background. The catalog behind stays as it is.
func (r *Recent) Close() { r.versions.Close() }

// Version implements [Catalog]. What is not found is not remembered.
func (r *Recent) Version(ctx context.Context, tenant knowledge.TenantID, name Name, ref Ref) (Version, error) {
	key := recentKey{tenant: tenant, name: name, alias: ref.Alias, number: ref.Number}
	if ref.Digest != nil {
		key.digest = *ref.Digest
	}
	return r.versions.Get(ctx, key, func(ctx context.Context) (Version, error) { return r.Catalog.Version(ctx, tenant, name, ref) })
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
	r.versions.Forget(func(k recentKey, _ Version) bool { return k.tenant == tenant && k.name == name })
}
