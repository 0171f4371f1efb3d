package knowledge

import "time"

// Bounds of a search.
const (
	MaxLimit = 1000 // matches of one search
	MaxEf    = 1000 // pgvector's limit of hnsw.ef_search

	MaxScan = 1_000_000 // tuples that a filtered search by an index may look at
)

// Search is one retrieval from one collection.
type Search struct {
	Collection CollectionName
	Vector     []float32 // of the collection's dimension
	Limit      int       // matches wanted, 1 to [MaxLimit]
	Filter     Filter
	Exact      bool // compare all vectors even where there is an index
	Ef         int  // HNSW: candidates kept while searching, 1 to [MaxEf]; 0 means a default of at least Limit
	MaxScan    int  // HNSW: entries of the index looked at until it gives up, 1 to [MaxScan]; 0 means a default
	Vectors    bool // give the vector of each match as well
	Explain    bool // say in the plan what was estimated and what it took
}

// Validate checks the search for collection c; it returns an [InvalidError].
func (s Search) Validate(c Collection) error {
	if s.Limit < 1 || s.Limit > MaxLimit {
		return Invalid("limit", "is %d; need 1 to %d", s.Limit, MaxLimit)
	}
	if s.Ef < 0 || s.Ef > MaxEf {
		return Invalid("ef", "is %d; need 1 to %d, or none for the default", s.Ef, MaxEf)
	}
	if s.MaxScan < 0 || s.MaxScan > MaxScan {
		return Invalid("max_scan", "is %d; need 1 to %d, or none for the default", s.MaxScan, MaxScan)
	}
	if err := CheckVector(s.Vector, c); err != nil {
		return At("vector", err)
	}
	return At("filter", s.Filter.Validate(c))
}

// Match is one record that a search found.
type Match struct {
	ID         RecordID
	Owner      TenantID // of a record of another tenant, by a share; stores leave it empty
	Collection CollectionName
	Score      float64 // higher is nearer; its range is that of the [Metric], or BM25's, above 0
	Text       string
	Metadata   map[string]any
	Version    int64
	Vector     []float32 // when the search asked for it
}

// Found is what a search gave.
type Found struct {
	Matches []Match // best first, at most Limit; equal scores by id
	// Short says that fewer than Limit were found although the collection
	// may hold more that pass the filter: an index gave up first. It is
	// never set by an exact search.
	Short bool
	Plan  Plan
	Words *WordsPlan // of a search by words that asked for it
}

// Plan says how a search was carried out. Records that are not indexed yet are
// compared one by one whatever the method.
type Plan struct {
	// Method is "exact": all were compared; "exact-filtered": all that pass the
	// filter, found by the indexes of declared fields; "hnsw": by the vector
	// index; "hnsw-iterative": by the vector index, until enough passed; by
	// words "words", or "words-exact" where all were looked at.
	Method  string
	Ef      int // candidates kept, of an HNSW search; else 0
	MaxScan int // entries of the index looked at, at most; else 0

	// Estimated says that the statistics of declared fields tell of the filter:
	// Rows records pass at most, which is the share Selectivity of all.
	Estimated   bool
	Rows        int64
	Selectivity float64

	Unindexed []string   // undeclared fields of the filter that were looked at in many records
	Warnings  []string   // for people
	Explained *Explained // when the search asked for it
}

// Explained is what carrying out a search once more took.
type Explained struct {
	Planning  time.Duration // of the database
	Execution time.Duration
	Rows      int64  // records that it looked at
	Waiting   int64  // those of them that are not indexed yet
	Text      string // the database's own plan; it may change with any version
}
