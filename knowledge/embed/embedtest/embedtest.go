// Package embedtest has the tests that every [knowledge.Embedder] passes. It is
// imported by tests only.
package embedtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// Run tests what [knowledge.Embedder] promises. It calls open once for each
// test; the embedder may be shared. What an embedder's vectors mean is for its
// own tests.
func Run(t *testing.T, open func(t *testing.T) knowledge.Embedder) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, knowledge.Embedder)
	}{
		{"Info", testInfo},
		{"CountAndDimension", testCountAndDimension},
		{"NoTexts", testNoTexts},
		{"Order", testOrder},
		{"Deterministic", testDeterministic},
		{"CallerOwnsVectors", testCallerOwnsVectors},
		{"AnyScript", testAnyScript},
		{"RefusesNamingTheText", testRefuses},
		{"Cancelled", testCancelled},
		{"Concurrent", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// sentences returns n texts of which no two are alike.
func sentences(n int) []string {
	subjects := []string{"river", "compiler", "invoice", "violin", "glacier", "mayor", "antibody"}
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("The %s of case %d was described in volume %d.", subjects[i%len(subjects)], i, i*i+3)
	}
	return texts
}

func testInfo(t *testing.T, e knowledge.Embedder) {
	info := e.Info()
	if info.ID == "" || info.Version == "" {
		t.Errorf("Info() = %+v, want an id and a version", info)
	}
	if info.Dimension < 1 || info.Dimension > knowledge.MaxDimension {
		t.Errorf("Info().Dimension = %d, want 1 to %d", info.Dimension, knowledge.MaxDimension)
	}
	if again := e.Info(); again != info {
		t.Errorf("second Info() = %+v, want %+v", again, info)
	}
}

func testCountAndDimension(t *testing.T, e knowledge.Embedder) {
	for _, n := range []int{1, 2, 33, 100} {
		for i, vector := range vectorsFor(t, e, knowledge.EmbedDocument, sentences(n)) {
			checkVector(t, e, i, vector)
		}
	}
}

func testNoTexts(t *testing.T, e knowledge.Embedder) {
	for _, texts := range [][]string{nil, {}} {
		vectorsFor(t, e, knowledge.EmbedQuery, texts)
	}
}

// A batch gives each text the vector that it has alone.
func testOrder(t *testing.T, e knowledge.Embedder) {
	texts := sentences(70)
	vectors := vectorsFor(t, e, knowledge.EmbedDocument, texts)
	for i := range texts {
		for j := range i {
			if slices.Equal(vectors[i], vectors[j]) {
				t.Fatalf("Embed: texts %d and %d have the same vector, want different ones", j, i)
			}
		}
	}
	for _, i := range []int{0, 1, 31, 32, 33, 69} {
		alone := vectorsFor(t, e, knowledge.EmbedDocument, texts[i:i+1])
		if cosine := cosine(vectors[i], alone[0]); !same(cosine) {
			t.Errorf("Embed(texts)[%d] and Embed(texts[%d]) have cosine %g, want 1", i, i, cosine)
		}
	}
}

func testDeterministic(t *testing.T, e knowledge.Embedder) {
	for _, kind := range []knowledge.EmbedKind{knowledge.EmbedDocument, knowledge.EmbedQuery} {
		texts := append(sentences(3), sentences(3)...)
		vectors := vectorsFor(t, e, kind, texts)
		for i, vector := range vectors {
			if cosine := cosine(vector, vectors[i%3]); !same(cosine) {
				t.Errorf("Embed(kind %d): texts %d and %d are equal, their vectors have cosine %g, want 1", kind, i%3, i, cosine)
			}
		}
	}
}

func testCallerOwnsVectors(t *testing.T, e knowledge.Embedder) {
	texts := sentences(2)
	want := vectorsFor(t, e, knowledge.EmbedDocument, texts)
	scratch := vectorsFor(t, e, knowledge.EmbedDocument, texts)
	for _, vector := range scratch {
		clear(vector)
		_ = append(vector, 1) // must not reach the next vector
	}
	got := vectorsFor(t, e, knowledge.EmbedDocument, texts)
	for i := range got {
		if cosine := cosine(got[i], want[i]); !same(cosine) {
			t.Errorf("Embed after the caller cleared earlier vectors: cosine with the first vector %d = %g, want 1", i, cosine)
		}
	}
}

func testAnyScript(t *testing.T, e knowledge.Embedder) {
	texts := []string{
		"x", "42", "Ünïcödé", "数据库复制", "Как восстановить базу данных?", "データベースを復元する", "قاعدة البيانات",
		"👍🏽", "?!", "a\x00b", "\u200bzero\u200bwidth", "e\u0301", "ﬁle ＡＢＣ", strings.Repeat("long ", 400),
	}
	for i, vector := range vectorsFor(t, e, knowledge.EmbedDocument, texts) {
		checkVector(t, e, i, vector)
	}
}

func testRefuses(t *testing.T, e knowledge.Embedder) {
	for _, bad := range []string{"", " ", "\t\r\n", "\u00a0\u2003", "\xff\xfe"} {
		texts := sentences(40)
		texts[37] = bad
		vectors, err := e.Embed(t.Context(), knowledge.EmbedDocument, texts)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || !errors.Is(err, knowledge.ErrInvalid) || invalid.Field != "texts[37]" {
			t.Errorf("Embed(texts[37] = %q) = %d vectors, %v, want an InvalidError about texts[37]", bad, len(vectors), err)
		}
	}
}

func testCancelled(t *testing.T, e knowledge.Embedder) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	vectors, err := e.Embed(ctx, knowledge.EmbedDocument, sentences(3))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Embed(cancelled) = %d vectors, %v, want context.Canceled", len(vectors), err)
	}
}

