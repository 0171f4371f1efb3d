package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// sample is a search to be measured.
type sample struct {
	tenant knowledge.TenantID
	d      definition
	search knowledge.Search
	plan   knowledge.Plan // by the index; of an exact search what it would have been
	tuning tuning         // in force when it was planned
}

// samples waits for [Store.MeasureRecall]. It is safe for concurrent use.
type samples struct {
	queue  chan sample
	random func() float64 // tests set another

	measured, dropped atomic.Int64
	worst             worst
}

// waitingSamples are few: what waits long is no longer what is asked now.
const waitingSamples = 8

func newSamples() *samples {
	return &samples{queue: make(chan sample, waitingSamples), random: rand.Float64}
}

// RecallStats are figures of this node since it was started.
type RecallStats struct {
	Measured, Dropped int64   // samples
	Worst             float64 // the lowest average recall of a collection's bucket that has samples enough; 1 without any
}

// RecallStats returns the figures.
func (s *Store) RecallStats() RecallStats {
	return RecallStats{Measured: s.samples.measured.Load(), Dropped: s.samples.dropped.Load(), Worst: s.samples.worst.value(time.Now())}
}

// offerSample takes a share of the searches that an index answered, and of those
// that are exact because it answered badly. It never waits.
func (s *Store) offerSample(tenant knowledge.TenantID, d definition, search knowledge.Search, by planned) {
	measurable := d.main != noMain && !search.Exact && search.Ef == 0 && search.MaxScan == 0 && (!isExact(by.Method) || by.tuning.exact)
	if s.options.RecallShare == 0 || !measurable || s.samples.random() >= s.options.RecallShare {
		return
	}
	ann := by.Plan
	if isExact(by.Method) { // what it would have been
		ann = s.annPlan(search, by.estimate, by.tuning)
		ann.Estimated, ann.Rows, ann.Selectivity = by.Estimated, by.Rows, by.Selectivity
	}
	search.Explain, search.Vectors = false, false
	select {
	case s.samples.queue <- sample{tenant: tenant, d: d, search: search, plan: ann, tuning: by.tuning}:
	default:
		s.samples.dropped.Add(1)
	}
}

// MeasureRecall carries out sampled searches once more, one at a time, until ctx
// ends. It rests between them, so that they take no more than
// [Options.RecallBudget] of the database's time in a second, and drops what comes
// meanwhile. failed is called with what goes wrong. Run it once for each store.
func (s *Store) MeasureRecall(ctx context.Context, failed func(error)) {
	for {
		var next sample
		select {
		case <-ctx.Done():
			return
		case next = <-s.samples.queue:
		}
		start := time.Now()
		if err := s.measure(ctx, next); err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("measure recall: %w", err))
		}
		share := s.options.RecallBudget.Seconds() // of each second
		rest := time.NewTimer(time.Duration(float64(time.Since(start)) * (1/min(share, 1) - 1)))
		select {
		case <-ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}

// busy reports that those who wait for an answer need the connections.
func (s *Store) busy() bool {
	stat := s.pool.Stat()
	return stat.AcquiredConns() >= max(1, stat.MaxConns()/2)
}

// measurable is the largest main, by the cost of comparing all of it, whose
// searches are measured.
const measurable microseconds = 5_000_000

// measure carries out one search both ways and keeps what came of it.
func (s *Store) measure(ctx context.Context, x sample) error {
	if s.busy() || scanCost(x.d) > measurable {
		s.samples.dropped.Add(1)
		return nil
	}
	recall, ok, err := s.recallOf(ctx, x)
	if err != nil || !ok {
		return err
	}
	m, err := s.keepRecall(ctx, x, recall)
	if err != nil {
		return err
	}
	s.samples.measured.Add(1)
	if m.effective() >= samplesToRaise {
		s.samples.worst.see(worstKey{x.d.id, m.bucket}, m.mean(), time.Now())
	}
	return nil
}

// setMeasureSQL takes back what the plan of an index set, and bounds the scan.
const setMeasureSQL = `
SELECT set_config('enable_sort', 'on', true),
	set_config('enable_seqscan', 'on', true),
	set_config('plan_cache_mode', 'force_custom_plan', true),
	set_config('statement_timeout', '10s', true)`

