// Package migrations has the SQL that makes and changes the database, embedded,
// and runs it with golang-migrate under its advisory lock, so that several
// servers may start on one database at once. The tables of River, which background
// work goes through, are made by River's own migrator, under a lock of ours.
//
// Each file opens with what it does and why. A file is one transaction, and its
// last statement notes its version as the comment of schema tars. Changes are
// expand, then contract: the version before must be able to run on the schema
// after.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

//go:embed *.sql
var files embed.FS

// lockPatience is how long a process waits for another that is migrating.
const lockPatience = 10 * time.Minute

// State is where a database stands.
type State struct {
	Version uint // of the last migration applied; 0 before the first
	Latest  uint // of the last migration known to this binary
	Dirty   bool // a migrator was stopped half way; the next Up or Down puts it right

	Queue       uint // version of the tables of background work, which River numbers itself; 0 before there are any
	LatestQueue uint // of this binary's River
}

// Up applies all migrations not applied yet. databaseURL, in any form that pgx
// knows, must log in as a role that may create roles, schemas and extensions.
// Up waits up to 10 minutes for another process that is migrating. When ctx
// ends it stops after the migration under way.
func Up(ctx context.Context, databaseURL string) error {
	if err := run(ctx, databaseURL, (*migrate.Migrate).Up); err != nil {
		return err
	}
	return upRiver(ctx, databaseURL)
}

// Down undoes the last n migrations, or all when n is 0. All data of the
// tables that it drops is lost.
func Down(ctx context.Context, databaseURL string, n int) error {
	return run(ctx, databaseURL, func(m *migrate.Migrate) error {
		if n == 0 {
			return m.Down()
		}
		return m.Steps(-n)
	})
}

// Status reports where the database stands. It changes nothing but for the
// table of versions, which it makes in a database that has none.
func Status(ctx context.Context, databaseURL string) (state State, err error) {
	latest, err := latest()
	if err != nil {
		return State{}, err
	}
	driver, err := open(ctx, databaseURL)
	if err != nil {
		return State{}, err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	version, dirty, err := driver.Version()
	if err != nil {
		return State{}, fmt.Errorf("read version: %w", err)
	}
	queue, latestQueue, err := riverState(ctx, databaseURL)
	if err != nil {
		return State{}, err
	}
	return State{Version: uint(max(version, 0)), Latest: latest, Dirty: dirty, Queue: queue, LatestQueue: latestQueue}, nil
}

// run calls do with a migrator for the database and closes it.
func run(ctx context.Context, databaseURL string, do func(*migrate.Migrate) error) (err error) {
	driver, err := open(ctx, databaseURL)
	if err != nil {
		return err
	}
	if err := heal(ctx, databaseURL, driver); err != nil {
		return errors.Join(err, driver.Close())
	}
	source, err := iofs.New(files, ".")
	if err != nil {
		return errors.Join(fmt.Errorf("read embedded migrations: %w", err), driver.Close())
	}
	m, err := migrate.NewWithInstance("iofs", source, "pgx5", driver)
	if err != nil {
		return errors.Join(fmt.Errorf("prepare to migrate: %w", err), driver.Close())
	}
	m.LockTimeout = lockPatience
	defer func() {
		sourceErr, databaseErr := m.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	stop := context.AfterFunc(ctx, func() {
		select {
		case m.GracefulStop <- true:
		default:
		}
	})
	defer stop()
	if err := do(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate: %w", err)
	}
	return ctx.Err()
}

// open connects golang-migrate's driver to the database.
func open(ctx context.Context, databaseURL string) (database.Driver, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	db := stdlib.OpenDB(*config)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect for migrations: %w", err), db.Close())
	}
	// The lock's key is made of the names of database, schema and table, which
	// the driver asks the server for: the same whatever form the URL has.
	driver, err := pgxmigrate.WithInstance(db, &pgxmigrate.Config{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare to migrate: %w", err), db.Close())
	}
	return driver, nil
}

// heal puts the driver's note right after a migrator was killed. It writes
// "version n, dirty" before a file and "clean" after it, and refuses to go on
// from dirty. Our files are transactions, so the schema's comment knows which
// of the two holds.
func heal(ctx context.Context, databaseURL string, driver database.Driver) (err error) {
	if _, dirty, err := driver.Version(); err != nil || !dirty {
		return err
	}
	// Under the lock: dirty may mean that another process is at work just now.
	if err := driver.Lock(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { err = errors.Join(err, driver.Unlock()) }()
	if _, dirty, err := driver.Version(); err != nil || !dirty {
		return err
	}
	version, err := appliedVersion(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("read version of the schema: %w", err)
	}
	return driver.SetVersion(version, false)
}

const appliedVersionSQL = `
SELECT coalesce((
	SELECT substring(obj_description(oid, 'pg_namespace') FROM '^version (\d+)$')::bigint
	FROM pg_namespace
	WHERE nspname = 'tars'), 0)`

// appliedVersion reads what the last committed migration noted, or NilVersion
// where none is.
func appliedVersion(ctx context.Context, databaseURL string) (int, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var version int
	if err := conn.QueryRow(ctx, appliedVersionSQL).Scan(&version); err != nil {
		return 0, err
	}
	if version <= 0 || version > math.MaxInt32 {
		return database.NilVersion, nil
	}
	return version, nil
}

// latest is the highest version among the embedded files.
func latest() (uint, error) {
	source, err := iofs.New(files, ".")
	if err != nil {
		return 0, fmt.Errorf("read embedded migrations: %w", err)
	}
	defer source.Close()
	version, err := source.First()
	for err == nil {
		var next uint
		if next, err = source.Next(version); err == nil {
			version = next
		}
	}
	return version, nil
}
