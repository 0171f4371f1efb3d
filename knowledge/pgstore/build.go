package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge/pgtx"
)

// A bulk build makes a new main of all rows there are. While it copies and
// indexes, which may take hours, readers look where they looked before, and
// writers write to the write place as always, with the next epoch on their rows,
// and log the ids. At the end, for a moment, nobody writes: copies of what was
// logged are removed, and one update makes the new place main and puts all rows of
// the write place that are older than the epoch out of sight. They are removed at
// leisure.
//
// Each step finds out by itself how far it is, so that it can be killed anywhere.

// build makes the next main, or goes on making it. total is about how many rows
// there are.
func (m *mover) build(ctx context.Context, total int64) error {
	if m.building == noMain {
		if err := m.calm(ctx, total); err != nil {
			return err
		}
		if err := m.begin(ctx); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	for _, step := range []struct {
		name string
		do   func(context.Context, int64) error
	}{
		{"copy", m.copyRows}, {"index", m.index}, {"catch up", m.catchUp}, {"switch over", m.switchOver}, {"clean", m.cleanAfter},
	} {
		if err := m.store.step(step.name); err != nil {
			return err
		}
		if err := step.do(ctx, total); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// A collection of that many rows takes longer to build than to wait for.
const (
	worthWaiting = 20_000
	longestWait  = 2 * time.Minute
)

// calm waits while a bulk load goes on: what is built in the midst of one has to be
// built again after it. A collection that always grows is not waited for long.
func (m *mover) calm(ctx context.Context, rows int64) error {
	for start := time.Now(); rows >= worthWaiting && time.Since(start) < longestWait; {
		m.report(Tending{Phase: "waiting", Total: rows})
		if err := pgtx.Pause(ctx, time.Second); err != nil {
			return err
		}
		written, indexed, err := m.sizes(ctx)
		if err != nil || written+indexed <= rows+rows/50 {
			return err
		}
		rows = written + indexed
	}
	return nil
}

const beginSQL = `
UPDATE collections SET building = @building, epoch = epoch + 1
WHERE tenant_id = @tenant AND collection_id = @collection`

const forgetChangesSQL = `
DELETE FROM record_changes WHERE tenant_id = @tenant AND collection_id = @collection`

// begin makes an empty place and has writers log from now on.
func (m *mover) begin(ctx context.Context) error {
	place, err := m.store.makePlace(ctx)
	if err != nil {
		return err
	}
	err = m.alone(ctx, func(tx pgx.Tx) error {
		args := m.args(m.tenant)
		args["building"] = place
		if _, err := tx.Exec(ctx, forgetChangesSQL, args); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, beginSQL, args)
		return err
	})
	if err != nil {
		m.store.discardPlace(ctx, place)
		return err
	}
	m.building, m.epoch = place, m.epoch+1
	return nil
}

// copyRowsSQL copies the next rows, by id, of both places. The next epoch's are
// left where they are.
const copyRowsSQL = `
WITH copied AS (
	INSERT INTO records (placement, epoch, ` + rowColumns + `)
	SELECT @building::int, @epoch::int, ` + rowColumns + `
	FROM (
		(SELECT ` + rowColumns + ` FROM records r WHERE ` + writeLiveSQL + ` AND r.epoch < @epoch::int AND r.id > @after ORDER BY r.id LIMIT @rows)
		UNION ALL
		(SELECT ` + rowColumns + ` FROM records r WHERE ` + mainLiveSQL + ` AND r.id > @after ORDER BY r.id LIMIT @rows)
	) r
	ORDER BY id
	LIMIT @rows
	RETURNING id
)
SELECT count(*), max(id) FROM copied`

const lastCopiedSQL = `
SELECT count(*), coalesce(max(id), '')
FROM records
WHERE placement = @building AND tenant_id = @tenant AND collection_id = @collection`

func (m *mover) copyRows(ctx context.Context, total int64) error {
	args := m.args(m.tenant)
	args["building"], args["epoch"], args["rows"] = m.building, m.epoch, m.chunkRows()
	var done int64
	var after string
	if err := m.conn.QueryRow(ctx, lastCopiedSQL, args).Scan(&done, &after); err != nil {
		return pgtx.Kind(ctx, err)
	}
	for {
		m.report(Tending{Phase: "copying", Done: done, Total: total})
		args["after"] = after
		var copied int64
		var last *string
		if err := m.conn.QueryRow(ctx, copyRowsSQL, args).Scan(&copied, &last); err != nil {
			return pgtx.Kind(ctx, err)
		}
		if last == nil {
			return nil
		}
		done, after = done+copied, *last
	}
}

// settingsSQL gives the build its memory and its helpers, for one transaction. Before
// 0.8.2 pgvector could write beyond the end of memory when it built with helpers.
const settingsSQL = `
SELECT set_config('maintenance_work_mem', @memory, true),
	set_config('max_parallel_maintenance_workers', CASE WHEN string_to_array(extversion, '.')::int[] >= '{0,8,2}' THEN @workers::text ELSE '0' END, true)
FROM pg_extension
WHERE extname = 'vector'`

const vectorIndexSQL = `
SELECT tars.build_vector_index(@building, @metric, @dimension, @precision, @quantization, @m, @ef_construction)`

const fieldIndexesSQL = `SELECT tars.build_field_indexes(@building, @slots::text[])`

const wordsIndexSQL = `SELECT tars.build_words_index(@building)`

// index builds what the place lacks of its indexes.
func (m *mover) index(ctx context.Context, total int64) error {
	args := pgx.NamedArgs{
		"memory": strconv.FormatInt(m.store.options.BuildMemory>>10, 10) + "kB", "workers": strconv.Itoa(max(0, m.store.options.BuildWorkers)),
		"building": m.building, "metric": string(m.Metric), "dimension": m.Dimension(), "precision": string(m.Precision),
		"quantization": string(m.Index.Quantization), "m": m.Index.M, "ef_construction": m.Index.EfConstruction, "slots": indexedSlots(m.slots),
	}
	watch, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		m.watchIndex(watch, m.conn.Conn().PgConn().PID(), total)
	}()
	defer func() { stop(); <-watched }()
	for _, sql := range []string{vectorIndexSQL, fieldIndexesSQL, wordsIndexSQL} {
		err := pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, settingsSQL, args); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, sql, args)
			return err
		})
		if err != nil {
			return pgtx.Kind(ctx, err)
		}
	}
	return nil
}

