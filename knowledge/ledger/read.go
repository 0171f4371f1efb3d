package ledger

import (
	"context"
	"sync/atomic"
)

// Read counts the records that are read for one thing. Safe for concurrent use.
type Read struct{ records atomic.Int64 }

// Records returns how many they are so far.
func (r *Read) Records() int64 { return r.records.Load() }

// CountRead returns a context in which what is read counts for r, and no more for what
// it counted for before.
func CountRead(ctx context.Context, r *Read) context.Context {
	return context.WithValue(ctx, readKey{}, r)
}

type readKey struct{}

// AddRead counts records that were read, if anybody counts them in ctx.
func AddRead(ctx context.Context, records int64) {
	if r, ok := ctx.Value(readKey{}).(*Read); ok {
		r.records.Add(records)
	}
}
