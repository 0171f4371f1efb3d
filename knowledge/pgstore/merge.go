package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge/pgtx"
)

// mergeRows is how many rows one statement of a merge carries: the index takes
// some 2 ms for each, and writers of these very rows wait that long.
const mergeRows = 100

// mergeSQL carries rows from the write place to main, in one statement: every
// snapshot has each of them in one of the two. Rows that someone is writing are
// left for the next time. Writers need not be held off: one who waits for a row
// that goes finds it in main by its next statement, see replaceMainSQL.
const mergeSQL = `
WITH picked AS (
	SELECT r.id
	FROM records r
	WHERE ` + writeLiveSQL + `
	ORDER BY r.id
	LIMIT @rows
	FOR UPDATE SKIP LOCKED
), moved AS (
	DELETE FROM records r
	WHERE ` + writeLiveSQL + ` AND r.id = ANY (ARRAY(SELECT id FROM picked))
	RETURNING r.*
)
INSERT INTO records (placement, epoch, ` + rowColumns + `)
SELECT @main::int, @epoch::int, ` + rowColumns + `
FROM moved`

// merge carries about total rows of the write place over to main one by one, into
// its live index, and returns how many it did.
func (m *mover) merge(ctx context.Context, total int64) (done int64, err error) {
	args := m.args(m.tenant)
	args["rows"], args["epoch"] = mergeRows, m.epoch
	for done < total {
		m.report(Tending{Phase: "merging", Done: done, Total: total})
		tag, err := m.conn.Exec(ctx, mergeSQL, args)
		if err != nil {
			return done, pgtx.Kind(ctx, err)
		}
		done += tag.RowsAffected()
		if err := m.store.step("merge"); err != nil {
			return done, err
		}
		if tag.RowsAffected() < mergeRows {
			break
		}
	}
	_, err = m.conn.Exec(ctx, recountSQL, args)
	return done, pgtx.Kind(ctx, err)
}

// recountSQL keeps the weights of words near the truth.
const recountSQL = `SELECT tars.recount_lexemes(@main)`

const dissolveSQL = `
WITH picked AS (
	SELECT r.id
	FROM records r
	WHERE r.placement = @main AND r.tenant_id = @tenant AND r.collection_id = @collection
	LIMIT @rows
), moved AS (
	DELETE FROM records r
	WHERE r.placement = @main AND r.tenant_id = @tenant AND r.collection_id = @collection AND r.id = ANY (ARRAY(SELECT id FROM picked))
	RETURNING r.*
)
INSERT INTO records (placement, epoch, ` + rowColumns + `)
SELECT @placement::int, @epoch::int, ` + rowColumns + `
FROM moved`

const dropMainSQL = `
UPDATE collections SET main = NULL, main_index = NULL, generation = generation + 1
WHERE tenant_id = @tenant AND collection_id = @collection`

// dissolve carries all rows of main back to the write place and gives main up.
// Writers are held off for each chunk: a row of main may be just being replaced.
func (m *mover) dissolve(ctx context.Context, total int64) error {
	for done := int64(0); ; {
		m.report(Tending{Phase: "dissolving", Done: done, Total: total})
		var moved int64
		place := m.main
		err := m.alone(ctx, func(tx pgx.Tx) error {
			args := m.args(m.tenant)
			args["rows"], args["epoch"] = m.chunkRows(), m.epoch
			tag, err := tx.Exec(ctx, dissolveSQL, args)
			if err != nil {
				return err
			}
			if moved = tag.RowsAffected(); moved > 0 {
				return nil
			}
			_, err = tx.Exec(ctx, dropMainSQL, args)
			return err
		})
		if err != nil {
			return err
		}
		if err := m.store.step("dissolve"); err != nil {
			return err
		}
		if moved == 0 {
			m.main = noMain
			m.store.definitions.forget(m.tenant)
			m.store.discardPlace(ctx, place)
			return nil
		}
		done += moved
	}
}
