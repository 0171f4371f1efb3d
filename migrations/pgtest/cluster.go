package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/migrations"
	"github.com/tars-project/tars/migrations/pglocal"
)

// The login roles that the first migration makes.
const (
	appRole  = "tars_app"
	jobsRole = "tars_jobs"
)

// Advisory locks, in the database that the server's URL names.
const (
	lockMigrate = 0x7a2501 // held while migrating: roles belong to the whole server
	lockRun     = 0x7a2502 // first key of two; the second is a run's, held while that lives
)

// cluster is the server that this process's tests use.
type cluster struct {
	url    *url.URL // superuser
	prefix string   // of the names of this process's databases

	mu   sync.Mutex // guards conn, which also holds this run's lock
	conn *pgx.Conn

	template func() (string, error) // makes the template at the first call
}

// sharedCluster finds the server at the first call.
var sharedCluster = sync.OnceValues(func() (*cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // packages may have to be fetched
	defer cancel()
	address, err := findServer(ctx)
	if err != nil {
		return nil, err
	}
	return connect(ctx, address)
})

// findServer takes the ways of the package comment.
func findServer(ctx context.Context) (string, error) {
	given := os.Getenv(pglocal.TestURLVariable)
	if given == "" && pglocal.DockerAnswers(ctx) == nil {
		address, err := startContainer(ctx)
		if err == nil {
			return address, nil
		}
		fmt.Fprintf(os.Stderr, "pgtest: Docker answers but gives no server, going on without: %v\n", err)
	}
	s, err := pglocal.Start(ctx, pglocal.Options{
		DatabaseURL: given,
		CacheDir:    cacheDir(),
		Ephemeral:   true,
		NoDocker:    true,
		Log:         os.Stderr,
	})
	if err != nil {
		return "", err
	}
	return s.URL, nil // never closed: it ends with this process
}

// cacheDir is where cmd's servers have their packages too.
func cacheDir() string {
	if dir := os.Getenv("TARS_CACHE"); dir != "" {
		return dir
	}
	return pglocal.DefaultCacheDir(os.Getuid(), os.Getenv("HOME"), os.Getenv("XDG_CACHE_HOME"))
}

// connect opens this run: a name, a lock that tells it lives, and no databases
// of runs that do not.
func connect(ctx context.Context, address string) (*cluster, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, fmt.Errorf("%s must have the form postgres://user@host/database", pglocal.TestURLVariable)
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, err
	}
	var key [4]byte
	rand.Read(key[:])
	run := int32(binary.BigEndian.Uint32(key[:]) >> 1)
	c := &cluster{url: u, conn: conn, prefix: databasePrefix(run)}
	c.template = sync.OnceValues(c.makeTemplate)
	if err := c.exec(ctx, "SELECT pg_advisory_lock($1, $2)", lockRun, run); err != nil {
		return nil, err
	}
	return c, c.sweep(ctx)
}

func databasePrefix(run int32) string { return fmt.Sprintf("tars_test_%d_", run) }

// exec runs a statement on the connection that all tests share; what happens
// on it is short, and one at a time spares the server.
func (c *cluster) exec(ctx context.Context, sql string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.conn.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

const deadDatabasesSQL = `
select datname
from pg_database
where datname ~ '^tars_test_[0-9]+_'
  and not exists (
    select from pg_locks
    where locktype = 'advisory' and classid = $1 and objsubid = 2
      and objid = split_part(datname, '_', 3)::oid)`

// sweep drops the databases of processes that were killed.
func (c *cluster) sweep(ctx context.Context) error {
	c.mu.Lock()
	rows, _ := c.conn.Query(ctx, deadDatabasesSQL, lockRun) // an error is told by CollectRows
	dead, err := pgx.CollectRows(rows, pgx.RowTo[string])
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("look for leftover databases: %w", err)
	}
	for _, name := range dead {
		if err := c.exec(ctx, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	return nil
}

// makeTemplate migrates a database that this process's others are copied of.
// Migrations make and change roles, which belong to the whole server, so only
// one process does it at a time.
func (c *cluster) makeTemplate() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name := c.prefix + "template"
	if err := c.exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE template0"); err != nil {
		return "", err
	}
	if err := c.exec(ctx, "SELECT pg_advisory_lock($1)", lockMigrate); err != nil {
		return "", err
	}
	err := c.migrate(ctx, name)
	if unlockErr := c.exec(ctx, "SELECT pg_advisory_unlock($1)", lockMigrate); err == nil {
		err = unlockErr
	}
	return name, err
}

func (c *cluster) migrate(ctx context.Context, name string) error {
	if err := migrations.Up(ctx, c.address(name, nil)); err != nil {
		return err
	}
	for _, role := range []string{appRole, jobsRole} {
		err := c.exec(ctx, fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '%s'", quote(role), c.password(role))) // hexadecimal
		if err != nil {
			return err
		}
	}
	return nil
}
