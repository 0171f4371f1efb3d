// Package pgembed keeps the embedders of tenants in PostgreSQL. What they are and how
// they are asked is for package embed; it never opens a credential.
package pgembed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Store implements [embed.Definitions]. Make it with [New]; safe for concurrent use.
type Store struct{ app pgtx.DB }

var _ embed.Definitions = (*Store)(nil)

// New returns a store on connections of the role tars_app.
func New(app pgtx.DB) *Store { return &Store{app} }

// lockSQL makes those wait who make collections of the tenant, so that no collection
// comes to be pinned to what is about to go.
const lockSQL = `SELECT pg_advisory_xact_lock(hashtextextended('tars.collections ' || @tenant, 0))`

// otherSpaceSQL finds a collection that is pinned to another space of this name.
const otherSpaceSQL = `
SELECT name, embedder_version, dimension
FROM collections
WHERE tenant_id = @tenant AND embedder = @name AND (embedder_version, dimension) <> (@space, @dimension)
ORDER BY name
LIMIT 1`

// putSQL counts first; xmax is 0 for a row that was inserted.
const putSQL = `
INSERT INTO embedders AS e (tenant_id, name, provider, base_url, model, space, dimension, options, key_id, sealed_key)
VALUES (@tenant, @name, @provider, @base_url, @model, @space, @dimension, @options::jsonb, @key_id, @sealed_key)
ON CONFLICT (tenant_id, name) DO UPDATE SET
	provider = excluded.provider,
	base_url = excluded.base_url,
	model = excluded.model,
	space = excluded.space,
	dimension = excluded.dimension,
	options = excluded.options,
	key_id = excluded.key_id,
	sealed_key = excluded.sealed_key,
	version = e.version + 1,
	updated_at = now()
RETURNING xmax = 0, name, provider, base_url, model, space, dimension, options, key_id, sealed_key, version, created_at, updated_at`

const countSQL = `SELECT count(*) FROM embedders WHERE tenant_id = @tenant`

// PutEmbedder implements [embed.Definitions].
func (s *Store) PutEmbedder(ctx context.Context, tenant knowledge.TenantID, d embed.Definition) (stored embed.Definition, created bool, err error) {
	options, err := encodeOptions(d.Options)
	if err != nil {
		return stored, false, err
	}
	args := pgx.NamedArgs{
		"tenant": string(tenant), "name": string(d.Name), "provider": d.Provider, "base_url": d.BaseURL, "model": d.Model,
		"space": d.Space, "dimension": d.Dimension, "options": options, "key_id": nil, "sealed_key": nil,
	}
	if d.HasKey() {
		args["key_id"], args["sealed_key"] = d.Key.KeyID, d.Key.Bytes
	}
	err = pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSQL, args); err != nil {
			return err
		}
		var collection knowledge.CollectionName
		var pinned knowledge.EmbedderInfo
		err := tx.QueryRow(ctx, otherSpaceSQL, args).Scan(&collection, &pinned.Version, &pinned.Dimension)
		switch {
		case err == nil:
			return embed.SpaceInUse(collection, pinned)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		if stored, err = scan(tx.QueryRow(ctx, putSQL, args), &created); err != nil {
			return err
		}
		var n int
		err = tx.QueryRow(ctx, countSQL, args).Scan(&n)
		if err == nil && n > embed.MaxOwn {
			err = embed.TooMany()
		}
		return err
	})
	if err != nil {
		return embed.Definition{}, false, fmt.Errorf("put embedder: %w", err)
	}
	return stored, created, nil
}

const getSQL = `
SELECT name, provider, base_url, model, space, dimension, options, key_id, sealed_key, version, created_at, updated_at
FROM embedders
WHERE tenant_id = @tenant AND name = @name`

