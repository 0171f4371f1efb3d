package pgstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge/pgtx"
)

// TestSweepDocuments deletes the documents that have expired, of every tenant, and
// nothing else, in more than one transaction; what another holds it leaves.
func TestSweepDocuments(t *testing.T) {
	s, db := newStore(t, Options{})
	addTenant(t, s, "bob")
	owner := db.OwnerPool(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := owner.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`INSERT INTO tars.collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, placement)
		VALUES ('alice', 'c', 'l2', 2, 'none', '', 'none', 0), ('bob', 'c', 'l2', 2, 'none', '', 'none', 1)`)
	exec(`INSERT INTO tars.documents (tenant_id, collection_id, id, title, media_type, chunker, size, hash, passages, source, text, expires_at)
		SELECT c.tenant_id, c.collection_id, kind || n, '', 'text/plain', 'c', 0, sha256(''), 1, '', '', now() + at::interval
		FROM tars.collections c, generate_series(1, $1::int) AS n, (VALUES ('d', '-1 s'), ('l', '1 hour'), ('f', NULL)) AS k (kind, at)`, sweptDocuments+1)
	tx, err := owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }() // done already
	if _, err := tx.Exec(t.Context(), "SELECT FROM tars.documents WHERE tenant_id = 'bob' AND id = 'd1' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	const doomed = 2 * (sweptDocuments + 1)
	if n, err := s.SweepDocuments(t.Context()); err != nil || n != doomed-1 {
		t.Errorf("SweepDocuments beside who holds one = %d, %v, want %d", n, err, doomed-1)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.SweepDocuments(t.Context()); err != nil || n != 1 {
		t.Errorf("SweepDocuments = %d, %v, want the one that was held", n, err)
	}
	rows, err := owner.Query(t.Context(), "SELECT DISTINCT tenant_id || ' ' || left(id, 1) FROM tars.documents ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := 4; err != nil || len(left) != want {
		t.Errorf("documents left = %q, %v, want those of both that have not expired", left, err)
	}
}

// Documents are found by the key of their table: its conditions are in that of the
// index, which those are not that count as leaky under row-level security.
func TestDocumentsAreFoundByTheirKey(t *testing.T) {
	s, _ := newStore(t, Options{})
	args := pgx.NamedArgs{"tenant": "alice", "collection": 1, "id": "d", "after": "", "prefix": "a/", "last": "b", "limit": 10}
	for what, c := range map[string]struct{ sql, bound string }{
		"one": {documentSQL, "id = "}, "its content": {documentContentSQL, "id = "}, "a list": {listDocumentsSQL, "id >= "},
	} {
		var plan []string
		err := pgtx.ReadWith(t.Context(), s.app, pgtx.SetTenant, "EXPLAIN (COSTS off) "+c.sql, args, func(rows pgx.Rows) (err error) {
			plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(plan, func(line string) bool {
			return strings.Contains(line, "Index Cond") && strings.Contains(line, "collection_id = ") && strings.Contains(line, c.bound)
		})
		if !found {
			t.Errorf("plan for %s:\n%s\nwant it found by collection and id", what, strings.Join(plan, "\n"))
		}
	}
}