// indexedSlots are those that a btree can find by; lists are looked at one by one.
func indexedSlots(slots []slotted) []string {
	names := []string{}
	for _, s := range slots {
		if !strings.HasPrefix(s.Slot, "a") {
			names = append(names, s.Slot)
		}
	}
	return names
}

const indexProgressSQL = `
SELECT tuples_done FROM pg_stat_progress_create_index WHERE pid = @pid`

// watchIndex reports how far the build of the connection with that process is,
// until ctx ends. That it cannot be told is no fault.
func (m *mover) watchIndex(ctx context.Context, pid uint32, total int64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	m.report(Tending{Phase: "indexing", Total: total})
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var done int64
		if err := m.store.jobs.QueryRow(ctx, indexProgressSQL, pgx.NamedArgs{"pid": pid}).Scan(&done); err == nil {
			m.report(Tending{Phase: "indexing", Done: done, Total: total})
		}
	}
}

// catchUpSQL removes copies that are stale. Once stale, a copy is so for ever: the
// record's later forms have the next epoch, and are not copied.
const catchUpSQL = `
WITH logged AS (
	SELECT ctid FROM record_changes WHERE tenant_id = @tenant AND collection_id = @collection LIMIT @rows
), changed AS (
	DELETE FROM record_changes WHERE tenant_id = @tenant AND collection_id = @collection AND ctid IN (SELECT ctid FROM logged)
	RETURNING id
), stale AS (
	DELETE FROM records
	WHERE placement = @building AND tenant_id = @tenant AND collection_id = @collection AND id = ANY (ARRAY(SELECT id FROM changed))
)
SELECT count(*) FROM changed`

// catchUp leaves little to do for the switch.
func (m *mover) catchUp(ctx context.Context, _ int64) error {
	for {
		n, err := m.catchUpOnce(ctx, m.conn, m.chunkRows())
		if n < 100 || err != nil {
			return err
		}
	}
}

func (m *mover) catchUpOnce(ctx context.Context, db queryer, rows int64) (n int64, err error) {
	args := m.args(m.tenant)
	args["building"], args["rows"] = m.building, rows
	err = db.QueryRow(ctx, catchUpSQL, args).Scan(&n)
	return n, pgtx.Kind(ctx, err)
}

// queryer is a connection or a transaction on it.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const switchSQL = `
UPDATE collections SET main = building, main_index = NULL, building = NULL, live_epoch = epoch, generation = generation + 1
WHERE tenant_id = @tenant AND collection_id = @collection`

// switchOver makes the place that was built main, and gives up the old one.
func (m *mover) switchOver(ctx context.Context, _ int64) error {
	old := m.main
	err := m.alone(ctx, func(tx pgx.Tx) error {
		if m.building == noMain { // the collection of that name, or its index, is another by now
			return errors.New("the place that was built is not the collection's any more")
		}
		if _, err := m.catchUpOnce(ctx, tx, 1<<40); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, switchSQL, m.args(m.tenant))
		return err
	})
	if err != nil {
		return err
	}
	m.main, m.building, m.liveEpoch, m.generation = m.building, noMain, m.epoch, m.generation+1
	m.store.definitions.forget(m.tenant)
	if old != noMain {
		m.store.discardPlace(ctx, old)
	}
	return nil
}

func (m *mover) cleanAfter(ctx context.Context, _ int64) error { return m.clean(ctx) }

const abandonSQL = `
UPDATE collections SET building = NULL
WHERE tenant_id = @tenant AND collection_id = @collection`

// abandon gives up a place that is no longer wanted before it was ready.
func (m *mover) abandon(ctx context.Context) error {
	place := m.building
	err := m.alone(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, abandonSQL, m.args(m.tenant)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, forgetChangesSQL, m.args(m.tenant))
		return err
	})
	if err != nil {
		return err
	}
	m.building = noMain
	m.store.discardPlace(ctx, place)
	return nil
}
