// Package pgstore keeps collections and records in PostgreSQL with pgvector. It
// implements [knowledge.Store] and passes knowledge/storetest.
//
// How it is laid out: records are partitioned by placement. Small collections
// share a few places, which are searched exactly; a collection with an HNSW
// index has a place of its own, so that no other tenant's records thin out what
// the index finds. The table of collections says where each one's records are.
//
// How tenants are kept apart: each statement names tenant_id, and row-level
// security compares it with the setting tars.tenant, made for one transaction
// at a time in the same round trip. See migrations for the policies.
//
// What it leaves to others: making and changing the schema (migrations),
// tenants, keys and their rights (knowledge/tenancy), sweeping expired records.
package pgstore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
)

// Options are the bounds of a [Store]. The zero value means the defaults.
type Options struct {
	MaxCollections int   // of one tenant; default 10,000
	MaxPlaces      int   // collections with an index, of all tenants together; default 2,000: planning and locking grow with the number of partitions
	ExactBelow     int64 // bytes of an indexed collection's table up to which a search compares all vectors all the same; default 4 MiB, negative: never
}

func (o Options) withDefaults() Options {
	if o.MaxCollections == 0 {
		o.MaxCollections = 10_000
	}
	if o.MaxPlaces == 0 {
		o.MaxPlaces = 2_000
	}
	if o.ExactBelow == 0 {
		// An exact scan of that much takes 1 to 2 ms, as long as the index
		// takes, and it is exact.
		o.ExactBelow = 4 << 20
	}
	return o
}

// Store keeps collections and records. It is safe for concurrent use.
type Store struct {
	app         *pgxpool.Pool
	jobs        *pgxpool.Pool
	options     Options
	definitions *definitions
}

var _ knowledge.Store = (*Store)(nil)

// New makes a Store that serves tenants through app, connected as tars_app,
// and makes and drops places through jobs, connected as tars_jobs. [Open] makes
// such pools. The caller closes both after the last call has returned.
func New(app, jobs *pgxpool.Pool, options Options) *Store {
	return &Store{app: app, jobs: jobs, options: options.withDefaults(), definitions: newDefinitions(time.Now)}
}

// setTenantSQL comes first in each transaction: row-level security compares
// with it. true: for this transaction only.
const setTenantSQL = `SELECT set_config('tars.tenant', @tenant, true)`

// read runs one statement for the tenant in a transaction of its own, in one
// round trip, and hands its rows to scan. setSQL, which may use the same args,
// makes the transaction's settings, that of the tenant among them.
func (s *Store) read(ctx context.Context, setSQL, sql string, args pgx.NamedArgs, scan func(pgx.Rows) error) error {
	// The statements of a batch are one implicit transaction.
	batch := &pgx.Batch{}
	batch.Queue(setSQL, args)
	batch.Queue(sql, args).Query(scan)
	return translate(ctx, s.app.SendBatch(ctx, batch).Close())
}

// writeAttempts bounds how often a write is tried that lost against another.
const writeAttempts = 6

// write runs do in one transaction of the tenant, and again from the start when
// the server ended it because of a deadlock or a failed serialisation.
func (s *Store) write(ctx context.Context, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, s.app, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, setTenantSQL, pgx.NamedArgs{"tenant": string(tenant)}); err != nil {
				return err
			}
			return do(tx)
		})
		if !isRetryable(err) || attempt == writeAttempts {
			return translate(ctx, err)
		}
		if err := pause(ctx, time.Duration(attempt)*10*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits about d, at random so that those who met once do not meet again.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
