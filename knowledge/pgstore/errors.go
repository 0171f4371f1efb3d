package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tars-project/tars/knowledge"
)

// sqlState is the code of a server's error, or empty when err is none.
func sqlState(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// isRetryable reports that the server ended a transaction that may succeed when
// run again from its start.
func isRetryable(err error) bool {
	state := sqlState(err)
	return state == pgerrcode.SerializationFailure || state == pgerrcode.DeadlockDetected
}

// violates reports that the named constraint refused a statement.
func violates(err error, constraint string) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && pgerrcode.IsIntegrityConstraintViolation(server.Code) && server.ConstraintName == constraint
}

// translate turns what pgx and the server report into the kinds of the domain,
// by code and type, never by text. Errors that are of the domain already, and
// those that mean a fault of ours, pass as they are.
func translate(ctx context.Context, err error) error {
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
	case isUnavailable(err):
		return fmt.Errorf("database: %w: %w", knowledge.ErrUnavailable, err)
	}
	return err
}

// isUnavailable reports that the database could not be reached, broke off, or
// had no room or time for the statement just now.
func isUnavailable(err error) bool {
	if state := sqlState(err); state != "" {
		switch {
		case pgerrcode.IsConnectionException(state), // 08
			pgerrcode.IsInsufficientResources(state) && state != pgerrcode.ConfigurationLimitExceeded, // 53
			pgerrcode.IsOperatorIntervention(state),                                                   // 57: shutdown, statement timeout
			pgerrcode.IsSystemError(state):                                                            // 58
			return true
		}
		switch state {
		case pgerrcode.LockNotAvailable, pgerrcode.ReadOnlySQLTransaction, pgerrcode.IdleInTransactionSessionTimeout,
			pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected:
			return true
		}
		var connect *pgconn.ConnectError // the server refused the log-in
		return errors.As(err, &connect)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
