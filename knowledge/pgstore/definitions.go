package pgstore

import (
	"context"
	"fmt"
	"strconv"
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
	placement  int32 // where rows are written
	main       int32 // the place with the index, or noMain
	building   int32 // the place that is being made the next main, or noMain
	epoch      int32 // of rows that are written now
	liveEpoch  int32 // rows of placement with an earlier epoch are left-overs
	pending    int64 // rows of placement when a job last looked
	generation int64 // raised when what is above changes for readers
	slots      []slotted
	mainIndex  knowledge.Index // how the index of main was built; of no meaning without main
	bytes      int64           // of main's table, about; 0 without one
	view       *knowledge.View // through which it is read; nil unless the name that was asked is a view's
}

// rebuild says that the index of main was built by other settings than it should be.
func (d definition) rebuild() bool {
	built, want := d.mainIndex, d.Index
	built.Kind, want.Kind = "", ""
	return d.main != noMain && built != want
}

// names returns what the definition is to those that read.
func (d definition) names() knowledge.Resolved {
	return knowledge.Resolved{Collection: d.Collection, View: d.view}
}

const definitionColumns = `collection_id, name, metric, dimension, embedder, embedder_version,
	index_kind, hnsw_m, hnsw_ef_construction, quantization, precision, fields, language, ttl_seconds, recall_target,
	placement, coalesce(main, -1), coalesce(building, -1), epoch, live_epoch, pending, generation, created_at,
	version, updated_at, defaults, main_index, coalesce(answers_distance, 0), coalesce(answers_age, 0)`

func (d *definition) scan(row pgx.Row, more ...any) error {
	var fields, defaults, mainIndex []byte
	var ttl, age int64
	var target float32
	err := row.Scan(append([]any{
		&d.id, &d.Name, &d.Metric, &d.Embedder.Dimension, &d.Embedder.ID, &d.Embedder.Version,
		&d.Index.Kind, &d.Index.M, &d.Index.EfConstruction, &d.Index.Quantization, &d.Precision, &fields, &d.Language, &ttl, &target,
		&d.placement, &d.main, &d.building, &d.epoch, &d.liveEpoch, &d.pending, &d.generation, &d.Created,
		&d.Version, &d.Updated, &defaults, &mainIndex, &d.Cache.MaxDistance, &age,
	}, more...)...)
	if err != nil {
		return err
	}
	d.Created, d.Updated, d.TTL = d.Created.UTC(), d.Updated.UTC(), time.Duration(ttl)*time.Second
	d.Cache.MaxAge = time.Duration(age) * time.Second
	if d.mainIndex, err = decodeIndex(mainIndex, d.Index); err != nil {
		return err
	}
	if d.Defaults, err = decodeDefaults(defaults); err != nil {
		return err
	}
	// A float4 of the database, in the shortest decimals that name it.
	d.RecallTarget, err = strconv.ParseFloat(strconv.FormatFloat(float64(target), 'g', -1, 32), 64)
	if err == nil {
		d.slots, d.Fields, err = decodeSlots(fields)
	}
	return err
}

const definitionSQL = `
SELECT ` + definitionColumns + `,
	CASE WHEN main IS NULL THEN 0 ELSE coalesce(pg_table_size(to_regclass('tars.records_' || main)), 0) END, ` + viewColumns + `
FROM collections` + viewOfNameSQL + `
WHERE tenant_id = @tenant AND name = ` + targetSQL

// fetch reads what a name stands for from the database and remembers it.
func (s *Store) fetch(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	var d definition
	found := false
	age := s.definitions.age()
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, definitionSQL, args, func(rows pgx.Rows) error {
		for rows.Next() {
			var v viewRow
			if err := d.scan(rows, append([]any{&d.bytes}, v.targets()...)...); err != nil {
				return err
			}
			var err error
			if d.view, err = v.view(); err != nil {
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
		return definition{}, knowledge.NotFound("collection", name)
	}
	s.definitions.remember(tenant, name, d, age)
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
	d, remembered, err := s.resolve(ctx, tenant, name, true)
	for range resolveAttempts {
		if err != nil {
			return err
		}
		current, err := do(d)
		if current || !remembered && err != nil || ctx.Err() != nil {
			return err
		}
		d, remembered, err = s.resolve(ctx, tenant, name, false)
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("collection %q keeps changing: %w", name, knowledge.ErrUnavailable)
}

// Bounds of what is remembered. Every statement checks id and generation, so that
// the age of a definition matters only to where an alias points, to what a view
// admits, and to the size by which a search chooses its plan.
const (
	maxDefinitions = 10_000
	definitionLife = time.Second
)

// definitions remembers what names stood for when they were last asked. It is safe
// for concurrent use.
type definitions struct {
	now func() time.Time

	mu      sync.Mutex
	known   map[definitionKey]knownDefinition
	forgets uint64 // how often something was forgotten
}

type definitionKey struct {
	tenant knowledge.TenantID
	name   knowledge.CollectionName // as it was asked: an alias's or a view's too
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

// age is to be asked before something is read that may be remembered.
func (x *definitions) age() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.forgets
}

// remember keeps what was read, unless something was forgotten since: it may be just
// that, as it was before.
func (x *definitions) remember(tenant knowledge.TenantID, name knowledge.CollectionName, d definition, age uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.forgets != age {
		return
	}
	if len(x.known) >= maxDefinitions {
		clear(x.known) // they live for a second: keeping the best would buy nothing
	}
	x.known[definitionKey{tenant, name}] = knownDefinition{definition: d, until: x.now().Add(definitionLife)}
}

// forget drops all that is known of a tenant: a change of one name may change what
// others stand for.
func (x *definitions) forget(tenant knowledge.TenantID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgets++
	for key := range x.known {
		if key.tenant == tenant {
			delete(x.known, key)
		}
	}
}
