package pgstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgstore"
	"github.com/tars-project/tars/knowledge/storetest"
	"github.com/tars-project/tars/migrations/pgtest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, pgstore.Options{}) })
}

// Every collection gets an index at its first record, and is searched by it
// however small it is.
func TestStoreAlwaysIndexed(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return tending(t, 1) })
}

// Records lie in both places at once.
func TestStoreInTwoPlaces(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return tending(t, 2) })
}

// tending makes a store that tends a collection after every n-th write.
func tending(t testing.TB, n int64) storetest.Harness {
	h := harness(t, pgstore.Options{ExactBelow: -1, IndexFrom: 1, MergeFrom: 1})
	h.Store = &tendingStore{Store: h.Store.(*pgstore.Store), every: n}
	return h
}

type tendingStore struct {
	*pgstore.Store
	every  int64
	writes atomic.Int64
}

func (s *tendingStore) PutRecords(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, w knowledge.Write) ([]knowledge.WriteResult, error) {
	results, err := s.Store.PutRecords(ctx, tenant, name, w)
	if err != nil || s.writes.Add(1)%s.every != 0 {
		return results, err
	}
	// Another call may be tending it, or have deleted it, already.
	if err := s.Tend(ctx, tenant, name, nil); err != nil && !errors.Is(err, knowledge.ErrUnavailable) && !errors.Is(err, knowledge.ErrNotFound) {
		return results, err
	}
	return results, nil
}

func harness(t testing.TB, options pgstore.Options) storetest.Harness {
	db := open(t)
	store := db.store(options)
	return storetest.Harness{Store: store, AddTenant: db.addTenant, Spread: store.SpreadForTest}
}

// database is a test's own, with the pools of production.
type database struct {
	*pgtest.Database
	app, jobs *pgxpool.Pool
}

func open(t testing.TB) database {
	t.Helper()
	db := database{Database: pgtest.DB(t)}
	// Before the pools, so that it looks after they are closed. What pgtest
	// runs for the whole process is running by now.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	db.app, db.jobs = openPool(t, db.AppURL), openPool(t, db.JobsURL)
	return db
}

func openPool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (db database) store(options pgstore.Options) *pgstore.Store {
	return pgstore.New(db.app, db.jobs, options)
}

func (db database) addTenant(t testing.TB, tenant knowledge.TenantID) {
	t.Helper()
	if _, err := db.jobs.Exec(t.Context(), "INSERT INTO tenants (tenant_id) VALUES ($1)", string(tenant)); err != nil {
		t.Fatalf("add tenant %s: %v", tenant, err)
	}
}
