// Package recent remembers, for a moment, answers that many ask for at once: keys,
// policies, versions of plugins. What another node changes is seen when the moment
// is over.
package recent

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"
)

// Stale is how old an answer may be.
const Stale = time.Second

const (
	most     = 10_000           // answers that are remembered
	patience = 10 * time.Second // with a look-up that several callers wait for
)

// Answers remembers answers by key. Make it with [New] and end it with Close. Safe
// for concurrent use; what it returns is shared and must not be changed.
type Answers[K comparable, V any] struct{ cache *otter.Cache[K, V] }

// New returns answers of which there are none.
func New[K comparable, V any]() Answers[K, V] {
	return Answers[K, V]{otter.Must(&otter.Options[K, V]{MaximumSize: most, ExpiryCalculator: otter.ExpiryWriting[K, V](Stale)})}
}

// Get returns the answer for a key, or else finds it, once for all who want it at
// the same time: the end of no single one's ctx ends the look-up. Errors are find's
// and are not remembered.
func (a Answers[K, V]) Get(ctx context.Context, key K, find func(context.Context) (V, error)) (V, error) {
	return a.cache.Get(ctx, key, otter.LoaderFunc[K, V](func(ctx context.Context, _ K) (V, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return find(ctx)
	}))
}

// Forget drops the answers that match.
func (a Answers[K, V]) Forget(match func(K, V) bool) {
	for key, value := range a.cache.All() {
		if match(key, value) {
			a.cache.Invalidate(key)
		}
	}
}

// Close ends what forgets in the background.
func (a Answers[K, V]) Close() { a.cache.StopAllGoroutines() }
