package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// ownCollectionSQL and ownDefinitionSQL hold the row of a collection, by its own
// name, against writers and movers.
const ownCollectionSQL = `SELECT collection_id FROM collections WHERE tenant_id = @tenant AND name = @name FOR UPDATE`

const ownDefinitionSQL = `
SELECT ` + definitionColumns + `
FROM collections
WHERE tenant_id = @tenant AND name = @name
FOR UPDATE`

// emptySQL says whether there is no row of the collection, expired ones counted.
const emptySQL = `
SELECT NOT EXISTS (
	SELECT FROM records r
	WHERE r.placement = ANY (@places::int[]) AND r.tenant_id = @tenant AND r.collection_id = @collection)`

// changeCollectionSQL raises the generation too: what readers remember of fields,
// index and language no longer holds. A place that is being built with another index
// is given up: its builder finds that out, and it is swept.
const changeCollectionSQL = `
UPDATE collections SET
	index_kind = @index_kind, hnsw_m = @m, hnsw_ef_construction = @ef_construction, quantization = @quantization,
	building = CASE WHEN (index_kind, hnsw_m, hnsw_ef_construction, quantization) = (@index_kind, @m, @ef_construction, @quantization) THEN building END,
	main_index = @main_index::jsonb, fields = @fields::jsonb, language = @language, ttl_seconds = @ttl,
	recall_target = @recall_target::float4, defaults = @defaults::jsonb, answers_distance = @distance, answers_age = @age,
	version = version + 1, generation = generation + 1, updated_at = now()
WHERE tenant_id = @tenant AND name = @name`

// ChangeCollection implements [knowledge.Collections]. It waits for writes to the
// collection that are under way, and change holds up those that come.
func (s *Store) ChangeCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, ifVersion int64, change func(knowledge.Collection) (knowledge.Collection, error)) (knowledge.Collection, error) {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return knowledge.Collection{}, knowledge.NotFound("collection", name)
	}
	var d definition
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) (err error) {
		if d, err = lockDefinition(ctx, tx, tenant, name); err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != d.Version {
			return fmt.Errorf("collection %q: %w", name, knowledge.ErrPrecondition)
		}
		changed, err := change(d.Collection)
		if err != nil {
			return err
		}
		var empty bool
		if err := tx.QueryRow(ctx, emptySQL, d.args(tenant)).Scan(&empty); err != nil {
			return err
		}
		if changed, err = knowledge.CheckChange(d.Collection, changed, empty); err != nil {
			return err
		}
		if d.SameDefinition(changed) {
			return nil
		}
		return d.write(ctx, tx, tenant, changed)
	})
	s.definitions.forget(tenant)
	if err != nil {
		return knowledge.Collection{}, fmt.Errorf("change collection: %w", err)
	}
	s.activity.changed(tenant, d)
	return s.Collection(ctx, tenant, name)
}

// lockDefinition reads a collection by its own name, and holds it.
func lockDefinition(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	var d definition
	err := d.scan(tx.QueryRow(ctx, ownDefinitionSQL, pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}))
	if errors.Is(err, pgx.ErrNoRows) {
		err = notOwn(ctx, tx, tenant, name)
	}
	return d, err
}

// write puts a changed definition in the place of d.
func (d definition) write(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, changed knowledge.Collection) error {
	fields, err := encodeSlots(slotsOf(changed.Fields, d.slots))
	if err != nil {
		return err
	}
	defaults, err := encodeDefaults(changed.Defaults)
	if err != nil {
		return err
	}
	built, err := encodeBuilt(d.mainIndex, changed.Index, d.main != noMain)
	if err != nil {
		return err
	}
	args := pgx.NamedArgs{
		"tenant": string(tenant), "name": string(d.Name), "index_kind": string(changed.Index.Kind), "m": changed.Index.M,
		"ef_construction": changed.Index.EfConstruction, "quantization": string(changed.Index.Quantization),
		"main_index": built, "fields": fields, "language": string(changed.Language), "ttl": int64(changed.TTL / time.Second),
		"recall_target": changed.RecallTarget, "defaults": defaults,
	}
	cacheArgs(changed.Cache, args)
	if _, err := tx.Exec(ctx, changeCollectionSQL, args); err != nil {
		return err
	}
	return countWrites(ctx, tx, args)
}

// builtIndex is the JSON of main_index.
type builtIndex struct {
	M              int                    `json:"m"`
	EfConstruction int                    `json:"ef_construction"`
	Quantization   knowledge.Quantization `json:"quantization"`
}

// encodeBuilt gives main_index: how the index that is there was built, unless it is
// as the definition has it from now on, or there is none. A kind of none has no
// settings: what is there is searched until it is gone.
func encodeBuilt(built, now knowledge.Index, there bool) (*string, error) {
	if built.Kind, now.Kind = "", ""; !there || built == now {
		return nil, nil
	}
	text, err := json.Marshal(builtIndex{built.M, built.EfConstruction, built.Quantization})
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	encoded := string(text)
	return &encoded, nil
}

// decodeIndex returns how the index of main was built.
func decodeIndex(built []byte, defined knowledge.Index) (knowledge.Index, error) {
	if built == nil {
		return defined, nil
	}
	var b builtIndex
	if err := json.Unmarshal(built, &b); err != nil {
		return defined, fmt.Errorf("decode index: %w", err)
	}
	return knowledge.Index{Kind: knowledge.IndexHNSW, M: b.M, EfConstruction: b.EfConstruction, Quantization: b.Quantization}, nil
}