func testConcurrent(t *testing.T, e knowledge.Embedder) {
	texts := sentences(40)
	want := vectorsFor(t, e, knowledge.EmbedDocument, texts)
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := range 5 {
				at := (7*caller + i) % len(texts)
				got, err := e.Embed(t.Context(), knowledge.EmbedDocument, texts[at:])
				if err != nil || len(got) != len(texts)-at {
					t.Errorf("Embed, caller %d = %d vectors, %v, want %d", caller, len(got), err, len(texts)-at)
					return
				}
				if cosine := cosine(got[0], want[at]); !same(cosine) {
					t.Errorf("Embed, caller %d: text %d has cosine %g with its vector, want 1", caller, at, cosine)
				}
			}
		})
	}
	callers.Wait()
}

// vectorsFor returns one vector for each text, or ends the test.
func vectorsFor(t *testing.T, e knowledge.Embedder, kind knowledge.EmbedKind, texts []string) [][]float32 {
	t.Helper()
	vectors, err := e.Embed(t.Context(), kind, texts)
	if err != nil {
		t.Fatalf("Embed(%d texts) = %v, want no error", len(texts), err)
	}
	if len(vectors) != len(texts) {
		t.Fatalf("Embed(%d texts) = %d vectors, want one each", len(texts), len(vectors))
	}
	return vectors
}

func checkVector(t *testing.T, e knowledge.Embedder, i int, vector []float32) {
	t.Helper()
	if want := e.Info().Dimension; len(vector) != want {
		t.Errorf("vector %d has %d components, want %d", i, len(vector), want)
	}
	square := 0.0
	for _, x := range vector {
		square += float64(x) * float64(x)
	}
	if math.IsNaN(square) || math.IsInf(square, 0) || square == 0 {
		t.Errorf("vector %d has squared length %g, want a finite number above zero", i, square)
	}
}

// same allows for servers whose sums depend on what else is in a batch. It is
// false for NaN.
func same(cosine float64) bool { return cosine >= 0.9999 }

func cosine(a, b []float32) float64 {
	dot, aa, bb := 0.0, 0.0, 0.0
	for i := range min(len(a), len(b)) {
		x, y := float64(a[i]), float64(b[i])
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	return dot / math.Sqrt(aa*bb)
}
