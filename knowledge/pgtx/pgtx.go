// Package pgtx runs statements for one tenant: the setting tars.tenant, which
// row-level security compares with, is set first in the same transaction and is
// gone with it. It turns PostgreSQL's errors into the kinds of knowledge, by
// code. What the statements are it leaves to the packages that keep something.
package pgtx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tars-project/tars/knowledge"
)

// setTenant names the tenant of this transaction.
const setTenant = `SELECT set_config('tars.tenant', $1, true)`

// pool is what of a *pgxpool.Pool is needed.
type pool interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Read runs one statement as the tenant, in one round trip: the setting and the
// statement go as one batch, which is one implicit transaction. read takes the
// rows; an error of it is returned.
func Read(ctx context.Context, db pool, tenant knowledge.TenantID, sql string, args pgx.NamedArgs, read func(pgx.Rows) error) error {
	batch := &pgx.Batch{}
	batch.Queue(setTenant, string(tenant))
	batch.Queue(sql, args)
	results := db.SendBatch(ctx, batch)
	err := func() error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		defer rows.Close()
		if err := read(rows); err != nil {
			return err
		}
		return rows.Err()
	}()
	if closed := results.Close(); err == nil {
		err = closed // else it repeats what went wrong
	}
	return Kind(err)
}

// Write runs do in one transaction as the tenant, and commits unless do returns
// an error.
func Write(ctx context.Context, db pool, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
	return Kind(pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setTenant, string(tenant)); err != nil {
			return err
		}
		return do(tx)
	}))
}

// Kind adds to an error of pgx the kind of knowledge that its code stands for.
// Errors that have no kind, and nil, are returned as they are.
func Kind(err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: %w", knowledge.ErrNotFound, err)
	case errors.As(err, &pg) && kindOf(pg.Code) != nil:
		return fmt.Errorf("%w: %w", kindOf(pg.Code), err)
	case unreachable(err):
		return fmt.Errorf("%w: %w", knowledge.ErrUnavailable, err)
	}
	return err
}

// kindOf returns the kind of a SQLSTATE, nil if it has none.
func kindOf(code string) error {
	if kind, ok := kinds[code]; ok {
		return kind
	}
	return classes[code[:min(2, len(code))]]
}

// unreachable reports that no server could be reached or let us in, or that the
// connection broke, for which pgx has more than one error.
func unreachable(err error) bool {
	var network net.Error
	return errors.As(err, new(*pgconn.ConnectError)) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err)
}

// Codes and classes of codes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
var (
	kinds = map[string]error{
		"23505": knowledge.ErrConflict,    // unique_violation
		"23503": knowledge.ErrNotFound,    // foreign_key_violation: what it refers to is not there
		"57014": knowledge.ErrUnavailable, // query_canceled: by statement_timeout, for ctx was seen to above
		"55P03": knowledge.ErrUnavailable, // lock_not_available
		"25006": knowledge.ErrUnavailable, // read_only_sql_transaction: a standby
		"25P03": knowledge.ErrUnavailable, // idle_in_transaction_session_timeout
		"25P04": knowledge.ErrUnavailable, // transaction_timeout
	}
	classes = map[string]error{
		"08": knowledge.ErrUnavailable, // connection exception
		"40": knowledge.ErrUnavailable, // transaction rollback: serialization, deadlock
		"53": knowledge.ErrUnavailable, // insufficient resources: disk, memory, connections
		"57": knowledge.ErrUnavailable, // operator intervention: shutdown, starting up
		"58": knowledge.ErrUnavailable, // system error: I/O
	}
)
