// Package pgcatalog keeps plugins in PostgreSQL: the tables plugin_versions and
// plugin_aliases of migrations.
package pgcatalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/plugins"
)

// Catalog implements [plugins.Catalog].
type Catalog struct{ db *pgxpool.Pool }

// New returns a catalog on a pool of the role tars_app.
func New(db *pgxpool.Pool) *Catalog { return &Catalog{db} }

// lockName makes uploads of one tenant wait for each other, so that numbers have
// no gaps and the count of names holds. It is the transaction's.
const lockName = `SELECT pg_advisory_xact_lock(hashtextextended('tars.plugins/' || @tenant, 0))`

// countNames also says whether a name is among them.
const countNames = `
SELECT count(DISTINCT name), coalesce(bool_or(name = @name), false) FROM plugin_versions WHERE tenant_id = @tenant`

const insertVersion = `
INSERT INTO plugin_versions (tenant_id, name, version, digest, manifest, inspection, module)
SELECT @tenant, @name, coalesce(max(version), 0) + 1, @digest, @manifest, @inspection, @module
FROM plugin_versions WHERE tenant_id = @tenant AND name = @name
RETURNING name, version, digest, manifest, inspection, octet_length(module), created_at`

// PutVersion implements [plugins.Catalog].
func (c *Catalog) PutVersion(ctx context.Context, tenant knowledge.TenantID, v plugins.Version, module []byte, maxNames int) (stored plugins.Version, created bool, err error) {
	inspection, err := encodeInspection(v.Inspection)
	if err != nil {
		return plugins.Version{}, false, err
	}
	args := pgx.NamedArgs{
		"tenant": string(tenant), "name": string(v.Name), "digest": v.Digest[:],
		"manifest": v.Manifest.Document(), "inspection": inspection, "module": module,
	}
	err = pgtx.Write(ctx, c.db, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockName, args); err != nil {
			return err
		}
		stored, err = one(ctx, tx, selectByDigest, args)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if maxNames > 0 {
			var names int
			var known bool
			if err := tx.QueryRow(ctx, countNames, args).Scan(&names, &known); err != nil {
				return err
			}
			if names >= maxNames && !known {
				return knowledge.Limit(fmt.Sprintf("the tenant may have %d plugins", maxNames))
			}
		}
		stored, err = one(ctx, tx, insertVersion, args)
		created = err == nil
		return err
	})
	if err != nil {
		return plugins.Version{}, false, fmt.Errorf("keep plugin %q: %w", v.Name, err)
	}
	return stored, created, nil
}

const versionColumns = `name, version, digest, manifest, inspection, octet_length(module), created_at`

const selectByDigest = `
SELECT ` + versionColumns + ` FROM plugin_versions
WHERE tenant_id = @tenant AND name = @name AND digest = @digest`

// Numbers are compared as bigint, so that one that no version can have is
// unknown, and not refused by the driver.
const selectByNumber = `
SELECT ` + versionColumns + ` FROM plugin_versions
WHERE tenant_id = @tenant AND name = @name AND version = @number::bigint`

const selectByAlias = `
SELECT ` + versionColumns + ` FROM plugin_versions JOIN plugin_aliases USING (tenant_id, name, version)
WHERE tenant_id = @tenant AND name = @name AND alias = @alias`

// Version implements [plugins.Catalog].
func (c *Catalog) Version(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, ref plugins.Ref) (plugins.Version, error) {
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	var sql string
	switch {
	case ref.Digest != nil:
		sql, args["digest"] = selectByDigest, ref.Digest[:]
	case ref.Number != 0:
		sql, args["number"] = selectByNumber, ref.Number
	default:
		sql, args["alias"] = selectByAlias, string(orLive(ref.Alias))
	}
	versions, err := c.versions(ctx, tenant, sql, args)
	switch {
	case err != nil:
		return plugins.Version{}, fmt.Errorf("plugin %q: %w", name, err)
	case len(versions) == 0:
		return plugins.Version{}, knowledge.NotFound("plugin version", name)
	}
	return versions[0], nil
}

func orLive(a plugins.Alias) plugins.Alias {
	if a == "" {
		return plugins.Live
	}
	return a
}

