package main

import (
	"math"
	"math/rand/v2"
)

const (
	topK    = 10   // neighbours that each search asks for
	queries = 1000 // vectors that are searched with and never stored
	buckets = 1000 // values of the metadata field bucket: each row has one, at random
	seed    = 20260101
)

// dataset is what is searched: rows, and queries that are none of them. All
// vectors are of length 1, so that every layer compares the same numbers. A row's
// id is its index. It does not change once made.
type dataset struct {
	name    string
	dim     int
	rows    []float32 // one after the other
	queries []float32
	bucket  []int32 // of each row, 0 to buckets-1
	ef      int     // with which a search of all rows reaches the recall that is asked for
}

func (d *dataset) len() int              { return len(d.rows) / d.dim }
func (d *dataset) row(i int) []float32   { return d.rows[i*d.dim : (i+1)*d.dim] }
func (d *dataset) count() int            { return len(d.queries) / d.dim }
func (d *dataset) query(n int) []float32 { n %= d.count(); return d.queries[n*d.dim : (n+1)*d.dim] }

// newDataset splits vectors, after a seeded permutation, into queries and rows.
// It changes vectors.
func newDataset(name string, dim, ef int, vectors []float32) *dataset {
	random := rand.New(rand.NewPCG(seed, uint64(dim)))
	n := len(vectors) / dim
	at := func(i int) []float32 { return vectors[i*dim : (i+1)*dim] }
	random.Shuffle(n, func(i, j int) {
		a, b := at(i), at(j)
		for k := range a {
			a[k], b[k] = b[k], a[k]
		}
	})
	for i := range n {
		normalise(at(i))
	}
	q := min(queries, n/2)
	d := &dataset{name: name, dim: dim, ef: ef, queries: vectors[:q*dim], rows: vectors[q*dim:]}
	d.bucket = make([]int32, d.len())
	for i := range d.bucket {
		d.bucket[i] = random.Int32N(buckets)
	}
	return d
}

func normalise(v []float32) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	scale := float32(1 / math.Sqrt(max(sum, math.SmallestNonzeroFloat64)))
	for i := range v {
		v[i] *= scale
	}
}

// clustered makes n vectors around centres, which are themselves around fewer: as
// embeddings of texts lie, near their topics.
func clustered(n, dim int) []float32 {
	const topics, centres, spread = 50, 1000, 0.55
	random := rand.New(rand.NewPCG(seed, 1))
	around := func(centre []float32, v []float32, spread float64) {
		for i := range v {
			v[i] = float32(random.NormFloat64() * spread / math.Sqrt(float64(dim)))
			if centre != nil {
				v[i] += centre[i]
			}
		}
		normalise(v)
	}
	tops, mids := make([]float32, topics*dim), make([]float32, centres*dim)
	for i := range topics {
		around(nil, tops[i*dim:(i+1)*dim], 1)
	}
	for i := range centres {
		top := random.IntN(topics) * dim
		around(tops[top:top+dim], mids[i*dim:(i+1)*dim], 0.8)
	}
	vectors := make([]float32, n*dim)
	for i := range n {
		mid := random.IntN(centres) * dim
		around(mids[mid:mid+dim], vectors[i*dim:(i+1)*dim], spread)
	}
	return vectors
}
