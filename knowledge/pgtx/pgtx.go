// Package pgtx runs statements for one tenant: the setting tars.tenant, which
// row-level security compares with, is set first in the same transaction and is
// gone with it. It turns PostgreSQL's errors into the kinds of knowledge, by
// code. What the statements are it leaves to the packages that keep something.
package pgtx

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// SetTenant names the tenant, the argument tenant, for the rest of this
// transaction alone.
const SetTenant = `SELECT set_config('tars.tenant', @tenant, true)`

// pool is what of a *pgxpool.Pool is needed.
type pool interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Read runs one statement as the tenant, in one round trip. read takes the rows;
// an error of it is returned.
func Read(ctx context.Context, db pool, tenant knowledge.TenantID, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
	return readAfter(ctx, db, SetTenant, pgx.NamedArgs{"tenant": string(tenant)}, sql, args, read)
}

// ReadWith is [Read] for a statement that needs more settings than the tenant:
// set makes them all, the tenant's among them, and may use the same arguments.
func ReadWith(ctx context.Context, db pool, set, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
	return readAfter(ctx, db, set, args, sql, args, read)
}

// readAfter runs both statements as one batch, which is one implicit transaction.
func readAfter(ctx context.Context, db pool, set string, setArgs pgx.NamedArgs, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
	batch := &pgx.Batch{}
	batch.Queue(set, setArgs)
	batch.Queue(sql, args).Query(read)
	return Kind(ctx, db.SendBatch(ctx, batch).Close())
}

// writeAttempts bounds how often a write is tried that lost against another.
const writeAttempts = 6

// Write runs do in one transaction as the tenant, and commits unless do returns
// an error. It runs do again from the start when the server ended the transaction
// because of a deadlock or a failed serialisation, so do must start afresh.
func Write(ctx context.Context, db pool, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, SetTenant, pgx.NamedArgs{"tenant": string(tenant)}); err != nil {
				return err
			}
			return do(tx)
		})
		if !mayRepeat(err) || attempt == writeAttempts {
			return Kind(ctx, err)
		}
		if err := Pause(ctx, time.Duration(attempt)*10*time.Millisecond); err != nil {
			return err
		}
	}
}

// Pause waits about d, at random so that those who met once do not meet again.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