const selectModule = `
SELECT module FROM plugin_versions WHERE tenant_id = @tenant AND name = @name AND version = @number::bigint`

// Module implements [plugins.Catalog].
func (c *Catalog) Module(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, number int) ([]byte, error) {
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name), "number": number}
	var module []byte
	err := pgtx.Read(ctx, c.db, tenant, selectModule, args, func(rows pgx.Rows) (err error) {
		module, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("module of plugin %q version %d: %w", name, number, err)
	}
	return module, nil
}

const selectVersions = `
SELECT ` + versionColumns + ` FROM plugin_versions
WHERE tenant_id = @tenant AND name = @name AND (@below::bigint = 0 OR version < @below::bigint)
ORDER BY version DESC LIMIT @limit`

// ListVersions implements [plugins.Catalog].
func (c *Catalog) ListVersions(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, below, limit int) ([]plugins.Version, error) {
	if _, err := c.Plugin(ctx, tenant, name); err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name), "below": below, "limit": limit}
	versions, err := c.versions(ctx, tenant, selectVersions, args)
	if err != nil {
		return nil, fmt.Errorf("versions of plugin %q: %w", name, err)
	}
	return versions, nil
}

const pluginColumns = `v.name, max(v.version), min(v.created_at),
       coalesce((SELECT jsonb_object_agg(a.alias, a.version) FROM plugin_aliases a
                 WHERE a.tenant_id = @tenant AND a.name = v.name), '{}')`

const selectPlugin = `
SELECT ` + pluginColumns + `
FROM plugin_versions v WHERE v.tenant_id = @tenant AND v.name = @name GROUP BY v.name`

// Plugin implements [plugins.Catalog].
func (c *Catalog) Plugin(ctx context.Context, tenant knowledge.TenantID, name plugins.Name) (plugins.Plugin, error) {
	found, err := c.list(ctx, tenant, selectPlugin, pgx.NamedArgs{"tenant": string(tenant), "name": string(name)})
	switch {
	case err != nil:
		return plugins.Plugin{}, fmt.Errorf("plugin %q: %w", name, err)
	case len(found) == 0:
		return plugins.Plugin{}, knowledge.NotFound("plugin", name)
	}
	return found[0], nil
}

const selectPlugins = `
SELECT ` + pluginColumns + `
FROM plugin_versions v WHERE v.tenant_id = @tenant AND v.name > @after
GROUP BY v.name ORDER BY v.name LIMIT @limit`

// ListPlugins implements [plugins.Catalog].
func (c *Catalog) ListPlugins(ctx context.Context, tenant knowledge.TenantID, after plugins.Name, limit int) ([]plugins.Plugin, error) {
	found, err := c.list(ctx, tenant, selectPlugins, pgx.NamedArgs{"tenant": string(tenant), "after": string(after), "limit": limit})
	if err != nil {
		return nil, fmt.Errorf("list plugins: %w", err)
	}
	return found, nil
}

func (c *Catalog) list(ctx context.Context, tenant knowledge.TenantID, sql string, args pgx.NamedArgs) (found []plugins.Plugin, err error) {
	err = pgtx.Read(ctx, c.db, tenant, sql, args, func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p plugins.Plugin, err error) {
			err = row.Scan(&p.Name, &p.Newest, &p.Created, &p.Aliases)
			return p, err
		})
		return err
	})
	return found, err
}

const upsertAlias = `
INSERT INTO plugin_aliases (tenant_id, name, alias, version)
SELECT tenant_id, name, @alias, version FROM plugin_versions
WHERE tenant_id = @tenant AND name = @name AND version = @number::bigint
ON CONFLICT (tenant_id, name, alias) DO UPDATE SET version = excluded.version, updated_at = now()`

// SetAlias implements [plugins.Catalog].
func (c *Catalog) SetAlias(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, alias plugins.Alias, number int) error {
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name), "alias": string(alias), "number": number}
	err := pgtx.Write(ctx, c.db, tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, upsertAlias, args)
		if err == nil && tag.RowsAffected() == 0 {
			err = knowledge.NotFound("plugin version", name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("alias %q of plugin %q: %w", alias, name, err)
	}
	return nil
}
