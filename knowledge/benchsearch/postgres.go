package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxvec "github.com/pgvector/pgvector-go/pgx"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/migrations/pglocal"
)

// database is a private PostgreSQL that keeps what it acknowledges (fsync is on),
// with the settings that an operator would give it.
type database struct {
	server  *pglocal.Server
	options pglocal.Options
	super   *pgx.Conn // for one goroutine
	pid     int       // of the postmaster
	version string    // of PostgreSQL and pgvector
}

// The server's settings: enough memory for all data and indexes, checkpoints far
// apart. What is not here has its default; jit is off by pglocal.
var serverSettings = map[string]string{
	"shared_buffers":                   "2GB",
	"maintenance_work_mem":             "2GB",
	"max_parallel_maintenance_workers": "1",
	"max_wal_size":                     "8GB",
	"max_connections":                  "200",
}

// startDatabase makes a cluster in dir.
func startDatabase(ctx context.Context, dir string, log io.Writer) (*database, error) {
	cache := pglocal.DefaultCacheDir(os.Getuid(), os.Getenv("HOME"), os.Getenv("XDG_CACHE_HOME"))
	db := &database{options: pglocal.Options{CacheDir: cache, DataDir: dir, NoDocker: true, Log: log}}
	if err := db.start(ctx); err != nil {
		return nil, err
	}
	for name, value := range serverSettings {
		if _, err := db.super.Exec(ctx, "ALTER SYSTEM SET "+name+" = '"+value+"'"); err != nil {
			return nil, errors.Join(fmt.Errorf("set %s: %w", name, err), db.stop(ctx))
		}
	}
	if err := db.stop(ctx); err != nil { // most of them need a start
		return nil, err
	}
	if err := db.start(ctx); err != nil {
		return nil, err
	}
	_, err := db.super.Exec(ctx, makeReaderSQL)
	if err := first(err, db.inspect(ctx)); err != nil {
		return nil, errors.Join(err, db.stop(ctx))
	}
	return db, nil
}

func (db *database) start(ctx context.Context) (err error) {
	if db.server, err = pglocal.Start(ctx, db.options); err != nil {
		return err
	}
	if db.super, err = pgx.Connect(ctx, db.server.URL); err != nil {
		return errors.Join(err, db.stop(ctx))
	}
	return nil
}

// inspect finds out what runs.
func (db *database) inspect(ctx context.Context) error {
	var version string
	if err := db.super.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
		return err
	}
	version, _, _ = strings.Cut(version, " ")
	db.version = "PostgreSQL " + version + ", pgvector " + db.server.VectorVersion
	fields, err := rig.StatFields(fmt.Sprintf("/proc/%d/stat", db.super.PgConn().PID()))
	if err != nil {
		return fmt.Errorf("the server's processes: %w", err)
	}
	db.pid, err = strconv.Atoi(fields[rig.StatParent])
	return err
}

// stop ends the server.
func (db *database) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var err error
	if db.super != nil {
		err = db.super.Close(ctx)
	}
	return errors.Join(err, db.server.Close(ctx))
}

// as is the address for another role.
func (db *database) as(role, password string) (string, error) {
	u, err := url.Parse(db.server.URL)
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(role, password)
	return u.String(), nil
}

// program finds one of PostgreSQL's own programs, of the version that runs if it
// is there.
func (db *database) program(name string) (string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", db.pid))
	if err != nil {
		return "", err
	}
	for arg := range strings.SplitSeq(string(line), "\x00") {
		if filepath.Base(arg) != "postgres" {
			continue
		}
		if path := filepath.Join(filepath.Dir(arg), name); executable(path) {
			return path, nil
		}
	}
	return exec.LookPath(name)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// reader is who searches the tables that a service made by hand would have: it
// owns nothing, and has the settings of tars_app that matter to a search.
const reader = "bench_reader"

const makeReaderSQL = `
CREATE EXTENSION IF NOT EXISTS vector;
CREATE ROLE ` + reader + ` LOGIN NOSUPERUSER;
ALTER ROLE ` + reader + ` SET max_parallel_workers_per_gather = 0;
CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO ` + reader

// open makes a pool of size connections as the reader, each of which searches
// with ef.
func (db *database) open(ctx context.Context, size, ef int) (*pgxpool.Pool, error) {
	address, err := db.as(reader, "")
	if err != nil {
		return nil, err
	}
	c, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	c.MaxConns, c.MinConns = int32(size), int32(size)
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if err := pgxvec.RegisterTypes(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "SELECT set_config('hnsw.ef_search', $1, false)", strconv.Itoa(ef))
		return err
	}
	return pgxpool.NewWithConfig(ctx, c)
}
