package tenancy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// ErrUnauthenticated: the credential is missing, malformed, unknown, wrong,
// revoked or expired. Which of them is never told.
var ErrUnauthenticated = errors.New("not authenticated")

// MinAdminKey is the shortest admin key, in bytes.
const MinAdminKey = 32

// Keys issues API keys and turns tokens into principals. Make it with [NewKeys];
// safe for concurrent use.
type Keys struct {
	directory Directory
	ring      *Ring
	admin     [sha256.Size]byte // of the admin key
	now       func() time.Time

	mu   sync.Mutex
	used map[string]LastUse // by key id, since the last FlushUse; guarded by mu
}

// LastUse is when a key was last used.
type LastUse struct {
	Tenant knowledge.TenantID
	KeyID  string
	At     time.Time
}

// NewKeys returns the keys of a deployment. adminKey, of at least [MinAdminKey]
// bytes, is the operator's token.
func NewKeys(directory Directory, ring *Ring, adminKey string) (*Keys, error) {
	if len(adminKey) < MinAdminKey {
		return nil, fmt.Errorf("admin key: has %d bytes; need at least %d", len(adminKey), MinAdminKey)
	}
	return &Keys{
		directory: directory, ring: ring, admin: sha256.Sum256([]byte(adminKey)),
		now: time.Now, used: map[string]LastUse{},
	}, nil
}

// Authenticate returns who a bearer token belongs to, or [ErrUnauthenticated], or
// an error of the directory. It takes the same steps for an unknown prefix as for
// a wrong secret.
func (k *Keys) Authenticate(ctx context.Context, token string) (Principal, error) {
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], k.admin[:]) == 1 {
		return Principal{KeyID: "admin", Scopes: []Scope{ScopeAdmin}}, nil
	}
	prefix, secret, ok := splitToken(token)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	stored, err := k.directory.FindKey(ctx, prefix)
	if err != nil && !errors.Is(err, knowledge.ErrNotFound) {
		return Principal{}, fmt.Errorf("authenticate: %w", err)
	}
	right := k.ring.matches(secret, stored.SecretHash) // of zeros when there is no such key: never matches
	now := k.now()
	over := !stored.Revoked.IsZero() || !stored.Expires.IsZero() && !now.Before(stored.Expires)
	if err != nil || !right || over {
		return Principal{}, ErrUnauthenticated
	}
	k.mu.Lock()
	k.used[stored.ID] = LastUse{stored.Tenant, stored.ID, now}
	k.mu.Unlock()
	return Principal{Tenant: stored.Tenant, KeyID: stored.ID, Scopes: stored.Scopes, Views: stored.Views, Policy: stored.Policy}, nil
}

// FlushUse writes when keys were last used to the directory. Call it about once a
// minute, and at the end. What cannot be written is tried again with the next.
func (k *Keys) FlushUse(ctx context.Context) error {
	k.mu.Lock()
	used := k.used
	k.used = map[string]LastUse{}
	k.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	uses := make([]LastUse, 0, len(used))
	for _, u := range used {
		uses = append(uses, u)
	}
	err := k.directory.TouchKeys(ctx, uses)
	if err == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, u := range used {
		if _, newer := k.used[id]; !newer {
			k.used[id] = u
		}
	}
	return fmt.Errorf("write last use of keys: %w", err)
}

