// Package pgtest gives tests databases of their own on a real PostgreSQL with
// pgvector, migrated and empty, and connected as the roles of production.
//
// The server is the one that TARS_TEST_DATABASE_URL names (its superuser; see
// pglocal.Exec, which starts one for a whole run), or else a container where
// an engine answers, or else a private ephemeral cluster. What a test binary
// starts itself is gone when the binary ends, even if it is killed. Without a
// server a test fails; it is never skipped.
package pgtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// patience bounds each step on the server, so that a test fails with the
// reason instead of running into the time limit of go test.
const patience = time.Minute

// Database is one test's own. The URLs are in the form
// postgres://user@host/name?… and stay valid until the test's cleanup.
type Database struct {
	Name     string
	OwnerURL string // the server's superuser, whom row-level security does not bind: for migrating and for looking behind the scenes
	AppURL   string // tars_app, as the service connects
	JobsURL  string // tars_jobs, as background work connects
}

// databases numbers those of this process.
var databases atomic.Int64

// DB makes a migrated, empty database for t and drops it when t ends. It fails
// t when no server can be had, and when the role of the application could pass
// row-level security: as superuser, as one that bypasses it, or as an owner.
// It may be called from parallel tests.
func DB(t testing.TB) *Database {
	t.Helper()
	c, err := sharedCluster()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	template, err := c.template()
	if err != nil {
		t.Fatalf("pgtest: template database: %v", err)
	}
	d := c.create(t, template)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := checkAppRole(ctx, d.AppURL, appRole); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return d
}

// Empty makes a database without migrations for t, for the tests of the
// migrations themselves. AppURL and JobsURL work once they have run.
func Empty(t testing.TB) *Database {
	t.Helper()
	c, err := sharedCluster()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return c.create(t, "template0")
}

// AppPool connects as the application does. The pool is closed when t ends.
func (d *Database) AppPool(t testing.TB) *pgxpool.Pool { t.Helper(); return pool(t, d.AppURL) }

// JobsPool connects as background work does. The pool is closed when t ends.
func (d *Database) JobsPool(t testing.TB) *pgxpool.Pool { t.Helper(); return pool(t, d.JobsURL) }

// OwnerPool connects as superuser. The pool is closed when t ends.
func (d *Database) OwnerPool(t testing.TB) *pgxpool.Pool { t.Helper(); return pool(t, d.OwnerURL) }

func pool(t testing.TB, address string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// create makes a database from a template and has t drop it.
func (c *cluster) create(t testing.TB, template string) *Database {
	t.Helper()
	name := fmt.Sprintf("%s%d", c.prefix, databases.Add(1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template)); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience) // t's own has ended
		defer cancel()
		if err := c.exec(ctx, "DROP DATABASE "+quote(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return &Database{
		Name:     name,
		OwnerURL: c.address(name, nil),
		AppURL:   c.address(name, url.UserPassword(appRole, c.password(appRole))),
		JobsURL:  c.address(name, url.UserPassword(jobsRole, c.password(jobsRole))),
	}
}

// address is the server's URL with another database, and another user unless
// that is nil.
func (c *cluster) address(database string, user *url.Userinfo) string {
	u := *c.url
	u.Path = "/" + database
	if user != nil {
		u.User = user
	}
	return u.String()
}

// password of a role is derived from the server's address, so that all
// processes that share a server agree on it. It only matters where the server
// asks for one.
func (c *cluster) password(role string) string {
	sum := sha256.Sum256([]byte(role + " " + c.url.String()))
	return fmt.Sprintf("%x", sum[:16])
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
