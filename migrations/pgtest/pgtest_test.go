package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/migrations"
	"github.com/tars-project/tars/migrations/pglocal"
)

func TestDatabasesAreApart(t *testing.T) {
	a, b := DB(t), DB(t)
	if a.Name == b.Name {
		t.Fatalf("DB() gave %s twice", a.Name)
	}
	if _, err := a.OwnerPool(t).Exec(t.Context(), "create table only_here (n int)"); err != nil {
		t.Fatal(err)
	}
	var there bool
	const sql = "select to_regclass('only_here') is not null"
	if err := b.OwnerPool(t).QueryRow(t.Context(), sql).Scan(&there); err != nil || there {
		t.Errorf("a table of one database is in the other: %v, %v, want false", there, err)
	}
}

func TestRoles(t *testing.T) {
	d := DB(t)
	for _, c := range []struct{ address, want string }{
		{d.AppURL, appRole},
		{d.JobsURL, jobsRole},
	} {
		conn, err := pgx.Connect(t.Context(), c.address)
		if err != nil {
			t.Fatalf("connect as %s: %v", c.want, err)
		}
		defer conn.Close(t.Context())
		var got, database string
		if err := conn.QueryRow(t.Context(), "select current_user, current_database()").Scan(&got, &database); err != nil {
			t.Fatal(err)
		}
		if got != c.want || database != d.Name {
			t.Errorf("connected as %s to %s, want %s to %s", got, database, c.want, d.Name)
		}
	}
	state, err := migrations.Status(t.Context(), d.OwnerURL)
	if err != nil || state.Version != state.Latest || state.Dirty {
		t.Errorf("Status(DB) = %+v, %v, want the latest version", state, err)
	}
	if _, err := d.AppPool(t).Exec(t.Context(), "select count(*) from places"); err != nil {
		t.Errorf("the app role cannot read: %v", err)
	}
	if _, err := d.JobsPool(t).Exec(t.Context(), "select count(*) from places"); err != nil {
		t.Errorf("the jobs role cannot read: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	d := Empty(t)
	state, err := migrations.Status(t.Context(), d.OwnerURL)
	if err != nil || state.Version != 0 {
		t.Errorf("Status(Empty) = %+v, %v, want version 0", state, err)
	}
}

func TestDropped(t *testing.T) {
	var name string
	t.Run("its test", func(t *testing.T) {
		d := DB(t)
		name = d.Name
		if _, err := pgx.Connect(context.Background(), d.AppURL); err != nil { // left open
			t.Fatal(err)
		}
	})
	c, err := sharedCluster()
	if err != nil {
		t.Fatal(err)
	}
	if has(t, c, name) {
		t.Errorf("database %s is still there after its test", name)
	}
}

// backendLives reports whether the server has a process of the number.
func backendLives(t *testing.T, c *cluster, pid uint32) (lives bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	const sql = "select exists (select from pg_stat_activity where pid = $1)"
	if err := c.conn.QueryRow(t.Context(), sql, int64(pid)).Scan(&lives); err != nil {
		t.Fatal(err)
	}
	return lives
}

func has(t *testing.T, c *cluster, database string) bool {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var there bool
	const sql = "select exists (select from pg_database where datname = $1)"
	if err := c.conn.QueryRow(t.Context(), sql, database).Scan(&there); err != nil {
		t.Fatal(err)
	}
	return there
}

func TestAppRoleIsChecked(t *testing.T) {
	d := DB(t)
	owner := d.OwnerPool(t)
	for _, c := range []struct{ what, make, want string }{
		{"plain", "create role %[1]s login", ""},
		{"superuser", "create role %[1]s login superuser", "is superuser"},
		{"bypassing", "create role %[1]s login bypassrls", "bypasses row-level security"},
		{"creating", "create role %[1]s login createrole", "may create roles"},
		{"owning", "create role %[1]s login; create table owned (n int); alter table owned owner to %[1]s", "owns"},
		{"member", "create role %[1]s login in role tars_owner", "owns"},
		{"another", "create role %[1]s login", "is connected as"},
	} {
		t.Run(c.what, func(t *testing.T) {
			role := d.Name + "_" + c.what // roles belong to the server, which others may share
			const password = "checked"
			sql := fmt.Sprintf(c.make, role) + fmt.Sprintf("; alter role %s password '%s'", role, password)
			if _, err := owner.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := owner.Exec(context.Background(), "drop owned by "+role+"; drop role "+role, pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Error(err)
				}
			})
			u, err := url.Parse(d.AppURL)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(role, password)
			expected := role
			if c.what == "another" {
				expected = appRole
			}
			err = checkAppRole(t.Context(), u.String(), expected)
			if got := fmt.Sprint(err); (c.want == "") != (err == nil) || !strings.Contains(got, c.want) && c.want != "" {
				t.Errorf("checkAppRole(%s role) = %v, want %q", c.what, err, c.want)
			}
		})
	}
}

