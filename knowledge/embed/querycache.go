package embed

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tars-project/tars/knowledge"
)

// QueryCache remembers the vectors of questions, up to a bound in bytes; the one not
// used longest goes first. Equal questions at the same time are embedded once. It
// remembers for each tenant by itself, also what embedders of the node made: the time
// that an answer takes must not tell what others asked. Documents are not remembered:
// they come once. Make it with [NewQueryCache] and end it with Close, after its last
// use; safe for concurrent use.
type QueryCache struct {
	most int64 // bytes

	mu      sync.Mutex
	byKey   map[[sha256.Size]byte]*list.Element // of *remembered
	recent  *list.List                          // the last used first
	bytes   int64
	flights map[[sha256.Size]byte]*flight

	running      sync.WaitGroup
	hits, misses atomic.Int64
}

type remembered struct {
	key    [sha256.Size]byte
	vector []float32 // never changed, never given out
}

// flight is a question that is being embedded.
type flight struct {
	done    chan struct{} // closed when vector and err are set
	vector  []float32
	err     error
	waiting int    // under the cache's mu
	cancel  func() // when nobody waits any more
}

// overhead is what an entry takes beside its vector, in bytes, by estimate.
const overhead = 256

// NewQueryCache returns a cache of at most so many bytes, at least 1.
func NewQueryCache(bytes int64) *QueryCache {
	return &QueryCache{
		most: bytes, byKey: map[[sha256.Size]byte]*list.Element{}, recent: list.New(), flights: map[[sha256.Size]byte]*flight{},
	}
}

// Close waits for what runs still.
func (c *QueryCache) Close() { c.running.Wait() }

// CacheStats are the figures of a [QueryCache].
type CacheStats struct {
	Hits, Misses int64 // a question that waited for an equal one is a hit
	Entries      int
	Bytes        int64
}

// Stats returns the figures so far.
func (c *QueryCache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{c.hits.Load(), c.misses.Load(), c.recent.Len(), c.bytes}
}

// of returns e with single questions of a tenant remembered. edition tells apart what
// has the same info.
func (c *QueryCache) of(e knowledge.Embedder, tenant knowledge.TenantID, edition string) knowledge.Embedder {
	return cached{e, c, tenant, edition}
}

// cached is an embedder whose questions are remembered.
type cached struct {
	knowledge.Embedder
	cache   *QueryCache
	tenant  knowledge.TenantID
	edition string
}

// Embed implements [knowledge.Embedder].
func (c cached) Embed(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error) {
	if kind != knowledge.EmbedQuery || len(texts) != 1 {
		return c.Embedder.Embed(ctx, kind, texts)
	}
	if err := CheckTexts(texts); err != nil {
		return nil, err
	}
	vector, err := c.cache.get(ctx, c.key(texts[0]), func(ctx context.Context) ([]float32, error) {
		vectors, err := c.Embedder.Embed(ctx, kind, texts)
		if err != nil {
			return nil, err
		}
		return vectors[0], nil
	})
	if err != nil {
		return nil, err
	}
	return [][]float32{vector}, nil
}

// key is that of all that a question's vector depends on, and of the tenant.
func (c cached) key(text string) [sha256.Size]byte {
	info := c.Info()
	sum := sha256.New()
	for _, part := range []string{string(c.tenant), info.ID, info.Version, c.edition, text} {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // so that parts cannot run together
		sum.Write([]byte(part))
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// get returns a copy of the vector of a key, or else makes it, once for all who want it
// at the same time: one who leaves does not disturb the others, and the last one to
// leave ends it. Errors are those of create and are not remembered.
func (c *QueryCache) get(ctx context.Context, key [sha256.Size]byte, create func(context.Context) ([]float32, error)) ([]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if at, ok := c.byKey[key]; ok {
		c.recent.MoveToFront(at)
		vector := at.Value.(*remembered).vector
		c.mu.Unlock()
		c.hits.Add(1)
		return slices.Clone(vector), nil
	}
	f, running := c.flights[key]
	if running {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
		f = c.start(ctx, key, create)
	}
	f.waiting++
	c.mu.Unlock()
	select {
	case <-f.done:
		return slices.Clone(f.vector), f.err
	case <-ctx.Done():
		c.leave(key, f)
		return nil, ctx.Err()
	}
}

// start embeds in the background, for its end is that of no single caller. c.mu is held.
func (c *QueryCache) start(ctx context.Context, key [sha256.Size]byte, create func(context.Context) ([]float32, error)) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{done: make(chan struct{}), cancel: cancel}
	c.flights[key] = f
	c.running.Go(func() {
		defer cancel()
		f.vector, f.err = create(ctx)
		c.mu.Lock()
		if c.flights[key] == f {
			delete(c.flights, key)
		}
		if f.err == nil {
			c.keep(key, f.vector)
		}
		c.mu.Unlock()
		close(f.done)
	})
	return f
}

// leave counts out a caller. What the last one leaves is ended, and is not for those
// who come later.
func (c *QueryCache) leave(key [sha256.Size]byte, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	f.cancel()
}

// keep remembers a vector and forgets others to have room. c.mu is held.
func (c *QueryCache) keep(key [sha256.Size]byte, vector []float32) {
	if _, ok := c.byKey[key]; ok || sizeOf(vector) > c.most {
		return
	}
	c.byKey[key] = c.recent.PushFront(&remembered{key, slices.Clip(vector)})
	c.bytes += sizeOf(vector)
	for c.bytes > c.most {
		last := c.recent.Back()
		r := last.Value.(*remembered)
		c.recent.Remove(last)
		delete(c.byKey, r.key)
		c.bytes -= sizeOf(r.vector)
	}
}

func sizeOf(vector []float32) int64 { return int64(4*len(vector)) + overhead }
