package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

// Promotion, merging and dissolving, each killed at each of its steps and gone on
// with, while writers write and readers read.
func TestMover(t *testing.T) {
	const dim = 8
	s, db := newStore(t, Options{ExactBelow: -1, IndexFrom: 1, MergeFrom: 1})
	ctx := t.Context()
	random := rand.New(rand.NewPCG(1, 1))
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: dim}, Fields: []knowledge.Field{{Name: "n", Type: knowledge.Number}}}
	fill(t, s, "alice", c, randomRecords(random, 500, dim))
	owner := db.OwnerPool(t)

	killed := errors.New("killed")
	var fatal string // the step at which the mover is killed
	s.step = func(name string) error {
		if name == fatal {
			return killed
		}
		return nil
	}
	check := func(what string, n int, wantMain bool) {
		t.Helper()
		d, err := s.fetch(ctx, "alice", "c")
		if err != nil || (d.main != noMain) != wantMain {
			t.Fatalf("%s: main %d, %v, want one %v", what, d.main, err, wantMain)
		}
		got, err := s.Collection(ctx, "alice", "c")
		if err != nil || got.Records != int64(n) {
			t.Errorf("%s: %d records, %v, want %d", what, got.Records, err, n)
		}
		found, err := s.Search(ctx, "alice", knowledge.Search{Collection: "c", Vector: randomRecords(random, 1, dim)[0].Vector, Limit: 1000, Ef: 1000})
		if err != nil || len(found.Matches) != n {
			t.Errorf("%s: Search = %d matches, %v, want %d", what, len(found.Matches), err, n)
		}
	}
	tend := func(at string) {
		t.Helper()
		fatal = at
		if err := s.Tend(ctx, "alice", "c", nil); at != "" && !errors.Is(err, killed) || at == "" && err != nil {
			t.Fatalf("Tend, killed at %q = %v", at, err)
		}
		s.definitions.forget("alice")
	}

	for _, at := range []string{"copy", "index", "catch up", "switch over"} {
		tend(at)
		check("killed before "+at, 500, false)
	}
	tend("clean")
	check("killed before clean", 500, true)
	tend("")
	check("promoted", 500, true)
	if n := rowsIn(t, owner, "records_0", "records_1", "records_2", "records_3"); n != 0 {
		t.Errorf("%d rows are left in shared places, want 0", n)
	}

	put := func(from, n int) {
		t.Helper()
		records := randomRecords(random, from+n, dim)[from:]
		if _, err := s.PutRecords(ctx, "alice", "c", knowledge.Write{Records: records}); err != nil {
			t.Fatal(err)
		}
	}
	put(490, 50) // ten known, forty new
	check("written", 540, true)
	tend("merge")
	check("killed in a merge", 540, true)
	tend("")
	check("merged", 540, true)
	r, err := s.Record(ctx, "alice", "c", "495")
	if err != nil || r.Version != 2 {
		t.Errorf("Record(495) = version %d, %v, want 2", r.Version, err)
	}

	put(0, 300) // much beside main: built anew
	before, _ := s.fetch(ctx, "alice", "c")
	tend("switch over")
	check("killed in a second build", 540, true)
	if err := s.DeleteRecord(ctx, "alice", "c", "7"); err != nil {
		t.Fatal(err)
	}
	put(8, 1)
	tend("")
	check("built again", 539, true)
	if after, _ := s.fetch(ctx, "alice", "c"); after.main == before.main {
		t.Errorf("main is still %d, want another", after.main)
	}
	if r, err := s.Record(ctx, "alice", "c", "8"); err != nil || r.Version != 3 {
		t.Errorf("Record(8) = version %d, %v, want 3", r.Version, err)
	}

	s.options.IndexFrom = 1 << 40 // small, by this measure
	tend("dissolve")
	tend("")
	check("dissolved", 539, false)
	if places := placesOf(t, s); places != 0 {
		t.Errorf("%d places of their own are left, want 0", places)
	}
}

