package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// PutCollection implements [knowledge.Collections]. The tenant must exist; else
// the error wraps [knowledge.ErrNotFound].
func (s *Store) PutCollection(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Collection, bool, error) {
	c, err := c.Validate()
	if err != nil {
		return knowledge.Collection{}, false, err
	}
	stored, err := s.confirm(ctx, tenant, c)
	if !errors.Is(err, knowledge.ErrNotFound) {
		return stored, false, err
	}
	created, err := s.create(ctx, tenant, c)
	if err != nil {
		return knowledge.Collection{}, false, fmt.Errorf("collection %q: %w", c.Name, err)
	}
	if !created { // another call was first
		stored, err = s.confirm(ctx, tenant, c)
		return stored, false, err
	}
	stored, err = s.Collection(ctx, tenant, c.Name)
	return stored, true, err
}

// confirm returns the stored collection of c's name if it has c's definition.
func (s *Store) confirm(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Collection, error) {
	stored, err := s.Collection(ctx, tenant, c.Name)
	if err != nil {
		return knowledge.Collection{}, err
	}
	if stored.Metric != c.Metric || stored.Embedder != c.Embedder || stored.Index != c.Index {
		return knowledge.Collection{}, fmt.Errorf("collection %q has another definition: %w", c.Name, knowledge.ErrConflict)
	}
	return stored, nil
}

// create adds c and reports whether it did; false when the name is taken.
func (s *Store) create(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (bool, error) {
	if c.Index.Kind == knowledge.IndexNone {
		return s.insertCollection(ctx, tenant, c, sharedPlace)
	}
	place, err := s.makePlace(ctx, c)
	if err != nil {
		return false, err
	}
	created, err := s.insertCollection(ctx, tenant, c, place)
	if !created {
		// Also after an error: when the row is there all the same, because
		// only the answer to the commit was lost, the place is kept.
		s.discardPlace(ctx, place)
	}
	return created, err
}

// sharedPlace asks for one of the shared places.
const sharedPlace = -1

// lockTenantSQL makes those wait who create collections of one tenant, so that
// the count below holds.
const lockTenantSQL = `SELECT pg_advisory_xact_lock(hashtextextended('tars.collections ' || @tenant, 0))`

// insertCollectionSQL spreads tenants over the shared places by the highest
// hash, so that places added later change nothing for those already placed. A
// tenant's small collections lie together.
const insertCollectionSQL = `
INSERT INTO collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, hnsw_m, hnsw_ef_construction, placement)
SELECT @tenant, @name, @metric, @dimension, @embedder, @embedder_version, @index_kind, @m, @ef_construction,
	CASE WHEN @placement::int >= 0 THEN @placement ELSE (
		SELECT placement
		FROM places
		WHERE shared
		ORDER BY hashtextextended(@tenant, placement)
		LIMIT 1) END
WHERE (SELECT count(*) FROM collections WHERE tenant_id = @tenant) < ` + mostCollections + `
ON CONFLICT (tenant_id, name) DO NOTHING`

// mostCollections is what the tenant's policy allows, or else the store.
const mostCollections = `coalesce((SELECT (policy->>'max_collections')::int FROM tenants WHERE tenant_id = @tenant), @most::int)`

const collectionExistsSQL = `SELECT EXISTS (SELECT FROM collections WHERE tenant_id = @tenant AND name = @name)`

func (s *Store) insertCollection(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection, placement int32) (created bool, err error) {
	err = pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{
			"tenant": string(tenant), "name": string(c.Name), "metric": string(c.Metric), "dimension": c.Dimension(),
			"embedder": c.Embedder.ID, "embedder_version": c.Embedder.Version,
			"index_kind": string(c.Index.Kind), "m": c.Index.M, "ef_construction": c.Index.EfConstruction,
			"placement": placement, "most": s.options.MaxCollections,
		}
		if _, err := tx.Exec(ctx, lockTenantSQL, args); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, insertCollectionSQL, args)
		if err != nil {
			return err
		}
		if created = tag.RowsAffected() == 1; created {
			return nil
		}
		var exists bool
		if err := tx.QueryRow(ctx, collectionExistsSQL, args).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			return knowledge.Limit("the tenant has as many collections as it may")
		}
		return nil
	})
	switch {
	case violates(err, "collections_tenant_id_fkey"):
		return false, fmt.Errorf("tenant: %w", knowledge.ErrNotFound)
	case violates(err, "collections_placement_fkey"): // swept between its making and now
		return false, fmt.Errorf("place was dropped: %w", knowledge.ErrUnavailable)
	}
	return created && err == nil, err
}

