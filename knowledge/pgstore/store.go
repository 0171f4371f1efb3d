// Package pgstore keeps collections and records in PostgreSQL with pgvector. It
// implements [knowledge.Store] and passes knowledge/storetest.
//
// How it is laid out: records are partitioned by placement. All writes go to a few
// shared places, which are searched exactly. A collection that has grown has a
// place of its own besides, main, with an HNSW index, so that no other tenant's
// records thin out what the index finds; [Store.Tend] carries rows over in the
// background. The table of collections says where each one's records are.
//
// How tenants are kept apart: each statement names tenant_id, and row-level
// security compares it with the setting tars.tenant, made for one transaction
// at a time in the same round trip. See migrations for the policies.
//
// What it leaves to others: making and changing the schema (migrations),
// tenants, keys and their rights (knowledge/tenancy), and when to sweep (cmd/tars).
package pgstore

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Options are the bounds of a [Store]. The zero value means the defaults.
type Options struct {
	MaxCollections int   // of one tenant; default 10,000
	MaxPlaces      int   // collections with an index, of all tenants together; default 2,000: planning and locking grow with the number of partitions
	ExactBelow     int64 // bytes of an indexed collection's table up to which a search compares all vectors all the same; default 4 MiB; negative: never, nor because it is cheaper otherwise

	// Ef is how many candidates a search by an index keeps at least, 1 to
	// [knowledge.MaxEf], unless it says so itself; default 100.
	Ef int
	// Unindexed is what becomes of a filter that makes a search look at more
	// than UnindexedRows records for a field that the collection does not
	// declare; default [MarkUnindexed]. UnindexedRows is 100,000 by default;
	// negative means none at all.
	Unindexed     UnindexedPolicy
	UnindexedRows int64

	// RecallShare is the share of searches by an index, 0 to 1, that
	// [Store.MeasureRecall] carries out once more exactly; default 0: none.
	RecallShare float64
	// RecallBudget is how much time of the database that may take; default
	// 50 ms a second.
	RecallBudget    time.Duration
	MaxFacetRecords int // that a facet counts; default [knowledge.MaxFacetRecords]

	IndexFrom    int64 // bytes of vectors from which a collection gets an index, if it leaves that to us; default 4 MiB
	MergeFrom    int64 // bytes of vectors that are written before they are carried over to the index; default 1 MiB
	MaxPending   int64 // bytes of vectors that may wait for that until writes are refused; default 4 GiB
	BuildMemory  int64 // bytes of the server's memory for one index build; default 512 MiB
	IndexMemory  int64 // bytes that the vector index of one collection may have, by estimate; a collection does not get a larger one, and Health warns; default: no bound
	BuildWorkers int   // processes of the server that help with one; default 1, negative: none
}

func (o Options) withDefaults() Options {
	if o.MaxCollections == 0 {
		o.MaxCollections = 10_000
	}
	if o.MaxPlaces == 0 {
		o.MaxPlaces = 2_000
	}
	if o.ExactBelow == 0 {
		// An exact scan of that much takes 1 to 2 ms, as long as the index
		// takes, and it is exact.
		o.ExactBelow = 4 << 20
	}
	if o.Ef == 0 {
		// A recall@10 of 0.94 on GloVe, a hard set, and more on embeddings of
		// sentences.
		o.Ef = 100
	}
	if o.Unindexed == "" {
		o.Unindexed = MarkUnindexed
	}
	if o.UnindexedRows == 0 {
		o.UnindexedRows = 100_000
	}
	if o.RecallBudget == 0 {
		o.RecallBudget = 50 * time.Millisecond
	}
	if o.MaxFacetRecords == 0 {
		o.MaxFacetRecords = knowledge.MaxFacetRecords
	}
	if o.BuildWorkers == 0 {
		o.BuildWorkers = 1
	}
	for _, v := range []struct {
		value    *int64
		standard int64
	}{{&o.IndexFrom, 4 << 20}, {&o.MergeFrom, 1 << 20}, {&o.MaxPending, 4 << 30}, {&o.BuildMemory, 512 << 20}} {
		if *v.value == 0 {
			*v.value = v.standard
		}
	}
	return o
}

// Store keeps collections and records. It is safe for concurrent use.
type Store struct {
	app         pgtx.DB       // the pool; in a session, its transaction
	pool        *pgxpool.Pool // as tars_app
	jobs        *pgxpool.Pool
	options     Options
	definitions *definitions
	activity    *activity
	estimates   *remembered[estimateKey, estimate]
	tunings     *remembered[int64, map[knowledge.Bucket]tuning] // by collection
	samples     *samples
	step        func(name string) error // called between the steps of a mover; tests end it there
}

var _ knowledge.Store = (*Store)(nil)

// New makes a Store that serves tenants through app, connected as tars_app,
// and makes and drops places through jobs, connected as tars_jobs. [Open] makes
// such pools. The caller closes both after the last call has returned.
func New(app, jobs *pgxpool.Pool, options Options) *Store {
	return &Store{
		app: app, pool: app, jobs: jobs, options: options.withDefaults(),
		definitions: newDefinitions(time.Now), activity: newActivity(),
		estimates: newRemembered[estimateKey, estimate](estimateLife, time.Now),
		tunings:   newRemembered[int64, map[knowledge.Bucket]tuning](tuningLife, time.Now), samples: newSamples(),
		step: func(string) error { return nil },
	}
}
