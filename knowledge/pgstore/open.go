package pgstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge/pgtx"
)

// Config says how to connect.
type Config struct {
	URL            string        // postgres://user:password@host/database?…, or pgx's key=value form
	MaxConns       int32         // most connections; 0: twice the processors, at least 4. More only lengthen the queue inside the server
	ConnectTimeout time.Duration // of one connection; 0: what the URL says, else 2 s
}

// Open makes a pool, connects once, and refuses a server or a role on which
// the promises of this package would not hold; see [Inspect]. An error that
// wraps [knowledge.ErrUnavailable] may pass by itself, others need an operator.
//
// This is where all pools of TARS are made. A statement whose context ends is
// cancelled at the server; its connection is kept.
func Open(ctx context.Context, config Config) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(config.URL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	c.MaxConns = config.MaxConns
	if c.MaxConns <= 0 {
		c.MaxConns = int32(max(4, 2*runtime.NumCPU()))
	}
	c.MaxConnIdleTime = 5 * time.Minute
	if config.ConnectTimeout > 0 {
		c.ConnConfig.ConnectTimeout = config.ConnectTimeout
	} else if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 2 * time.Second
	}
	c.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler { return &canceller{conn: conn} }
	c.AfterRelease = settled
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if _, err := Inspect(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// The oldest that this package runs on, and the oldest pgvector without known
// faults: 0.8.2 mended an overflow in parallel builds, 0.8.4 an index that
// vacuum spoiled.
const (
	minSchema   = 14 // migration
	minVector   = "0.8.0"
	soundVector = "0.8.6"
)

// Server is what [Inspect] found.
type Server struct {
	Role     string
	Postgres string   // version, as "18.1"
	Vector   string   // version of pgvector, as "0.8.6"
	Schema   int      // number of the last migration
	Warnings []string // what works but should be mended, for the log
}

// isOwner counts membership: a member may become the owner by SET ROLE.
const inspectSQL = `
SELECT current_user, rolsuper, rolbypassrls,
	EXISTS (
		SELECT FROM pg_class
		WHERE relnamespace = to_regnamespace('tars') AND pg_has_role(current_user, relowner, 'MEMBER')),
	current_setting('server_version'),
	coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'), ''),
	coalesce((
		SELECT substring(obj_description(oid, 'pg_namespace') FROM '^version (\d{1,9})$')::int
		FROM pg_namespace
		WHERE nspname = 'tars'), 0)
FROM pg_roles
WHERE rolname = current_user`

// Inspect looks at the server, and at the role as which pool is connected. It
// returns an error naming every fault: a role that is superuser, bypasses
// row-level security, or owns tables of TARS, itself or as a member of their
// owner; pgvector missing or before 0.8.0; a schema that has not been migrated.
func Inspect(ctx context.Context, pool *pgxpool.Pool) (Server, error) {
	var (
		s                        Server
		super, bypasses, isOwner bool
	)
	err := pool.QueryRow(ctx, inspectSQL).Scan(&s.Role, &super, &bypasses, &isOwner, &s.Postgres, &s.Vector, &s.Schema)
	if err != nil {
		return s, fmt.Errorf("inspect database: %w", pgtx.Kind(ctx, err))
	}
	s.Postgres, _, _ = strings.Cut(s.Postgres, " ")
	var faults []error
	for _, f := range []struct {
		is   bool
		what string
	}{
		{super, "is superuser"},
		{bypasses, "bypasses row-level security"},
		{isOwner && !super, "owns tables of TARS, itself or as a member of their owner"},
	} {
		if f.is {
			faults = append(faults, fmt.Errorf("database role %q %s; connect as tars_app or tars_jobs", s.Role, f.what))
		}
	}
	if s.Schema < minSchema {
		faults = append(faults, fmt.Errorf("database schema is at version %d, need %d: run tars migrate up", s.Schema, minSchema))
	}
	switch {
	case s.Vector == "":
		faults = append(faults, errors.New("database has no extension vector: run tars migrate up"))
	case older(s.Vector, minVector):
		faults = append(faults, fmt.Errorf("pgvector is %s, need %s or later", s.Vector, minVector))
	case older(s.Vector, soundVector):
		s.Warnings = append(s.Warnings, fmt.Sprintf("pgvector %s has faults that can spoil an index; %s mends them", s.Vector, soundVector))
	}
	return s, errors.Join(faults...)
}

// older compares dotted versions number by number.
func older(a, b string) bool {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		if m != n {
			return m < n
		}
	}
	return false
}
