package pgstore

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// embeddings are vectors as those of texts are: of many components, that depend on
// each other. Signs tell them apart, which they do not for components by chance.
type embeddings struct {
	random *rand.Rand
	basis  [][]float32
}

func newEmbeddings(random *rand.Rand, dimension int) embeddings {
	x := embeddings{random: random}
	for range 32 {
		x.basis = append(x.basis, randomRecords(random, 1, dimension)[0].Vector)
	}
	return x
}

func (x embeddings) records(n int) []knowledge.Record {
	records := make([]knowledge.Record, n)
	for i := range records {
		v := make([]float32, len(x.basis[0]))
		for _, b := range x.basis {
			weight := float32(x.random.NormFloat64())
			for j := range v {
				v[j] += weight * b[j]
			}
		}
		records[i] = knowledge.Record{ID: knowledge.RecordID(strconv.Itoa(i)), Vector: v}
	}
	return records
}

// Half precision and binary quantization find what an exact search finds, but for
// the promised few.
func TestRecallOfPrecisions(t *testing.T) {
	const n, limit, queries = 3000, 10, 40
	for _, tc := range []struct {
		name      knowledge.CollectionName
		dimension int
		metric    knowledge.Metric
		precision knowledge.Precision
		index     knowledge.Index
		least     float64
	}{
		{"half", 64, knowledge.Cosine, knowledge.Float16, knowledge.Index{Kind: knowledge.IndexHNSW}, 0.95},
		{"half-l2", 64, knowledge.L2, knowledge.Float16, knowledge.Index{Kind: knowledge.IndexHNSW}, 0.95},
		{"half-ip", 64, knowledge.IP, knowledge.Float16, knowledge.Index{Kind: knowledge.IndexHNSW}, 0.95},
		{"binary", 512, knowledge.Cosine, knowledge.Float32, knowledge.Index{Kind: knowledge.IndexHNSW, Quantization: knowledge.Binary}, 0.95},
		{"binary-half", 512, knowledge.Cosine, knowledge.Float16, knowledge.Index{Kind: knowledge.IndexHNSW, Quantization: knowledge.Binary}, 0.95},
	} {
		s, _ := newStore(t, Options{ExactBelow: -1})
		random := rand.New(rand.NewPCG(3, 3))
		c := knowledge.Collection{Name: tc.name, Metric: tc.metric, Precision: tc.precision, Embedder: knowledge.EmbedderInfo{Dimension: tc.dimension}, Index: tc.index}
		vectors := newEmbeddings(random, tc.dimension)
		fill(t, s, "alice", c, vectors.records(n))
		if err := s.Tend(t.Context(), "alice", tc.name, nil); err != nil {
			t.Fatalf("%s: Tend = %v, want nil", tc.name, err)
		}
		hits := 0
		for _, q := range vectors.records(queries) {
			search := knowledge.Search{Collection: tc.name, Vector: q.Vector, Limit: limit, Exact: true}
			exact, err := s.Search(t.Context(), "alice", search)
			if err != nil {
				t.Fatal(err)
			}
			search.Exact = false
			found, err := s.Search(t.Context(), "alice", search)
			if err != nil || found.Plan.Method != methodHNSW || len(found.Matches) != limit {
				t.Fatalf("%s: Search = %d by %s, %v, want %d by the index", tc.name, len(found.Matches), found.Plan.Method, err, limit)
			}
			want := map[knowledge.RecordID]float64{}
			for _, m := range exact.Matches {
				want[m.ID] = m.Score
			}
			for _, m := range found.Matches {
				if score, ok := want[m.ID]; ok {
					hits++
					if m.Score != score {
						t.Errorf("%s: score of %s = %v, want that of the exact search, %v", tc.name, m.ID, m.Score, score)
					}
				}
			}
		}
		recall := float64(hits) / (limit * queries)
		t.Logf("%s: recall@%d %.3f", tc.name, limit, recall)
		if recall < tc.least {
			t.Errorf("%s: recall@%d = %.3f, want at least %.2f", tc.name, limit, recall, tc.least)
		}
	}
}

// The most dimensions there are, at either precision, exactly and by a binary index.
func TestMostDimensions(t *testing.T) {
	s, _ := newStore(t, Options{ExactBelow: -1})
	random := rand.New(rand.NewPCG(5, 5))
	for _, precision := range []knowledge.Precision{knowledge.Float32, knowledge.Float16} {
		for _, index := range []knowledge.Index{{}, {Kind: knowledge.IndexHNSW, M: 4, EfConstruction: 16, Quantization: knowledge.Binary}} {
			name := knowledge.CollectionName("c-" + string(precision) + "-" + string(index.Kind) + "x")
			records := randomRecords(random, 30, knowledge.MaxDimension)
			c := knowledge.Collection{Name: name, Precision: precision, Embedder: knowledge.EmbedderInfo{Dimension: knowledge.MaxDimension}, Index: index}
			fill(t, s, "alice", c, records)
			if err := s.Tend(t.Context(), "alice", name, nil); err != nil {
				t.Fatalf("%s: Tend = %v, want nil", name, err)
			}
			found, err := s.Search(t.Context(), "alice", knowledge.Search{Collection: name, Vector: records[7].Vector, Limit: 5})
			if err != nil || len(found.Matches) != 5 || found.Matches[0].ID != records[7].ID {
				t.Errorf("%s: Search = %d matches, %v, want %s first of 5", name, len(found.Matches), err, records[7].ID)
			}
			if want := map[bool]string{true: methodHNSW, false: methodExact}[index.Kind == knowledge.IndexHNSW]; found.Plan.Method != want {
				t.Errorf("%s: Search by %s, want %s", name, found.Plan.Method, want)
			}
		}
	}
}
