package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// clearExpiredSQL makes room for records that are restored.
const clearExpiredSQL = `
DELETE FROM records
WHERE placement = ANY (@places::int[]) AND tenant_id = @tenant AND collection_id = @collection
  AND id = ANY (@ids::text[]) AND expires_at <= now()`

// restoreChunkSQL is [putChunkSQL] for records that bring version and times, and
// that must not be there.
const restoreChunkSQL = `
INSERT INTO records AS r (placement, epoch, tenant_id, collection_id, id, text, %[1]s, metadata, expires_at,
	version, created_at, updated_at, lexemes%[2]s)
SELECT @placement, @epoch, @tenant, @collection, b.id, b.text,
	(@vectors::float4[])[(b.n - 1)::int * @dimension::int + 1 : b.n::int * @dimension::int]::%[4]s,
	b.metadata, b.expires_at, b.version, b.created_at, b.updated_at, %[5]s%[3]s
FROM (
	SELECT id, text, metadata::jsonb, expires_at, version, created_at, updated_at, n
	FROM unnest(@ids::text[], @texts::text[], @metadata::text[], @expires::timestamptz[], @versions::bigint[],
		@created::timestamptz[], @updated::timestamptz[])
		WITH ORDINALITY AS u (id, text, metadata, expires_at, version, created_at, updated_at, n)
) b
ORDER BY b.n
ON CONFLICT (placement, collection_id, id) DO NOTHING
RETURNING r.id, r.version, r.created_at`

// inMainSQL counts what was written to the write place and stands in main too,
// because it was written by another and carried over since the look at it.
const inMainSQL = `
SELECT count(*)
FROM records
WHERE placement = @main AND tenant_id = @tenant AND collection_id = @collection AND id = ANY (@ids::text[])`

// restoreAll writes records as they are, none of which was there a moment ago. It
// returns errRaced when one is by now.
func restoreAll(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, records []knowledge.Record, put putRow) error {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b knowledge.Record) int { return cmp.Compare(a.ID, b.ID) })
	for len(records) > 0 {
		n := chunkLength(records)
		if err := restoreChunk(ctx, tx, tenant, d, records[:n], put); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func restoreChunk(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, records []knowledge.Record, put putRow) error {
	args, err := putArgs(tenant, d, 0, records)
	if err != nil {
		return err
	}
	versions, created, updated := make([]int64, len(records)), make([]time.Time, len(records)), make([]time.Time, len(records))
	for i, r := range records {
		versions[i], created[i], updated[i] = r.Version, r.Created, r.Updated
	}
	args["versions"], args["created"], args["updated"] = versions, created, updated
	columns, values := slotSQL(d.slots, "b.metadata", args)
	vector, kind := d.vectorColumn()
	written, doubled := 0, 0
	batch := &pgx.Batch{}
	batch.Queue(clearExpiredSQL, args)
	batch.Queue(fmt.Sprintf(restoreChunkSQL, vector, columns, values, kind, lexemesSQL("b.text")), args).
		Query(takeRows(func(id knowledge.RecordID, version int64, at time.Time) {
			put(id, version, at)
			written++
		}))
	if d.main != noMain {
		batch.Queue(inMainSQL, args).QueryRow(func(row pgx.Row) error { return row.Scan(&doubled) })
	}
	if d.building != noMain {
		batch.Queue(logChangesSQL, args)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	if written != len(records) || doubled > 0 {
		return errRaced
	}
	return nil
}
