package local_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/embed/local"
)

func openFast(t testing.TB) *local.Fast {
	t.Helper()
	e, err := local.NewFast()
	if err != nil {
		t.Fatalf("NewFast() = %v, want no error", err)
	}
	return e
}

func open(t testing.TB) *local.Embedder {
	t.Helper()
	e, err := local.New(openFast(t))
	if err != nil {
		t.Fatalf("New() = %v, want no error", err)
	}
	return e
}

// onBoth runs a test with each embedder of the package.
func onBoth(t *testing.T, test func(t *testing.T, e knowledge.Embedder)) {
	t.Helper()
	for _, e := range []knowledge.Embedder{open(t), openFast(t)} {
		t.Run(e.Info().ID, func(t *testing.T) { test(t, e) })
	}
}

func TestConformance(t *testing.T) {
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		embedtest.Run(t, func(*testing.T) knowledge.Embedder { return e })
	})
}
