package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// healthSQL counts the rows in both places, and the bytes of main's indexes.
const healthSQL = `
SELECT count(r.id) FILTER (WHERE r.placement <> @main::int), count(r.id) FILTER (WHERE r.placement = @main::int),
	coalesce(pg_indexes_size(to_regclass('tars.records_' || @main::int)), 0)
FROM collections c
LEFT JOIN records r ON ` + liveSQL + `
WHERE ` + currentSQL + `
GROUP BY c.collection_id`

// Health tells how a collection's searches are served, or an error wrapping
// [knowledge.ErrNotFound]. It counts the records, and takes as long as that.
func (s *Store) Health(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Health, error) {
	var h knowledge.Health
	err := s.withDefinition(ctx, tenant, name, func(d definition) (current bool, err error) {
		if d.view != nil { // what else is in the collection is not its reader's
			return true, knowledge.NotFound("collection", name)
		}
		h = knowledge.Health{Own: d.main != noMain, Target: d.RecallTarget}
		var written, indexed int64
		err = pgtx.Read(ctx, s.app, tenant, healthSQL, d.args(tenant), func(rows pgx.Rows) error {
			for rows.Next() {
				current = true
				if err := rows.Scan(&written, &indexed, &h.IndexBytes); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		if err != nil || !current {
			return current, err
		}
		if h.Records = written + indexed; h.Own {
			h.Waiting = written
		}
		all, err := s.measuredOf(ctx, tenant, d)
		if err != nil {
			return false, err
		}
		if d.Index.Kind != knowledge.IndexNone && !h.Own && !s.options.fits(d, h.Records) {
			h.Warnings = append(h.Warnings, "searches compare all records: the index would be larger than this server allows; a quantization makes it smaller")
		}
		s.addRecall(&h, all)
		return true, nil
	})
	if err != nil {
		return knowledge.Health{}, fmt.Errorf("health: %w", err)
	}
	return h, nil
}

// addRecall tells what was measured, and warns of what cannot be mended.
func (s *Store) addRecall(h *knowledge.Health, all map[knowledge.Bucket]measured) {
	for _, bucket := range knowledge.Buckets() {
		m, ok := all[bucket]
		if !ok {
			continue
		}
		b := knowledge.BucketRecall{Bucket: bucket, Samples: m.samples, Ef: m.ef, Exact: m.exact}
		if m.samples > 0 {
			b.Recall = m.mean()
			if m.effective() >= samplesToRaise && m.mean()+m.margin() < h.Target {
				h.Warnings = append(h.Warnings, fmt.Sprintf("recall of %s searches by the index is %.3f, below the target of %.3f", bucket, b.Recall, h.Target))
			}
		}
		if m.exact {
			h.Warnings = append(h.Warnings, fmt.Sprintf("%s searches are exact where that can be afforded, because the index misses too much even with the most candidates: build it with larger m and ef_construction", bucket))
		}
		h.Recall = append(h.Recall, b)
	}
	if s.options.RecallShare == 0 && h.Own {
		h.Warnings = append(h.Warnings, "recall is not measured: the server's share of searches to measure is 0")
	}
}
