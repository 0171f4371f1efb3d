package pgstore

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// A name is looked up by the key of the table, whatever it is of: with some
// thousand collections of one tenant, reading them all took milliseconds.
func TestNamesAreFoundByTheirKey(t *testing.T) {
	s, _ := newStore(t, Options{})
	fill(t, s, "alice", knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}}, nil)
	for what, sql := range map[string]string{"reading": definitionSQL, "writing": lockCollectionSQL} {
		var plan []string
		args := pgx.NamedArgs{"tenant": "alice", "name": "c"}
		err := pgtx.ReadWith(t.Context(), s.app, pgtx.SetTenant, "EXPLAIN (COSTS off) "+sql, args, func(rows pgx.Rows) (err error) {
			plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for i, line := range plan {
			if strings.Contains(line, "using collections_pkey on collections") && i+1 < len(plan) {
				found = strings.Contains(plan[i+1], "tenant_id = ") && strings.Contains(plan[i+1], "name = ")
			}
		}
		if !found {
			t.Errorf("plan for %s:\n%s\nwant the collection found by tenant and name", what, strings.Join(plan, "\n"))
		}
	}
}

// Every condition that a request makes goes through [definition.where], which adds
// the view's: no other code of this package makes SQL of a filter.
func TestFiltersComeWithTheirView(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("files of the package = %d, %v", len(files), err)
	}
	calls := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "filterSQL" {
					if calls++; f.Name.Name != "where" {
						t.Errorf("%s: %s calls filterSQL, want it to call where", file, f.Name.Name)
					}
				}
				return true
			})
		}
	}
	if calls != 1 {
		t.Errorf("calls of filterSQL = %d, want one", calls)
	}
}

// An alias that moves is followed at once by its own node, also when a read was under
// way that would have remembered where it pointed before.
func TestForgottenWhileRead(t *testing.T) {
	x := newDefinitions(nowIs(1))
	age := x.age()
	x.forget("alice")
	x.remember("alice", "a", definition{id: 1}, age)
	if _, ok := x.recall("alice", "a"); ok {
		t.Error("recall = what was read before it was forgotten, want nothing")
	}
	x.remember("alice", "a", definition{id: 2}, x.age())
	x.remember("bob", "a", definition{id: 3}, x.age())
	x.forget("alice")
	if _, ok := x.recall("alice", "a"); ok {
		t.Error("recall after forget = something, want nothing")
	}
	if d, ok := x.recall("bob", "a"); !ok || d.id != 3 {
		t.Errorf("recall of another tenant = %+v, %v, want what it was", d, ok)
	}
}

func nowIs(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 0) } }

