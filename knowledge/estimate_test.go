package knowledge_test

import (
	"math"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// What real indexes of 20,000 rows took, by pg_relation_size: pgvector 0.8.7 on
// PostgreSQL 18, docs/benchmarks/raw/index-sizes.txt.
func TestEstimateOfMeasuredIndexes(t *testing.T) {
	const half, full, binary = 0, 1, 2
	for _, m := range []struct {
		dimension, m, form int
		bytes              int64
	}{
		{100, 8, half, 8216576},
		{100, 8, full, 12615680},
		{100, 8, binary, 4374528},
		{100, 16, half, 10272768},
		{100, 16, full, 14909440},
		{100, 16, binary, 6381568},
		{100, 32, half, 14057472},
		{100, 32, full, 18309120},
		{100, 32, binary, 10330112},
		{768, 16, half, 40968192},
		{768, 16, full, 81928192},
		{768, 16, binary, 7979008},
		{1536, 8, half, 81928192},
		{1536, 8, binary, 8044544},
		{1536, 16, half, 81928192},
		{1536, 16, full, 163848192},
		{1536, 16, binary, 10059776},
		{1536, 32, binary, 14057472},
	} {
		c := knowledge.Collection{Embedder: knowledge.EmbedderInfo{Dimension: m.dimension}, Index: knowledge.Index{Kind: knowledge.IndexHNSW, M: m.m}}
		switch m.form {
		case full:
			c.Metric = knowledge.L2
		case binary:
			c.Index.Quantization = knowledge.Binary
		}
		e := estimate(t, c, knowledge.Sizing{Rows: 20_000})
		if off := float64(e.VectorIndex)/float64(m.bytes) - 1; math.Abs(off) > 0.1 {
			t.Errorf("%d dimensions, m %d, form %d: estimate %d, measured %d: off by %.1f %%, want at most 10 %%", m.dimension, m.m, m.form, e.VectorIndex, m.bytes, 100*off)
		}
	}
}

// How many rows pgvector said that it had built in 4 MiB.
func TestEstimateOfMeasuredMemory(t *testing.T) {
	for _, m := range []struct {
		m    int
		full bool
		bits bool
		rows int64
	}{
		{8, false, false, 6344},
		{16, false, false, 4590},
		{32, false, false, 2940},
		{8, true, false, 4870},
		{16, true, false, 3754},
		{8, false, true, 8795},
		{16, false, true, 5727},
	} {
		c := knowledge.Collection{Embedder: knowledge.EmbedderInfo{Dimension: 100}, Index: knowledge.Index{Kind: knowledge.IndexHNSW, M: m.m}}
		if m.full {
			c.Metric = knowledge.L2
		}
		if m.bits {
			c.Index.Quantization = knowledge.Binary
		}
		e := estimate(t, c, knowledge.Sizing{Rows: m.rows})
		if off := float64(e.BuildMemory)/(4<<20) - 1; math.Abs(off) > 0.1 {
			t.Errorf("m %d, %d rows: estimate %d, measured %d: off by %.1f %%, want at most 10 %%", m.m, m.rows, e.BuildMemory, 4<<20, 100*off)
		}
	}
}

func estimate(t *testing.T, c knowledge.Collection, s knowledge.Sizing) knowledge.Estimate {
	t.Helper()
	c, err := c.Validate()
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Estimate(s)
	if err != nil {
		t.Fatalf("Estimate(%+v) = %v, want nil", s, err)
	}
	return e
}

func TestEstimateChoosesAsTheStoreDoes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		index knowledge.Index
		dim   int
		rows  int64
		want  string
	}{
		{"none", knowledge.Index{Kind: knowledge.IndexNone}, 3, 1_000_000, "exact"},
		{"auto, small", knowledge.Index{}, 3, 100, "exact"},
		{"auto, large", knowledge.Index{}, 3, 1_000_000, "hnsw"},
		{"too many dimensions", knowledge.Index{}, 16_000, 1_000_000, "exact"},
		{"too many dimensions, binary", knowledge.Index{Quantization: knowledge.Binary}, 16_000, 1_000_000, "hnsw"},
	} {
		c := knowledge.Collection{Embedder: knowledge.EmbedderInfo{Dimension: tc.dim}, Index: tc.index}
		e := estimate(t, c, knowledge.Sizing{Rows: tc.rows, Text: 500, Metadata: 100})
		if e.Method != tc.want || (e.VectorIndex > 0) != (tc.want == "hnsw") || e.Table <= tc.rows*int64(tc.dim) || e.Disk() < e.Table+e.LexicalIndex {
			t.Errorf("%s: Estimate = %+v, want %s", tc.name, e, tc.want)
		}
	}
	c := knowledge.Collection{Embedder: knowledge.EmbedderInfo{Dimension: 3}}
	for _, s := range []knowledge.Sizing{{}, {Rows: -1}, {Rows: 1, Text: -1}, {Rows: 1, Metadata: 1 << 30}} {
		if _, err := c.Estimate(s); err == nil {
			t.Errorf("Estimate(%+v) = nil, want an InvalidError", s)
		}
	}
}
