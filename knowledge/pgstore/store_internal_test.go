package pgstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/migrations/pgtest"
)

func newStore(t testing.TB, options Options) (*Store, *pgtest.Database) {
	t.Helper()
	db := pgtest.DB(t)
	before := goleak.IgnoreCurrent() // what pgtest runs for the whole process
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	s := New(db.AppPool(t), db.JobsPool(t), options)
	addTenant(t, s, "alice")
	return s, db
}

func indexedCollection(name knowledge.CollectionName) knowledge.Collection {
	return knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{Dimension: 2}, Index: knowledge.Index{Kind: knowledge.IndexHNSW}}
}

func wantKind(t testing.TB, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s = %v, want an error that is %q", what, err, kind)
	}
}

// A mover takes a collection's records elsewhere and raises its generation.
// Reads that remember the old place must follow.
func TestMovedCollection(t *testing.T) {
	s, db := newStore(t, Options{})
	ctx := t.Context()
	c := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}}
	d := fill(t, s, "alice", c, randomRecords(rand.New(rand.NewPCG(1, 1)), 10, 2))
	search := knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 20}
	if found, err := s.Search(ctx, "alice", search); len(found.Matches) != 10 || err != nil {
		t.Fatalf("Search = %d matches, %v, want 10", len(found.Matches), err)
	}
	s.definitions.now = func() time.Time { return time.Unix(0, 0) } // nothing remembered grows old
	const move = `WITH moved AS (UPDATE tars.records SET placement = (placement + 1) % 4)
		UPDATE tars.collections SET placement = (placement + 1) % 4, generation = generation + 1 WHERE collection_id = $1`
	owner := db.OwnerPool(t)
	moveAway := func() {
		t.Helper()
		if _, err := owner.Exec(ctx, move, d.id); err != nil {
			t.Fatalf("move: %v", err)
		}
	}
	moveAway()
	if found, err := s.Search(ctx, "alice", search); len(found.Matches) != 10 || err != nil {
		t.Errorf("Search after a move = %d matches, %v, want 10", len(found.Matches), err)
	}
	moveAway()
	if _, err := s.Record(ctx, "alice", "c", "3"); err != nil {
		t.Errorf("Record after a move = %v, want nil", err)
	}
}

func TestPlaces(t *testing.T) {
	s, _ := newStore(t, Options{MaxPlaces: 2})
	ctx := t.Context()
	count := func() (n int) {
		t.Helper()
		if err := s.jobs.QueryRow(ctx, "SELECT count(*) FROM places WHERE NOT shared").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	one := []knowledge.Record{{ID: "1", Vector: []float32{1, 0}}}
	for _, name := range []knowledge.CollectionName{"a", "b", "c"} {
		fill(t, s, "alice", indexedCollection(name), one)
	}
	promote(t, s, "a")
	promote(t, s, "b")
	wantKind(t, "Tend beyond MaxPlaces", s.Tend(ctx, "alice", "c", nil), knowledge.ErrLimit)
	if err := s.DeleteCollection(ctx, "alice", "a"); err != nil {
		t.Fatalf("DeleteCollection = %v, want nil", err)
	}
	if got := count(); got != 1 {
		t.Errorf("places after a delete = %d, want 1", got)
	}
	_, _, err := s.PutCollection(ctx, "nobody", indexedCollection("a"))
	wantKind(t, "PutCollection of an unknown tenant", err, knowledge.ErrNotFound)
	if _, err := s.makePlace(ctx); err != nil { // its process ends here
		t.Fatalf("makePlace = %v, want nil", err)
	}
	if n, err := s.SweepPlaces(ctx, time.Hour); n != 0 || err != nil {
		t.Errorf("SweepPlaces(1h) = %d, %v, want 0: the place is young", n, err)
	}
	if n, err := s.SweepPlaces(ctx, 0); n != 1 || err != nil {
		t.Errorf("SweepPlaces(0) = %d, %v, want 1", n, err)
	}
	if dropped, err := s.dropPlace(ctx, 0); dropped || err != nil {
		t.Errorf("dropPlace of a shared place = %v, %v, want false", dropped, err)
	}
	if _, err := s.Search(ctx, "alice", knowledge.Search{Collection: "b", Vector: []float32{1, 0}, Limit: 1}); err != nil {
		t.Errorf("Search of the collection in use = %v, want nil", err)
	}
}

// A long search keeps a place from being dropped. The delete succeeds all the
// same, soon, and the place is swept later.
func TestDropBehindReader(t *testing.T) {
	s, _ := newStore(t, Options{})
	ctx := t.Context()
	fill(t, s, "alice", indexedCollection("a"), []knowledge.Record{{ID: "1", Vector: []float32{1, 0}}})
	d := promote(t, s, "a")
	tx, err := s.app.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, "SELECT set_config('tars.tenant', 'alice', true)"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "SELECT count(*) FROM records WHERE placement = $1", d.main); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.DeleteCollection(ctx, "alice", "a"); err != nil {
		t.Errorf("DeleteCollection behind a reader = %v, want nil", err)
	}
	if took := time.Since(start); took > 2*dropPatience {
		t.Errorf("DeleteCollection behind a reader took %v, want at most %v", took, 2*dropPatience)
	}
	if n, err := s.SweepPlaces(ctx, 0); n != 0 || !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("SweepPlaces behind a reader = %d, %v, want an error that is %q", n, err, knowledge.ErrUnavailable)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := s.SweepPlaces(ctx, 0); n != 1 || err != nil {
		t.Errorf("SweepPlaces = %d, %v, want 1", n, err)
	}
}

