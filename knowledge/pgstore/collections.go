package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// PutCollection implements [knowledge.Collections]. The tenant must exist; else
// the error wraps [knowledge.ErrNotFound].
func (s *Store) PutCollection(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Collection, bool, error) {
	c, err := c.Validate()
	if err == nil {
		err = knowledge.Unlimited(ctx)
	}
	if err != nil {
		return knowledge.Collection{}, false, err
	}
	stored, err := s.confirm(ctx, tenant, c)
	if !errors.Is(err, knowledge.ErrNotFound) {
		return stored, false, err
	}
	created, err := s.insertCollection(ctx, tenant, c)
	if err != nil {
		return knowledge.Collection{}, false, fmt.Errorf("collection %q: %w", c.Name, err)
	}
	stored, err = s.confirm(ctx, tenant, c) // that of another call, if it was first
	return stored, created, err
}

// confirm returns the stored collection of c's name if it has c's definition.
func (s *Store) confirm(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Collection, error) {
	d, err := s.fetch(ctx, tenant, c.Name)
	if err != nil {
		return knowledge.Collection{}, err
	}
	if d.Name != c.Name || d.view != nil { // creating it tells what has the name
		return knowledge.Collection{}, knowledge.NotFound("collection", c.Name)
	}
	if !d.SameDefinition(c) {
		return knowledge.Collection{}, fmt.Errorf("collection %q has another definition: %w", c.Name, knowledge.ErrConflict)
	}
	return s.counted(ctx, tenant, d)
}

// lockTenantSQL makes those wait who make collections and names of one tenant, so
// that the count below holds, and a name is that of one thing only.
const lockTenantSQL = `SELECT pg_advisory_xact_lock(hashtextextended('tars.collections ' || @tenant, 0))`

// insertCollectionSQL spreads tenants over the shared places by the highest
// hash, so that places added later change nothing for those already placed. A
// tenant's small collections lie together.
const insertCollectionSQL = `
INSERT INTO collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, hnsw_m, hnsw_ef_construction,
	quantization, precision, fields, language, ttl_seconds, recall_target, defaults, answers_distance, answers_age, placement)
SELECT @tenant, @name, @metric, @dimension, @embedder, @embedder_version, @index_kind, @m, @ef_construction,
	@quantization, @precision, @fields::jsonb, @language, @ttl, @recall_target::float4, @defaults::jsonb, @distance, @age, (
		SELECT placement
		FROM places
		WHERE shared
		ORDER BY hashtextextended(@tenant, placement)
		LIMIT 1)
WHERE (SELECT count(*) FROM collections WHERE tenant_id = @tenant) < ` + mostCollections + `
  AND NOT EXISTS (SELECT FROM aliases WHERE tenant_id = @tenant AND name = @name)
  AND NOT EXISTS (SELECT FROM views WHERE tenant_id = @tenant AND name = @name)
ON CONFLICT (tenant_id, name) DO NOTHING`

// mostCollections is what the tenant's policy allows, or else the store.
const mostCollections = `coalesce((SELECT (policy->>'max_collections')::int FROM tenants WHERE tenant_id = @tenant), @most::int)`

func (s *Store) insertCollection(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (created bool, err error) {
	fields, err := encodeSlots(slotsOf(c.Fields, nil))
	if err != nil {
		return false, err
	}
	defaults, err := encodeDefaults(c.Defaults)
	if err != nil {
		return false, err
	}
	err = pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{
			"tenant": string(tenant), "name": string(c.Name), "metric": string(c.Metric), "dimension": c.Dimension(),
			"embedder": c.Embedder.ID, "embedder_version": c.Embedder.Version,
			"index_kind": string(c.Index.Kind), "m": c.Index.M, "ef_construction": c.Index.EfConstruction,
			"quantization": string(c.Index.Quantization), "precision": string(c.Precision), "fields": fields,
			"language": string(c.Language), "ttl": int64(c.TTL / time.Second), "recall_target": c.RecallTarget,
			"defaults": defaults, "most": s.options.MaxCollections,
		}
		cacheArgs(c.Cache, args)
		if _, err := tx.Exec(ctx, lockTenantSQL, args); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, insertCollectionSQL, args)
		if err != nil {
			return err
		}
		if created = tag.RowsAffected() == 1; created {
			return countWrites(ctx, tx, args)
		}
		kind, _, err := kindOf(ctx, tx, tenant, c.Name)
		switch kind {
		case "":
			return cmp.Or(err, error(knowledge.Limit("the tenant has as many collections as it may")))
		case "a collection":
			return nil
		}
		return knowledge.NameTaken(c.Name, kind)
	})
	if violates(err, "collections_tenant_id_fkey") {
		return false, fmt.Errorf("tenant: %w", knowledge.ErrNotFound)
	}
	return created && err == nil, err
}

// Collection implements [knowledge.Collections]. Counting the records reads
// the whole collection's index: about 0.1 ms for 1,000 of them.
func (s *Store) Collection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Collection, error) {
	d, _, err := s.resolve(ctx, tenant, name, false)
	if err != nil {
		return knowledge.Collection{}, err
	}
	return s.counted(ctx, tenant, d)
}

