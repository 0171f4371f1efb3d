package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// lockCollectionSQL holds the collection's row for the length of the write: it
// is neither deleted nor moved meanwhile.
const lockCollectionSQL = `
SELECT ` + definitionColumns + `
FROM collections
WHERE tenant_id = @tenant AND name = @name
FOR SHARE`

func lockCollection(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	var d definition
	err := d.scan(tx.QueryRow(ctx, lockCollectionSQL, pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}))
	if errors.Is(err, pgx.ErrNoRows) {
		return d, knowledge.NotFound("collection", name)
	}
	return d, err
}

// PutRecords implements [knowledge.Records].
func (s *Store) PutRecords(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, records []knowledge.Record) ([]int64, error) {
	index, err := knowledge.CheckBatch(records)
	if err != nil {
		return nil, err
	}
	versions := make([]int64, len(records))
	err = pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		d, err := lockCollection(ctx, tx, tenant, collection)
		if err != nil {
			return err
		}
		for i, r := range records {
			if err := r.Validate(d.Collection); err != nil {
				return knowledge.At(fmt.Sprintf("records[%d]", i), err)
			}
		}
		return putAll(ctx, tx, tenant, d, records, func(id knowledge.RecordID, version int64) {
			versions[index[id]] = version
		})
	})
	if err != nil {
		return nil, fmt.Errorf("put records: %w", err)
	}
	return versions, nil
}

// putAll writes records in order of their ids, which every writer keeps, so
// that two of them wait for each other instead of deadlocking.
func putAll(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, records []knowledge.Record, put func(knowledge.RecordID, int64)) error {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b knowledge.Record) int { return cmp.Compare(a.ID, b.ID) })
	for len(records) > 0 {
		n := chunkLength(records)
		if err := putChunk(ctx, tx, tenant, d, records[:n], put); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// Bounds of one statement: its parameters are held several times over by the
// server while it plans.
const (
	maxChunkRecords = 1000
	maxChunkBytes   = 8 << 20
)

// chunkLength is how many of the records, at least 1, go into one statement.
func chunkLength(records []knowledge.Record) int {
	bytes := 0
	for i, r := range records {
		bytes += len(r.Text) + 4*len(r.Vector)
		if i > 0 && (i == maxChunkRecords || bytes > maxChunkBytes) {
			return i
		}
	}
	return len(records)
}

// putChunkSQL takes the vectors as one flat array, of which each row cuts its
// slice: pgx sends float4[] in binary without knowing of pgvector's types. A
// record that has expired counts as gone: what replaces it is new.
const putChunkSQL = `
INSERT INTO records AS r (placement, tenant_id, collection_id, id, text, embedding, metadata, expires_at)
SELECT @placement, @tenant, @collection, b.id, b.text,
	(@vectors::float4[])[(b.n - 1)::int * @dimension::int + 1 : b.n::int * @dimension::int]::vector,
	b.metadata::jsonb, b.expires_at
FROM unnest(@ids::text[], @texts::text[], @metadata::text[], @expires::timestamptz[]) WITH ORDINALITY AS b (id, text, metadata, expires_at, n)
ORDER BY b.n
ON CONFLICT (placement, collection_id, id) DO UPDATE SET
	text = excluded.text,
	embedding = excluded.embedding,
	metadata = excluded.metadata,
	expires_at = excluded.expires_at,
	version = CASE WHEN r.expires_at <= now() THEN 1 ELSE r.version + 1 END,
	created_at = CASE WHEN r.expires_at <= now() THEN now() ELSE r.created_at END,
	updated_at = now()
WHERE r.tenant_id = @tenant
RETURNING r.id, r.version`

func putChunk(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, records []knowledge.Record, put func(knowledge.RecordID, int64)) error {
	var (
		ids      = make([]string, len(records))
		texts    = make([]string, len(records))
		metadata = make([]string, len(records))
		expires  = make([]*time.Time, len(records))
		vectors  = make([]float32, 0, len(records)*d.Dimension())
	)
	for i, r := range records {
		encoded, err := encodeMetadata(r.Metadata)
		if err != nil {
			return err
		}
		ids[i], texts[i], metadata[i] = string(r.ID), r.Text, encoded
		if !r.Expires.IsZero() {
			expires[i] = &r.Expires
		}
		vectors = append(vectors, r.Vector...)
	}
	rows, err := tx.Query(ctx, putChunkSQL, pgx.NamedArgs{
		"placement": d.placement, "tenant": string(tenant), "collection": d.id, "dimension": d.Dimension(),
		"ids": ids, "texts": texts, "metadata": metadata, "expires": expires, "vectors": vectors,
	})
	if err != nil {
		return err
	}
	var id string
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		put(knowledge.RecordID(id), version)
		return nil
	})
	return err
}

