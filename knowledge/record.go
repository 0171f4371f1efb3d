package knowledge

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a record.
const (
	MaxText          = 1 << 20 // bytes of a record's text
	MaxMetadataBytes = 64 << 10
	MaxMetadataDepth = 8
	MaxBatch         = 10_000 // records of one write

	// maxMagnitude bounds a component, so that sums of squares of
	// MaxDimension components stay finite at single precision.
	maxMagnitude = 1e15

	// maxHalf is the largest number of half precision.
	maxHalf = 65504
)

// Record is one piece of knowledge.
type Record struct {
	ID       RecordID
	Text     string         // may be empty when a vector is given
	Vector   []float32      // of the collection's dimension
	Metadata map[string]any // JSON values: nil, bool, float64, string, []any, map[string]any
	Expires  time.Time      // zero: never; not found from then on

	Version int64     // 1 when first written, one more for each write; set by the store
	Created time.Time // set by the store
	Updated time.Time // set by the store
}

// Validate checks a record for collection c. The vector must be there.
// It returns an [InvalidError].
func (r Record) Validate(c Collection) error {
	if err := r.CheckContent(); err != nil {
		return err
	}
	if err := CheckFields(r.Metadata, c.Fields); err != nil {
		return At("metadata", err)
	}
	return At("vector", CheckVector(r.Vector, c))
}

// CheckContent checks all of a record but its vector, which may have to be made
// first at some cost. It returns an [InvalidError].
func (r Record) CheckContent() error {
	if _, err := ParseRecordID(string(r.ID)); err != nil {
		return At("id", err)
	}
	if err := CheckText(r.Text); err != nil {
		return At("text", err)
	}
	return At("metadata", CheckMetadata(r.Metadata))
}

// CheckText refuses what PostgreSQL cannot keep or what is over [MaxText]: it
// returns an [InvalidError] for bad UTF-8, NUL and length.
func CheckText(s string) error {
	switch {
	case len(s) > MaxText:
		return Invalid("", "has %d bytes; at most %d are allowed", len(s), MaxText)
	case !utf8.ValidString(s):
		return Invalid("", "is not valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return Invalid("", "has a NUL character, which cannot be kept")
	}
	return nil
}

// CheckVector refuses a vector that cannot be compared in c: wrong dimension,
// a component that is not finite or beyond 1e15 in size, and for [Cosine] a
// vector of length zero, which has no direction. Where c's index keeps vectors
// as they are at half precision, a component may not be beyond 65504. It
// returns an [InvalidError].
func CheckVector(v []float32, c Collection) error {
	if len(v) != c.Dimension() {
		return Invalid("", "has %d components; the collection's dimension is %d", len(v), c.Dimension())
	}
	limit := maxMagnitude
	if c.halfPrecision() {
		limit = maxHalf
	}
	var sum float64
	for i, x := range v {
		f := float64(x)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return Invalid("["+itoa(i)+"]", "is not finite")
		}
		if math.Abs(f) > limit {
			return Invalid("["+itoa(i)+"]", "is beyond ±%.15g", limit)
		}
		sum += f * f
	}
	if c.Metric == Cosine && sum < 1e-30 {
		return Invalid("", "has length zero, which has no direction; the cosine metric needs one")
	}
	return nil
}
