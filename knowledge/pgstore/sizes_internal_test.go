package pgstore

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// What a collection really takes is near what was estimated.
func TestEstimateOfRealCollections(t *testing.T) {
	const rows = 2000
	s, db := newStore(t, Options{})
	owner := db.OwnerPool(t)
	for _, tc := range []struct {
		dimension int
		precision knowledge.Precision
		text      int
		metadata  int
	}{
		{64, knowledge.Float32, 0, 0},
		{64, knowledge.Float32, 400, 60},
		{384, knowledge.Float32, 400, 60},
		{384, knowledge.Float16, 400, 60},
		{384, knowledge.Float32, 2000, 200},
		{1536, knowledge.Float32, 400, 60},
		{1536, knowledge.Float16, 400, 60},
		{3000, knowledge.Float32, 100, 0},
	} {
		random := rand.New(rand.NewPCG(9, 9))
		name := knowledge.CollectionName(fmt.Sprintf("c%d-%d-%s", tc.dimension, tc.text, tc.precision))
		c := knowledge.Collection{
			Name: name, Precision: tc.precision, Embedder: knowledge.EmbedderInfo{Dimension: tc.dimension},
			Index: knowledge.Index{Kind: knowledge.IndexHNSW, M: 4, EfConstruction: 8, Quantization: knowledge.Binary},
		}
		records := randomRecords(random, rows, tc.dimension)
		for i := range records {
			records[i].Text = prose(random, tc.text)
			if tc.metadata > 0 {
				records[i].Metadata = map[string]any{"chapter": prose(random, tc.metadata-20)}
			}
		}
		fill(t, s, "alice", c, records)
		if err := s.Tend(t.Context(), "alice", name, nil); err != nil {
			t.Fatal(err)
		}
		d, err := s.fetch(t.Context(), "alice", name)
		if err != nil {
			t.Fatal(err)
		}
		var table, ids, vectors int64
		leaf := fmt.Sprintf("tars.records_%d", d.main)
		if err := owner.QueryRow(t.Context(), "SELECT pg_table_size($1::text::regclass), pg_relation_size(($1 || '_pkey')::regclass), pg_relation_size(($1 || '_vector')::regclass)", leaf).Scan(&table, &ids, &vectors); err != nil {
			t.Fatal(err)
		}
		e, err := d.Estimate(knowledge.Sizing{Rows: rows, Text: tc.text, Metadata: tc.metadata})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			what               string
			estimate, measured int64
			most               float64
		}{{"table", e.Table, table + ids, 0.2}, {"index", e.VectorIndex, vectors, 0.1}} {
			off := float64(x.estimate)/float64(x.measured) - 1
			t.Logf("%s: %s estimated %d, measured %d, off by %.1f %%", name, x.what, x.estimate, x.measured, 100*off)
			if math.Abs(off) > x.most {
				t.Errorf("%s: %s estimated %d, measured %d: off by %.1f %%, want at most %.0f %%", name, x.what, x.estimate, x.measured, 100*off, 100*x.most)
			}
		}
	}
}

// prose makes a text of so many bytes of words as frequent as those of a language.
func prose(random *rand.Rand, n int) string {
	zipf := rand.NewZipf(random, 1.1, 4, 20_000)
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "w%xord ", zipf.Uint64()*2654435761%(1<<16))
	}
	return b.String()[:max(n, 0)]
}
