package pgstore

import (
	"sync"
	"time"
)

// maxRemembered bounds what is remembered of one kind.
const maxRemembered = 10_000

// remembered keeps values that are cheap to find again, for a while each. Beyond
// [maxRemembered] it forgets them all. It is safe for concurrent use; the values are
// shared and must not be changed.
type remembered[K comparable, V any] struct {
	now  func() time.Time
	life time.Duration

	mu    sync.Mutex
	known map[K]until[V]
}

type until[V any] struct {
	value V
	end   time.Time
}

func newRemembered[K comparable, V any](life time.Duration, now func() time.Time) *remembered[K, V] {
	return &remembered[K, V]{now: now, life: life, known: map[K]until[V]{}}
}

func (x *remembered[K, V]) recall(key K) (V, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.known[key]
	return k.value, ok && x.now().Before(k.end)
}

func (x *remembered[K, V]) remember(key K, value V) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.known) >= maxRemembered {
		clear(x.known)
	}
	x.known[key] = until[V]{value, x.now().Add(x.life)}
}

func (x *remembered[K, V]) forget(key K) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.known, key)
}
