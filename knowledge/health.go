package knowledge

// Health is how a collection's searches are served, and how well.
type Health struct {
	Own        bool  // the collection has a place and an index of its own
	Records    int64 // live ones
	Waiting    int64 // those of them that are not indexed yet and are compared one by one; 0 unless Own
	IndexBytes int64 // of all indexes of its own place
	Target     float64
	Recall     []BucketRecall // by bucket, in their order, those with samples or settings
	Warnings   []string       // for people
}

// Bucket is the share of a collection's records that pass a search's filter, by
// the estimate of its [Plan]; where there is none, as if all did.
type Bucket string

// The buckets.
const (
	Unfiltered    Bucket = "unfiltered"
	From10Percent Bucket = "from_10_percent"
	From1Percent  Bucket = "from_1_percent"
	Below1Percent Bucket = "below_1_percent"
)

// Buckets are all of them, in order.
func Buckets() []Bucket { return []Bucket{Unfiltered, From10Percent, From1Percent, Below1Percent} }

// Bucket is that of a search with the plan.
func (p Plan) Bucket(f Filter) Bucket {
	switch {
	case f.IsZero():
		return Unfiltered
	case !p.Estimated || p.Selectivity >= 0.1:
		return From10Percent
	case p.Selectivity >= 0.01:
		return From1Percent
	default:
		return Below1Percent
	}
}

// BucketRecall is what was measured of the searches of one bucket: a share of
// those that the index answered, carried out once more exactly.
type BucketRecall struct {
	Bucket  Bucket
	Recall  float64 // recall@k, 0 to 1, an average in which the latest samples count most; 0 when Samples is
	Samples int64   // since Ef or Exact last changed
	Ef      int     // searches that name no ef keep at least so many candidates; 0: nothing was changed
	Exact   bool    // they compare all instead, where that can be afforded
}
