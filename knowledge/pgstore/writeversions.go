package pgstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// cacheArgs adds the parameters of a definition's cache.
func cacheArgs(c knowledge.AnswerCache, args pgx.NamedArgs) {
	args["distance"], args["age"] = nil, nil
	if c.MaxAge > 0 {
		args["distance"], args["age"] = c.MaxDistance, int(c.MaxAge/time.Second)
	}
}

// raiseWritesSQL notes a write. Writers of one collection wait for each other here.
const raiseWritesSQL = `UPDATE collection_writes SET version = version + 1 WHERE tenant_id = @tenant AND collection_id = @collection`

// A collection whose definition was written has a number exactly if it keeps answers.
// Whoever writes to it waits for that, and finds it.
const (
	startWritesSQL = `
INSERT INTO collection_writes (tenant_id, collection_id)
SELECT tenant_id, collection_id FROM collections WHERE tenant_id = @tenant AND name = @name
ON CONFLICT DO NOTHING`
	stopWritesSQL = `
DELETE FROM collection_writes
WHERE tenant_id = @tenant AND collection_id = (SELECT collection_id FROM collections WHERE tenant_id = @tenant AND name = @name)`
)

// countWrites begins or ends counting the writes of the collection in args.
func countWrites(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) error {
	sql := startWritesSQL
	if args["age"] == nil {
		sql = stopWritesSQL
	}
	_, err := tx.Exec(ctx, sql, args)
	return err
}

const writeVersionsSQL = `
SELECT n.i::int, w.version
FROM unnest(@names::text[]) WITH ORDINALITY AS n (name, i)
LEFT JOIN views v ON v.tenant_id = @tenant AND v.name = n.name
LEFT JOIN aliases a ON a.tenant_id = @tenant AND a.name = coalesce(v.alias, n.name)
JOIN collections c ON c.tenant_id = @tenant AND c.name = coalesce(a.collection, v.collection, n.name)
JOIN collection_writes w ON w.tenant_id = @tenant AND w.collection_id = c.collection_id`

// WriteVersions implements [knowledge.Records], in one round trip.
func (s *Store) WriteVersions(ctx context.Context, tenant knowledge.TenantID, names []knowledge.CollectionName) ([]int64, error) {
	versions := make([]int64, len(names))
	args := pgx.NamedArgs{"tenant": string(tenant), "names": idsOf(names)}
	err := pgtx.Read(ctx, s.app, tenant, writeVersionsSQL, args, func(rows pgx.Rows) error {
		var i int
		var version int64
		_, err := pgx.ForEachRow(rows, []any{&i, &version}, func() error {
			versions[i-1] = version
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("versions of writes: %w", err)
	}
	if views, limited := knowledge.ViewsOf(ctx); limited {
		for i, name := range names {
			if !slices.Contains(views, name) {
				versions[i] = 0
			}
		}
	}
	return versions, nil
}

func idsOf[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

const earliestExpirySQL = `
SELECT min(r.expires_at) FROM records r WHERE ` + liveSQL + ` AND r.id = ANY (@ids)`

// EarliestExpiry implements [knowledge.Records].
func (s *Store) EarliestExpiry(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, ids []knowledge.RecordID) (at time.Time, err error) {
	d, _, err := s.resolve(ctx, tenant, collection, false)
	if err != nil {
		return at, err
	}
	args := d.args(tenant)
	args["ids"] = idsOf(ids)
	err = pgtx.Read(ctx, s.app, tenant, earliestExpirySQL, args, func(rows pgx.Rows) error {
		first, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[*time.Time])
		if err == nil && first != nil {
			at = first.UTC()
		}
		return err
	})
	if err != nil {
		return at, fmt.Errorf("expiry: %w", err)
	}
	return at, nil
}