func TestMaxCollections(t *testing.T) {
	s, _ := newStore(t, Options{MaxCollections: 1})
	c := knowledge.Collection{Name: "a", Embedder: knowledge.EmbedderInfo{Dimension: 2}}
	fill(t, s, "alice", c, nil)
	fill(t, s, "alice", c, nil) // confirms
	c.Name = "b"
	_, _, err := s.PutCollection(t.Context(), "alice", c)
	wantKind(t, "PutCollection over the limit", err, knowledge.ErrLimit)
}

// The tenant's own policy goes before the store's default.
func TestMaxCollectionsOfPolicy(t *testing.T) {
	s, db := newStore(t, Options{})
	const setUp = `INSERT INTO tenants (tenant_id, policy) VALUES ('poor', '{"max_collections": 1}'), ('rich', '{"max_collections": 2}')`
	if _, err := db.JobsPool(t).Exec(t.Context(), setUp); err != nil {
		t.Fatal(err)
	}
	for _, name := range []knowledge.CollectionName{"a", "b", "c"} {
		c := knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{Dimension: 2}}
		for tenant, most := range map[knowledge.TenantID]knowledge.CollectionName{"poor": "a", "rich": "b"} {
			_, _, err := s.PutCollection(t.Context(), tenant, c)
			if over := name > most; over != errors.Is(err, knowledge.ErrLimit) || !over && err != nil {
				t.Errorf("PutCollection(%s, %s) = %v, want ErrLimit %v", tenant, name, err, over)
			}
		}
	}
}

// What the server and the network do to a call becomes a kind of the domain.
func TestErrorKinds(t *testing.T) {
	s, db := newStore(t, Options{})
	ctx := t.Context()
	fill(t, s, "alice", knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 2}}, nil)
	search := func(ctx context.Context, s *Store) error {
		_, err := s.Search(ctx, "alice", knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 1})
		return err
	}
	owner := db.OwnerPool(t)
	const endSQL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tars_app'"

	// A lock that is held longer than the statement may last.
	slow := withSettings(t, db, map[string]string{"statement_timeout": "100ms", "lock_timeout": "0"})
	impatient := withSettings(t, db, map[string]string{"lock_timeout": "100ms"})
	tx, err := owner.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, "LOCK TABLE tars.records"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "Search under a statement timeout", search(ctx, New(slow, s.jobs, Options{})), knowledge.ErrUnavailable)
	wantKind(t, "Search under a lock timeout", search(ctx, New(impatient, s.jobs, Options{})), knowledge.ErrUnavailable)

	// Cancelled and ended while it waits for the lock.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	wantKind(t, "Search past its deadline", search(short, s), context.DeadlineExceeded)
	ended := make(chan error, 1)
	go func() { ended <- search(ctx, s) }()
	waitForLock(t, owner)
	if _, err := owner.Exec(ctx, endSQL); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "Search whose server process ended", <-ended, knowledge.ErrUnavailable)
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	s.app.(*pgxpool.Pool).Reset()
	if err := search(ctx, s); err != nil {
		t.Errorf("Search afterwards = %v, want nil", err)
	}

	readOnly := withSettings(t, db, map[string]string{"default_transaction_read_only": "on"})
	_, err = New(readOnly, s.jobs, Options{}).PutRecords(ctx, "alice", "c", knowledge.Write{Records: []knowledge.Record{{ID: "1", Vector: []float32{1, 0}}}})
	wantKind(t, "PutRecords to a read-only server", err, knowledge.ErrUnavailable)

	_, err = Open(ctx, Config{URL: "postgres://tars_app@127.0.0.1:1/none", ConnectTimeout: time.Second})
	wantKind(t, "Open of nothing", err, knowledge.ErrUnavailable)
}

// waitForLock returns once a statement of the application waits for a lock.
func waitForLock(t testing.TB, owner queryer) {
	t.Helper()
	for waiting := 0; waiting == 0; {
		const waitingSQL = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tars_app' AND wait_event_type = 'Lock'"
		if err := owner.QueryRow(t.Context(), waitingSQL).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}

// withSettings connects as the application with other server settings.
func withSettings(t testing.TB, db *pgtest.Database, settings map[string]string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.AppURL)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range settings {
		config.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestOpenRefuses(t *testing.T) {
	_, db := newStore(t, Options{})
	if pool, err := Open(t.Context(), Config{URL: db.OwnerURL}); err == nil {
		pool.Close()
		t.Error("Open as superuser = nil, want an error")
	}
	empty := pgtest.Empty(t)
	if pool, err := Open(t.Context(), Config{URL: empty.AppURL}); err == nil {
		pool.Close()
		t.Error("Open of a database without migrations = nil, want an error")
	}
	if _, err := Open(t.Context(), Config{URL: "postgres://%zz"}); err == nil {
		t.Error("Open of a bad URL = nil, want an error")
	}
}

func TestOlder(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"0.8.0", "0.8.0", false},
		{"0.7.4", "0.8.0", true},
		{"0.8.10", "0.8.6", false},
		{"0.8", "0.8.0", false},
		{"0.8.5", "0.8.6", true},
		{"1.0", "0.8.6", false},
		{"0.8", "0.8.1", true},
	} {
		if got := older(test.a, test.b); got != test.want {
			t.Errorf("older(%s, %s) = %v, want %v", test.a, test.b, got, test.want)
		}
	}
}
