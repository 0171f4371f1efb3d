package pgstore

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// settle moves all that a collection has by now to a place of its own, and
// returns its definition as it is then.
func settle(t testing.TB, s *Store, tenant knowledge.TenantID, d definition) definition {
	t.Helper()
	if err := s.Tend(t.Context(), tenant, d.Name, nil); err != nil {
		t.Fatalf("Tend = %v, want nil", err)
	}
	d, err := s.fetch(t.Context(), tenant, d.Name)
	if err != nil || d.main == noMain {
		t.Fatalf("fetch = main %d, %v, want a place of its own", d.main, err)
	}
	return d
}

func zipfTexts(r *rand.Rand, n int, from int) []knowledge.Record {
	records := make([]knowledge.Record, n)
	for i := range records {
		var b strings.Builder
		for range 3 + r.IntN(25) {
			fmt.Fprintf(&b, "word%d ", int(math.Exp(r.Float64()*6)))
		}
		records[i] = knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("r%05d", from+i)), Text: b.String(), Vector: []float32{1, float32(i)}, Metadata: map[string]any{"n": float64(i % 100)}}
	}
	return records
}

// TestWordsOfBothPlaces: a collection with a place of its own finds by the index
// of words what it finds when it looks at everything, in both places.
func TestWordsOfBothPlaces(t *testing.T) {
	s, _ := newStore(t, Options{})
	ctx := t.Context()
	r := rand.New(rand.NewPCG(3, 3))
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}, Language: "simple", Index: knowledge.Index{Kind: knowledge.IndexHNSW}}
	d := settle(t, s, "alice", fill(t, s, "alice", c, zipfTexts(r, 3000, 0)))
	if _, err := s.PutRecords(ctx, "alice", "c", knowledge.Write{Records: zipfTexts(r, 300, 2800)}); err != nil { // 200 of them replace
		t.Fatal(err)
	}
	if err := s.DeleteRecord(ctx, "alice", "c", "r00017"); err != nil {
		t.Fatal(err)
	}
	word := func() string { return fmt.Sprintf("word%d", int(math.Exp(r.Float64()*6))) }
	alls := 0
	for i := range 200 {
		search := knowledge.TextSearch{Collection: "c", Limit: 1 + r.IntN(50), Explain: true}
		for range 1 + r.IntN(3) {
			search.Text += []string{word() + " ", word() + " ", word() + " ", word() + "* ", `"` + word() + " " + word() + `" `, "-" + word() + " "}[r.IntN(6)]
		}
		if i%3 == 0 {
			search.Filter = knowledge.Filter{Op: knowledge.OpLt, Field: "n", Values: []any{float64(1 + r.IntN(100))}}
		}
		got, err := s.SearchText(ctx, "alice", search)
		if err != nil || got.Plan.Method != methodWords {
			t.Fatalf("SearchText(%q) = %+v, %v, want it by the index", search.Text, got.Plan, err)
		}
		search.Exact = true
		want, err := s.SearchText(ctx, "alice", search)
		if err != nil || want.Plan.Method != methodWordsExact {
			t.Fatalf("SearchText(%q, exact) = %+v, %v, want it exact", search.Text, want.Plan, err)
		}
		if got.Words.All {
			alls++
		}
		if len(got.Matches) != len(want.Matches) {
			t.Errorf("%q = %d matches, exactly %d", search.Text, len(got.Matches), len(want.Matches))
			continue
		}
		for j := range want.Matches {
			if got.Matches[j].ID != want.Matches[j].ID || got.Matches[j].Score != want.Matches[j].Score {
				t.Errorf("%q: match %d = %s %v, exactly %s %v", search.Text, j, got.Matches[j].ID, got.Matches[j].Score, want.Matches[j].ID, want.Matches[j].Score)
				break
			}
		}
	}
	if alls < 10 {
		t.Errorf("%d questions found enough with every clause, want some of both kinds", alls)
	}
	if n := wordsRows(t, s, "alice", d, "word1"); n < 1000 {
		t.Errorf("words_in_main gives alice %d rows, want her own", n)
	}
}

// wordsRows is how many rows tars.words_in_main gives a tenant.
func wordsRows(t *testing.T, s *Store, tenant knowledge.TenantID, d definition, word string) (n int) {
	t.Helper()
	const sql = `SELECT count(*) FROM tars.words_in_main(@collection, @main, @word::text::tsquery, '{}', 10000, 10000)`
	args := pgx.NamedArgs{"collection": d.id, "main": d.main, "word": word}
	err := pgtx.Read(t.Context(), s.app, tenant, sql, args, func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&n}, func() error { return nil })
		return err
	})
	if err != nil {
		t.Fatalf("words_in_main: %v", err)
	}
	return n
}

