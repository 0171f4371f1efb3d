// Package pgtenancy keeps tenants, keys and secrets in PostgreSQL: the tables
// tenants, api_keys and secrets of migrations.
//
// Requests read through the role tars_app. What reaches across tenants (making
// and listing them, their keys) goes through the role tars_jobs.
package pgtenancy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Directory implements [tenancy.Directory] and [tenancy.Secrets].
type Directory struct{ app, jobs *pgxpool.Pool }

// New returns a directory on pools of the roles tars_app and tars_jobs.
func New(app, jobs *pgxpool.Pool) *Directory { return &Directory{app, jobs} }

const insertTenant = `
INSERT INTO tenants (tenant_id, name, policy) VALUES (@tenant, @name, @policy) RETURNING created_at`

// CreateTenant implements [tenancy.Directory].
func (d *Directory) CreateTenant(ctx context.Context, t tenancy.Tenant) (tenancy.Tenant, error) {
	policy, err := encodePolicy(t.Policy)
	if err != nil {
		return tenancy.Tenant{}, err
	}
	args := pgx.NamedArgs{"tenant": string(t.ID), "name": t.Name, "policy": policy}
	if err := pgtx.Kind(ctx, d.jobs.QueryRow(ctx, insertTenant, args).Scan(&t.Created)); err != nil {
		return tenancy.Tenant{}, fmt.Errorf("create tenant %q: %w", t.ID, err)
	}
	return t, nil
}

const selectTenant = `SELECT tenant_id, name, policy, created_at FROM tenants WHERE tenant_id = @tenant`

// Tenant implements [tenancy.Directory].
func (d *Directory) Tenant(ctx context.Context, id knowledge.TenantID) (t tenancy.Tenant, err error) {
	err = pgtx.Read(ctx, d.app, id, selectTenant, pgx.NamedArgs{"tenant": string(id)}, func(rows pgx.Rows) (err error) {
		t, err = pgx.CollectExactlyOneRow(rows, scanTenant)
		return err
	})
	if err != nil {
		return tenancy.Tenant{}, fmt.Errorf("tenant %q: %w", id, err)
	}
	return t, nil
}

const selectTenants = `
SELECT tenant_id, name, policy, created_at FROM tenants WHERE tenant_id > @after ORDER BY tenant_id LIMIT @limit`

// ListTenants implements [tenancy.Directory].
func (d *Directory) ListTenants(ctx context.Context, after knowledge.TenantID, limit int) ([]tenancy.Tenant, error) {
	rows, err := d.jobs.Query(ctx, selectTenants, pgx.NamedArgs{"after": string(after), "limit": limit})
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", pgtx.Kind(ctx, err))
	}
	tenants, err := pgx.CollectRows(rows, scanTenant)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", pgtx.Kind(ctx, err))
	}
	return tenants, nil
}

func scanTenant(row pgx.CollectableRow) (t tenancy.Tenant, err error) {
	var policy []byte
	if err := row.Scan(&t.ID, &t.Name, &policy, &t.Created); err != nil {
		return t, err
	}
	t.Policy, err = decodePolicy(policy)
	return t, err
}

const insertKey = `
INSERT INTO api_keys (tenant_id, key_id, prefix, secret_hash, name, scopes, views, created_at, expires_at)
VALUES (@tenant, @key, @prefix, @hash, @name, @scopes, @views, @created, @expires)`

// CreateKey implements [tenancy.Directory].
func (d *Directory) CreateKey(ctx context.Context, k tenancy.StoredKey) error {
	_, err := d.jobs.Exec(ctx, insertKey, pgx.NamedArgs{
		"tenant": string(k.Tenant), "key": k.ID, "prefix": k.Prefix, "hash": k.SecretHash[:], "name": k.Name,
		"scopes": k.Scopes, "views": k.Views, "created": k.Created, "expires": orNull(k.Expires),
	})
	if err != nil {
		return fmt.Errorf("create key of tenant %q: %w", k.Tenant, pgtx.Kind(ctx, err))
	}
	return nil
}

const selectKeys = `
SELECT key_id, tenant_id, prefix, name, scopes, views, created_at, expires_at, revoked_at, last_used_at
FROM api_keys WHERE tenant_id = @tenant AND key_id > @after ORDER BY key_id LIMIT @limit`

