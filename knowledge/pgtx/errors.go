package pgtx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tars-project/tars/knowledge"
)

// Kind adds to an error of pgx the kind of knowledge that its code stands for, or
// the end of ctx if that is what ended the statement. Errors that have no kind,
// those of the domain already, and nil, are returned as they are.
func Kind(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// A cancelled statement comes back as the server's, the network's
		// or pgx's error, whichever was first.
		if errors.Is(err, ctx.Err()) {
			return err
		}
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: %w", knowledge.ErrNotFound, err)
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("database: %w: %w", kind, err)
	}
	return err
}

// Code is the SQLSTATE of a server's error, or empty when err is none.
func Code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// mayRepeat reports that the server ended a transaction that may succeed when
// run again from its start.
func mayRepeat(err error) bool {
	code := Code(err)
	return code == pgerrcode.SerializationFailure || code == pgerrcode.DeadlockDetected
}

// kindOf returns the kind of an error, nil if it has none, such as a fault of
// ours.
func kindOf(err error) error {
	code := Code(err)
	switch {
	case code == pgerrcode.QueryCanceled: // not by us, see Kind: its time was over
		return knowledge.Unavailable("the database gave up after its time limit; ask for less at once, or filter by fields that the collection declares")
	case code == pgerrcode.UniqueViolation:
		return knowledge.ErrConflict
	case code == pgerrcode.ForeignKeyViolation: // what it refers to is not there
		return knowledge.ErrNotFound
	case code != "" && isPassing(code), unreachable(err):
		return knowledge.ErrUnavailable
	}
	return nil
}

// isPassing reports a code that says that the server broke off, or had no room or
// no time for the statement just now.
func isPassing(code string) bool {
	switch code {
	case pgerrcode.LockNotAvailable, pgerrcode.ReadOnlySQLTransaction, pgerrcode.IdleInTransactionSessionTimeout,
		transactionTimeout:
		return true
	case pgerrcode.ConfigurationLimitExceeded:
		return false
	}
	return pgerrcode.IsConnectionException(code) || // 08
		pgerrcode.IsTransactionRollback(code) || // 40: serialization, deadlock
		pgerrcode.IsInsufficientResources(code) || // 53: disk, memory, connections
		pgerrcode.IsOperatorIntervention(code) || // 57: shutdown, statement timeout
		pgerrcode.IsSystemError(code) // 58: input and output
}

// transactionTimeout is a code of PostgreSQL 17 that pgerrcode lacks.
const transactionTimeout = "25P04"

// unreachable reports that no server could be reached or let us in, or that the
// connection broke, for which pgx has more than one error.
func unreachable(err error) bool {
	var network net.Error
	return errors.As(err, new(*pgconn.ConnectError)) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
