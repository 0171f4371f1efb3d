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

// DB is where statements run: a *pgxpool.Pool, or a pgx.Tx, in which a
// transaction is a savepoint.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Read runs one statement as the tenant, in one round trip. read takes the rows;
// an error of it is returned.
func Read(ctx context.Context, db DB, tenant knowledge.TenantID, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
	return readAfter(ctx, db, SetTenant, pgx.NamedArgs{"tenant": string(tenant)}, sql, args, read)
}

// ReadWith is [Read] for a statement that needs more settings than the tenant:
// set makes them all, the tenant's among them, and may use the same arguments.
func ReadWith(ctx context.Context, db DB, set, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
	return readAfter(ctx, db, set, args, sql, args, read)
}

// readAfter runs both statements as one batch, which is one implicit transaction.
func readAfter(ctx context.Context, db DB, set string, setArgs pgx.NamedArgs, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
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
func Write(ctx context.Context, db DB, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
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

// snapshotSettings begin a transaction to which everything stays as it is now.
const snapshotSettings = `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY`

// snapshotPatience is how long a snapshot may wait between two statements, for
// whoever reads what they gave.
const snapshotPatience = `SET LOCAL idle_in_transaction_session_timeout = '2min'`

// Snapshot runs do in one transaction as the tenant, which only reads, and sees
// what was there when it began.
func Snapshot(ctx context.Context, db DB, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		for _, setting := range []string{snapshotSettings, snapshotPatience} {
			if _, err := tx.Exec(ctx, setting); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, SetTenant, pgx.NamedArgs{"tenant": string(tenant)}); err != nil {
			return err
		}
		return do(tx)
	})
	return Kind(ctx, err)
}
