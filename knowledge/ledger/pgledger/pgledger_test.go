package pgledger_test

import (
	"testing"

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
