package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// putViewSQL changes nothing, not even the time, where the view is the same already.
// xmax is 0 for a row that was inserted.
const putViewSQL = `
INSERT INTO views AS v (tenant_id, name, collection, alias, filter, hidden, defaults)
VALUES (@tenant, @name, @collection, @alias, @filter::jsonb, @hidden::text[], @defaults::jsonb)
ON CONFLICT (tenant_id, name) DO UPDATE SET
	collection = excluded.collection,
	alias = excluded.alias,
	filter = excluded.filter,
	hidden = excluded.hidden,
	defaults = excluded.defaults,
	updated_at = CASE
		WHEN (v.collection, v.alias, v.filter, v.hidden, v.defaults) IS NOT DISTINCT FROM
			(excluded.collection, excluded.alias, excluded.filter, excluded.hidden, excluded.defaults) THEN v.updated_at
		ELSE now() END
RETURNING xmax = 0, name, coalesce(collection, alias), filter, hidden, defaults, created_at, updated_at`

// PutView implements [knowledge.Names]. Other nodes go on for up to a second with
// what the view was.
func (s *Store) PutView(ctx context.Context, tenant knowledge.TenantID, v knowledge.View) (stored knowledge.View, created bool, err error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return stored, false, err
	}
	if err := v.Validate(); err != nil {
		return stored, false, err
	}
	filter, err := json.Marshal(v.Filter)
	if err != nil {
		return stored, false, fmt.Errorf("encode the filter of a view: %w", err)
	}
	defaults, err := encodeDefaults(v.Defaults)
	if err != nil {
		return stored, false, err
	}
	hidden := v.Hidden
	if hidden == nil {
		hidden = []string{}
	}
	err = s.changeNames(ctx, tenant, func(tx pgx.Tx) error {
		kind, _, err := kindOf(ctx, tx, tenant, v.Name)
		switch {
		case err != nil:
			return err
		case kind != "" && kind != "a view":
			return knowledge.NameTaken(v.Name, kind)
		}
		args := pgx.NamedArgs{
			"tenant": string(tenant), "name": string(v.Name), "collection": nil, "alias": nil,
			"filter": string(filter), "hidden": hidden, "defaults": defaults,
		}
		kind, on, err := kindOf(ctx, tx, tenant, v.Collection)
		switch {
		case err != nil:
			return err
		case kind == "a collection":
			args["collection"] = string(v.Collection)
		case kind == "an alias":
			args["alias"] = string(v.Collection)
		case kind == "a view":
			return knowledge.NotOwnName(kind, v.Collection, on)
		default:
			return knowledge.NotFound("collection", v.Collection)
		}
		if stored, err = scanView(tx.QueryRow(ctx, putViewSQL, args), &created); err != nil {
			return err
		}
		return checkNames(ctx, tx, tenant)
	})
	if err != nil {
		return knowledge.View{}, false, fmt.Errorf("put view: %w", err)
	}
	return stored, created, nil
}

// scanView reads the columns of a view, after more.
func scanView(row pgx.Row, more ...any) (knowledge.View, error) {
	var r viewRow
	if err := row.Scan(append(more, r.targets()...)...); err != nil {
		return knowledge.View{}, err
	}
	v, err := r.view()
	if err != nil {
		return knowledge.View{}, err
	}
	return *v, nil
}

const (
	viewSQL = `
SELECT name, coalesce(collection, alias), filter, hidden, defaults, created_at, updated_at
FROM views
WHERE tenant_id = @tenant AND name = @name`

	listViewsSQL = `
SELECT name, coalesce(collection, alias), filter, hidden, defaults, created_at, updated_at
FROM views
WHERE tenant_id = @tenant AND name > @after
ORDER BY name
LIMIT @limit`

	deleteViewSQL = `DELETE FROM views WHERE tenant_id = @tenant AND name = @name`
)

// View implements [knowledge.Names].
func (s *Store) View(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.View, error) {
	return readName(ctx, s, tenant, viewSQL, "view", name, func(row pgx.Row) (knowledge.View, error) { return scanView(row) })
}

// ListViews implements [knowledge.Names].
func (s *Store) ListViews(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.View, error) {
	return readNames(ctx, s, tenant, listViewsSQL, after, limit, func(row pgx.Row) (knowledge.View, error) { return scanView(row) })
}

// DeleteView implements [knowledge.Names].
func (s *Store) DeleteView(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return knowledge.NotFound("view", name)
	}
	err := s.changeNames(ctx, tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, deleteViewSQL, pgx.NamedArgs{"tenant": string(tenant), "name": string(name)})
		if err == nil && tag.RowsAffected() == 0 {
			err = knowledge.NotFound("view", name)
		}
		return err
	})
	if err != nil && !errors.Is(err, knowledge.ErrNotFound) {
		return fmt.Errorf("delete view: %w", err)
	}
	return err
}

// defaults is the JSON of [knowledge.Defaults].
type defaults struct {
	Limit   int             `json:"limit,omitempty"`
	Mode    knowledge.Mode  `json:"mode,omitempty"`
	Plugins []defaultPlugin `json:"plugins,omitzero"` // null and none are not the same: none calls no plugin
}

type defaultPlugin struct {
	Name       string `json:"name"`
	Version    string `json:"version,omitempty"`
	Capability string `json:"capability"`
	Config     string `json:"config,omitempty"`
}

func encodeDefaults(d knowledge.Defaults) (string, error) {
	stored := defaults{Limit: d.Limit, Mode: d.Mode}
	if d.Plugins != nil {
		stored.Plugins = make([]defaultPlugin, len(d.Plugins))
	}
	for i, p := range d.Plugins {
		stored.Plugins[i] = defaultPlugin(p)
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return "", fmt.Errorf("encode defaults: %w", err)
	}
	return string(text), nil
}

func decodeDefaults(text []byte) (knowledge.Defaults, error) {
	var stored defaults
	if err := json.Unmarshal(text, &stored); err != nil {
		return knowledge.Defaults{}, fmt.Errorf("decode defaults: %w", err)
	}
	d := knowledge.Defaults{Limit: stored.Limit, Mode: stored.Mode}
	if stored.Plugins != nil {
		d.Plugins = make([]knowledge.DefaultPlugin, len(stored.Plugins))
	}
	for i, p := range stored.Plugins {
		d.Plugins[i] = knowledge.DefaultPlugin(p)
	}
	return d, nil
}