// Embedder implements [embed.Definitions].
func (s *Store) Embedder(ctx context.Context, tenant knowledge.TenantID, name embed.Name) (d embed.Definition, err error) {
	found := false
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	err = pgtx.Read(ctx, s.app, tenant, getSQL, args, func(rows pgx.Rows) (err error) {
		for rows.Next() {
			found = true
			if d, err = scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	switch {
	case err != nil:
		return embed.Definition{}, fmt.Errorf("embedder: %w", err)
	case !found:
		return embed.Definition{}, knowledge.NotFound("embedder", name)
	}
	return d, nil
}

const listSQL = `
SELECT name, provider, base_url, model, space, dimension, options, key_id, sealed_key, version, created_at, updated_at
FROM embedders
WHERE tenant_id = @tenant AND name > @after
ORDER BY name
LIMIT @limit`

// ListEmbedders implements [embed.Definitions].
func (s *Store) ListEmbedders(ctx context.Context, tenant knowledge.TenantID, after embed.Name, limit int) (all []embed.Definition, err error) {
	args := pgx.NamedArgs{"tenant": string(tenant), "after": string(after), "limit": limit}
	err = pgtx.Read(ctx, s.app, tenant, listSQL, args, func(rows pgx.Rows) error {
		for rows.Next() {
			d, err := scan(rows)
			if err != nil {
				return err
			}
			all = append(all, d)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list embedders: %w", err)
	}
	return all, nil
}

const (
	userSQL = `SELECT name FROM collections WHERE tenant_id = @tenant AND embedder = @name ORDER BY name LIMIT 1`

	deleteSQL = `DELETE FROM embedders WHERE tenant_id = @tenant AND name = @name`
)

// DeleteEmbedder implements [embed.Definitions].
func (s *Store) DeleteEmbedder(ctx context.Context, tenant knowledge.TenantID, name embed.Name) error {
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSQL, args); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, deleteSQL, args)
		if err == nil && tag.RowsAffected() == 0 {
			err = knowledge.NotFound("embedder", name)
		}
		if err != nil {
			return err
		}
		var collection knowledge.CollectionName
		switch err := tx.QueryRow(ctx, userSQL, args).Scan(&collection); {
		case err == nil:
			return embed.InUse(collection)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete embedder: %w", err)
	}
	return nil
}

// scan reads the columns of a definition, after more.
func scan(row pgx.Row, more ...any) (d embed.Definition, err error) {
	var text []byte
	var keyID *string
	err = row.Scan(append(more, &d.Name, &d.Provider, &d.BaseURL, &d.Model, &d.Space, &d.Dimension, &text,
		&keyID, &d.Key.Bytes, &d.Version, &d.Created, &d.Updated)...)
	if err != nil {
		return d, err
	}
	if keyID != nil {
		d.Key = tenancy.Sealed{KeyID: *keyID, Bytes: d.Key.Bytes}
	}
	d.Options, err = decodeOptions(text)
	return d, err
}

// options is the JSON of [embed.Options].
type options struct {
	Dimensions     int    `json:"dimensions,omitempty"`
	QueryPrefix    string `json:"query_prefix,omitempty"`
	DocumentPrefix string `json:"document_prefix,omitempty"`
	BatchSize      int    `json:"batch_size,omitempty"`
	Parallel       int    `json:"parallel,omitempty"`
	TimeoutMS      int64  `json:"timeout_ms,omitempty"`
}

func encodeOptions(o embed.Options) (string, error) {
	text, err := json.Marshal(options{o.Dimensions, o.QueryPrefix, o.DocumentPrefix, o.BatchSize, o.Parallel, o.Timeout.Milliseconds()})
	if err != nil {
		return "", fmt.Errorf("encode the options of an embedder: %w", err)
	}
	return string(text), nil
}

func decodeOptions(text []byte) (embed.Options, error) {
	var o options
	if err := json.Unmarshal(text, &o); err != nil {
		return embed.Options{}, fmt.Errorf("decode the options of an embedder: %w", err)
	}
	return embed.Options{
		Dimensions: o.Dimensions, QueryPrefix: o.QueryPrefix, DocumentPrefix: o.DocumentPrefix,
		BatchSize: o.BatchSize, Parallel: o.Parallel, Timeout: time.Duration(o.TimeoutMS) * time.Millisecond,
	}, nil
}