// Collection implements [knowledge.Collections]. Counting the records reads
// the whole collection's index: about 0.1 ms for 1,000 of them.
func (s *Store) Collection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Collection, error) {
	d, err := s.fetch(ctx, tenant, name)
	if err != nil {
		return knowledge.Collection{}, err
	}
	found := []definition{d}
	if err := s.count(ctx, tenant, found); err != nil {
		return knowledge.Collection{}, err
	}
	return found[0].Collection, nil
}

const listCollectionsSQL = `
SELECT ` + definitionColumns + `
FROM collections
WHERE tenant_id = @tenant AND name > @after
ORDER BY name
LIMIT @limit`

// ListCollections implements [knowledge.Collections].
func (s *Store) ListCollections(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.Collection, error) {
	var found []definition
	args := pgx.NamedArgs{"tenant": string(tenant), "after": string(after), "limit": limit}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, listCollectionsSQL, args, func(rows pgx.Rows) error {
		for rows.Next() {
			var d definition
			if err := d.scan(rows); err != nil {
				return err
			}
			found = append(found, d)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list collections: %w", err)
	}
	if err := s.count(ctx, tenant, found); err != nil {
		return nil, err
	}
	collections := make([]knowledge.Collection, len(found))
	for i, d := range found {
		collections[i] = d.Collection
	}
	return collections, nil
}

// countSQL names the placements, so that no other partition is even planned.
const countSQL = `
SELECT collection_id, count(*)
FROM records
WHERE placement = ANY (@placements)
  AND tenant_id = @tenant
  AND collection_id = ANY (@collections)
  AND (expires_at IS NULL OR expires_at > now())
GROUP BY collection_id`

// count sets Records of each definition.
func (s *Store) count(ctx context.Context, tenant knowledge.TenantID, found []definition) error {
	if len(found) == 0 {
		return nil
	}
	placements, ids, index := make([]int32, len(found)), make([]int64, len(found)), make(map[int64]int, len(found))
	for i, d := range found {
		placements[i], ids[i], index[d.id] = d.placement, d.id, i
	}
	args := pgx.NamedArgs{"tenant": string(tenant), "placements": placements, "collections": ids}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, countSQL, args, func(rows pgx.Rows) error {
		var id, n int64
		_, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error {
			found[index[id]].Records = n
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("count records: %w", err)
	}
	return nil
}

const deleteCollectionSQL = `
DELETE FROM collections
WHERE tenant_id = @tenant AND name = @name
RETURNING collection_id, placement, index_kind`

const deleteAllRecordsSQL = `
DELETE FROM records
WHERE placement = @placement AND tenant_id = @tenant AND collection_id = @collection`

// DeleteCollection implements [knowledge.Collections]. It waits for writes to
// the collection that are under way. A place of its own is dropped after the
// collection is gone; see SweepPlaces.
func (s *Store) DeleteCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	var d definition
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
		err := tx.QueryRow(ctx, deleteCollectionSQL, args).Scan(&d.id, &d.placement, &d.Index.Kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return knowledge.NotFound("collection", name)
		}
		if err != nil || d.Index.Kind != knowledge.IndexNone {
			return err
		}
		_, err = tx.Exec(ctx, deleteAllRecordsSQL, pgx.NamedArgs{
			"tenant": string(tenant), "placement": d.placement, "collection": d.id,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("delete collection: %w", err)
	}
	s.definitions.forget(tenant, name)
	if d.Index.Kind != knowledge.IndexNone {
		s.discardPlace(ctx, d.placement)
	}
	return nil
}
