package vmhost

import (
	"math"
	"sync/atomic"
	"time"
)

// expectation is how long a program's next call will take: a moving average of
// the last ones. Safe for concurrent use; calls that end in the same moment may
// be counted once.
type expectation struct{ nanoseconds atomic.Uint64 } // bits of a float64

const (
	// firstExpectation is that of a program that was never called.
	firstExpectation = float64(time.Millisecond)
	// newestShare is what the newest call counts for: the last dozen make the
	// average.
	newestShare = 1.0 / 8
)

func newExpectation() *expectation {
	e := new(expectation)
	e.nanoseconds.Store(math.Float64bits(firstExpectation))
	return e
}

// duration returns how long a call will take.
func (e *expectation) duration() time.Duration {
	return time.Duration(math.Float64frombits(e.nanoseconds.Load()))
}

// saw takes in how long one took.
func (e *expectation) saw(took time.Duration) {
	before := math.Float64frombits(e.nanoseconds.Load())
	e.nanoseconds.Store(math.Float64bits(before + (float64(took)-before)*newestShare))
}
