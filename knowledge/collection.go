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

// The kinds of index. Records are found as soon as they are written, whatever
// the kind: those that are not indexed yet are compared one by one.
const (
	// IndexAuto: none while the collection is small, HNSW once it is large
	// enough that this is faster.
	IndexAuto IndexKind = "auto"
	// IndexNone: every search compares all vectors of the collection, which
	// is exact.
	IndexNone IndexKind = "none"
	// IndexHNSW: a graph index of the collection's own, as soon as it has
	// records: approximate, fast for many records.
	IndexHNSW IndexKind = "hnsw"
)

// Quantization is how an index shortens vectors. What it finds is compared
// again in full.
type Quantization string

// The quantizations.
const (
	NoQuantization Quantization = "none"
	// Binary keeps one bit for each component, its sign: a 16th of half
	// precision, for vectors of any dimension, at some loss of recall.
	Binary Quantization = "binary"
)

// Precision is how the components of vectors are kept.
type Precision string

// The precisions.
const (
	Float32 Precision = "float32" // as they are given
	Float16 Precision = "float16" // rounded to 11 bits, up to 65504; half the size
)

// Index is the definition of a collection's vector index.
type Index struct {
	Kind           IndexKind
	M              int          // HNSW: links of a node, 2 to 100; 0 means 16
	EfConstruction int          // HNSW: candidates while building, 4 to 1000 and at least 2*M; 0 means the larger of 64 and 2*M
	Quantization   Quantization // "" means none
}

// Collection is a named set of records of one tenant.
type Collection struct {
	Name     CollectionName
	Metric   Metric
	Embedder EmbedderInfo // ID "none" when the caller brings vectors; Dimension is the collection's
	Index    Index

	Precision    Precision     // "" means float32
	Fields       []Field       // declared metadata fields
	Language     Language      // of the texts, for lexical search; "" means english
	TTL          time.Duration // of records that give no expiry, whole seconds; 0: they stay
	RecallTarget float64       // recall@k that searches by an index must keep, 0.5 to 1; 0 means 0.95
	Defaults     Defaults      // of searches and queries that give nothing themselves
	Cache        AnswerCache   // of the answers to queries

	Version int64     // of the definition: 1 when it was made, one more for each change; set by the store
	Created time.Time // set by the store
	Updated time.Time // of the definition; set by the store
	Records int64     // number of live records when it was read, exact; set by the store
}

// NoEmbedder is the [EmbedderInfo] ID of a collection whose callers bring
// their own vectors.
const NoEmbedder = "none"

// Dimension is the number of components of each vector of the collection.
func (c Collection) Dimension() int { return c.Embedder.Dimension }

// halfPrecision reports that components are kept, or may be indexed, as they
// are at half precision. For [Cosine] the index has them normalised, and they
// always fit.
func (c Collection) halfPrecision() bool {
	indexed := c.Index.Kind != IndexNone && c.Metric != Cosine && c.Index.Quantization != Binary &&
		c.Dimension() > MaxFullDimension && c.Dimension() <= MaxIndexedDimension
	return c.Precision == Float16 || indexed
}

// Language is the language of a collection's texts: how words are told apart
// and brought to their stems.
type Language string

// languages are the text search configurations that every PostgreSQL has.
var languages = map[Language]bool{
	"simple": true, "arabic": true, "armenian": true, "basque": true, "catalan": true, "danish": true, "dutch": true,
	"english": true, "finnish": true, "french": true, "german": true, "greek": true, "hindi": true, "hungarian": true,
	"indonesian": true, "irish": true, "italian": true, "lithuanian": true, "nepali": true, "norwegian": true,
	"portuguese": true, "romanian": true, "russian": true, "serbian": true, "spanish": true, "swedish": true,
	"tamil": true, "turkish": true, "yiddish": true,
}

// MaxTTL is the longest lifetime that a collection may give its records.
const MaxTTL = 100 * 365 * 24 * time.Hour

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
	if c.Precision == "" {
		c.Precision = Float32
	}
	if c.Language == "" {
		c.Language = "english"
	}
	if c.RecallTarget == 0 {
		c.RecallTarget = 0.95
	}
	switch {
	case c.Precision != Float32 && c.Precision != Float16:
		return c, Invalid("precision", "is not a precision; need one of float32, float16")
	case !languages[c.Language]:
		return c, Invalid("language", "is not one that is known; simple fits every language")
	case c.TTL < 0 || c.TTL > MaxTTL || c.TTL%time.Second != 0:
		return c, Invalid("ttl_seconds", "is %g; need 1 to %.0f, or 0 for none", c.TTL.Seconds(), MaxTTL.Seconds())
	case !(c.RecallTarget >= 0.5 && c.RecallTarget <= 1):
		return c, Invalid("recall_target", "is %g; need 0.5 to 1", c.RecallTarget)
	}
	if err := validateFields(c.Fields); err != nil {
		return c, At("fields", err)
	}
	if err := c.Defaults.Validate(); err != nil {
		return c, At("defaults", err)
	}
	if err := c.Cache.validate(); err != nil {
		return c, At("cache", err)
	}
	var err error
	c.Index, err = c.Index.validate(c.Dimension())
	return c, At("index", err)
}

func (x Index) validate(dimension int) (Index, error) {
	if x.Quantization == "" {
		x.Quantization = NoQuantization
	}
	switch {
	case x.Quantization != NoQuantization && x.Quantization != Binary:
		return x, Invalid("quantization", "is not a quantization; need one of none, binary")
	case x.Kind == "" && dimension > MaxIndexedDimension && x.Quantization != Binary:
		x.Kind = IndexNone // larger than an index can hold
	case x.Kind == "":
		x.Kind = IndexAuto
	}
	switch x.Kind {
	case IndexNone:
		if x.M != 0 || x.EfConstruction != 0 || x.Quantization != NoQuantization {
			return x, Invalid("kind", "is none, which has no m, ef_construction or quantization; need auto or hnsw for these")
		}
		return x, nil
	case IndexAuto, IndexHNSW:
	default:
		return x, Invalid("kind", "is not a kind of index; need one of auto, none, hnsw")
	}
	if x.M == 0 {
		x.M = 16
	}
	if x.EfConstruction == 0 {
		x.EfConstruction = max(64, 2*x.M)
	}
	switch {
	case dimension > MaxIndexedDimension && x.Quantization != Binary:
		return x, Invalid("kind", "an index holds at most %d dimensions, this collection has %d; need none, or quantization binary", MaxIndexedDimension, dimension)
	case x.M < 2 || x.M > 100:
		return x, Invalid("m", "is %d; need 2 to 100", x.M)
	case x.EfConstruction < 4 || x.EfConstruction > 1000:
		return x, Invalid("ef_construction", "is %d; need 4 to 1000", x.EfConstruction)
	case x.EfConstruction < 2*x.M:
		return x, Invalid("ef_construction", "is %d; need at least 2*m = %d", x.EfConstruction, 2*x.M)
	}
	return x, nil
}
