package knowledge_test

import (
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func TestCollectionValidate(t *testing.T) {
	const none, hnsw, auto, plain = knowledge.IndexNone, knowledge.IndexHNSW, knowledge.IndexAuto, knowledge.NoQuantization
	for _, tc := range []struct {
		name      string
		metric    knowledge.Metric
		dimension int
		index     knowledge.Index
		want      string // the field at fault
		defaults  knowledge.Index
	}{
		{"defaults", "", 3, knowledge.Index{}, "ok", knowledge.Index{Kind: auto, M: 16, EfConstruction: 64, Quantization: plain}},
		{"hnsw defaults", "l2", 3, knowledge.Index{Kind: hnsw}, "ok", knowledge.Index{Kind: hnsw, M: 16, EfConstruction: 64, Quantization: plain}},
		{"ef follows m", "ip", 3, knowledge.Index{Kind: hnsw, M: 100}, "ok", knowledge.Index{Kind: hnsw, M: 100, EfConstruction: 200, Quantization: plain}},
		{"metric", "manhattan", 3, knowledge.Index{}, "metric", knowledge.Index{}},
		{"dimension 0", "", 0, knowledge.Index{}, "dimension", knowledge.Index{}},
		{"dimension -1", "", -1, knowledge.Index{}, "dimension", knowledge.Index{}},
		{"dimension 16000", "", 16000, knowledge.Index{}, "ok", knowledge.Index{Kind: none, Quantization: plain}},
		{"dimension 16001", "", 16001, knowledge.Index{}, "dimension", knowledge.Index{}},
		{"hnsw of 4000", "", 4000, knowledge.Index{Kind: hnsw}, "ok", knowledge.Index{Kind: hnsw, M: 16, EfConstruction: 64, Quantization: plain}},
		{"hnsw of 4001", "", 4001, knowledge.Index{Kind: hnsw}, "index.kind", knowledge.Index{}},
		{"binary of 16000", "", 16000, knowledge.Index{Quantization: knowledge.Binary}, "ok", knowledge.Index{Kind: auto, M: 16, EfConstruction: 64, Quantization: knowledge.Binary}},
		{"none with binary", "", 3, knowledge.Index{Kind: none, Quantization: knowledge.Binary}, "index.kind", knowledge.Index{}},
		{"quantization", "", 3, knowledge.Index{Quantization: "scalar"}, "index.quantization", knowledge.Index{}},
		{"kind", "", 3, knowledge.Index{Kind: "ivfflat"}, "index.kind", knowledge.Index{}},
		{"none with m", "", 3, knowledge.Index{Kind: none, M: 8}, "index.kind", knowledge.Index{}},
		{"none with ef", "", 3, knowledge.Index{Kind: none, EfConstruction: 8}, "index.kind", knowledge.Index{}},
		{"m 1", "", 3, knowledge.Index{Kind: hnsw, M: 1}, "index.m", knowledge.Index{}},
		{"m 101", "", 3, knowledge.Index{Kind: hnsw, M: 101}, "index.m", knowledge.Index{}},
		{"m -1", "", 3, knowledge.Index{Kind: hnsw, M: -1}, "index.m", knowledge.Index{}},
		{"ef 3", "", 3, knowledge.Index{Kind: hnsw, M: 2, EfConstruction: 3}, "index.ef_construction", knowledge.Index{}},
		{"ef 1001", "", 3, knowledge.Index{Kind: hnsw, EfConstruction: 1001}, "index.ef_construction", knowledge.Index{}},
		{"ef below 2m", "", 3, knowledge.Index{Kind: hnsw, M: 20, EfConstruction: 39}, "index.ef_construction", knowledge.Index{}},
	} {
		c := knowledge.Collection{Metric: tc.metric, Index: tc.index, Embedder: knowledge.EmbedderInfo{Dimension: tc.dimension}}
		got, err := c.Validate()
		if field(t, err) != tc.want {
			t.Errorf("%s: Validate = %v, want it at %q", tc.name, err, tc.want)
		}
		if err == nil && got.Index != tc.defaults {
			t.Errorf("%s: Validate gave the index %+v, want %+v", tc.name, got.Index, tc.defaults)
		}
		if err == nil && (got.Metric == "" || got.Embedder.ID != knowledge.NoEmbedder) {
			t.Errorf("%s: Validate left metric %q and embedder %q, want defaults", tc.name, got.Metric, got.Embedder.ID)
		}
	}
}

func TestSearchValidate(t *testing.T) {
	good := knowledge.Search{Collection: "c", Vector: []float32{1, 0, 0}, Limit: 10}
	for _, tc := range []struct {
		name   string
		change func(*knowledge.Search)
		want   string
	}{
		{"good", func(*knowledge.Search) {}, "ok"},
		{"limit 0", func(s *knowledge.Search) { s.Limit = 0 }, "limit"},
		{"limit -1", func(s *knowledge.Search) { s.Limit = -1 }, "limit"},
		{"limit 1000", func(s *knowledge.Search) { s.Limit = 1000 }, "ok"},
		{"limit 1001", func(s *knowledge.Search) { s.Limit = 1001 }, "limit"},
		{"limit 2^31", func(s *knowledge.Search) { s.Limit = 1 << 31 }, "limit"},
		{"ef 1000", func(s *knowledge.Search) { s.Ef = 1000 }, "ok"},
		{"ef 1001", func(s *knowledge.Search) { s.Ef = 1001 }, "ef"},
		{"ef -1", func(s *knowledge.Search) { s.Ef = -1 }, "ef"},
		{"dimension", func(s *knowledge.Search) { s.Vector = []float32{1} }, "vector"},
		{"zero vector", func(s *knowledge.Search) { s.Vector = []float32{0, 0, 0} }, "vector"},
		{"filter", func(s *knowledge.Search) { s.Filter = all(eq("", 1.0)) }, "filter.and[0].field"},
	} {
		s := good
		tc.change(&s)
		if got := field(t, s.Validate(plain(knowledge.Cosine))); got != tc.want {
			t.Errorf("%s: Validate at %q, want %q", tc.name, got, tc.want)
		}
	}
}