// Another node goes on with where an alias pointed for a second at most.
func TestAliasOnAnotherNode(t *testing.T) {
	s, _ := newStore(t, Options{})
	other := New(s.app.(*pgxpool.Pool), s.jobs, Options{})
	now := int64(1000)
	other.definitions.now = func() time.Time { return time.Unix(now, 0) }
	for _, name := range []knowledge.CollectionName{"one", "two"} {
		fill(t, s, "alice", knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{Dimension: 2}},
			[]knowledge.Record{{ID: "1", Text: string(name), Vector: []float32{1, 0}}})
	}
	point := func(at knowledge.CollectionName) {
		t.Helper()
		if _, err := s.ChangeAliases(t.Context(), "alice", []knowledge.AliasAction{{Alias: "a", Collection: at}}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(from *Store, want string) {
		t.Helper()
		if r, err := from.Record(t.Context(), "alice", "a", "1"); err != nil || r.Text != want {
			t.Errorf("Record by the alias = %q, %v, want that of %s", r.Text, err, want)
		}
	}
	point("one")
	read(s, "one")
	read(other, "one")
	point("two")
	read(s, "two")
	now += 2
	read(other, "two")
}

// A change of the index's settings takes effect when the mover has built it anew;
// until then searches go by the index that is there.
func TestIndexIsRebuilt(t *testing.T) {
	const dim = 32
	s, _ := newStore(t, Options{ExactBelow: -1})
	ctx := t.Context()
	random := rand.New(rand.NewPCG(1, 1))
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: dim}, Index: knowledge.Index{Kind: knowledge.IndexHNSW}}
	records := randomRecords(random, 800, dim)
	fill(t, s, "alice", c, records)
	if err := s.Tend(ctx, "alice", "c", nil); err != nil {
		t.Fatalf("Tend = %v, want nil", err)
	}
	check := func(when string, want knowledge.Index) {
		t.Helper()
		d, err := s.fetch(ctx, "alice", "c")
		if err != nil {
			t.Fatal(err)
		}
		if d.mainIndex.M != want.M || d.mainIndex.Quantization != want.Quantization || d.main == noMain {
			t.Errorf("%s: main %d has the index %+v, want %+v", when, d.main, d.mainIndex, want)
		}
		search := knowledge.Search{Collection: "c", Vector: records[5].Vector, Limit: 3}
		found, err := s.Search(ctx, "alice", search)
		if err != nil || len(found.Matches) != 3 || found.Matches[0].ID != records[5].ID {
			t.Errorf("%s: Search = %+v, %v, want %s first of 3", when, found.Matches, err, records[5].ID)
		}
		plan, err := s.explain(ctx, "alice", d, search)
		if err != nil || !strings.Contains(plan, "Order By: ") || !strings.Contains(plan, "_vector on records_") {
			t.Errorf("%s: the search goes\n%s\n%v, want the vector index", when, plan, err)
		}
	}
	first := knowledge.Index{M: 16, Quantization: knowledge.NoQuantization}
	check("built", first)
	change := func(x knowledge.Index) {
		t.Helper()
		_, err := s.ChangeCollection(ctx, "alice", "c", 0, func(c knowledge.Collection) (knowledge.Collection, error) {
			c.Index = x
			return c, nil
		})
		if err != nil {
			t.Fatalf("ChangeCollection = %v, want nil", err)
		}
	}
	second := knowledge.Index{Kind: knowledge.IndexHNSW, M: 8, Quantization: knowledge.Binary}
	change(second)
	check("changed", first)
	if refs, err := s.Untended(ctx); err != nil || len(refs) != 1 {
		t.Errorf("Untended after a change of the index = %v, %v, want the collection", refs, err)
	}
	if err := s.Tend(ctx, "alice", "c", nil); err != nil {
		t.Fatalf("Tend = %v, want nil", err)
	}
	check("built anew", second)

	// One that is changed while it is built is begun again.
	stopped := errors.New("stopped")
	change(knowledge.Index{Kind: knowledge.IndexHNSW, M: 10})
	s.step = func(name string) error {
		if name == "catch up" {
			return stopped
		}
		return nil
	}
	wantKind(t, "Tend that is stopped", s.Tend(ctx, "alice", "c", nil), stopped)
	third := knowledge.Index{Kind: knowledge.IndexHNSW, M: 12}
	change(third)
	s.step = func(string) error { return nil }
	check("changed while it was built", second)
	if err := s.Tend(ctx, "alice", "c", nil); err != nil {
		t.Fatalf("Tend = %v, want nil", err)
	}
	check("built for the last", knowledge.Index{M: 12, Quantization: knowledge.NoQuantization})

	change(knowledge.Index{Kind: knowledge.IndexNone})
	search := knowledge.Search{Collection: "c", Vector: records[5].Vector, Limit: 3}
	if found, err := s.Search(ctx, "alice", search); err != nil || found.Plan.Method != methodExact || len(found.Matches) != 3 {
		t.Errorf("Search once there shall be no index = %+v, %v, want it exact", found, err)
	}
	if err := s.Tend(ctx, "alice", "c", nil); err != nil {
		t.Fatalf("Tend = %v, want nil", err)
	}
	if d, err := s.fetch(ctx, "alice", "c"); err != nil || d.main != noMain {
		t.Errorf("main after the index was given up = %d, %v, want none", d.main, err)
	}
}