// A writer that meets a row on its way to main waits for it, and finds it there.
func TestWritersMeetMerge(t *testing.T) {
	s, db := newStore(t, Options{ExactBelow: -1, IndexFrom: 1, MergeFrom: 1})
	ctx := t.Context()
	owner := db.OwnerPool(t)
	records := randomRecords(rand.New(rand.NewPCG(1, 1)), 100, 2)
	fill(t, s, "alice", indexedCollection("c"), records)
	promote(t, s, "c")
	for _, test := range []struct {
		name string
		do   func() error
		want int64 // the version that is left
	}{
		{"put", func() error {
			_, err := s.PutRecords(ctx, "alice", "c", knowledge.Write{Records: records[:1]})
			return err
		}, 3},
		{"delete", func() error { return s.DeleteRecord(ctx, "alice", "c", "0") }, 0},
	} {
		if _, err := s.PutRecords(ctx, "alice", "c", knowledge.Write{Records: records[:1]}); err != nil { // to the write place
			t.Fatal(err)
		}
		d, err := s.fetch(ctx, "alice", "c")
		if err != nil {
			t.Fatal(err)
		}
		tx, err := s.jobs.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.WithoutCancel(ctx))
		args := d.args("alice")
		args["rows"], args["epoch"] = mergeRows, d.epoch
		if tag, err := tx.Exec(ctx, mergeSQL, args); err != nil || tag.RowsAffected() != 1 {
			t.Fatalf("merge = %d rows, %v, want 1", tag.RowsAffected(), err)
		}
		done := make(chan error, 1)
		go func() { done <- test.do() }()
		waitForLock(t, owner)
		if err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s = %v, want nil", test.name, err)
		}
		r, err := s.Record(ctx, "alice", "c", "0")
		if r.Version != test.want || (test.want == 0) != errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("after %s: version %d, %v, want %d", test.name, r.Version, err, test.want)
		}
		if got, err := s.Collection(ctx, "alice", "c"); err != nil || test.want > 0 && got.Records != 100 || test.want == 0 && got.Records != 99 {
			t.Errorf("after %s: %d records, %v", test.name, got.Records, err)
		}
	}
}

// promote tends a collection and returns its definition.
func promote(t testing.TB, s *Store, name knowledge.CollectionName) definition {
	t.Helper()
	if err := s.Tend(t.Context(), "alice", name, nil); err != nil {
		t.Fatalf("Tend(%s) = %v, want nil", name, err)
	}
	d, err := s.fetch(t.Context(), "alice", name)
	if err != nil {
		t.Fatalf("fetch(%s) = %v, want nil", name, err)
	}
	return d
}

func rowsIn(t testing.TB, db queryer, tables ...string) (n int) {
	t.Helper()
	for _, table := range tables {
		var rows int
		if err := db.QueryRow(t.Context(), "SELECT count(*) FROM tars."+table).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		n += rows
	}
	return n
}

