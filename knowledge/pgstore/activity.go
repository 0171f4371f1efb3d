package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// CollectionRef names a collection of a tenant.
type CollectionRef struct {
	Tenant knowledge.TenantID
	Name   knowledge.CollectionName
}

// activity counts the rows that this process has written to each collection since
// it was last tended. It is only a hint of where there is work: what a process
// that was killed had written is found by [Store.Untended]. It is safe for
// concurrent use.
type activity struct {
	mu      sync.Mutex
	written map[int64]written
}

type written struct {
	ref  CollectionRef
	rows int64
	told int64 // of rows, when touched last named it
}

func newActivity() *activity { return &activity{written: map[int64]written{}} }

func (a *activity) wrote(tenant knowledge.TenantID, d definition, rows int64) {
	if d.Index.Kind == knowledge.IndexNone && d.main == noMain {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.written[d.id]
	w.ref = CollectionRef{tenant, d.Name}
	w.rows += rows
	a.written[d.id] = w
}

// changed has the collection looked at soon.
func (a *activity) changed(tenant knowledge.TenantID, d definition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.written[d.id]
	w.ref, w.told = CollectionRef{tenant, d.Name}, w.rows-touchedRows
	a.written[d.id] = w
}

// rows is how many were written since the collection was last tended.
func (a *activity) rows(collection int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.written[collection].rows
}

func (a *activity) settled(collection int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.written, collection)
}

// touchedRows is how many rows make a collection worth looking at.
const touchedRows = 500

// touched names the collections to which much was written since the last call.
func (a *activity) touched() []CollectionRef {
	a.mu.Lock()
	defer a.mu.Unlock()
	var refs []CollectionRef
	for id, w := range a.written {
		if w.rows-w.told >= touchedRows {
			refs = append(refs, w.ref)
			w.told = w.rows
			a.written[id] = w
		}
	}
	return refs
}

const touchedSQL = `
SELECT ` + definitionColumns + `, (SELECT count(*) FROM records r WHERE r.placement = c.placement AND r.collection_id = c.collection_id)
FROM collections c
WHERE tenant_id = @tenant AND name = @name`

// Touched names the collections to which this process has written so much since the
// last call that there is work for [Store.Tend] or
// [Store.FillFields]. It costs nothing when there was
// little, and may be called often.
func (s *Store) Touched(ctx context.Context) ([]CollectionRef, error) {
	var due []CollectionRef
	for _, ref := range s.activity.touched() {
		var d definition
		var rows int64
		err := d.scan(s.jobs.QueryRow(ctx, touchedSQL, pgx.NamedArgs{"tenant": string(ref.Tenant), "name": string(ref.Name)}), &rows)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return due, fmt.Errorf("find touched collections: %w", pgtx.Kind(ctx, err))
		}
		if s.options.hasWork(d, rows, -1) {
			due = append(due, ref)
		}
	}
	return due, nil
}

// untendedSQL counts each collection's rows in its write place, left-overs too, and
// gives what the server last estimated of main.
const untendedSQL = `
SELECT ` + definitionColumns + `, tenant_id, coalesce(n, 0),
	CASE WHEN main IS NULL THEN 0 ELSE coalesce((SELECT reltuples FROM pg_class WHERE oid = to_regclass('tars.records_' || main)), -1) END::bigint
FROM collections
LEFT JOIN (
	SELECT placement, collection_id, count(*) AS n
	FROM records
	WHERE placement IN (SELECT placement FROM places WHERE shared)
	GROUP BY placement, collection_id
) r USING (placement, collection_id)
WHERE n IS NOT NULL OR building IS NOT NULL OR main IS NOT NULL OR fields @> '[{"state": "filling"}]'`

// Untended names the collections, of all tenants, where there is work for
// [Store.Tend] or [Store.FillFields]. It
// reads the index of all shared places: some 0.1 s for a million rows.
func (s *Store) Untended(ctx context.Context) ([]CollectionRef, error) {
	rows, err := s.jobs.Query(ctx, untendedSQL)
	if err != nil {
		return nil, fmt.Errorf("find untended collections: %w", pgtx.Kind(ctx, err))
	}
	defer rows.Close()
	var refs []CollectionRef
	for rows.Next() {
		var (
			tenant           knowledge.TenantID
			d                definition
			written, indexed int64
		)
		if err := d.scan(rows, &tenant, &written, &indexed); err != nil {
			return nil, fmt.Errorf("find untended collections: %w", err)
		}
		if s.options.hasWork(d, written, indexed) {
			refs = append(refs, CollectionRef{tenant, d.Name})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find untended collections: %w", pgtx.Kind(ctx, err))
	}
	return refs, nil
}

// hasWork says that [Store.Tend] or [Store.FillFields] would do something. indexed is negative when it
// is not known.
func (o Options) hasWork(d definition, written, indexed int64) bool {
	switch {
	case d.building != noMain, len(d.Filling()) > 0:
		return true
	case d.main == noMain:
		return o.wantsIndex(d, written)
	case indexed >= 0 && !o.keepsIndex(d, written+indexed), d.Index.Kind == knowledge.IndexNone, d.rebuild():
		return true
	}
	return written*d.width() >= o.MergeFrom
}
