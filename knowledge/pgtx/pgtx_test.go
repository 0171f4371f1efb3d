package pgtx_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/migrations/pgtest"
)

const (
	alice = knowledge.TenantID("alice")
	bob   = knowledge.TenantID("bob")
)

// database returns one with two tenants, and its pool as the application.
func database(t *testing.T) (*pgtest.Database, *pgxpool.Pool) {
	t.Helper()
	db := pgtest.DB(t)
	if _, err := db.JobsPool(t).Exec(t.Context(), `INSERT INTO tenants (tenant_id) VALUES ('alice'), ('bob')`); err != nil {
		t.Fatalf("add tenants: %v", err)
	}
	return db, db.AppPool(t)
}

const insertSecret = `INSERT INTO secrets (tenant_id, name, kek_id, sealed) VALUES (@tenant, @name, 'k', 'sealed')`

func insert(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name string) error {
	_, err := tx.Exec(ctx, insertSecret, pgx.NamedArgs{"tenant": string(tenant), "name": name})
	return err
}

// names reads the names of all secrets that a tenant can see, whoever's they are.
func names(t *testing.T, pool *pgxpool.Pool, tenant knowledge.TenantID) []string {
	t.Helper()
	var found []string
	err := pgtx.Read(t.Context(), pool, tenant, `SELECT name FROM secrets ORDER BY name`, nil, func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		t.Fatalf("Read = %v, want nil", err)
	}
	return found
}

func TestTenantOfTransaction(t *testing.T) {
	_, pool := database(t)
	write := func(as, of knowledge.TenantID, name string) error {
		return pgtx.Write(t.Context(), pool, as, func(tx pgx.Tx) error { return insert(t.Context(), tx, of, name) })
	}
	if err := write(alice, alice, "a"); err != nil {
		t.Fatalf("Write as alice = %v, want nil", err)
	}
	if err := write(bob, bob, "b"); err != nil {
		t.Fatalf("Write as bob = %v, want nil", err)
	}
	if err := write(bob, alice, "stolen"); err == nil {
		t.Error("Write as bob into alice's rows = nil, want the refusal of row-level security")
	}
	for tenant, want := range map[knowledge.TenantID]string{alice: "a", bob: "b"} {
		if got := names(t, pool, tenant); len(got) != 1 || got[0] != want {
			t.Errorf("%s sees %q, want %q alone", tenant, got, want)
		}
	}
	// On every connection of the pool the setting is gone with the transaction.
	var setting *string
	for range 8 {
		if err := pool.QueryRow(t.Context(), `SELECT nullif(current_setting('tars.tenant', true), '')`).Scan(&setting); err != nil || setting != nil {
			t.Fatalf("tars.tenant after a transaction = %v, %v, want none", setting, err)
		}
	}
	if _, err := pool.Exec(t.Context(), `SELECT name FROM secrets`); code(err) != "42501" {
		t.Errorf("reading without a tenant = %v, want insufficient_privilege", err)
	}
}