// recordSQL gives a row for the collection, if it is where we believe it to
// be, and in it the record, if there is one.
const recordSQL = `
SELECT r.text, r.embedding::float4[], r.metadata, r.version, r.expires_at, r.created_at, r.updated_at
FROM collections c
LEFT JOIN records r
	ON r.placement = @placement
	AND r.tenant_id = @tenant
	AND r.collection_id = @collection
	AND r.id = @id
	AND (r.expires_at IS NULL OR r.expires_at > now())
WHERE c.tenant_id = @tenant AND c.collection_id = @collection AND c.generation = @generation`

// Record implements [knowledge.Records].
func (s *Store) Record(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.RecordID) (knowledge.Record, error) {
	r := knowledge.Record{ID: id}
	err := s.withDefinition(ctx, tenant, collection, func(d definition) (current bool, err error) {
		args := d.args(tenant)
		args["id"] = string(id)
		err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, recordSQL, args, func(rows pgx.Rows) error {
			for rows.Next() {
				current = true
				if err := scanRecord(rows, &r); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		return current, err
	})
	if err != nil {
		return knowledge.Record{}, fmt.Errorf("record: %w", err)
	}
	if r.Version == 0 {
		return knowledge.Record{}, knowledge.NotFound("record", id)
	}
	return r, nil
}

// args are the parameters by which every read finds the collection's records.
func (d definition) args(tenant knowledge.TenantID) pgx.NamedArgs {
	return pgx.NamedArgs{
		"tenant": string(tenant), "collection": d.id, "placement": d.placement, "generation": d.generation,
	}
}

// scanRecord leaves r as it is when the row has none.
func scanRecord(row pgx.Row, r *knowledge.Record) error {
	var (
		text                      *string
		vector                    []float32
		metadata                  []byte
		version                   *int64
		expires, created, updated *time.Time
	)
	if err := row.Scan(&text, &vector, &metadata, &version, &expires, &created, &updated); err != nil || version == nil {
		return err
	}
	r.Text, r.Vector, r.Version = *text, vector, *version
	r.Created, r.Updated = created.UTC(), updated.UTC()
	if expires != nil {
		r.Expires = expires.UTC()
	}
	var err error
	r.Metadata, err = decodeMetadata(metadata)
	return err
}

const deleteRecordSQL = `
DELETE FROM records
WHERE placement = @placement AND tenant_id = @tenant AND collection_id = @collection AND id = @id
RETURNING expires_at <= now()`

// DeleteRecord implements [knowledge.Records].
func (s *Store) DeleteRecord(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.RecordID) error {
	var expired *bool
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		d, err := lockCollection(ctx, tx, tenant, collection)
		if err != nil {
			return err
		}
		args := pgx.NamedArgs{"tenant": string(tenant), "placement": d.placement, "collection": d.id, "id": string(id)}
		err = tx.QueryRow(ctx, deleteRecordSQL, args).Scan(&expired)
		if errors.Is(err, pgx.ErrNoRows) {
			return knowledge.NotFound("record", id)
		}
		return err
	})
	if err == nil && expired != nil && *expired { // it is swept away, and was gone before
		err = knowledge.NotFound("record", id)
	}
	if err != nil {
		return fmt.Errorf("delete record: %w", err)
	}
	return nil
}

// encodeMetadata gives the JSON text of checked metadata; of none, an empty object.
func encodeMetadata(m map[string]any) (string, error) {
	if len(m) == 0 {
		return "{}", nil
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode metadata: %w", err)
	}
	return string(text), nil
}

// decodeMetadata is the inverse. It never gives nil.
func decodeMetadata(text []byte) (map[string]any, error) {
	m := map[string]any{}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", err)
	}
	return m, nil
}
