package local_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/embed/local"
)

func open(t testing.TB) *local.Embedder {
	t.Helper()
	e, err := local.New()
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	return e
}

func TestConformance(t *testing.T) {
	embedtest.Run(t, func(t *testing.T) knowledge.Embedder { return open(t) })
}
