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
WHERE tenant_id = @tenant AND name = ` + writtenSQL + `
FOR SHARE`

// lockCollection is the one place where a name becomes a collection whose records
// may be changed, and where that is noted for who keeps answers.
func lockCollection(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	d, err := holdCollection(ctx, tx, tenant, name)
	if err == nil && d.Cache.MaxAge > 0 {
		_, err = tx.Exec(ctx, raiseWritesSQL, d.args(tenant))
	}
	return d, err
}

// holdCollection is lockCollection without the note.
func holdCollection(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	var d definition
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return d, notWritten(ctx, tx, tenant, name)
	}
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	for {
		err := d.scan(tx.QueryRow(ctx, lockCollectionSQL, args))
		if errors.Is(err, pgx.ErrNoRows) {
			err = notWritten(ctx, tx, tenant, name)
		}
		if err != nil || d.Name == name {
			return d, err
		}
		// The alias may have moved while this waited for the row of where it stood.
		var now knowledge.CollectionName
		if err := tx.QueryRow(ctx, `SELECT `+writtenSQL, args).Scan(&now); err != nil || now == d.Name {
			return d, err
		}
	}
}

// lockForWrite is lockCollection for what adds rows. It refuses while more of them
// wait to be indexed than searches can compare one by one.
func (s *Store) lockForWrite(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	d, err := lockCollection(ctx, tx, tenant, name)
	if err == nil && d.main != noMain && (d.pending+s.activity.rows(d.id))*d.width() > s.options.MaxPending {
		err = knowledge.Limit("too many records of the collection wait to be indexed; write again when fewer do")
	}
	return d, err
}

// putRow takes what a write gave a record: its version, and when it was created.
type putRow func(id knowledge.RecordID, version int64, created time.Time)

// putAll writes records in order of their ids, which every writer keeps, so
// that two of them wait for each other instead of deadlocking. ttl is the lifetime
// of those that have no expiry; 0: for ever.
func putAll(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, ttl time.Duration, records []knowledge.Record, put putRow) error {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b knowledge.Record) int { return cmp.Compare(a.ID, b.ID) })
	for len(records) > 0 {
		n := chunkLength(records)
		if err := putChunk(ctx, tx, tenant, d, ttl, records[:n], put); err != nil {
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

// putChunkSQL takes the columns of the declared fields and their values. It takes
// the vectors as one flat array, of which each row cuts its slice: pgx sends
// float4[] in binary without knowing of pgvector's types. A record that has
// expired counts as gone: what replaces it is new. A row that a bulk move has
// left behind has the version of its copy in main.
const putChunkSQL = `
INSERT INTO records AS r (placement, epoch, tenant_id, collection_id, id, text, %[1]s, metadata, expires_at, lexemes%[2]s)
SELECT @placement, @epoch, @tenant, @collection, b.id, b.text,
	(@vectors::float4[])[(b.n - 1)::int * @dimension::int + 1 : b.n::int * @dimension::int]::%[4]s,
	b.metadata, coalesce(b.expires_at, now() + nullif(@ttl::float8, 0) * interval '1 second'), %[5]s%[3]s
FROM (
	SELECT id, text, metadata::jsonb, expires_at, n
	FROM unnest(@ids::text[], @texts::text[], @metadata::text[], @expires::timestamptz[]) WITH ORDINALITY AS u (id, text, metadata, expires_at, n)
) b
ORDER BY b.n
ON CONFLICT (placement, collection_id, id) DO UPDATE SET
	epoch = excluded.epoch,
	text = excluded.text,
	embedding = excluded.embedding,
	half = excluded.half,
	metadata = excluded.metadata,
	expires_at = excluded.expires_at,
	lexemes = excluded.lexemes,
	s1 = excluded.s1, s2 = excluded.s2, s3 = excluded.s3, s4 = excluded.s4,
	s5 = excluded.s5, s6 = excluded.s6, s7 = excluded.s7, s8 = excluded.s8,
	n1 = excluded.n1, n2 = excluded.n2, n3 = excluded.n3, n4 = excluded.n4,
	n5 = excluded.n5, n6 = excluded.n6, n7 = excluded.n7, n8 = excluded.n8,
	a1 = excluded.a1, a2 = excluded.a2, a3 = excluded.a3, a4 = excluded.a4,
	version = CASE WHEN r.expires_at <= now() THEN 1 ELSE r.version + 1 END,
	created_at = CASE WHEN r.expires_at <= now() THEN now() ELSE r.created_at END,
	updated_at = now()
