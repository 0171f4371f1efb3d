package migrations

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverSchema is where River's tables are. A file of ours makes it and drops it with
// all that is in it; what is in it is River's business.
const riverSchema = "tars_river"

// riverLock is the advisory lock under which River's tables are migrated. River takes
// none, and each of its steps is a transaction of its own.
const riverLock = 0x7a2503

// upRiver brings River's tables to the version of the River that this binary has.
// Who was killed half way has left a version that the next one goes on from.
func upRiver(ctx context.Context, databaseURL string) error {
	pool, err := ownerPool(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	lock, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect for migrations: %w", err)
	}
	defer lock.Release()
	if err := lockFor(ctx, lock.Conn(), riverLock); err != nil {
		return err
	}
	defer unlock(ctx, lock.Conn(), riverLock)
	migrator, err := riverMigrator(pool)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate River's tables: %w", err)
	}
	return nil
}

// riverState reports the version of River's tables, and that of this binary's River.
func riverState(ctx context.Context, databaseURL string) (version, latest uint, err error) {
	pool, err := ownerPool(ctx, databaseURL)
	if err != nil {
		return 0, 0, err
	}
	defer pool.Close()
	migrator, err := riverMigrator(pool)
	if err != nil {
		return 0, 0, err
	}
	all := migrator.AllVersions()
	latest = uint(all[len(all)-1].Version)
	var there bool
	if err := pool.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL", riverSchema).Scan(&there); err != nil || !there {
		return 0, latest, err
	}
	found, err := migrator.ExistingVersions(ctx)
	if err != nil {
		return 0, latest, fmt.Errorf("read version of River's tables: %w", err)
	}
	if len(found) > 0 {
		version = uint(found[len(found)-1].Version)
	}
	return version, latest, nil
}

func riverMigrator(pool *pgxpool.Pool) (*rivermigrate.Migrator[pgx.Tx], error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: riverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("prepare to migrate River's tables: %w", err)
	}
	return migrator, nil
}

// ownerPool connects as tars_owner, so that it owns what is made, where there is such
// a role yet.
func ownerPool(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	config.MaxConns = 2 // one holds the lock
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT set_config('role', 'tars_owner', false) FROM pg_roles WHERE rolname = 'tars_owner' AND pg_has_role(oid, 'MEMBER')")
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect for migrations: %w", err)
	}
	return pool, nil
}

// lockFor takes an advisory lock of the session, waiting as long as for one that
// golang-migrate holds.
func lockFor(ctx context.Context, conn *pgx.Conn, key int) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// unlock gives the lock back; it also goes with the connection.
func unlock(ctx context.Context, conn *pgx.Conn, key int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", key)
}
