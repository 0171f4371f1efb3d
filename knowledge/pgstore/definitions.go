package pgstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// definition is a row of the table of collections: what the collection is, and
// where its records are.
type definition struct {
	knowledge.Collection
	id         int64
	placement  int32
	generation int64 // raised when placement changes
	bytes      int64 // of the own place's table, about; 0 in a shared place
}

const definitionColumns = `collection_id, name, metric, dimension, embedder, embedder_version,
	index_kind, hnsw_m, hnsw_ef_construction, placement, generation, created_at`

func (d *definition) scan(row pgx.Row, more ...any) error {
	fields := []any{
		&d.id, &d.Name, &d.Metric, &d.Embedder.Dimension, &d.Embedder.ID, &d.Embedder.Version,
		&d.Index.Kind, &d.Index.M, &d.Index.EfConstruction, &d.placement, &d.generation, &d.Created,
	}
	err := row.Scan(append(fields, more...)...)
	d.Created = d.Created.UTC()
	return err
}

const definitionSQL = `
SELECT ` + definitionColumns + `,
	CASE index_kind WHEN 'none' THEN 0 ELSE coalesce(pg_table_size(to_regclass('tars.records_' || placement)), 0) END
FROM collections
WHERE tenant_id = @tenant AND name = @name`

// fetch reads a definition from the database and remembers it.
func (s *Store) fetch(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	var d definition
	found := false
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, definitionSQL, args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := d.scan(rows, &d.bytes); err != nil {
				return err
			}
			found = true
		}
		return rows.Err()
	})
	if err != nil {
		return definition{}, fmt.Errorf("read collection: %w", err)
	}
	if !found {
		s.definitions.forget(tenant, name)
		return definition{}, knowledge.NotFound("collection", name)
	}
	s.definitions.remember(tenant, d)
	return d, nil
}

// resolveAttempts bounds how often a read follows a collection that is made
// anew or moved again and again.
const resolveAttempts = 4

// withDefinition calls do with the collection's definition until do reports
// that it was current in the snapshot of its own statement. The first call may
// get a remembered one, which saves a round trip; do must have no effect when
// it was stale. An [knowledge.InvalidError] of do counts only if the definition
// was just read, for a stale one may refuse what the present one allows.
func (s *Store) withDefinition(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, do func(definition) (current bool, err error)) error {
	d, remembered := s.definitions.recall(tenant, name)
	for range resolveAttempts {
		if !remembered {
			var err error
			if d, err = s.fetch(ctx, tenant, name); err != nil {
				return err
			}
		}
		current, err := do(d)
		if current || !remembered && err != nil || ctx.Err() != nil {
			return err
		}
		remembered = false
	}
	return fmt.Errorf("collection %q keeps changing: %w", name, knowledge.ErrUnavailable)
}

// Bounds of what is remembered. A definition never changes under its id, and
// every statement checks id and generation, so that its age matters only to
// the size by which a search chooses its plan.
const (
	maxDefinitions = 10_000
	definitionLife = time.Second
)

// definitions remembers the definitions last read. It is safe for concurrent use.
type definitions struct {
	now func() time.Time

	mu    sync.Mutex
	known map[definitionKey]knownDefinition
}

type definitionKey struct {
	tenant knowledge.TenantID
	name   knowledge.CollectionName
}

type knownDefinition struct {
	definition
	until time.Time
}

func newDefinitions(now func() time.Time) *definitions {
	return &definitions{now: now, known: map[definitionKey]knownDefinition{}}
}

func (x *definitions) recall(tenant knowledge.TenantID, name knowledge.CollectionName) (definition, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.known[definitionKey{tenant, name}]
	return k.definition, ok && x.now().Before(k.until)
}

func (x *definitions) remember(tenant knowledge.TenantID, d definition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.known) >= maxDefinitions {
		clear(x.known) // they live for a second: keeping the best would buy nothing
	}
	x.known[definitionKey{tenant, d.Name}] = knownDefinition{definition: d, until: x.now().Add(definitionLife)}
}

func (x *definitions) forget(tenant knowledge.TenantID, name knowledge.CollectionName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.known, definitionKey{tenant, name})
}
