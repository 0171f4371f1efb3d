package knowledge

import "time"

// MaxDimension is the most components that a vector may have: pgvector's limit.
const MaxDimension = 16000

// MaxIndexedDimension is the most components that an HNSW index can hold, at
// half precision. Larger vectors are searched exactly.
const MaxIndexedDimension = 4000

// MaxFullDimension is the most components that an HNSW index can hold at
// single precision. Indexes of [L2] and [IP] keep it up to here.
const MaxFullDimension = 2000

// Metric is how two vectors are compared.
type Metric string

// The metrics. Score, in a [Match], is always "higher is nearer".
const (
	Cosine Metric = "cosine" // score = cosine similarity, -1 to 1
	L2     Metric = "l2"     // score = -distance, 0 is the same
	IP     Metric = "ip"     // score = inner product
)

// ParseMetric returns the metric of that name, or an [InvalidError].
func ParseMetric(s string) (Metric, error) {
	switch m := Metric(s); m {
	case Cosine, L2, IP:
		return m, nil
	}
	return "", Invalid("", "is not a metric; need one of cosine, l2, ip")
}

// IndexKind is how a collection's vectors are found.
type IndexKind string

// The kinds of index.
const (
	// IndexNone: every search compares all vectors of the collection: exact,
	// and the fastest up to some 10,000 records.
	IndexNone IndexKind = "none"
	// IndexHNSW: a graph index of the collection's own: approximate, fast
	// for many records. Writes are slower.
	IndexHNSW IndexKind = "hnsw"
)

// Index is the definition of a collection's vector index.
type Index struct {
	Kind           IndexKind
	M              int // HNSW: links of a node, 2 to 100; 0 means 16
	EfConstruction int // HNSW: candidates while building, 4 to 1000 and at least 2*M; 0 means the larger of 64 and 2*M
}

// Collection is a named set of records of one tenant.
type Collection struct {
	Name     CollectionName
	Metric   Metric
	Embedder EmbedderInfo // ID "none" when the caller brings vectors; Dimension is the collection's
	Index    Index

	Created time.Time // set by the store
	Records int64     // number of live records when it was read, exact; set by the store
}

// NoEmbedder is the [EmbedderInfo] ID of a collection whose callers bring
// their own vectors.
const NoEmbedder = "none"

// Dimension is the number of components of each vector of the collection.
func (c Collection) Dimension() int { return c.Embedder.Dimension }

// halfPrecision reports that c's index keeps components as they are at half
// precision. For [Cosine] it keeps them normalised, and they always fit.
func (c Collection) halfPrecision() bool {
	return c.Index.Kind == IndexHNSW && c.Metric != Cosine && c.Dimension() > MaxFullDimension
}

// Validate checks a definition and returns it with zero values replaced by
// defaults, or an [InvalidError].
func (c Collection) Validate() (Collection, error) {
	if c.Metric == "" {
		c.Metric = Cosine
	}
	if _, err := ParseMetric(string(c.Metric)); err != nil {
		return c, At("metric", err)
	}
	if c.Embedder.ID == "" {
		c.Embedder.ID = NoEmbedder
	}
	if d := c.Dimension(); d < 1 || d > MaxDimension {
		return c, Invalid("dimension", "is %d; need 1 to %d", d, MaxDimension)
	}
	var err error
	c.Index, err = c.Index.validate(c.Dimension())
	return c, At("index", err)
}

func (x Index) validate(dimension int) (Index, error) {
	switch x.Kind {
	case "", IndexNone:
		if x.M != 0 || x.EfConstruction != 0 {
			return x, Invalid("kind", "is none, which has no m or ef_construction; need hnsw for these")
		}
		return Index{Kind: IndexNone}, nil
	case IndexHNSW:
	default:
		return x, Invalid("kind", "is not a kind of index; need one of none, hnsw")
	}
	if x.M == 0 {
		x.M = 16
	}
	if x.EfConstruction == 0 {
		x.EfConstruction = max(64, 2*x.M)
	}
	switch {
	case dimension > MaxIndexedDimension:
		return x, Invalid("kind", "hnsw holds at most %d dimensions, this collection has %d; need none", MaxIndexedDimension, dimension)
	case x.M < 2 || x.M > 100:
		return x, Invalid("m", "is %d; need 2 to 100", x.M)
	case x.EfConstruction < 4 || x.EfConstruction > 1000:
		return x, Invalid("ef_construction", "is %d; need 4 to 1000", x.EfConstruction)
	case x.EfConstruction < 2*x.M:
		return x, Invalid("ef_construction", "is %d; need at least 2*m = %d", x.EfConstruction, 2*x.M)
	}
	return x, nil
}
