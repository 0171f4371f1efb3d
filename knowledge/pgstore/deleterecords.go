package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// deleteChunk is how many records one transaction of a deletion removes.
const deleteChunk = 5000

// selectDoomedSQL takes a condition.
const selectDoomedSQL = `
SELECT r.id
FROM records r
WHERE r.id > @after AND ` + liveSQL + ` AND %s
ORDER BY r.id
LIMIT @limit`

// deleteDoomedSQL takes a condition, which is checked again: a record may have
// changed since it was selected.
const deleteDoomedSQL = `
DELETE FROM records r
WHERE r.placement = @place AND r.tenant_id = @tenant AND r.collection_id = @collection AND r.id = ANY (@ids::text[]) AND %s
RETURNING r.id, coalesce(r.expires_at <= now(), false)`

// DeleteRecords implements [knowledge.Records].
func (s *Store) DeleteRecords(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, which knowledge.Selection, most int64) (knowledge.Deleted, error) {
	if err := which.Validate(); err != nil {
		return knowledge.Deleted{}, err
	}
	var deleted knowledge.Deleted
	var last time.Duration
	x := &deletion{which: which}
	for x.begin(); !x.done; {
		if left := most - deleted.Count; left <= 0 || deleted.Count > 0 && !enough(ctx, last) {
			deleted.More = true
			break
		}
		start := time.Now()
		n, err := x.next(ctx, s, tenant, collection, min(deleteChunk, int(most-deleted.Count)))
		if err != nil {
			return deleted, fmt.Errorf("delete records: %w", err)
		}
		deleted.Count += n
		last = time.Since(start)
	}
	return deleted, nil
}

// enough reports that ctx leaves time for another chunk, which may take twice as
// long as the last one, and for the answer.
func enough(ctx context.Context, last time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > 2*last+time.Second
}

// deletion is how far a deletion of many records has come.
type deletion struct {
	which knowledge.Selection
	ids   []knowledge.RecordID // still to be deleted, when they were given
	after string               // the last id that was looked at, when they were not
	done  bool
}

func (x *deletion) begin() { x.ids = x.which.IDs }

// next deletes up to limit more records in one transaction and returns how many
// there were that had not expired.
func (x *deletion) next(ctx context.Context, s *Store, tenant knowledge.TenantID, collection knowledge.CollectionName, limit int) (int64, error) {
	var n int64
	var rest deletion
	err := s.write(ctx, tenant, func(tx pgx.Tx) error {
		rest = *x
		d, err := lockCollection(ctx, tx, tenant, collection)
		if err != nil {
			return err
		}
		args := d.args(tenant)
		condition, err := d.where(x.which.Filter, args)
		if err != nil {
			return err
		}
		doomed, err := rest.take(ctx, tx, condition, args, limit)
		if err != nil || len(doomed) == 0 {
			return err
		}
		args["ids"] = doomed
		n, err = deleteAll(ctx, tx, d, condition, args)
		return err
	})
	if err == nil {
		*x = rest
	}
	return n, err
}

// take returns the next ids to delete.
func (x *deletion) take(ctx context.Context, tx pgx.Tx, condition string, args pgx.NamedArgs, limit int) ([]string, error) {
	if x.which.IDs != nil {
		n := min(limit, len(x.ids))
		doomed := make([]string, n)
		for i, id := range x.ids[:n] {
			doomed[i] = string(id)
		}
		x.ids = x.ids[n:]
		x.done = len(x.ids) == 0
		return doomed, nil
	}
	args["after"], args["limit"] = x.after, limit
	rows, err := tx.Query(ctx, fmt.Sprintf(selectDoomedSQL, condition), args)
	if err != nil {
		return nil, err
	}
	doomed, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	if x.done = len(doomed) < limit; !x.done {
		x.after = doomed[len(doomed)-1]
	}
	return doomed, nil
}

// deleteAll deletes the records @ids from the write place first, then from main, in
// statements of their own: a row that is carried over between the two is seen by the
// second. It returns how many there were that had not expired.
func deleteAll(ctx context.Context, tx pgx.Tx, d definition, condition string, args pgx.NamedArgs) (int64, error) {
	gone := map[string]bool{}
	for _, args["place"] = range d.places() {
		rows, err := tx.Query(ctx, fmt.Sprintf(deleteDoomedSQL, condition), args)
		if err != nil {
			return 0, err
		}
		var id string
		var expired bool
		_, err = pgx.ForEachRow(rows, []any{&id, &expired}, func() error {
			if !expired {
				gone[id] = true
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if len(gone) > 0 && d.building != noMain {
		if _, err := tx.Exec(ctx, logChangesSQL, args); err != nil {
			return 0, err
		}
	}
	return int64(len(gone)), nil
}
