package pgstore

import (
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// worst remembers the average recall that this node last saw of each bucket of
// each collection, for the metrics. The zero value is ready; safe for concurrent use.
type worst struct {
	mu   sync.Mutex
	last map[worstKey]seenRecall
}

type worstKey struct {
	collection int64
	bucket     knowledge.Bucket
}

type seenRecall struct {
	recall float64
	at     time.Time
}

// Bounds of what is remembered.
const (
	maxWorst  = 10_000
	worstLife = time.Hour
)

func (w *worst) see(key worstKey, recall float64, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || len(w.last) >= maxWorst {
		w.last = map[worstKey]seenRecall{}
	}
	w.last[key] = seenRecall{recall, now}
}

// value is the lowest; 1 without any.
func (w *worst) value(now time.Time) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	lowest := 1.0
	for key, seen := range w.last {
		if now.Sub(seen.at) > worstLife {
			delete(w.last, key)
			continue
		}
		lowest = min(lowest, seen.recall)
	}
	return lowest
}
