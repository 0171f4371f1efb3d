package knowledge_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// plain returns a collection of three dimensions.
func plain(metric knowledge.Metric) knowledge.Collection {
	return knowledge.Collection{Metric: metric, Embedder: knowledge.EmbedderInfo{ID: knowledge.NoEmbedder, Dimension: 3}}
}

// field returns where an error says that something is wrong, "ok" for none.
func field(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	var invalid *knowledge.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error = %v, want an *InvalidError", err)
	}
	return invalid.Field
}

func TestCheckVector(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	negative := float32(math.Copysign(0, -1))
	wide := knowledge.Collection{
		Metric:   knowledge.L2,
		Embedder: knowledge.EmbedderInfo{Dimension: 2001},
		Index:    knowledge.Index{Kind: knowledge.IndexHNSW},
	}
	long := make([]float32, 2001)
	long[2000] = 65504
	longer := make([]float32, 2001)
	longer[2000] = 65536
	for _, tc := range []struct {
		name string
		c    knowledge.Collection
		v    []float32
		want string
	}{
		{"good", plain(knowledge.Cosine), []float32{1, 2, 3}, "ok"},
		{"short", plain(knowledge.Cosine), []float32{1, 2}, ""},
		{"long", plain(knowledge.L2), []float32{1, 2, 3, 4}, ""},
		{"none", plain(knowledge.L2), nil, ""},
		{"NaN", plain(knowledge.IP), []float32{0, nan, 0}, "[1]"},
		{"infinite", plain(knowledge.L2), []float32{0, 0, -inf}, "[2]"},
		{"large", plain(knowledge.L2), []float32{1e15, -1e15, 0}, "ok"},
		{"too large", plain(knowledge.L2), []float32{1.1e15, 0, 0}, "[0]"},
		{"zeros by cosine", plain(knowledge.Cosine), []float32{0, 0, 0}, ""},
		{"negative zeros by cosine", plain(knowledge.Cosine), []float32{negative, negative, negative}, ""},
		{"tiny by cosine", plain(knowledge.Cosine), []float32{1e-30, 0, 0}, ""},
		{"zeros by l2", plain(knowledge.L2), []float32{0, 0, 0}, "ok"},
		{"half precision", wide, long, "ok"},
		{"beyond half precision", wide, longer, "[2000]"},
	} {
		if got := field(t, knowledge.CheckVector(tc.v, tc.c)); got != tc.want {
			t.Errorf("%s: CheckVector at %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestRecordValidate(t *testing.T) {
	good := func() knowledge.Record {
		return knowledge.Record{ID: "a", Text: "text", Vector: []float32{1, 2, 3}, Metadata: map[string]any{"k": 1.0}}
	}
	for _, tc := range []struct {
		name   string
		change func(*knowledge.Record)
		want   string
	}{
		{"good", func(*knowledge.Record) {}, "ok"},
		{"no text", func(r *knowledge.Record) { r.Text = "" }, "ok"},
		{"id", func(r *knowledge.Record) { r.ID = "" }, "id"},
		{"text with NUL", func(r *knowledge.Record) { r.Text = "a\x00" }, "text"},
		{"text of bad UTF-8", func(r *knowledge.Record) { r.Text = "\xed\xa0\x80" }, "text"},
		{"text of 1 MiB", func(r *knowledge.Record) { r.Text = strings.Repeat("a", knowledge.MaxText) }, "ok"},
		{"text over 1 MiB", func(r *knowledge.Record) { r.Text = strings.Repeat("a", knowledge.MaxText+1) }, "text"},
		{"vector", func(r *knowledge.Record) { r.Vector[1] = float32(math.NaN()) }, "vector[1]"},
		{"no vector", func(r *knowledge.Record) { r.Vector = nil }, "vector"},
		{"metadata", func(r *knowledge.Record) { r.Metadata["k"] = []any{"", "a\x00"} }, "metadata.k[1]"},
	} {
		r := good()
		tc.change(&r)
		if got := field(t, r.Validate(plain(knowledge.Cosine))); got != tc.want {
			t.Errorf("%s: Validate at %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestWriteCheck(t *testing.T) {
	many := make([]knowledge.Record, knowledge.MaxBatch+1)
	for i := range many {
		many[i].ID = knowledge.RecordID(strings.Repeat("x", 1+i%500) + string(rune('a'+i/500)))
	}
	for _, tc := range []struct {
		name    string
		records []knowledge.Record
		want    string
	}{
		{"none", nil, "records"},
		{"one", []knowledge.Record{{ID: "a"}}, "ok"},
		{"most", many[:knowledge.MaxBatch], "ok"},
		{"too many", many, "records"},
		{"twice", []knowledge.Record{{ID: "a"}, {ID: "b"}, {ID: "a"}}, "records[2].id"},
	} {
		good := func(knowledge.Record) error { return nil }
		results, err := knowledge.Write{Records: tc.records}.Check(good)
		if field(t, err) != tc.want || err == nil && len(results) != len(tc.records) {
			t.Errorf("%s: Check = %d results, %v, want it at %q", tc.name, len(results), err, tc.want)
		}
	}
}

func TestCheckMetadata(t *testing.T) {
	deep := func(levels int) map[string]any {
		m := map[string]any{}
		for range levels - 1 {
			m = map[string]any{"m": m}
		}
		return m
	}
	list := func(levels int) any {
		var v any = 1.0
		for range levels {
			v = []any{v}
		}
		return v
	}
	for _, tc := range []struct {
		name string
		m    map[string]any
		want string
	}{
		{"none", nil, "ok"},
		{"all kinds", map[string]any{"a": nil, "b": true, "c": 1.5, "d": "s", "e": []any{map[string]any{}}, "__proto__": "x", "": ""}, "ok"},
		{"8 levels", deep(8), "ok"},
		{"9 levels", deep(9), strings.TrimSuffix(strings.Repeat("m.", 8), ".")},
		{"7 lists in an object", map[string]any{"l": list(7)}, "ok"},
		{"8 lists in an object", map[string]any{"l": list(8)}, "l" + strings.Repeat("[0]", 7)},
		{"NaN", map[string]any{"a": math.NaN()}, "a"},
		{"infinity", map[string]any{"a": []any{0.0, math.Inf(1)}}, "a[1]"},
		{"an int", map[string]any{"a": 1}, "a"},
		{"a float32", map[string]any{"a": float32(1)}, "a"},
		{"NUL in a value", map[string]any{"a": "\x00"}, "a"},
		{"NUL in a key", map[string]any{"\x00": 1.0}, "(a key)"},
		{"bad UTF-8 in a key", map[string]any{"\xff": 1.0}, "(a key)"},
		{"64 KiB", map[string]any{"a": strings.Repeat("x", knowledge.MaxMetadataBytes-9)}, "ok"},
		{"over 64 KiB", map[string]any{"a": strings.Repeat("x", knowledge.MaxMetadataBytes)}, "a"},
		{"many small values", map[string]any{"a": make([]any, 10_000)}, "a[8190]"},
		{"many empty objects", map[string]any{"a": empties(10_000)}, "a[8190]"},
	} {
		if got := field(t, knowledge.CheckMetadata(tc.m)); got != tc.want {
			t.Errorf("%s: CheckMetadata at %q, want %q", tc.name, got, tc.want)
		}
	}
}

func empties(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = map[string]any{}
	}
	return list
}
