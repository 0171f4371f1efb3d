package migrations_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/migrations"
	"github.com/tars-project/tars/migrations/pgtest"
)

func up(t testing.TB, url string) {
	t.Helper()
	if err := migrations.Up(t.Context(), url); err != nil {
		t.Fatalf("Up = %v, want nil", err)
	}
}

func wantState(t testing.TB, url string, want migrations.State) {
	t.Helper()
	got, err := migrations.Status(t.Context(), url)
	if err != nil {
		t.Fatalf("Status = %v, want nil", err)
	}
	if want.Latest, want.LatestQueue = got.Latest, got.LatestQueue; got != want || got.Latest == 0 || got.LatestQueue == 0 {
		t.Errorf("Status = %+v, want %+v", got, want)
	}
}

// catalogue describes all objects of the schema, so that two can be compared.
func catalogue(t testing.TB, url string) string {
	t.Helper()
	return strings.Join(column(t, url, `
		SELECT format('%s %s %s %s %s', c.relname, c.relkind, c.relowner::regrole, c.relacl, (
			SELECT string_agg(format('%s %s %s %s', attname, atttypid::regtype, attnotnull, attacl), ', ' ORDER BY attnum)
			FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0))
		FROM pg_class c WHERE relnamespace IN (to_regnamespace('tars'), to_regnamespace('tars_river'))
		UNION ALL SELECT format('%s %s %s', p.oid::regprocedure, p.proacl, p.prosrc) FROM pg_proc p WHERE pronamespace = to_regnamespace('tars')
		UNION ALL SELECT format('%s %s %s %s %s', tablename, policyname, roles, qual, with_check) FROM pg_policies WHERE schemaname = 'tars'
		UNION ALL SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = to_regnamespace('tars')
		ORDER BY 1`), "\n")
}

// column runs a query and returns its one column of text.
func column(t testing.TB, url, sql string, args ...any) []string {
	t.Helper()
	conn := connect(t, url)
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestUpDownUp(t *testing.T) {
	url := pgtest.Empty(t).OwnerURL
	wantState(t, url, migrations.State{})
	up(t, url)
	first := catalogue(t, url)
	state, err := migrations.Status(t.Context(), url)
	if err != nil || state.Version != state.Latest || state.Queue != state.LatestQueue || state.Dirty {
		t.Errorf("Status after Up = %+v, %v, want the latest version", state, err)
	}
	if err := migrations.Down(t.Context(), url, 0); err != nil {
		t.Fatalf("Down = %v, want nil", err)
	}
	wantState(t, url, migrations.State{})
	if left := catalogue(t, url); left != "" {
		t.Errorf("after Down there is still:\n%s", left)
	}
	up(t, url)
	if second := catalogue(t, url); second != first {
		t.Errorf("after Up, Down, Up there is\n%s\nwant as after the first Up\n%s", second, first)
	}
	up(t, url) // nothing to do
	for range state.Latest {
		if err := migrations.Down(t.Context(), url, 1); err != nil {
			t.Fatalf("Down(1) = %v, want nil", err)
		}
	}
	wantState(t, url, migrations.State{})
}

// Several servers start on one database, and on several of one cluster.
func TestConcurrentUp(t *testing.T) {
	urls := []string{pgtest.Empty(t).OwnerURL, pgtest.Empty(t).OwnerURL}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := migrations.Up(t.Context(), urls[i%len(urls)]); err != nil {
				t.Errorf("Up beside others = %v, want nil", err)
			}
		})
	}
	wg.Wait()
	for _, url := range urls {
		if state, err := migrations.Status(t.Context(), url); err != nil || state.Version != state.Latest || state.Queue != state.LatestQueue || state.Dirty {
			t.Errorf("Status = %+v, %v, want the latest version", state, err)
		}
	}
}

// A migrator was killed before its file was committed, or after.
func TestUpAfterKill(t *testing.T) {
	for _, committed := range []bool{false, true} {
		url := pgtest.Empty(t).OwnerURL
		wantState(t, url, migrations.State{}) // makes the driver's table
		if committed {
			up(t, url)
		}
		const note = "TRUNCATE schema_migrations; INSERT INTO schema_migrations (version, dirty) VALUES (1, true)"
		if _, err := connect(t, url).Exec(t.Context(), note); err != nil {
			t.Fatal(err)
		}
		if state, err := migrations.Status(t.Context(), url); err != nil || state.Version != 1 || !state.Dirty {
			t.Errorf("Status = %+v, %v, want version 1 and dirty", state, err)
		}
		up(t, url)
		state, err := migrations.Status(t.Context(), url)
		if err != nil || state.Version != state.Latest || state.Queue != state.LatestQueue || state.Dirty {
			t.Errorf("Status (committed %v) = %+v, %v, want the latest version", committed, state, err)
		}
		if version := column(t, url, "SELECT obj_description('tars'::regnamespace)"); !slices.Equal(version, []string{fmt.Sprint("version ", state.Latest)}) {
			t.Errorf("comment of the schema = %q, want version %d", version, state.Latest)
		}
	}
}

func TestUpRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := migrations.Up(ctx, pgtest.Empty(t).OwnerURL); err == nil {
		t.Error("Up with an ended context = nil, want an error")
	}
	for _, url := range []string{"postgres://%zz", "postgres://postgres@127.0.0.1:1/none?connect_timeout=1"} {
		if err := migrations.Up(t.Context(), url); err == nil {
			t.Errorf("Up(%s) = nil, want an error", url)
		}
	}
}

func TestProvision(t *testing.T) {
	db := pgtest.DB(t)
	// The roles are the server's, which other tests use just now: those keep
	// their passwords, and a role of this test's own gets one.
	if err := migrations.Provision(t.Context(), db.OwnerURL, migrations.ProvisionOptions{}); err != nil {
		t.Fatalf("Provision = %v, want nil", err)
	}
	for _, bad := range []string{strings.Repeat("x", 129), "tab\t", "ü"} {
		if err := migrations.Provision(t.Context(), db.OwnerURL, migrations.ProvisionOptions{AppPassword: bad}); err == nil {
			t.Errorf("Provision(%q) = nil, want an error", bad)
		}
	}
	conn := connect(t, db.OwnerURL)
	role := db.Name + "_login"
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("BEGIN") // rolled back when the connection closes, so that no role is left
	exec("CREATE ROLE " + role)
	verifier := func() string {
		t.Helper()
		var s string
		if err := conn.QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin", role).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// The server's own work on the same password and salt is the standard.
	const password = `it's "so" \ $1`
	exec("SET LOCAL password_encryption = 'scram-sha-256'")
	exec("ALTER ROLE " + role + " LOGIN PASSWORD '" + strings.ReplaceAll(password, "'", "''") + "'")
	want := verifier()
	salt, err := base64.StdEncoding.DecodeString(want[strings.IndexByte(want, ':')+1 : strings.LastIndexByte(want, '$')])
	if err != nil {
		t.Fatalf("salt of %q: %v", want, err)
	}
	if got, err := migrations.ScramVerifier(password, salt); got != want || err != nil {
		t.Errorf("scramVerifier = %q, %v, want the server's %q", got, err, want)
	}
	if err := migrations.ProvisionRole(t.Context(), conn, role, password); err != nil {
		t.Fatalf("provision = %v, want nil", err)
	}
	if got := verifier(); !strings.HasPrefix(got, "SCRAM-SHA-256$4096:") || got == want {
		t.Errorf("verifier after provision = %q, want one with a salt of its own", got)
	}
}

// A migrator was killed between our files and River's, or between two of River's.
func TestUpGoesOnWithRiver(t *testing.T) {
	url := pgtest.Empty(t).OwnerURL
	up(t, url)
	whole := catalogue(t, url)
	conn := connect(t, url)
	for _, undo := range []string{
		"DELETE FROM tars_river.river_migration WHERE version = 8", // which changes nothing
		`DROP SCHEMA tars_river CASCADE;
		CREATE SCHEMA tars_river AUTHORIZATION tars_owner;
		GRANT USAGE ON SCHEMA tars_river TO tars_jobs;
		ALTER DEFAULT PRIVILEGES FOR ROLE tars_owner IN SCHEMA tars_river GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tars_jobs;
		ALTER DEFAULT PRIVILEGES FOR ROLE tars_owner IN SCHEMA tars_river GRANT USAGE ON SEQUENCES TO tars_jobs`,
	} {
		if _, err := conn.Exec(t.Context(), undo); err != nil {
			t.Fatal(err)
		}
		if state, err := migrations.Status(t.Context(), url); err != nil || state.Queue >= state.LatestQueue {
			t.Errorf("Status = %+v, %v, want that the queue is behind", state, err)
		}
		up(t, url)
		if got := catalogue(t, url); got != whole {
			t.Errorf("after Up there is\n%s\nwant\n%s", got, whole)
		}
	}
}