func TestWriteRollsBack(t *testing.T) {
	_, pool := database(t)
	refusal := errors.New("refused")
	err := pgtx.Write(t.Context(), pool, alice, func(tx pgx.Tx) error {
		if err := insert(t.Context(), tx, alice, "half"); err != nil {
			return err
		}
		return refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("Write = %v, want the error of its function", err)
	}
	if got := names(t, pool, alice); len(got) != 0 {
		t.Errorf("alice sees %q after a failed Write, want nothing", got)
	}
}

// code returns the SQLSTATE of an error, if it has one.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

func TestKindsFromServer(t *testing.T) {
	db, pool := database(t)
	owner := db.OwnerPool(t)
	ctx := t.Context()
	write := func(do func(tx pgx.Tx) error) error { return pgtx.Write(ctx, pool, alice, do) }
	statements := func(sql ...string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error {
			for _, s := range sql {
				if _, err := tx.Exec(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err := write(func(tx pgx.Tx) error { return insert(ctx, tx, alice, "taken") }); err != nil {
		t.Fatalf("Write = %v, want nil", err)
	}
	for _, tc := range []struct {
		name string
		run  func() error
		kind error
		code string
	}{
		{"unique violation", func() error {
			return write(func(tx pgx.Tx) error { return insert(ctx, tx, alice, "taken") })
		}, knowledge.ErrConflict, "23505"},
		{"foreign key", func() error {
			return pgtx.Write(ctx, pool, "nobody", func(tx pgx.Tx) error { return insert(ctx, tx, "nobody", "s") })
		}, knowledge.ErrNotFound, "23503"},
		{"statement timeout", func() error {
			return write(statements(`SET LOCAL statement_timeout = '20ms'`, `SELECT pg_sleep(30)`))
		}, knowledge.ErrUnavailable, "57014"},
		{"lock timeout", func() error {
			return write(func(tx pgx.Tx) error {
				if err := statements(`SET LOCAL lock_timeout = '20ms'`, `SELECT FROM secrets WHERE name = 'taken' FOR UPDATE`)(tx); err != nil {
					return err
				}
				return write(statements(`SET LOCAL lock_timeout = '20ms'`, `SELECT FROM secrets WHERE name = 'taken' FOR UPDATE`))
			})
		}, knowledge.ErrUnavailable, "55P03"},
		{"read only", func() error {
			return write(func(tx pgx.Tx) error {
				if err := statements(`SET TRANSACTION READ ONLY`)(tx); err != nil {
					return err
				}
				return insert(ctx, tx, alice, "new")
			})
		}, knowledge.ErrUnavailable, "25006"},
		{"terminated", func() error {
			return write(func(tx pgx.Tx) error {
				var pid int
				if err := tx.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
					return err
				}
				if _, err := owner.Exec(ctx, `SELECT pg_terminate_backend($1, 10000)`, pid); err != nil {
					t.Fatalf("pg_terminate_backend: %v", err)
				}
				return statements(`SELECT 1`)(tx)
			})
		}, knowledge.ErrUnavailable, "any"}, // 57P01, or a broken pipe that hides it
		{"idle in transaction", func() error {
			return write(func(tx pgx.Tx) error {
				if err := statements(`SET LOCAL idle_in_transaction_session_timeout = '20ms'`)(tx); err != nil {
					return err
				}
				// Until the server has ended the connection: its end of the
				// socket is closed with it.
				waitGone(t, owner, tx)
				return statements(`SELECT 1`)(tx)
			})
		}, knowledge.ErrUnavailable, "any"}, // 25P03, or the same
		{"serialization", func() error { return serialization(ctx, pool) }, knowledge.ErrUnavailable, "40001"},
		{"no row", func() error {
			return pgtx.Read(ctx, pool, alice, `SELECT name FROM secrets WHERE name = 'none'`, nil, func(rows pgx.Rows) error {
				_, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
				return err
			})
		}, knowledge.ErrNotFound, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.run()
			if !errors.Is(err, tc.kind) || tc.code != "any" && code(err) != tc.code {
				t.Errorf("error = %v (code %q), want %v from code %q", err, code(err), tc.kind, tc.code)
			}
		})
	}
	// Who waited too long is told so.
	err := write(statements(`SET LOCAL statement_timeout = '20ms'`, `SELECT pg_sleep(30)`))
	if reason := new(knowledge.UnavailableError); !errors.As(err, &reason) || !strings.Contains(reason.Reason, "time limit") {
		t.Errorf("statement timeout = %v, want an UnavailableError that names the time limit", err)
	}
	// What is a fault of ours has no kind, so that its text stays inside.
	for _, sql := range []string{`SELECT 1/0`, `SELECT nonsense`} {
		if err := write(statements(sql)); err == nil || hasKind(err) {
			t.Errorf("%s = %v, want an error without a kind", sql, err)
		}
	}
	// And after all that the pool still serves.
	if got := names(t, pool, alice); len(got) != 1 {
		t.Errorf("alice sees %q, want what was written at the start", got)
	}
}

// waitGone waits until the server has no backend for tx any more.
func waitGone(t *testing.T, owner *pgxpool.Pool, tx pgx.Tx) {
	t.Helper()
	pid := tx.Conn().PgConn().PID()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for there := true; there; {
		if err := owner.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)`, int(pid)).Scan(&there); err != nil {
			t.Fatalf("wait for the end of backend %d: %v", pid, err)
		}
	}
}

// serialization lets two transactions that cannot both be right meet.
func serialization(ctx context.Context, pool *pgxpool.Pool) error {
	const bump = `UPDATE secrets SET updated_at = updated_at + interval '1s' WHERE name = 'taken'`
	return pgtx.Kind(ctx, pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT set_config('tars.tenant', 'alice', true)`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT * FROM secrets`); err != nil {
			return err
		}
		err := pgtx.Write(ctx, pool, alice, func(other pgx.Tx) error { _, err := other.Exec(ctx, bump); return err })
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, bump)
		return err
	}))
}

// TestKindsOfCodes: codes that tests cannot bring about.
func TestKindsOfCodes(t *testing.T) {
	for code, want := range map[string]error{
		"25P03": knowledge.ErrUnavailable, "25P04": knowledge.ErrUnavailable, "40P01": knowledge.ErrUnavailable,
		"53100": knowledge.ErrUnavailable, "53300": knowledge.ErrUnavailable, "57P01": knowledge.ErrUnavailable,
		"57P03": knowledge.ErrUnavailable, "58030": knowledge.ErrUnavailable, "08006": knowledge.ErrUnavailable,
		"42501": nil, "42P01": nil, "22P02": nil, "XX000": nil, "": nil, "5": nil,
	} {
		err := &pgconn.PgError{Code: code}
		got := pgtx.Kind(t.Context(), err)
		if !errors.Is(got, err) || want == nil && hasKind(got) || want != nil && !errors.Is(got, want) {
			t.Errorf("Kind(code %q) = %v, want the kind %v", code, got, want)
		}
	}
	if got := pgtx.Kind(t.Context(), nil); got != nil {
		t.Errorf("Kind(nil) = %v, want nil", got)
	}
}

func hasKind(err error) bool {
	for _, kind := range []error{knowledge.ErrInvalid, knowledge.ErrNotFound, knowledge.ErrConflict, knowledge.ErrForbidden, knowledge.ErrLimit, knowledge.ErrUnavailable} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// cutter passes bytes on to a server until it is told to cut every connection
// in the middle.
type cutter struct {
	listener net.Listener
	target   [2]string // network and address

	mu    sync.Mutex
	conns []net.Conn
	pumps sync.WaitGroup
}

func newCutter(t *testing.T, config *pgxpool.Config) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.ConnConfig.Host, config.ConnConfig.Port)
	c := &cutter{listener: l, target: [2]string{network, address}}
	c.pumps.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.cut()
		c.pumps.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		in, err := c.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial(c.target[0], c.target[1])
		if err != nil {
			_ = in.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, in, out)
		c.mu.Unlock()
		c.pumps.Go(func() { pump(in, out) })
		c.pumps.Go(func() { pump(out, in) })
	}
}

func pump(to, from net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// TestKindsFromNetwork: a connection that breaks, or never comes about, is
// unavailable, whatever the error that pgx makes of it.
func TestKindsFromNetwork(t *testing.T) {
	db, _ := database(t)
	config, err := pgxpool.ParseConfig(db.AppURL)
	if err != nil {
		t.Fatal(err)
	}
	c := newCutter(t, config)
	address := c.listener.Addr().(*net.TCPAddr)
	config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", uint16(address.Port)
	config.ConnConfig.Fallbacks = nil
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	ctx := t.Context()

	err = pgtx.Write(ctx, pool, alice, func(tx pgx.Tx) error {
		c.cut()
		_, err := tx.Exec(ctx, `SELECT 1`)
		return err
	})
	if !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Write over a cut connection = %v, want ErrUnavailable", err)
	}
	err = pgtx.Write(ctx, pool, alice, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT repeat('x', 10000) FROM generate_series(1, 100000)`)
		if err != nil {
			return err
		}
		defer rows.Close()
		rows.Next()
		c.cut() // half an answer
		for rows.Next() {
		}
		return rows.Err()
	})
	if !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Write whose answer was cut = %v, want ErrUnavailable", err)
	}
	err = pgtx.Read(ctx, pool, alice, `SELECT pg_sleep(0)`, nil, func(pgx.Rows) error { c.cut(); return nil })
	if err != nil && !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Read over a cut connection = %v, want nil or ErrUnavailable", err)
	}
	_ = c.listener.Close()
	c.cut()
	pool.Reset()
	err = pgtx.Read(ctx, pool, alice, `SELECT 1`, nil, func(rows pgx.Rows) error { rows.Close(); return rows.Err() })
	if !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Read without a server = %v, want ErrUnavailable", err)
	}
}

