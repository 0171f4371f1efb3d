package audittest_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/audit/audittest"
)

func TestMemory(t *testing.T) {
	audittest.Run(t, func(*testing.T) (one, other audit.Store) {
		m := audittest.NewMemory()
		return m, m
	})
}
