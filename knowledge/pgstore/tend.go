package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Tending says how far [Store.Tend] is, and what it did.
type Tending struct {
	Phase       string // "waiting" for the end of a bulk load, "copying", "indexing", "merging", "dissolving", "cleaning"; empty when there was nothing to do
	Done, Total int64  // rows of the phase
}

// Tend brings a collection's rows to where they belong, until there is nothing more
// to do. A collection without a main place that has grown gets one, filled and
// indexed in bulk; what was written since is merged into it row by row, or by a
// new bulk build where that is less work; one that has shrunk, or shall have no
// index, gives its place up. Readers and writers go on meanwhile, and see each
// record exactly once.
//
// It may end at any moment, killed or by its context: the next call goes on where
// it was. report, if not nil, is called for each step. It returns an error
// wrapping [knowledge.ErrNotFound] when there is no such collection,
// [knowledge.ErrUnavailable] when another call, on any node, is tending it, and
// [knowledge.ErrLimit] when there are too many places.
func (s *Store) Tend(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, report func(Tending)) error {
	if report == nil {
		report = func(Tending) {}
	}
	err := s.whileTending(ctx, tenant, name, func(m *mover) error {
		m.report = report
		id := m.id
		err := m.tend(ctx)
		if err != nil && ctx.Err() == nil {
			// A collection that was deleted meanwhile took its places along,
			// which a step may notice in many ways.
			switch gone := m.refresh(ctx, name); {
			case errors.Is(gone, knowledge.ErrNotFound):
				return gone
			case gone == nil && m.id != id:
				return fmt.Errorf("it was made anew: %w", knowledge.ErrUnavailable)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("tend collection %q: %w", name, err)
	}
	return nil
}

// mover moves the rows of one collection. It has a connection of its own, which
// holds a lock for as long as it works, so that there is one mover of a
// collection in the whole database.
type mover struct {
	store  *Store
	conn   *pgxpool.Conn
	tenant knowledge.TenantID
	definition
	report func(Tending)
}

const tendedSQL = `
SELECT ` + definitionColumns + `
FROM collections
WHERE tenant_id = @tenant AND name = @name`

// refresh reads the definition again.
func (m *mover) refresh(ctx context.Context, name knowledge.CollectionName) error {
	err := m.scan(m.conn.QueryRow(ctx, tendedSQL, pgx.NamedArgs{"tenant": string(m.tenant), "name": string(name)}))
	if errors.Is(err, pgx.ErrNoRows) {
		return knowledge.NotFound("collection", name)
	}
	return pgtx.Kind(ctx, err)
}

const (
	tryTendingSQL = `SELECT pg_try_advisory_lock(hashtextextended('tars.tend', @collection))`
	endTendingSQL = `SELECT pg_advisory_unlock(hashtextextended('tars.tend', @collection))`
)

// whileTending calls do while no other mover works on the collection.
func (s *Store) whileTending(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, do func(*mover) error) error {
	conn, err := s.jobs.Acquire(ctx)
	if err != nil {
		return pgtx.Kind(ctx, err)
	}
	defer conn.Release()
	m := &mover{store: s, conn: conn, tenant: tenant}
	if err := m.refresh(ctx, name); err != nil {
		return err
	}
	args := pgx.NamedArgs{"collection": m.id}
	var free bool
	if err := conn.QueryRow(ctx, tryTendingSQL, args).Scan(&free); err != nil {
		return pgtx.Kind(ctx, err)
	}
	if !free {
		return fmt.Errorf("it is being tended already: %w", knowledge.ErrUnavailable)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, endTendingSQL, args); err != nil {
			_ = conn.Conn().Close(ctx) // the lock goes with the connection
		}
	}()
	id := m.id
	if err := m.refresh(ctx, name); err != nil { // as the last one left it
		return err
	}
	if m.id != id { // another of the same name, for which the lock is not
		return fmt.Errorf("it was made anew: %w", knowledge.ErrUnavailable)
	}
	return do(m)
}

// tend does what is to do until there is nothing more.
func (m *mover) tend(ctx context.Context) error {
	if err := m.clean(ctx); err != nil {
		return err
	}
	if m.building != noMain && m.Index.Kind == knowledge.IndexNone {
		if err := m.abandon(ctx); err != nil {
			return err
		}
	}
	for worked := true; worked; {
		var err error
		if worked, err = m.tendOnce(ctx); err != nil {
			return err
		}
	}
	return m.settle(ctx)
}

// tendOnce decides what is to do, does it, and reports whether that was something.
func (m *mover) tendOnce(ctx context.Context) (bool, error) {
	if err := m.refresh(ctx, m.Name); err != nil { // settings may have changed
		return false, err
	}
	written, indexed, err := m.sizes(ctx)
	if err != nil {
		return false, err
	}
	switch o := m.store.options; {
	case m.building != noMain, m.main == noMain && o.wantsIndex(m.definition, written):
		return true, m.build(ctx, written+indexed)
	case m.main == noMain:
		return false, nil
	case !o.keepsIndex(m.definition, written+indexed):
		return true, m.dissolve(ctx, indexed)
	case m.rebuild():
		return true, m.build(ctx, written+indexed)
	case written*m.width() < o.MergeFrom:
		return false, nil
	case written > indexed/bulkAdvantage:
		return true, m.build(ctx, written+indexed)
	}
	merged, err := m.merge(ctx, written)
	return merged > 0, err
}

// bulkAdvantage is how many times faster the index takes rows in a bulk build
// than one by one: some 5,000 a second against 600 (docs/decisions.md). A bulk
// build takes the old rows again, so it pays when the new ones are more than
// that part of them.
const bulkAdvantage = 7

// width is about how many bytes an exact scan reads for one row, without text.
func (d definition) width() int64 {
	if d.Precision == knowledge.Float16 {
		return 2*int64(d.Dimension()) + 64
	}
	return 4*int64(d.Dimension()) + 64
}

// fits says that the index of so many rows may be kept in the server's memory:
// searches by a larger one are slower than without.
func (o Options) fits(d definition, rows int64) bool {
	if o.IndexMemory == 0 || rows == 0 {
		return true
	}
	e, err := d.Estimate(knowledge.Sizing{Rows: rows})
	return err == nil && e.VectorIndex <= o.IndexMemory
}

// wantsIndex says that a collection of that many rows should get a place of its own.
func (o Options) wantsIndex(d definition, rows int64) bool {
	if !o.fits(d, rows) {
		return false
	}
	switch d.Index.Kind {
	case knowledge.IndexAuto:
		return rows*d.width() >= o.IndexFrom
	case knowledge.IndexHNSW:
		return rows > 0
	}
	return false
}

// keepsIndex says that a place of its own is still worth having: only half of
// what it takes to get one, so that a collection at the border does not move to
// and fro.
func (o Options) keepsIndex(d definition, rows int64) bool {
	switch d.Index.Kind {
	case knowledge.IndexAuto:
		return 2*rows*d.width() >= o.IndexFrom
	case knowledge.IndexHNSW:
		return rows > 0
	}
	return false
}

const sizesSQL = `
SELECT
	(SELECT count(*) FROM records r WHERE ` + writeLiveSQL + `),
	(SELECT count(*) FROM records r WHERE ` + mainLiveSQL + `)`

// sizes counts the rows of the write place and of main.
func (m *mover) sizes(ctx context.Context) (written, indexed int64, err error) {
	err = m.conn.QueryRow(ctx, sizesSQL, m.args(m.tenant)).Scan(&written, &indexed)
	return written, indexed, pgtx.Kind(ctx, err)
}

const settleSQL = `
UPDATE collections SET pending = (SELECT count(*) FROM records r WHERE ` + writeLiveSQL + `)
WHERE tenant_id = @tenant AND collection_id = @collection AND main IS NOT NULL`

// settle writes down how many rows wait, for writers who must not get too far ahead.
func (m *mover) settle(ctx context.Context) error {
	if _, err := m.conn.Exec(ctx, settleSQL, m.args(m.tenant)); err != nil {
		return pgtx.Kind(ctx, err)
	}
	m.store.activity.settled(m.id)
	m.store.definitions.forget(m.tenant)
	return nil
}

// chunkRows is how many rows a move takes at once: some 16 MiB of vectors.
func (m *mover) chunkRows() int64 {
	return max(100, min(5000, 16<<20/m.width()))
}

// lockedSQL holds off writers to the collection for the rest of a transaction.
const lockedSQL = `
SELECT ` + definitionColumns + `
FROM collections
WHERE tenant_id = @tenant AND collection_id = @collection
FOR UPDATE`

// alone runs do while nobody writes to the collection. It must be short.
func (m *mover) alone(ctx context.Context, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		err := m.scan(tx.QueryRow(ctx, lockedSQL, m.args(m.tenant)))
		if errors.Is(err, pgx.ErrNoRows) {
			return knowledge.NotFound("collection", m.Name)
		}
		if err != nil {
			return err
		}
		return do(tx)
	})
	return pgtx.Kind(ctx, err)
}

