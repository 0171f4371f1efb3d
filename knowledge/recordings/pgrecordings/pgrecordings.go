// Package pgrecordings keeps recordings of plugin calls in PostgreSQL.
package pgrecordings

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/recordings"
)

// Store implements [recordings.Store]. Make it with [New]; safe for concurrent use.
type Store struct{ app, jobs pgtx.DB }

var _ recordings.Store = (*Store)(nil)

// New returns a store that works for tenants on connections of the role tars_app, and
// sweeps on those of tars_jobs.
func New(app, jobs pgtx.DB) *Store { return &Store{app, jobs} }

const insertSQL = `
INSERT INTO recordings (tenant_id, call_id, key_id, kek_id, sealed, expires_at)
VALUES (@tenant, @call, @key, @kek, @sealed, @expires)`

// makeRoomSQL removes the oldest but the new one, until the rest has room.
const makeRoomSQL = `
DELETE FROM recordings r
USING (
	SELECT call_id, sum(size) OVER (ORDER BY call_id = @call DESC, created_at DESC, call_id DESC) AS sum
	FROM recordings
	WHERE tenant_id = @tenant
) o
WHERE r.tenant_id = @tenant AND r.call_id = o.call_id AND o.sum > @most AND r.call_id <> @call`

// PutRecording implements [recordings.Store].
func (s *Store) PutRecording(ctx context.Context, tenant knowledge.TenantID, e recordings.Entry, most int64) error {
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{
			"tenant": string(tenant), "call": string(e.Call), "key": e.Key, "kek": e.Sealed.KeyID, "sealed": e.Sealed.Bytes,
			"expires": e.Expires, "most": most,
		}
		if _, err := tx.Exec(ctx, insertSQL, args); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, makeRoomSQL, args)
		return err
	})
	if err != nil {
		return fmt.Errorf("put recording: %w", err)
	}
	return nil
}

const selectSQL = `
SELECT key_id, kek_id, sealed, expires_at FROM recordings
WHERE tenant_id = @tenant AND call_id = @call AND expires_at > now()`

// Recording implements [recordings.Store].
func (s *Store) Recording(ctx context.Context, tenant knowledge.TenantID, call ledger.ID) (recordings.Entry, error) {
	e := recordings.Entry{Call: call}
	err := pgtx.Read(ctx, s.app, tenant, selectSQL, pgx.NamedArgs{"tenant": string(tenant), "call": string(call)}, func(rows pgx.Rows) error {
		if !rows.Next() {
			if err := rows.Err(); err != nil {
				return err
			}
			return knowledge.NotFound("recording", call)
		}
		err := rows.Scan(&e.Key, &e.Sealed.KeyID, &e.Sealed.Bytes, &e.Expires)
		rows.Close()
		return err
	})
	if err != nil {
		return recordings.Entry{}, fmt.Errorf("recording: %w", err)
	}
	e.Expires = e.Expires.UTC()
	return e, nil
}

const deleteSQL = `DELETE FROM recordings WHERE tenant_id = @tenant AND call_id = @call AND expires_at > now()`

// DeleteRecording implements [recordings.Store].
func (s *Store) DeleteRecording(ctx context.Context, tenant knowledge.TenantID, call ledger.ID) error {
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, deleteSQL, pgx.NamedArgs{"tenant": string(tenant), "call": string(call)})
		if err == nil && tag.RowsAffected() == 0 {
			err = knowledge.NotFound("recording", call)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete recording: %w", err)
	}
	return nil
}

// sweepSQL is bounded, so that no transaction is long.
const sweepSQL = `
DELETE FROM recordings WHERE (tenant_id, call_id) IN (
	SELECT tenant_id, call_id FROM recordings WHERE expires_at <= now() ORDER BY expires_at LIMIT 500)`

// SweepRecordings implements [recordings.Store].
func (s *Store) SweepRecordings(ctx context.Context) (swept int64, err error) {
	for {
		var n int64
		err := pgx.BeginFunc(ctx, s.jobs, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, sweepSQL)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return swept, fmt.Errorf("sweep recordings: %w", pgtx.Kind(ctx, err))
		}
		if swept += n; n == 0 {
			return swept, nil
		}
	}
}
