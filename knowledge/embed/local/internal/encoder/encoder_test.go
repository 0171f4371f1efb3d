package encoder_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge/embed/local/internal/encoder"
	"github.com/tars-project/tars/knowledge/embed/local/internal/pieces"
)

// reference is what the original runtime gives for a text; testdata/record.js
// recorded it.
type reference struct {
	Text   string
	IDs    []int32
	Vector []float32
}

func references(t testing.TB) []reference {
	t.Helper()
	data := read(t, "testdata/reference.json")
	var all []reference
	if err := json.Unmarshal([]byte(data), &all); err != nil || len(all) < 20 {
		t.Fatalf("reference.json has %d texts, %v, want at least 20", len(all), err)
	}
	return all
}

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func open(t testing.TB) (*encoder.Model, *pieces.Cutter) {
	t.Helper()
	m, err := encoder.Open(read(t, "../../data/encoder.bin"))
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	v, err := pieces.Open(read(t, "../../data/pieces.txt"))
	if err != nil {
		t.Fatalf("pieces.Open = %v, want nil", err)
	}
	return m, &pieces.Cutter{Vocabulary: v}
}

// TestReference: the same pieces as the original, and, but for the rounding of the
// weights to 8 bits, the same vectors.
func TestReference(t *testing.T) {
	m, cutter := open(t)
	var w encoder.Workspace
	lowest := 1.0
	for _, r := range references(t) {
		if got := cutter.Cut(r.Text, nil); !slices.Equal(got, r.IDs) {
			t.Errorf("Cut(%.40q) = %v, want %v", r.Text, got, r.IDs)
		}
		got, err := m.Encode(t.Context(), [][]int32{r.IDs}, nil, &w)
		if err != nil || len(got) != encoder.Dimension {
			t.Fatalf("Encode(%.40q) = %d numbers, %v, want %d", r.Text, len(got), err, encoder.Dimension)
		}
		dot, length := 0.0, 0.0
		for i, v := range got {
			dot += float64(v) * float64(r.Vector[i])
			length += float64(v) * float64(v)
		}
		if math.Abs(length-1) > 1e-5 {
			t.Errorf("Encode(%.40q) has squared length %g, want 1", r.Text, length)
		}
		lowest = min(lowest, dot)
		if dot < 0.9985 {
			t.Errorf("Encode(%.40q) has cosine %.5f with the original, want at least 0.9985", r.Text, dot)
		}
	}
	t.Logf("lowest cosine %.5f", lowest)
}

// TestBatch: a sentence has the same bits among any others.
func TestBatch(t *testing.T) {
	m, _ := open(t)
	var sentences [][]int32
	var alone []float32
	var w encoder.Workspace
	for _, r := range references(t) {
		sentences = append(sentences, r.IDs)
		var err error
		if alone, err = m.Encode(t.Context(), [][]int32{r.IDs}, alone, &w); err != nil {
			t.Fatal(err)
		}
	}
	together, err := m.Encode(t.Context(), sentences, nil, new(encoder.Workspace))
	if err != nil || !slices.Equal(together, alone) {
		t.Errorf("Encode of all sentences together gives other vectors than one by one (%v)", err)
	}
	if got, err := m.Encode(t.Context(), nil, nil, &w); len(got) != 0 || err != nil {
		t.Errorf("Encode of none = %v, %v, want none", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Encode(ctx, sentences, nil, &w); !errors.Is(err, context.Canceled) {
		t.Errorf("Encode(cancelled) = %v, want context.Canceled", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := read(t, "../../data/encoder.bin")
	for name, data := range map[string]string{
		"nothing": "", "another magic": "TARSENC0" + good[8:], "cut": good[:len(good)-1], "more": good + "x", "cut in the middle": good[:3_000_000],
	} {
		if _, err := encoder.Open(data); err == nil {
			t.Errorf("Open(%s) = nil, want an error", name)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	m, cutter := open(b)
	short := cutter.Cut("How do I reset my password?", nil)
	medium := cutter.Cut("I forgot my login credentials and cannot sign in to the account I made last week on the web site", nil)
	long := cutter.Cut(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 12), nil)[:encoder.MaxPieces]
	for _, bench := range []struct {
		name      string
		sentences [][]int32
	}{
		{"short", [][]int32{short}},
		{"medium", [][]int32{medium}},
		{"medium x 8", slices.Repeat([][]int32{medium}, 8)},
		{"long", [][]int32{long}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var w encoder.Workspace
			var into []float32
			n := 0
			for _, s := range bench.sentences {
				n += len(s)
			}
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if into, err = m.Encode(b.Context(), bench.sentences, into[:0], &w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "pieces/s")
		})
	}
}