// Databases of a run that was killed are dropped by the next on that server,
// and those of one that lives are not.
func TestSweep(t *testing.T) {
	living, err := sharedCluster()
	if err != nil {
		t.Fatal(err)
	}
	kept := DB(t)
	dead, err := connect(t.Context(), living.url.String())
	if err != nil {
		t.Fatal(err)
	}
	template, err := dead.template()
	if err != nil {
		t.Fatal(err)
	}
	pid := dead.conn.PgConn().PID()
	if err := dead.conn.Close(t.Context()); err != nil { // as the server sees a killed process
		t.Fatal(err)
	}
	for alive := true; alive; { // its locks go with its backend, a moment later
		alive = backendLives(t, living, pid)
	}
	next, err := connect(t.Context(), living.url.String())
	if err != nil {
		t.Fatal(err)
	}
	defer next.conn.Close(context.Background())
	if has(t, next, template) {
		t.Errorf("database %s of a dead run was not dropped", template)
	}
	if !has(t, next, kept.Name) {
		t.Errorf("database %s of a living run was dropped", kept.Name)
	}
}

// childVariable makes TestInChild, in a process that another test starts, do
// its work; on its own it only makes a database.
const childVariable = "TARS_PGTEST_CHILD"

func TestInChild(t *testing.T) {
	d := DB(t)
	if os.Getenv(childVariable) == "" {
		return
	}
	fmt.Println(d.OwnerURL)
	select {} // until it is killed
}

// child is this binary running TestInChild.
func child(ctx context.Context, t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestInChild$")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func TestWithoutServerTestsFail(t *testing.T) {
	nowhere := "postgres://postgres@/postgres?host=" + t.TempDir()
	out, err := child(t.Context(), t, pglocal.TestURLVariable+"="+nowhere).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !bytes.Contains(out, []byte("--- FAIL: TestInChild")) {
		t.Errorf("a test without a server = %v, want it to fail:\n%s", err, out)
	}
}

func TestKilledBinaryLeavesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for the server's account to pass
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := child(ctx, t, childVariable+"=1", pglocal.TestURLVariable+"=", "TMPDIR="+dir, "DOCKER_HOST=unix://"+dir+"/none")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make([]byte, 11)
	if _, err := out.Read(told); err != nil || string(told) != "postgres://" {
		t.Fatalf("child printed %q, %v, want a URL", told, err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "tars-pg-*")); len(found) != 1 {
		t.Fatalf("child has %q, want one cluster", found)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.Fatal("the cluster of a killed binary is still there")
		case <-tick.C:
			if found, _ := filepath.Glob(filepath.Join(dir, "tars-pg-*")); len(found) == 0 {
				return
			}
		}
	}
}

// Several binaries share the server that pglocal.Exec made for them.
func TestBinariesShareAServer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := `for i in 1 2 3; do "$0" -test.run='^(TestInChild|TestRoles)$' & p="$p $!"; done
		for i in $p; do wait $i || exit 1; done`
	var out bytes.Buffer
	opts := pglocal.Options{CacheDir: cacheDir(), NoDocker: true}
	code, err := pglocal.Exec(t.Context(), opts, os.Environ(), []string{"/bin/sh", "-c", script, self}, nil, &out, &out)
	if code != 0 || err != nil {
		t.Errorf("Exec(three binaries) = %d, %v, want 0:\n%s", code, err, out.String())
	}
}

func BenchmarkDB(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c, err := sharedCluster()
		if err != nil {
			b.Fatal(err)
		}
		template, err := c.template()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		c.create(b, template)
	}
}