// recallOf is the share of the exact answer that the search's plan finds, both in
// one snapshot. ok is false when that says nothing: there is nothing to be found, or
// the collection has been moved meanwhile.
func (s *Store) recallOf(ctx context.Context, x sample) (recall float64, ok bool, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	var found, exact knowledge.Found
	err = pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		run := func(set string, plan knowledge.Plan, into *knowledge.Found) (current bool, err error) {
			args := x.d.args(x.tenant)
			sql, err := searchStatement(x.d, x.search, plan, args)
			if err != nil {
				return false, err
			}
			batch := &pgx.Batch{}
			batch.Queue(set, args)
			batch.Queue(sql, args).Query(func(rows pgx.Rows) error { return readMatches(rows, x.d, into, &current) })
			return current, tx.SendBatch(ctx, batch).Close()
		}
		current, err := run(setSQL(x.d, x.plan, x.search.Filter), x.plan, &found)
		if err != nil || !current {
			return err
		}
		_, err = run(setMeasureSQL, knowledge.Plan{Method: methodExact}, &exact)
		return err
	})
	if pgtx.Code(err) == pgerrcode.UndefinedTable { // its main is gone
		return 0, false, nil
	}
	if err != nil || len(exact.Matches) == 0 {
		return 0, false, pgtx.Kind(ctx, err)
	}
	// By score and not by id: of records that are equally near any will do.
	last := exact.Matches[len(exact.Matches)-1].Score
	hits := 0
	for _, m := range found.Matches {
		if m.Score >= last {
			hits++
		}
	}
	return float64(min(hits, len(exact.Matches))) / float64(len(exact.Matches)), true, nil
}

// addRecallSQL adds a sample to the sums, unless the settings have been changed
// since it was planned. It holds the row until the end of the transaction.
const addRecallSQL = `
INSERT INTO recall_measured AS m (tenant_id, collection_id, bucket, weight, weight_square, recall, recall_square, samples)
SELECT c.tenant_id, c.collection_id, @bucket, 1, 1, @recall::float8, @recall::float8 ^ 2, 1
FROM collections c
WHERE ` + currentSQL + `
ON CONFLICT (tenant_id, collection_id, bucket) DO UPDATE SET
	weight = m.weight * @decay::float8 + 1,
	weight_square = m.weight_square * @decay::float8 ^ 2 + 1,
	recall = m.recall * @decay::float8 + excluded.recall,
	recall_square = m.recall_square * @decay::float8 + excluded.recall_square,
	samples = m.samples + 1,
	updated_at = now()
WHERE m.ef = @ef AND m.exact = @exact
RETURNING ` + measuredColumns

// retuneSQL changes the settings; what was measured before says nothing of them.
const retuneSQL = `
UPDATE recall_measured SET
	ef = @new_ef,
	exact = @new_exact,
	raised_at = CASE WHEN @raised::boolean THEN now() ELSE raised_at END,
	weight = 0, weight_square = 0, recall = 0, recall_square = 0, samples = 0
WHERE tenant_id = @tenant AND collection_id = @collection AND bucket = @bucket`

// keepRecall adds a sample to what was measured, and changes the settings when it
// calls for that. It returns what is known with the sample.
func (s *Store) keepRecall(ctx context.Context, x sample, recall float64) (measured, error) {
	var m measured
	err := pgtx.Write(ctx, s.pool, x.tenant, func(tx pgx.Tx) error {
		m = measured{weight: 1, weightSquare: 1}
		args := x.d.args(x.tenant)
		args["bucket"], args["recall"], args["decay"] = string(x.plan.Bucket(x.search.Filter)), recall, decay
		args["ef"], args["exact"] = x.tuning.ef, x.tuning.exact
		rows, err := tx.Query(ctx, addRecallSQL, args)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() { // settings, or the collection, are others by now
			return rows.Err()
		}
		if err := m.scan(rows); err != nil {
			return err
		}
		rows.Close()
		next := m.retune(x.d.RecallTarget, x.plan.Ef, time.Now())
		if next == m.tuning {
			return nil
		}
		if next.ef <= s.options.Ef && !next.exact {
			next.ef = 0
		}
		args["new_ef"], args["new_exact"] = next.ef, next.exact
		args["raised"] = next.ef > m.ef || next.exact && !m.exact
		_, err = tx.Exec(ctx, retuneSQL, args)
		return err
	})
	s.tunings.forget(x.d.id) // maybe changed, by us or by another node
	if err != nil {
		return m, fmt.Errorf("keep recall: %w", err)
	}
	return m, nil
}