// TestKindsOfConnecting: a server that does not let us in is unavailable to who
// asks, whatever its reason.
func TestKindsOfConnecting(t *testing.T) {
	db, _ := database(t)
	u, err := url.Parse(db.AppURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/no_such_database"
	pool, err := pgxpool.New(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	err = pgtx.Read(t.Context(), pool, alice, `SELECT 1`, nil, func(rows pgx.Rows) error { rows.Close(); return rows.Err() })
	if !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Read from a database that is not there = %v, want ErrUnavailable", err)
	}
}

func TestContextComesFirst(t *testing.T) {
	_, pool := database(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := pgtx.Read(ctx, pool, alice, `SELECT pg_sleep(30)`, nil, func(rows pgx.Rows) error {
		for rows.Next() {
		}
		return rows.Err()
	})
	if !errors.Is(err, context.DeadlineExceeded) || hasKind(err) {
		t.Errorf("Read past its deadline = %v, want DeadlineExceeded and no kind", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = pgtx.Write(ctx, pool, alice, func(tx pgx.Tx) error {
		cancel()
		_, err := tx.Exec(ctx, `SELECT pg_sleep(30)`)
		return err
	})
	if !errors.Is(err, context.Canceled) || hasKind(err) {
		t.Errorf("Write that was cancelled = %v, want Canceled and no kind", err)
	}
}