func placesOf(t testing.TB, s *Store) (n int) {
	t.Helper()
	if err := s.jobs.QueryRow(t.Context(), "SELECT count(*) FROM places WHERE NOT shared").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Writers and readers go on while movers work and are killed at random. Each
// writer owns some ids, and knows what must be there; readers must always find
// the ids that nobody touches, once each.
func TestMoverUnderLoad(t *testing.T) {
	const dim, writers, own, rounds = 4, 4, 40, 250
	s, db := newStore(t, Options{ExactBelow: -1, IndexFrom: 1, MergeFrom: 1})
	owner := db.OwnerPool(t)
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: dim}}
	still := randomRecords(rand.New(rand.NewPCG(9, 9)), 200, dim)
	for i := range still {
		still[i].ID = knowledge.RecordID(fmt.Sprintf("still-%d", i))
	}
	fill(t, s, "alice", c, still)

	killed := errors.New("killed")
	var mu sync.Mutex
	chance := rand.New(rand.NewPCG(2, 2))
	s.step = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if chance.IntN(6) == 0 {
			return killed
		}
		return nil
	}

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	working, done := context.WithCancel(ctx)
	var g, movers errgroup.Group
	kinds := []knowledge.IndexKind{knowledge.IndexHNSW, knowledge.IndexNone}
	movers.Go(func() error {
		for i := 0; working.Err() == nil; i++ {
			if i%4 == 3 { // give the place up now and then
				kind := kinds[(i/4)%2]
				if _, err := owner.Exec(ctx, "UPDATE tars.collections SET index_kind = $1", string(kind)); err != nil {
					return err
				}
			}
			if err := s.Tend(ctx, "alice", "c", nil); err != nil && !errors.Is(err, killed) && !errors.Is(err, knowledge.ErrUnavailable) {
				return err
			}
		}
		return nil
	})
	movers.Go(func() error {
		for working.Err() == nil {
			found, err := s.Search(ctx, "alice", knowledge.Search{Collection: "c", Vector: []float32{1, 0, 0, 0}, Limit: 1000, Exact: true})
			if err != nil {
				return err
			}
			seen := map[knowledge.RecordID]int{}
			for _, m := range found.Matches {
				if seen[m.ID]++; seen[m.ID] > 1 {
					return fmt.Errorf("search found %s twice", m.ID)
				}
			}
			for _, r := range still {
				if seen[r.ID] != 1 {
					return fmt.Errorf("search did not find %s", r.ID)
				}
			}
		}
		return nil
	})
	for w := range writers {
		g.Go(func() error { return s.writeAndCheck(ctx, w, own, rounds, dim) })
	}
	err := g.Wait()
	done()
	if err := errors.Join(err, movers.Wait()); err != nil {
		t.Error(err)
	}
}

// writeAndCheck puts and deletes records of its own at random, and reads back each.
func (s *Store) writeAndCheck(ctx context.Context, writer, own, rounds, dim int) error {
	random := rand.New(rand.NewPCG(uint64(writer), 3))
	versions := map[knowledge.RecordID]int64{}
	for range rounds {
		id := knowledge.RecordID(fmt.Sprintf("w%d-%d", writer, random.IntN(own)))
		if versions[id] > 0 && random.IntN(3) == 0 {
			if err := s.DeleteRecord(ctx, "alice", "c", id); err != nil {
				return fmt.Errorf("delete %s, at version %d: %w", id, versions[id], err)
			}
			delete(versions, id)
		} else {
			r := randomRecords(random, 1, dim)[0]
			r.ID = id
			got, err := s.PutRecords(ctx, "alice", "c", knowledge.Write{Records: []knowledge.Record{r}})
			if err != nil {
				return err
			}
			if versions[id]++; got[0].Version != versions[id] {
				return fmt.Errorf("put %s: version %d, want %d", id, got[0].Version, versions[id])
			}
		}
		r, err := s.Record(ctx, "alice", "c", id)
		if want := versions[id]; r.Version != want || (want == 0) != errors.Is(err, knowledge.ErrNotFound) {
			return fmt.Errorf("read %s: version %d, %w, want %d", id, r.Version, err, want)
		}
	}
	for id, want := range versions {
		if r, err := s.Record(ctx, "alice", "c", id); err != nil || r.Version != want {
			return fmt.Errorf("read %s at the end: version %d, %w, want %d", id, r.Version, err, want)
		}
	}
	return nil
}

