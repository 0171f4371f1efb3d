package ledgertest_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
)

func TestMemory(t *testing.T) {
	ledgertest.Run(t, func(*testing.T) ledger.Store { return ledgertest.NewMemory("alice", "bob") })
}