// TestWordsOfAnother: the one function that looks past row-level security gives a
// tenant nothing of another's, whatever it is asked, and nothing without a tenant.
func TestWordsOfAnother(t *testing.T) {
	s, _ := newStore(t, Options{})
	addTenant(t, s, "bob")
	r := rand.New(rand.NewPCG(4, 4))
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}, Language: "simple", Index: knowledge.Index{Kind: knowledge.IndexHNSW}}
	of := map[knowledge.TenantID]definition{}
	for _, tenant := range []knowledge.TenantID{"alice", "bob"} {
		of[tenant] = settle(t, s, tenant, fill(t, s, tenant, c, zipfTexts(r, 50, 0)))
	}
	mixed := of["bob"]
	mixed.main = of["alice"].main // her place, his collection
	for _, test := range []struct {
		tenant knowledge.TenantID
		d      definition
		some   bool
	}{{"alice", of["alice"], true}, {"bob", of["bob"], true}, {"bob", of["alice"], false}, {"alice", of["bob"], false}, {"bob", mixed, false}, {"alice", mixed, false}} {
		if n := wordsRows(t, s, test.tenant, test.d, "word1"); (n > 0) != test.some {
			t.Errorf("words_in_main of collection %d, place %d gives %s %d rows, want some: %v", test.d.id, test.d.main, test.tenant, n, test.some)
		}
	}
	var n int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM tars.words_in_main($1, $2, 'word1', '{}', 10, 10)`, of["alice"].id, of["alice"].main).Scan(&n); err == nil {
		t.Errorf("words_in_main without a tenant = %d rows, want an error", n)
	}
	for _, table := range []string{"lexeme_counts", "lexeme_totals"} {
		err := pgtx.Read(t.Context(), s.app, "bob", "SELECT count(*) FROM "+table+" WHERE placement = @main", pgx.NamedArgs{"main": of["alice"].main}, func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&n}, func() error { return nil })
			return err
		})
		if err != nil || n != 0 {
			t.Errorf("bob sees %d rows of alice's in %s, %v, want none", n, table, err)
		}
	}
}

// TestWordsPlan holds a search by words to its plan, as tars_app: rows of main by
// where they stand, the leaves of others never, and in the function by the index.
func TestWordsPlan(t *testing.T) {
	s, db := newStore(t, Options{})
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}, Language: "simple", Index: knowledge.Index{Kind: knowledge.IndexHNSW}}
	d := settle(t, s, "alice", fill(t, s, "alice", c, zipfTexts(rand.New(rand.NewPCG(5, 5)), 3000, 0)))
	args := d.args("alice")
	search := knowledge.TextSearch{Collection: "c", Text: "word1 word2", Limit: 10, Filter: knowledge.Filter{Op: knowledge.OpEq, Field: "n", Values: []any{1.0}}}
	sql, err := wordsStatement(d, search, wordsPlan{enough: 10, most: 100}, args)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	err = pgtx.ReadWith(t.Context(), s.app, pgtx.SetTenant, "EXPLAIN (COSTS off) "+sql, args, func(rows pgx.Rows) error {
		lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	explained := strings.Join(lines, "\n")
	main, write := fmt.Sprintf("records_%d", d.main), fmt.Sprintf("records_%d", d.placement)
	if err != nil || !strings.Contains(explained, "Tid Scan on "+main) || strings.Contains(explained, "Seq Scan on "+main) {
		t.Errorf("plan, %v:\n%s\nwant a Tid Scan on %s and no Seq Scan", err, explained, main)
	}
	for _, name := range leafName.FindAllString(explained, -1) {
		if name != main && name != write {
			t.Errorf("search of %s looks at %s, want %s and %s alone:\n%s", d.Name, name, main, write, explained)
		}
	}
	// As the owner, to whom row-level security is forced, as inside the function.
	lines = nil
	owner := db.OwnerPool(t)
	err = pgx.BeginFunc(t.Context(), owner, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE tars_owner; SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"); err != nil {
			return err
		}
		rows, err := tx.Query(t.Context(), fmt.Sprintf("EXPLAIN (COSTS off) SELECT ctid, true FROM tars.%s WHERE lexemes @@ 'word1'::tsquery AND tenant_id = 'alice' AND collection_id = %d LIMIT 10", main, d.id))
		if err != nil {
			return err
		}
		lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if explained := strings.Join(lines, "\n"); err != nil || !strings.Contains(explained, "Bitmap Index Scan on "+main+"_lexemes") {
		t.Errorf("plan inside, %v:\n%s\nwant the index of words", err, explained)
	}
}
