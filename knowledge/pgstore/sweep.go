package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge/pgtx"
)

// sweepChunk is how many records one transaction of the sweep deletes at most: some
// 10 ms of locks.
const sweepChunk = 1000

// sweepExpiredSQL deletes records of any tenant whose time is over, the longest
// expired first, in whatever place they are, and returns how many it chose and how
// many it deleted. Like every writer it holds the rows of their collections FOR SHARE,
// against what moves a collection to another place; it waits for nobody, so that it
// cannot be part of a deadlock: what another holds is left for the next time. Nobody
// sees these records any more, so that a copy which a move makes of one at the same
// time is as good as none, and is swept in its turn.
const sweepExpiredSQL = `
WITH due AS MATERIALIZED (
	SELECT r.placement, r.tenant_id, r.collection_id, r.id
	FROM records r
	WHERE r.expires_at <= now()
		AND EXISTS (SELECT FROM collections c WHERE c.tenant_id = r.tenant_id AND c.collection_id = r.collection_id)
	ORDER BY r.expires_at
	LIMIT @chunk
	FOR UPDATE OF r SKIP LOCKED
), held AS MATERIALIZED (
	SELECT c.tenant_id, c.collection_id
	FROM collections c
	WHERE (c.tenant_id, c.collection_id) IN (SELECT d.tenant_id, d.collection_id FROM due d)
	FOR SHARE SKIP LOCKED
), gone AS (
	DELETE FROM records r
	USING due d, held h
	WHERE h.tenant_id = d.tenant_id AND h.collection_id = d.collection_id
		AND r.placement = d.placement AND r.tenant_id = d.tenant_id AND r.collection_id = d.collection_id AND r.id = d.id
	RETURNING 1
)
SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM gone)`

// SweepExpired deletes the records that have expired, of all tenants, and returns how
// many. It works in small transactions until there are no more, or none that nobody
// else holds, or ctx ends. Several may run at once, on several nodes.
func (s *Store) SweepExpired(ctx context.Context) (int64, error) {
	for total := int64(0); ; {
		var due, gone int64
		if err := s.jobs.QueryRow(ctx, sweepExpiredSQL, pgx.NamedArgs{"chunk": sweepChunk}).Scan(&due, &gone); err != nil {
			return total, fmt.Errorf("sweep expired records: %w", pgtx.Kind(ctx, err))
		}
		total += gone
		if due < sweepChunk || gone == 0 {
			return total, nil
		}
	}
}
