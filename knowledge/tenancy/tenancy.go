// Package tenancy says who may ask for what: tenants, their policies, their API
// keys and secrets.
//
// [Directory] is the contract of what keeps them; knowledge/tenancy/pgtenancy
// keeps them in PostgreSQL. [Keys] issues API keys and turns a bearer token into a
// [Principal]. A [Ring] seals secrets. What a principal may do is decided by its
// scopes, in package api, and by row-level security, in the database.
package tenancy

import (
	"context"
	"slices"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Tenant is an owner of collections, plugins and keys.
type Tenant struct {
	ID      knowledge.TenantID
	Name    string // for people; up to 200 bytes
	Policy  Policy
	Created time.Time
}

// Policy has the limits and floors of a tenant. A zero field means the node's
// default.
type Policy struct {
	MinIsolation   string        // weakest tier its plugins may run in: "process" or "microvm"
	MaxCollections int           // collections it may have
	MaxPlugins     int           // plugin names it may have
	PluginMemory   int64         // most linear memory of one VM, bytes
	PluginWall     time.Duration // longest call, whole milliseconds
	PluginSlots    int           // calls at once
	Memory         int64         // reserved by all its calls at once, bytes
	PluginWeight   int           // share of the slots against other tenants when calls wait, up to 1,000
}

// Scope is one thing that a key may do.
type Scope string

// The scopes of API keys.
const (
	ScopeRead    Scope = "read"    // read collections and records, search, query
	ScopeWrite   Scope = "write"   // change collections and records
	ScopePlugins Scope = "plugins" // upload plugins and move aliases
	ScopeInvoke  Scope = "invoke"  // call a plugin directly
	// ScopeAdmin is the operator's: tenants and keys. No tenant's key has
	// it; it comes from the admin key of the configuration alone.
	ScopeAdmin Scope = "admin"
)

// TenantScopes are the scopes that a tenant's key may have, all of which a key
// gets that asks for none.
func TenantScopes() []Scope { return []Scope{ScopeRead, ScopeWrite, ScopePlugins, ScopeInvoke} }

// ViewScopes are the scopes that a key may have which is limited to views: it reads,
// and may call plugins. To upload one would be to have it called by others, who see
// more.
func ViewScopes() []Scope { return []Scope{ScopeRead, ScopeInvoke} }

// MaxKeyViews is how many views a key may be limited to.
const MaxKeyViews = 64

// Key is an API key without its secret.
type Key struct {
	ID       string // "key_" and 16 characters
	Tenant   knowledge.TenantID
	Prefix   string // public part of the token: enough to recognise it
	Name     string // for people; up to 200 bytes
	Scopes   []Scope
	Views    []knowledge.CollectionName // that it is limited to; nil: it is not
	Created  time.Time
	Expires  time.Time // zero: never
	Revoked  time.Time // zero: not
	LastUsed time.Time // zero: never; up to a minute late
}

// Principal is an authenticated caller.
type Principal struct {
	Tenant knowledge.TenantID // empty for the operator
	KeyID  string             // "admin" for the operator
	Scopes []Scope
	Views  []knowledge.CollectionName // that it is limited to; nil: it is not
	Policy Policy
}

// May reports whether the principal has the scope.
func (p Principal) May(s Scope) bool { return slices.Contains(p.Scopes, s) }

// StoredKey is a key as it is kept, with the keyed hash of its secret.
type StoredKey struct {
	Key
	SecretHash [32]byte
	Policy     Policy // of the tenant; set by FindKey alone
}

// Directory keeps tenants and keys. Times are kept to the microsecond, and what
// is listed is in the order of bytes. Implementations are safe for concurrent use
// and pass knowledge/tenancy/tenancytest.
type Directory interface {
	// CreateTenant returns an error wrapping knowledge.ErrConflict when the id
	// is taken.
	CreateTenant(ctx context.Context, t Tenant) (Tenant, error)
	// Tenant returns an error wrapping knowledge.ErrNotFound when there is none.
	Tenant(ctx context.Context, id knowledge.TenantID) (Tenant, error)
	// ListTenants returns up to limit tenants by id, those after the given one.
	ListTenants(ctx context.Context, after knowledge.TenantID, limit int) ([]Tenant, error)
	// CreateKey keeps a key; the tenant must exist, or ErrNotFound is wrapped.
	// It wraps ErrConflict when the prefix, or the tenant's key id, is taken.
	CreateKey(ctx context.Context, k StoredKey) error
	// ListKeys returns the tenant's keys up to limit by id, those after the given one.
	ListKeys(ctx context.Context, tenant knowledge.TenantID, after string, limit int) ([]Key, error)
	// RevokeKey ends a key now; ErrNotFound is wrapped when the tenant has
	// none of this id, which may be any string. Revoking twice keeps the
	// first time.
	RevokeKey(ctx context.Context, tenant knowledge.TenantID, keyID string) error
	// FindKey looks a key up by its prefix, revoked and expired ones too, or
	// wraps ErrNotFound.
	FindKey(ctx context.Context, prefix string) (StoredKey, error)
	// TouchKeys writes when keys were last used; a later time stays, and keys
	// that are not there are passed over.
	TouchKeys(ctx context.Context, uses []LastUse) error
}

// Secrets keeps what tenants trust the service with, such as credentials of an
// embedding server, sealed by a [Ring]. Implementations are safe for concurrent
// use and pass knowledge/tenancy/tenancytest.
type Secrets interface {
	// PutSecret keeps a secret in the place of what had the name, or wraps
	// knowledge.ErrNotFound when there is no such tenant.
	PutSecret(ctx context.Context, tenant knowledge.TenantID, name string, s Sealed) error
	// Secret wraps knowledge.ErrNotFound when there is none.
	Secret(ctx context.Context, tenant knowledge.TenantID, name string) (Sealed, error)
	// DeleteSecret wraps knowledge.ErrNotFound when there is none.
	DeleteSecret(ctx context.Context, tenant knowledge.TenantID, name string) error
}
