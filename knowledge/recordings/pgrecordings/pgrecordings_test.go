package pgrecordings_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recordings"
	"github.com/tars-project/tars/knowledge/recordings/pgrecordings"
	"github.com/tars-project/tars/knowledge/recordings/recordingstest"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/pgtenancy"
	"github.com/tars-project/tars/migrations/pgtest"
)

func TestStore(t *testing.T) {
	recordingstest.Run(t, func(t *testing.T) recordings.Store {
		db := pgtest.DB(t)
		app, jobs := db.AppPool(t), db.JobsPool(t)
		directory := pgtenancy.New(app, jobs)
		for _, id := range []knowledge.TenantID{"alice", "bob"} {
			if _, err := directory.CreateTenant(t.Context(), tenancy.Tenant{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		return pgrecordings.New(app, jobs)
	})
}