// An index that would be larger than the server allows is not built, and no job
// comes back for it.
func TestIndexMemory(t *testing.T) {
	s, _ := newStore(t, Options{IndexMemory: 1 << 20})
	fill(t, s, "alice", indexedCollection("small"), randomRecords(rand.New(rand.NewPCG(1, 1)), 10, 2))
	wide := indexedCollection("large")
	wide.Embedder.Dimension = 500
	fill(t, s, "alice", wide, randomRecords(rand.New(rand.NewPCG(1, 1)), 1000, 500))
	for name, want := range map[knowledge.CollectionName]bool{"small": true, "large": false} {
		if d := promote(t, s, name); (d.main != noMain) != want {
			t.Errorf("%s: main %d, want one %v", name, d.main, want)
		}
		h, err := s.Health(t.Context(), "alice", name)
		if warned := len(h.Warnings) > 0 && strings.Contains(h.Warnings[0], "larger than this server allows"); err != nil || warned == want {
			t.Errorf("%s: Health = %+v, %v, want a warning %v", name, h, err, !want)
		}
	}
	if refs, err := s.Untended(t.Context()); err != nil || len(refs) != 0 {
		t.Errorf("Untended = %v, %v, want none", refs, err)
	}
}

// Writes are refused while too many rows wait to be indexed, and taken again when
// they have been carried over.
func TestMaxPending(t *testing.T) {
	s, _ := newStore(t, Options{IndexFrom: 1, MergeFrom: 1, MaxPending: 100 * 72}) // 100 rows of 2 dimensions
	records := randomRecords(rand.New(rand.NewPCG(1, 1)), 300, 2)
	fill(t, s, "alice", indexedCollection("c"), records[:10])
	promote(t, s, "c")
	put := func() error {
		_, err := s.PutRecords(t.Context(), "alice", "c", knowledge.Write{Records: records[:101]})
		return err
	}
	if err := put(); err != nil {
		t.Fatalf("PutRecords = %v, want nil: nothing waits", err)
	}
	wantKind(t, "PutRecords while 101 rows wait", put(), knowledge.ErrLimit)
	if err := s.DeleteRecord(t.Context(), "alice", "c", "0"); err != nil {
		t.Errorf("DeleteRecord = %v, want nil: it adds no row", err)
	}
	promote(t, s, "c")
	if err := put(); err != nil {
		t.Errorf("PutRecords after merging = %v, want nil", err)
	}
}

// Touched and Untended name collections where there is work, once.
func TestFindingWork(t *testing.T) {
	s, _ := newStore(t, Options{IndexFrom: 400 * 72, MergeFrom: 1})
	records := randomRecords(rand.New(rand.NewPCG(1, 1)), 1200, 2)
	auto := indexedCollection("c")
	auto.Index.Kind = knowledge.IndexAuto
	touched := func() []CollectionRef {
		t.Helper()
		refs, err := s.Touched(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return refs
	}
	fill(t, s, "alice", auto, records[:300])
	if refs := touched(); len(refs) != 0 {
		t.Errorf("Touched after 300 rows = %v, want none", refs)
	}
	fill(t, s, "alice", auto, records[300:900])
	if refs := touched(); len(refs) != 1 || refs[0] != (CollectionRef{"alice", "c"}) {
		t.Errorf("Touched after 900 rows = %v, want the collection", refs)
	}
	if refs := touched(); len(refs) != 0 {
		t.Errorf("Touched again = %v, want none", refs)
	}
	if refs, err := s.Untended(t.Context()); err != nil || len(refs) != 1 {
		t.Errorf("Untended = %v, %v, want the collection", refs, err)
	}
	promote(t, s, "c")
	if refs, err := s.Untended(t.Context()); err != nil || len(refs) != 0 {
		t.Errorf("Untended after Tend = %v, %v, want none", refs, err)
	}
	_, err := s.ChangeCollection(t.Context(), "alice", "c", 0, func(c knowledge.Collection) (knowledge.Collection, error) {
		c.Fields = append(c.Fields, knowledge.Field{Name: "n", Type: knowledge.Number})
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if refs := touched(); len(refs) != 1 {
		t.Errorf("Touched after a field was declared = %v, want the collection", refs)
	}
}
