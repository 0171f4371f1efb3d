package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// errRaced says that a record changed between the look at it and the write that
// depends on it: the transaction must begin again.
var errRaced = errors.New("a record changed meanwhile")

// raceAttempts bounds how often that is done.
const raceAttempts = 10

// write is [pgtx.Write] for writes that depend on what is there. They look and
// write without holding locks in between, for these could be taken in another
// order than the writes of others; do returns errRaced when it was not first.
func (s *Store) write(ctx context.Context, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := pgtx.Write(ctx, s.app, tenant, do)
		switch {
		case !errors.Is(err, errRaced):
			return err
		case attempt == raceAttempts:
			return fmt.Errorf("%w: %w", knowledge.ErrUnavailable, err)
		}
		if err := pgtx.Pause(ctx, time.Duration(attempt)*5*time.Millisecond); err != nil {
			return err
		}
	}
}

// PutRecords implements [knowledge.Records].
func (s *Store) PutRecords(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, w knowledge.Write) ([]knowledge.WriteResult, error) {
	var results []knowledge.WriteResult
	var d definition
	err := s.write(ctx, tenant, func(tx pgx.Tx) (err error) {
		if d, err = s.lockForWrite(ctx, tx, tenant, collection); err != nil {
			return err
		}
		if err = w.CheckEmbedder(d.Collection); err != nil {
			return err
		}
		if results, err = w.Check(func(r knowledge.Record) error { return r.Validate(d.Collection) }); err != nil {
			return err
		}
		return putWrite(ctx, tx, tenant, d, w, results)
	})
	if err != nil {
		return nil, fmt.Errorf("put records: %w", err)
	}
	s.activity.wrote(tenant, d, int64(len(results)))
	return results, nil
}

// putWrite writes the records of w whose results have no error yet, and completes
// the results.
func putWrite(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, w knowledge.Write, results []knowledge.WriteResult) error {
	var present map[knowledge.RecordID]int64
	if w.Conditional() {
		var err error
		if present, err = presentVersions(ctx, tx, tenant, d, w.Records); err != nil {
			return err
		}
	}
	good := make([]knowledge.Record, 0, len(w.Records))
	index := make(map[knowledge.RecordID]int, len(w.Records))
	for i, r := range w.Records {
		if results[i].Err != nil {
			continue
		}
		if err := w.Admit(i, present[r.ID]); w.Conditional() && err != nil {
			if w.OnError != knowledge.Skip {
				return err
			}
			results[i].Err = err
			continue
		}
		index[r.ID] = i
		good = append(good, r)
	}
	if w.Mode == knowledge.Restore {
		return restoreAll(ctx, tx, tenant, d, good, func(id knowledge.RecordID, version int64, _ time.Time) {
			results[index[id]].Version = version
		})
	}
	err := putAll(ctx, tx, tenant, d, d.TTL, good, func(id knowledge.RecordID, version int64, _ time.Time) {
		results[index[id]].Version = version
	})
	if err != nil || !w.Conditional() {
		return err
	}
	for _, r := range good {
		if results[index[r.ID]].Version != present[r.ID]+1 {
			return errRaced
		}
	}
	return nil
}

const presentSQL = `
SELECT r.id, r.version
FROM records r
WHERE r.id = ANY (@ids::text[]) AND ` + liveSQL

// presentVersions are the versions of those of the records that are there.
func presentVersions(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, records []knowledge.Record) (map[knowledge.RecordID]int64, error) {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = string(r.ID)
	}
	args := d.args(tenant)
	args["ids"] = ids
	rows, err := tx.Query(ctx, presentSQL, args)
	if err != nil {
		return nil, err
	}
	present := map[knowledge.RecordID]int64{}
	var id string
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		present[knowledge.RecordID(id)] = version
		return nil
	})
	return present, err
}
