package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// estimate is what the server's statistics tell about a filter in the place where
// most of a collection's rows are: main or, without one, its write place. Only
// declared fields have statistics that reach us through row-level security, so
// what else is in the filter counts as admitting all.
type estimate struct {
	known  bool  // there are statistics; else the rest is zero
	rows   int64 // pass at most
	total  int64 // rows of the collection there
	served bool  // an index of a declared field finds those that pass
}

// selectivity is the share of rows that pass at most.
func (e estimate) selectivity() float64 {
	if !e.known || e.total == 0 {
		return 1
	}
	return min(1, float64(e.rows)/float64(e.total))
}

// explainRowsSQL takes the half of liveSQL and the filter.
const explainRowsSQL = `
EXPLAIN (FORMAT JSON)
SELECT FROM records r
WHERE %s
  AND %s`

// setEstimateSQL lets the server show an index of a declared field wherever one
// can serve the filter. Its estimates of rows do not depend on it.
const setEstimateSQL = `
SELECT set_config('tars.tenant', @tenant, true),
	set_config('enable_seqscan', 'off', true)`

const leafRowsSQL = `SELECT coalesce((SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('tars.records_' || @leaf::int)), -1)`

// estimate asks the server, unless it was asked within the last minute.
func (s *Store) estimate(ctx context.Context, tenant knowledge.TenantID, d definition, filter knowledge.Filter) (estimate, error) {
	key, err := estimateKeyOf(d, filter)
	if err != nil {
		return estimate{}, err
	}
	if e, ok := s.estimates.recall(key); ok {
		return e, nil
	}
	e, err := s.explainRows(ctx, tenant, d, filter)
	if err != nil {
		return estimate{}, fmt.Errorf("estimate: %w", err)
	}
	s.estimates.remember(key, e)
	return e, nil
}

// explainRows asks the server, in one round trip, for the rows of the collection,
// those that pass the filter, and those of the leaf in all.
func (s *Store) explainRows(ctx context.Context, tenant knowledge.TenantID, d definition, filter knowledge.Filter) (estimate, error) {
	args := d.args(tenant)
	where, leaf := mainLiveSQL, d.main
	if d.main == noMain {
		where, leaf = writeLiveSQL, d.placement
	}
	args["leaf"] = leaf
	condition, err := indexableSQL(d, filter, args)
	if err != nil {
		return estimate{}, err
	}
	var total, passing rowEstimate
	var inLeaf int64
	batch := &pgx.Batch{}
	batch.Queue(setEstimateSQL, args)
	batch.Queue(leafRowsSQL, args).QueryRow(func(row pgx.Row) error { return row.Scan(&inLeaf) })
	batch.Queue(fmt.Sprintf(explainRowsSQL, where, "true"), args).QueryRow(total.scan)
	batch.Queue(fmt.Sprintf(explainRowsSQL, where, condition), args).QueryRow(passing.scan)
	if err := s.app.SendBatch(ctx, batch).Close(); err != nil {
		return estimate{}, pgtx.Kind(ctx, err)
	}
	// Main has this collection's rows alone. Where the server believes
	// otherwise it has no statistics, and guesses.
	if inLeaf <= 0 || d.main != noMain && total.rows < inLeaf/10 {
		return estimate{}, nil
	}
	return estimate{known: true, rows: min(passing.rows, total.rows), total: total.rows, served: passing.served}, nil
}

// rowEstimate is what one EXPLAIN tells.
type rowEstimate struct {
	rows   int64
	served bool // by the index of a slot
}

// slotIndex is the name of an index that tars.build_field_indexes makes.
var slotIndex = regexp.MustCompile(`^records_\d+_[sn]\d$`)

func (e *rowEstimate) scan(row pgx.Row) error {
	var text []byte
	if err := row.Scan(&text); err != nil {
		return err
	}
	var explained []struct {
		Plan explainedNode
	}
	if err := json.Unmarshal(text, &explained); err != nil || len(explained) != 1 {
		return fmt.Errorf("the server's plan has an unknown form: %w", err)
	}
	e.rows = int64(explained[0].Plan.Rows)
	e.served = explained[0].Plan.served()
	return nil
}

// explainedNode is a part of a server's plan.
type explainedNode struct {
	Rows  float64         `json:"Plan Rows"`
	Index string          `json:"Index Name"`
	Plans []explainedNode `json:"Plans"`
}

func (n explainedNode) served() bool {
	if slotIndex.MatchString(n.Index) {
		return true
	}
	for _, child := range n.Plans {
		if child.served() {
			return true
		}
	}
	return false
}

// estimateLife is how long an estimate is remembered. One that is a minute old may
// make a search slower than it need be, never wrong.
const estimateLife = time.Minute

// estimateKey is a digest of the collection, where it is, and the filter.
type estimateKey [sha256.Size]byte

func estimateKeyOf(d definition, filter knowledge.Filter) (estimateKey, error) {
	// A collection's id is never used again, and its generation is raised
	// when its places change. The struct's fields have one order in JSON.
	text, err := json.Marshal(struct {
		ID, Generation int64
		Filter         knowledge.Filter
	}{d.id, d.generation, filter})
	if err != nil {
		return estimateKey{}, fmt.Errorf("encode filter: %w", err)
	}
	return sha256.Sum256(text), nil
}
