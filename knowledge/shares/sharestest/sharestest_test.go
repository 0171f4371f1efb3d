package sharestest_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/shares/sharestest"
)

func TestMemory(t *testing.T) {
	sharestest.Run(t, func(*testing.T) sharestest.Harness {
		store := memstore.New(memstore.Options{})
		return sharestest.Harness{Store: sharestest.NewMemory(store), Knowledge: store, AddTenant: func(testing.TB, knowledge.TenantID) {}}
	})
}