// cleanSQL names the rows by an array, and so do the other moves: without statistics,
// which a place that has just been filled does not have, a join of as many rows takes
// time that grows with the square of their number.
const cleanSQL = `
WITH old AS (
	SELECT r.id
	FROM records r
	WHERE r.placement = @placement AND r.tenant_id = @tenant AND r.collection_id = @collection
	  AND r.epoch < @live_epoch AND r.id > @after
	ORDER BY r.id
	LIMIT @rows
), gone AS (
	DELETE FROM records r
	WHERE r.placement = @placement AND r.tenant_id = @tenant AND r.collection_id = @collection
	  AND r.epoch < @live_epoch AND r.id = ANY (ARRAY(SELECT id FROM old))
)
SELECT max(id) FROM old`

// clean removes the rows that a bulk build left behind in the write place: main
// has them.
func (m *mover) clean(ctx context.Context) error {
	args := m.args(m.tenant)
	args["after"], args["rows"] = "", m.chunkRows()
	for done := int64(0); ; done += m.chunkRows() {
		var last *string
		if err := m.conn.QueryRow(ctx, cleanSQL, args).Scan(&last); err != nil {
			return pgtx.Kind(ctx, err)
		}
		if last == nil {
			return nil
		}
		args["after"] = *last
		m.report(Tending{Phase: "cleaning", Done: done})
	}
}
