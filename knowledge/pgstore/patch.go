package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

const patchedSQL = `
SELECT ` + recordColumns + `
FROM records r
WHERE r.id = @id AND ` + liveSQL

// PatchRecord implements [knowledge.Records]. The whole record is written anew,
// to the write place: changed where it stands in main it would be taken into the
// index again, at some 2 ms.
func (s *Store) PatchRecord(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, p knowledge.Patch) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	var version int64
	var d definition
	err := s.write(ctx, tenant, func(tx pgx.Tx) (err error) {
		if d, err = s.lockForWrite(ctx, tx, tenant, collection); err != nil {
			return err
		}
		version, err = patchOne(ctx, tx, tenant, d, p)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("patch record: %w", err)
	}
	s.activity.wrote(tenant, d, 1)
	return version, nil
}

func patchOne(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, d definition, p knowledge.Patch) (int64, error) {
	old := knowledge.Record{ID: p.ID}
	args := d.args(tenant)
	args["id"] = string(p.ID)
	rows, err := tx.Query(ctx, patchedSQL, args)
	if err != nil {
		return 0, err
	}
	for rows.Next() {
		if err := scanRecord(rows, &old); err != nil {
			rows.Close()
			return 0, err
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if old.Version == 0 {
		return 0, knowledge.NotFound("record", p.ID)
	}
	r, err := p.Apply(old)
	if err == nil {
		err = r.Validate(d.Collection)
	}
	if err != nil {
		return 0, err
	}
	var version int64
	var created time.Time
	err = putAll(ctx, tx, tenant, d, 0, []knowledge.Record{r}, func(_ knowledge.RecordID, v int64, at time.Time) {
		version, created = v, at
	})
	if err == nil && (version != old.Version+1 || !created.Equal(old.Created)) {
		err = errRaced
	}
	return version, err
}
