package main

import (
	"slices"
	"strings"
	"testing"
)

// TestShortQuestions: what `tars ingest` is tried with, and what speed of short
// queries is measured with.
func TestShortQuestions(t *testing.T) {
	questions := shortQuestions()
	if len(questions) != 20 {
		t.Errorf("%d questions, want 20", len(questions))
	}
	for _, q := range questions {
		if n := words(q); n < 5 || n > 10 || !strings.HasSuffix(q, "?") {
			t.Errorf("%q has %d words, want a question of 5 to 10", q, n)
		}
	}
}

func TestWorkloads(t *testing.T) {
	prose := strings.TrimSpace(strings.Repeat("These are words of a sentence. ", 30))
	code := strings.TrimSpace(strings.Repeat("x=1; f(y) ", 100))
	got := workloads(corpus{passages: []string{code, prose[:216], code, prose[217:], "too short"}})
	if len(got) != 5 {
		t.Fatalf("%d workloads, want 5", len(got))
	}
	for i, n := range []int{60, 60, 150, 150} {
		w := got[i+1]
		if len(w.Texts) != 1 || words(w.Texts[0]) != n || !strings.HasPrefix(prose, w.Texts[0]) {
			t.Errorf("workload %q has the texts %q, want the first %d words of the prose", w.Name, w.Texts, n)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		n    int
		want []int
	}{{0, []int{}}, {2, []int{0, 3}}, {3, []int{0, 2, 4}}, {6, []int{0, 1, 2, 3, 4, 5}}, {9, []int{0, 1, 2, 3, 4, 5}}} {
		if got := spread([]int{0, 1, 2, 3, 4, 5}, test.n); !slices.Equal(got, test.want) {
			t.Errorf("spread(0 to 5, %d) = %v, want %v", test.n, got, test.want)
		}
	}
}
