// Package migrations has the SQL that makes and changes the database, embedded,
// and runs it with golang-migrate under its advisory lock, so that several
// servers may start on one database at once.
//
// Each file opens with what it does and why. Changes are expand, then contract:
// the version before must be able to run on the schema after.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/url"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5" // registers the scheme pgx5
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
)

//go:embed *.sql
var files embed.FS

// State is where a database stands.
type State struct {
	Version uint // of the last migration applied; 0 before the first
	Latest  uint // of the last migration known to this binary
	Dirty   bool // a migration failed half way; it needs an operator
}

// Up applies all migrations not applied yet. databaseURL must log in as a role
// that may create roles, schemas and extensions. It waits for another process
// that is migrating. When ctx ends it stops after the migration under way.
func Up(ctx context.Context, databaseURL string) error {
	return run(ctx, databaseURL, (*migrate.Migrate).Up)
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

// Status reports where the database stands.
func Status(ctx context.Context, databaseURL string) (State, error) {
	latest, err := latest()
	if err != nil {
		return State{}, err
	}
	state := State{Latest: latest}
	err = run(ctx, databaseURL, func(m *migrate.Migrate) error {
		var err error
		state.Version, state.Dirty, err = m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			return nil
		}
		return err
	})
	return state, err
}

// run calls do with a migrator for the database and closes it.
func run(ctx context.Context, databaseURL string, do func(*migrate.Migrate) error) (err error) {
	target, err := migrateURL(databaseURL)
	if err != nil {
		return err
	}
	source, err := iofs.New(files, ".")
	if err != nil {
		return fmt.Errorf("read embedded migrations: %w", err)
	}
	m, err := migrate.NewWithSourceInstance("iofs", source, target)
	if err != nil {
		return fmt.Errorf("connect for migrations: %w", err)
	}
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

// migrateURL turns any connection string that pgx accepts into the URL form
// that golang-migrate needs.
func migrateURL(databaseURL string) (string, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return "", fmt.Errorf("database URL: %w", err)
	}
	u, err := url.Parse(config.ConnString())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", errors.New("database URL: need the form postgres://user:password@host:port/database")
	}
	u.Scheme = "pgx5"
	return u.String(), nil
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
