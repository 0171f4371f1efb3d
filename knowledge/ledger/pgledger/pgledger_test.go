package pgledger_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
	"github.com/tars-project/tars/knowledge/ledger/pgledger"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/pgtenancy"
	"github.com/tars-project/tars/migrations/pgtest"
)

// open returns a store beside the tenants alice and bob.
func open(t *testing.T) ledger.Store {
	t.Helper()
	db := pgtest.DB(t)
	app, jobs := db.AppPool(t), db.JobsPool(t)
	directory := pgtenancy.New(app, jobs)
	for _, id := range []knowledge.TenantID{"alice", "bob"} {
		if _, err := directory.CreateTenant(t.Context(), tenancy.Tenant{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	return pgledger.New(app, jobs)
}

func TestStore(t *testing.T) { ledgertest.Run(t, open) }

// TestCutWrites: batches whose writing is cut off at any moment, also in the commit, and
// that are written again until somebody says that they are, count once.
func TestCutWrites(t *testing.T) {
	s := open(t)
	const batches = 200
	cuts, took := 0, time.Second // that one write took
	part := ledger.Part{Tenant: "alice", Day: "2026-03-01"}
	for n := range batches {
		b := ledger.Batch{Writer: "w", Number: int64(n + 1), Usage: map[ledger.Part]ledger.Usage{part: {Queries: 1}}}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), took/2+rand.N(took))
			start := time.Now()
			err := s.Write(ctx, b)
			cancel()
			if err == nil {
				took = max(time.Since(start), 100*time.Microsecond)
				break
			}
			took += took / 10 // a connection that was cut is made anew
			cuts++
		}
	}
	got, err := s.Usage(t.Context(), "alice", ledger.Question{From: part.Day, To: part.Day})
	if err != nil || len(got) != 1 || got[0].Queries != batches {
		t.Errorf("usage after %d cuts = %+v, %v, want %d queries", cuts, got, err, batches)
	}
	if cuts < 10 {
		t.Errorf("%d writes were cut, want enough to mean something", cuts)
	}
}