WHERE r.tenant_id = @tenant
RETURNING r.id, r.version, r.created_at`

// replaceMainSQL removes from main what was written to the write place, which
// goes on counting its version. It must be a statement of its own, after the
// write: only then does it see a row that was carried over to main meanwhile.
const replaceMainSQL = `
WITH gone AS (
	DELETE FROM records
	WHERE placement = @main AND tenant_id = @tenant AND collection_id = @collection AND id = ANY (@ids::text[])
	RETURNING id, version, created_at, expires_at
)
UPDATE records r SET
	version = gone.version + 1,
	created_at = gone.created_at
FROM gone
WHERE r.placement = @placement AND r.tenant_id = @tenant AND r.collection_id = @collection AND r.id = gone.id
  AND (gone.expires_at IS NULL OR gone.expires_at > now())
RETURNING r.id, r.version, r.created_at`

// logChangesSQL says that copies of these records are stale, to the job that
// builds a place of them.
const logChangesSQL = `
INSERT INTO record_changes (tenant_id, collection_id, id)
SELECT @tenant, @collection, id FROM unnest(@ids::text[]) AS id`

func putChunk(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, ttl time.Duration, records []knowledge.Record, put putRow) error {
	args, err := putArgs(tenant, d, ttl, records)
	if err != nil {
		return err
	}
	columns, values := slotSQL(d.slots, "b.metadata", args)
	vector, kind := d.vectorColumn()
	take := takeRows(put)
	batch := &pgx.Batch{}
	batch.Queue(fmt.Sprintf(putChunkSQL, vector, columns, values, kind, lexemesSQL("b.text")), args).Query(take)
	if d.main != noMain {
		batch.Queue(replaceMainSQL, args).Query(take)
	}
	if d.building != noMain {
		batch.Queue(logChangesSQL, args)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// takeRows hands the rows of a write to put.
func takeRows(put putRow) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var id string
		var version int64
		var created time.Time
		_, err := pgx.ForEachRow(rows, []any{&id, &version, &created}, func() error {
			put(knowledge.RecordID(id), version, created)
			return nil
		})
		return err
	}
}

func putArgs(tenant knowledge.TenantID, d definition, ttl time.Duration, records []knowledge.Record) (pgx.NamedArgs, error) {
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
			return nil, err
		}
		ids[i], texts[i], metadata[i] = string(r.ID), r.Text, encoded
		if !r.Expires.IsZero() {
			expires[i] = &r.Expires
		}
		vectors = append(vectors, r.Vector...)
	}
	args := d.args(tenant)
	args["ttl"] = ttl.Seconds()
	args["epoch"], args["dimension"], args["language"] = d.epoch, d.Dimension(), languageOf(d.Language)
	args["ids"], args["texts"], args["metadata"], args["expires"], args["vectors"] = ids, texts, metadata, expires, vectors
	return args, nil
}

// recordColumns are what scanRecord reads of row r.
const recordColumns = `r.text, coalesce(r.embedding, r.half::vector)::float4[], r.metadata, r.version, r.expires_at, r.created_at, r.updated_at`

// recordSQL gives a row for the collection, if it is where we believe it to
// be, and in it the record, if there is one.
const recordSQL = `
SELECT ` + recordColumns + `
FROM collections c
LEFT JOIN records r ON r.id = @id AND ` + liveSQL + ` AND %s
WHERE ` + currentSQL

// Record implements [knowledge.Records].
func (s *Store) Record(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.RecordID) (knowledge.Record, error) {
	r := knowledge.Record{ID: id}
	err := s.withDefinition(ctx, tenant, collection, func(d definition) (current bool, err error) {
		args := d.args(tenant)
		args["id"] = string(id)
		where, err := d.where(knowledge.Filter{}, args)
		if err != nil {
			return false, err
		}
		err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, fmt.Sprintf(recordSQL, where), args, func(rows pgx.Rows) error {
			for rows.Next() {
				current = true
				if err := scanRecord(rows, &r); err != nil {
					return err
				}
				r.Metadata = d.view.Hide(r.Metadata)
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

// DeleteRecord implements [knowledge.Records].
func (s *Store) DeleteRecord(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.RecordID) error {
	var gone int64
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		d, err := lockCollection(ctx, tx, tenant, collection)
		if err != nil {
			return err
		}
		args := d.args(tenant)
		args["ids"] = []string{string(id)}
		gone, err = deleteAll(ctx, tx, d, "true", args)
		return err
	})
	if err == nil && gone == 0 { // an expired one is swept away, and was gone before
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