// ListKeys implements [tenancy.Directory].
func (d *Directory) ListKeys(ctx context.Context, tenant knowledge.TenantID, after string, limit int) (keys []tenancy.Key, err error) {
	args := pgx.NamedArgs{"tenant": string(tenant), "after": after, "limit": limit}
	err = pgtx.Read(ctx, d.app, tenant, selectKeys, args, func(rows pgx.Rows) (err error) {
		keys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (k tenancy.Key, err error) {
			var expires, revoked, used *time.Time
			err = row.Scan(&k.ID, &k.Tenant, &k.Prefix, &k.Name, &k.Scopes, &k.Views, &k.Created, &expires, &revoked, &used)
			k.Expires, k.Revoked, k.LastUsed = orZero(expires), orZero(revoked), orZero(used)
			return k, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keys of tenant %q: %w", tenant, err)
	}
	return keys, nil
}

const revokeKey = `
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE tenant_id = @tenant AND key_id = @key`

// RevokeKey implements [tenancy.Directory].
func (d *Directory) RevokeKey(ctx context.Context, tenant knowledge.TenantID, keyID string) error {
	if knowledge.CheckText(keyID) != nil { // PostgreSQL would refuse it, and no key has such an id
		return fmt.Errorf("revoke key of tenant %q: %w", tenant, knowledge.ErrNotFound)
	}
	tag, err := d.jobs.Exec(ctx, revokeKey, pgx.NamedArgs{"tenant": string(tenant), "key": keyID})
	if err == nil && tag.RowsAffected() == 0 {
		err = knowledge.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("revoke key of tenant %q: %w", tenant, pgtx.Kind(ctx, err))
	}
	return nil
}

const findKey = `
SELECT tenant_id, key_id, secret_hash, scopes, views, expires_at, revoked_at, policy FROM key_by_prefix(@prefix)`

// FindKey implements [tenancy.Directory].
func (d *Directory) FindKey(ctx context.Context, prefix string) (tenancy.StoredKey, error) {
	k := tenancy.StoredKey{Key: tenancy.Key{Prefix: prefix}}
	var hash, policy []byte
	var expires, revoked *time.Time
	err := d.app.QueryRow(ctx, findKey, pgx.NamedArgs{"prefix": prefix}).
		Scan(&k.Tenant, &k.ID, &hash, &k.Scopes, &k.Views, &expires, &revoked, &policy)
	if err != nil {
		return tenancy.StoredKey{}, fmt.Errorf("find key: %w", pgtx.Kind(ctx, err))
	}
	k.SecretHash = [32]byte(hash) // its length is checked by the table
	k.Expires, k.Revoked = orZero(expires), orZero(revoked)
	k.Policy, err = decodePolicy(policy)
	return k, err
}

const touchKeys = `
UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, u.at)
FROM unnest(@tenants::text[], @keys::text[], @times::timestamptz[]) AS u(tenant_id, key_id, at)
WHERE k.tenant_id = u.tenant_id AND k.key_id = u.key_id`

// TouchKeys implements [tenancy.Directory].
func (d *Directory) TouchKeys(ctx context.Context, uses []tenancy.LastUse) error {
	var tenants, keys []string
	var times []time.Time
	for _, u := range uses {
		tenants, keys, times = append(tenants, string(u.Tenant)), append(keys, u.KeyID), append(times, u.At)
	}
	_, err := d.jobs.Exec(ctx, touchKeys, pgx.NamedArgs{"tenants": tenants, "keys": keys, "times": times})
	return pgtx.Kind(ctx, err)
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// policy is the column of that name. A missing member means the node's default.
type policy struct {
	MinIsolation   string `json:"min_isolation,omitempty"`
	MaxCollections int    `json:"max_collections,omitempty"`
	MaxPlugins     int    `json:"max_plugins,omitempty"`
	PluginMemory   int64  `json:"plugin_memory_bytes,omitempty"`
	PluginWallMS   int64  `json:"plugin_wall_ms,omitempty"`
	PluginSlots    int    `json:"plugin_slots,omitempty"`
	Memory         int64  `json:"memory_bytes,omitempty"`
	PluginWeight   int    `json:"plugin_weight,omitempty"`
}

func encodePolicy(p tenancy.Policy) ([]byte, error) {
	data, err := json.Marshal(policy{
		p.MinIsolation, p.MaxCollections, p.MaxPlugins, p.PluginMemory, p.PluginWall.Milliseconds(), p.PluginSlots,
		p.Memory, p.PluginWeight,
	})
	if err != nil {
		return nil, fmt.Errorf("encode policy: %w", err)
	}
	return data, nil
}

func decodePolicy(data []byte) (tenancy.Policy, error) {
	var p policy
	if err := json.Unmarshal(data, &p); err != nil {
		return tenancy.Policy{}, fmt.Errorf("decode policy: %w", err)
	}
	return tenancy.Policy{
		MinIsolation: p.MinIsolation, MaxCollections: p.MaxCollections, MaxPlugins: p.MaxPlugins,
		PluginMemory: p.PluginMemory, PluginWall: time.Duration(p.PluginWallMS) * time.Millisecond, PluginSlots: p.PluginSlots,
		Memory: p.Memory, PluginWeight: p.PluginWeight,
	}, nil
}