// counted returns a definition with the number of records.
func (s *Store) counted(ctx context.Context, tenant knowledge.TenantID, d definition) (knowledge.Collection, error) {
	if d.view != nil {
		c := d.names().Seen()
		var err error
		c.Records, err = s.countSeen(ctx, tenant, d)
		return c, err
	}
	found := []definition{d}
	if err := s.count(ctx, tenant, found); err != nil {
		return knowledge.Collection{}, err
	}
	return found[0].Collection, nil
}

const countSeenSQL = `
SELECT count(*)
FROM records r
WHERE ` + liveSQL + ` AND %s`

// countSeen counts the records that a view admits.
func (s *Store) countSeen(ctx context.Context, tenant knowledge.TenantID, d definition) (n int64, err error) {
	args := d.args(tenant)
	where, err := d.where(knowledge.Filter{}, args)
	if err != nil {
		return 0, err
	}
	err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, fmt.Sprintf(countSeenSQL, where), args, func(rows pgx.Rows) (err error) {
		n, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count records: %w", err)
	}
	return n, nil
}

const listCollectionsSQL = `
SELECT ` + definitionColumns + `
FROM collections
WHERE tenant_id = @tenant AND name > @after
ORDER BY name
LIMIT @limit`

// ListCollections implements [knowledge.Collections].
func (s *Store) ListCollections(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.Collection, error) {
	if views, limited := knowledge.ViewsOf(ctx); limited {
		return s.listSeen(ctx, tenant, views, after, limit)
	}
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

// listSeen lists views, of which there are few, as the collections that they are to
// those who are limited to them. One that is gone is passed over.
func (s *Store) listSeen(ctx context.Context, tenant knowledge.TenantID, views []knowledge.CollectionName, after knowledge.CollectionName, limit int) ([]knowledge.Collection, error) {
	list := []knowledge.Collection{}
	for _, name := range slices.Sorted(slices.Values(views)) {
		if name <= after || len(list) == limit {
			continue
		}
		c, err := s.Collection(ctx, tenant, name)
		switch {
		case err == nil:
			list = append(list, c)
		case !errors.Is(err, knowledge.ErrNotFound):
			return nil, err
		}
	}
	return list, nil
}

// countSQL names the placements, so that no other partition is even planned.
const countSQL = `
SELECT c.collection_id, count(*)
FROM collections c
JOIN records r
	ON r.collection_id = c.collection_id
	AND r.placement IN (c.placement, c.main)
	AND (r.placement = c.main OR r.epoch >= c.live_epoch)
WHERE c.tenant_id = @tenant
  AND c.collection_id = ANY (@collections)
  AND r.tenant_id = @tenant
  AND r.placement = ANY (@placements)
  AND (r.expires_at IS NULL OR r.expires_at > now())
GROUP BY c.collection_id`

// count sets Records of each definition.
func (s *Store) count(ctx context.Context, tenant knowledge.TenantID, found []definition) error {
	if len(found) == 0 {
		return nil
	}
	placements, ids, index := []int32{}, make([]int64, len(found)), make(map[int64]int, len(found))
	for i, d := range found {
		ids[i], index[d.id] = d.id, i
		for _, place := range d.places() {
			if !slices.Contains(placements, place) {
				placements = append(placements, place)
			}
		}
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
RETURNING collection_id, placement, coalesce(main, -1), coalesce(building, -1)`

const deleteAllRecordsSQL = `
DELETE FROM records
WHERE placement = @placement AND tenant_id = @tenant AND collection_id = @collection`

// DeleteCollection implements [knowledge.Collections]. It waits for writes to
// the collection that are under way. Places of its own are dropped after the
// collection is gone; see SweepPlaces.
func (s *Store) DeleteCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	return s.deleteCollection(ctx, tenant, name, false)
}

// DeleteCollectionAndAliases implements [knowledge.Collections].
func (s *Store) DeleteCollectionAndAliases(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	return s.deleteCollection(ctx, tenant, name, true)
}

const deleteAliasesSQL = `DELETE FROM aliases WHERE tenant_id = @tenant AND collection = @name`

func (s *Store) deleteCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, dropAliases bool) error {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return knowledge.NotFound("collection", name)
	}
	var d definition
	err := s.changeNames(ctx, tenant, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
		views, err := names(ctx, tx, viewsOnSQL, tenant, name)
		if err != nil {
			return err
		}
		var aliases []knowledge.CollectionName
		if dropAliases {
			// Those of views stay, and so the error.
			if len(views) == 0 {
				_, err = tx.Exec(ctx, deleteAliasesSQL, args)
			}
		} else {
			aliases, err = names(ctx, tx, aliasesOfSQL, tenant, name)
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, ownCollectionSQL, args).Scan(&d.id)
		if errors.Is(err, pgx.ErrNoRows) {
			return notOwn(ctx, tx, tenant, name)
		}
		if err != nil {
			return err
		}
		if err := knowledge.StillStandsOn("collection", name, aliases, views); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, deleteCollectionSQL, args).Scan(&d.id, &d.placement, &d.main, &d.building)
		if err != nil {
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
	for _, place := range []int32{d.main, d.building} {
		if place != noMain {
			s.discardPlace(ctx, place)
		}
	}
	return nil
}
