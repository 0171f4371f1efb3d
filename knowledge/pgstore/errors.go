package pgstore

import (
	"errors"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// violates reports that the named constraint refused a statement.
func violates(err error, constraint string) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && pgerrcode.IsIntegrityConstraintViolation(server.Code) && server.ConstraintName == constraint
}
