package local

import (
	"strconv"
	"testing"
)

// Memory does not grow with the length of a text or the number of texts.
func TestBenchIsBounded(t *testing.T) {
	e, err := NewFast()
	if err != nil {
		t.Fatal(err)
	}
	b := <-e.benches
	vector := make([]float32, FastDimension)
	for round := range 3 {
		most := 0
		for i := range 3 * maxUnknown {
			b.count([]byte("unknown" + strconv.Itoa(i)))
			b.count([]byte("known"))
			most = max(most, len(b.unknown))
		}
		if most >= maxUnknown || len(b.known) > 1 {
			t.Errorf("round %d: bench holds %d unknown and %d known words, want less than %d and at most 1", round, most, len(b.known), maxUnknown)
		}
		if !b.finish(1, vector) {
			t.Errorf("round %d: finish = false, want true", round)
		}
		if len(b.unknown) > 0 || len(b.known) > 0 {
			t.Errorf("round %d: %d unknown and %d known words after finish, want none", round, len(b.unknown), len(b.known))
		}
	}
}