// IssueKey makes a key for a tenant and returns it with its token, which is shown
// this once and cannot be had again. No scopes means all of [TenantScopes]; a
// zero expires means never. With views the key is limited to these, may have
// [ViewScopes] alone, and gets [ScopeRead] when it asks for none; without, it is not
// limited. It returns an [knowledge.InvalidError], or an error wrapping
// [knowledge.ErrNotFound] when there is no such tenant.
func (k *Keys) IssueKey(ctx context.Context, tenant knowledge.TenantID, name string, scopes []Scope, expires time.Time, views ...knowledge.CollectionName) (Key, string, error) {
	if err := checkName(name); err != nil {
		return Key{}, "", err
	}
	switch {
	case len(scopes) > 0:
	case len(views) > 0:
		scopes = []Scope{ScopeRead}
	default:
		scopes = TenantScopes()
	}
	views, err := checkViews(views, scopes)
	if err != nil {
		return Key{}, "", err
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	for _, s := range scopes {
		if !slices.Contains(TenantScopes(), s) {
			return Key{}, "", knowledge.Invalid("scopes", "has one that a tenant's key cannot have; need some of %v", TenantScopes())
		}
	}
	now, expires := k.now().UTC().Truncate(time.Microsecond), expires.Truncate(time.Microsecond) // as it is kept
	if !expires.IsZero() && !expires.After(now) {
		return Key{}, "", knowledge.Invalid("expires_at", "is in the past")
	}
	token, prefix, secret := newToken()
	key := Key{
		ID: "key_" + prefix, Tenant: tenant, Prefix: prefix, Name: name,
		Scopes: scopes, Views: views, Created: now, Expires: expires,
	}
	if err := k.directory.CreateKey(ctx, StoredKey{Key: key, SecretHash: k.ring.hashSecret(secret)}); err != nil {
		return Key{}, "", fmt.Errorf("issue key: %w", err)
	}
	return key, token, nil
}

// checkViews returns the views of a key in order, nil for none.
func checkViews(views []knowledge.CollectionName, scopes []Scope) ([]knowledge.CollectionName, error) {
	if len(views) == 0 {
		return nil, nil
	}
	if len(views) > MaxKeyViews {
		return nil, knowledge.Invalid("views", "has %d entries; at most %d are allowed", len(views), MaxKeyViews)
	}
	for i, v := range views {
		if _, err := knowledge.ParseCollectionName(string(v)); err != nil {
			return nil, knowledge.At(fmt.Sprintf("views[%d]", i), err)
		}
	}
	for _, s := range scopes {
		if !slices.Contains(ViewScopes(), s) {
			return nil, knowledge.Invalid("scopes", "has one that a key limited to views cannot have; need some of %v", ViewScopes())
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(views))), nil
}

// CreateTenant makes a tenant. It returns an [knowledge.InvalidError], or an
// error wrapping [knowledge.ErrConflict] when the id is taken.
func (k *Keys) CreateTenant(ctx context.Context, t Tenant) (Tenant, error) {
	if _, err := knowledge.ParseTenantID(string(t.ID)); err != nil {
		return Tenant{}, knowledge.At("id", err)
	}
	if err := checkName(t.Name); err != nil {
		return Tenant{}, err
	}
	if err := t.Policy.validate(); err != nil {
		return Tenant{}, knowledge.At("policy", err)
	}
	return k.directory.CreateTenant(ctx, t)
}

// Tenant returns a tenant, or an error wrapping [knowledge.ErrNotFound].
func (k *Keys) Tenant(ctx context.Context, id knowledge.TenantID) (Tenant, error) {
	return k.directory.Tenant(ctx, id)
}

// ListTenants is [Directory.ListTenants].
func (k *Keys) ListTenants(ctx context.Context, after knowledge.TenantID, limit int) ([]Tenant, error) {
	return k.directory.ListTenants(ctx, after, limit)
}

// ListKeys is [Directory.ListKeys], with an error wrapping
// [knowledge.ErrNotFound] when there is no such tenant.
func (k *Keys) ListKeys(ctx context.Context, tenant knowledge.TenantID, after string, limit int) ([]Key, error) {
	if _, err := k.directory.Tenant(ctx, tenant); err != nil {
		return nil, err
	}
	return k.directory.ListKeys(ctx, tenant, after, limit)
}

// RevokeKey is [Directory.RevokeKey].
func (k *Keys) RevokeKey(ctx context.Context, tenant knowledge.TenantID, keyID string) error {
	return k.directory.RevokeKey(ctx, tenant, keyID)
}

// maxName is the longest name for people, in bytes.
const maxName = 200

func checkName(name string) error {
	if len(name) > maxName {
		return knowledge.Invalid("name", "has %d bytes; at most %d are allowed", len(name), maxName)
	}
	return knowledge.At("name", knowledge.CheckText(name))
}

// maxWeight is the most that a tenant weighs, as in vmhost.
const maxWeight = 1000

func (p Policy) validate() error {
	switch {
	case p.MinIsolation != "" && p.MinIsolation != "process" && p.MinIsolation != "microvm":
		return knowledge.Invalid("min_isolation", "is not a tier; need process or microvm")
	case p.MaxCollections < 0:
		return knowledge.Invalid("max_collections", "is %d; need 1 or more, or none for the default", p.MaxCollections)
	case p.MaxPlugins < 0:
		return knowledge.Invalid("max_plugins", "is %d; need 1 or more, or none for the default", p.MaxPlugins)
	case p.PluginMemory < 0:
		return knowledge.Invalid("plugin_memory_bytes", "is %d; need 1 or more, or none for the default", p.PluginMemory)
	case p.PluginWall < 0 || p.PluginWall%time.Millisecond != 0:
		return knowledge.Invalid("plugin_wall_ms", "is %s; need whole milliseconds, or none for the default", p.PluginWall)
	case p.PluginSlots < 0:
		return knowledge.Invalid("plugin_slots", "is %d; need 1 or more, or none for the default", p.PluginSlots)
	case p.Memory < 0:
		return knowledge.Invalid("memory_bytes", "is %d; need 1 or more, or none for the default", p.Memory)
	case p.PluginWeight < 0 || p.PluginWeight > maxWeight:
		return knowledge.Invalid("plugin_weight", "is %d; need 1 to %d, or none for the default", p.PluginWeight, maxWeight)
	}
	return nil
}
