package pgstore

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestSweepExpired deletes what has expired, of every tenant and in every place, and
// nothing else, in more than one transaction.
func TestSweepExpired(t *testing.T) {
	s, db := newStore(t, Options{})
	addTenant(t, s, "bob")
	owner := db.OwnerPool(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := owner.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	left := func() map[string]int {
		t.Helper()
		rows, err := owner.Query(t.Context(), "SELECT tenant_id || ' ' || left(id, 1) FROM tars.records")
		if err != nil {
			t.Fatal(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, name := range names {
			n[name]++
		}
		return n
	}
	exec(`INSERT INTO tars.collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, placement)
		VALUES ('alice', 'c', 'l2', 2, 'none', '', 'none', 0), ('bob', 'c', 'l2', 2, 'none', '', 'none', 1)`)
	const fill = `INSERT INTO tars.records (placement, tenant_id, collection_id, id, text, embedding, expires_at)
		SELECT c.placement, c.tenant_id, c.collection_id, kind || n, '', '[1,2]', now() + at::interval
		FROM tars.collections c, generate_series(1, 3 * $1::int / 2) AS n,
			(VALUES ('d', '-1 s'), ('l', '1 hour'), ('f', NULL)) AS k (kind, at)`
	exec(fill, sweepChunk)
	const each = 3 * sweepChunk / 2
	tx, err := owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }() // done already
	// As who moves bob's collection to another place.
	if _, err := tx.Exec(t.Context(), "SELECT FROM tars.collections WHERE tenant_id = 'bob' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.SweepExpired(t.Context()); err != nil || n == 0 || n > each {
		t.Errorf("SweepExpired beside a move = %d, %v, want some of one tenant's %d", n, err, each)
	}
	if n := left(); n["bob d"] != each || n["bob l"] != each || n["alice l"] != each || n["alice f"] != each {
		t.Errorf("records left = %v, want all of bob's, and alice's that have not expired", n)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SweepExpired(t.Context()); err != nil {
		t.Errorf("SweepExpired = %v", err)
	}
	if n := left(); len(n) != 4 || n["bob l"] != each || n["bob f"] != each || n["alice l"] != each || n["alice f"] != each {
		t.Errorf("records left = %v, want those that have not expired", n)
	}
	if n, err := s.SweepExpired(t.Context()); n != 0 || err != nil {
		t.Errorf("SweepExpired once more = %d, %v, want none", n, err)
	}
}

// TestSweepLooksUp: what has not expired costs the sweep nothing.
func TestSweepLooksUp(t *testing.T) {
	s, db := newStore(t, Options{})
	owner := db.OwnerPool(t)
	if _, err := owner.Exec(t.Context(), `
		INSERT INTO tars.collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, placement)
		VALUES ('alice', 'c', 'l2', 2, 'none', '', 'none', 0);
		INSERT INTO tars.records (placement, tenant_id, collection_id, id, text, embedding, expires_at)
		SELECT 0, tenant_id, collection_id, n::text, '', '[1,2]', CASE WHEN n % 2 = 0 THEN now() + '1 day'::interval END
		FROM tars.collections, generate_series(1, 20000) AS n;
		ANALYZE tars.records`); err != nil {
		t.Fatal(err)
	}
	rows, err := s.jobs.Query(t.Context(), "EXPLAIN "+sweepExpiredSQL, pgx.NamedArgs{"chunk": sweepChunk})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	if strings.Contains(plan, "Seq Scan on records_0") || strings.Count(plan, "records_0_expires_at_idx") != 1 || !strings.Contains(plan, "records_0_pkey") {
		t.Errorf("plan of the sweep:\n%s\nwant records found by expiry, and deleted by their key", plan)
	}
	start := time.Now()
	if _, err := s.SweepExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("a sweep that finds nothing among 20,000 took %s", time.Since(start))
}
