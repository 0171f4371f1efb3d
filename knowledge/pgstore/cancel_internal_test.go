package pgstore

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/migrations/pgtest"
)

// TestCancelledStatements: whoever cancels a statement goes on at once, its
// connection is kept, and no cancellation meets another statement.
func TestCancelledStatements(t *testing.T) {
	pool, err := Open(t.Context(), Config{URL: pgtest.DB(t).AppURL, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var wg sync.WaitGroup
	quickest := make([]time.Duration, 8)
	for worker := range quickest {
		quickest[worker] = time.Hour
		wg.Go(func() {
			for i := range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				var gone time.Time
				stop := time.AfterFunc(time.Duration(i)*time.Millisecond/2, func() { gone = time.Now(); cancel() })
				_, err := pool.Exec(ctx, "SELECT pg_sleep(0.005)") // ends by itself, or is cancelled, or both at once
				if !stop.Stop() {
					<-ctx.Done()
				}
				switch {
				case err != nil && !errors.Is(pgtx.Kind(ctx, err), context.Canceled):
					t.Errorf("a cancelled statement = %v, want Canceled", err)
				case err != nil:
					quickest[worker] = min(quickest[worker], time.Since(gone))
				}
				cancel()
				if _, err := pool.Exec(t.Context(), "SELECT 1"); err != nil {
					t.Errorf("the statement after a cancelled one = %v, want nil", err)
				}
			}
		})
	}
	wg.Wait()
	best := time.Hour
	for _, q := range quickest {
		best = min(best, q)
	}
	if best > 50*time.Millisecond {
		t.Errorf("a cancelled statement ended after %v at the quickest, want it not to wait until it has settled", best)
	}
	if made := pool.Stat().NewConnsCount(); made > 8 {
		t.Errorf("%d connections were made, want cancelled ones kept", made)
	}
}

// TestCancelledTwice: two statements of one transaction may be cancelled before the
// server has heard of the first. Both are waited for.
func TestCancelledTwice(t *testing.T) {
	pool, err := Open(t.Context(), Config{URL: pgtest.DB(t).AppURL, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that what is started waits for this goroutine
	c := &canceller{conn: conn.Conn().PgConn()}
	for range 2 {
		c.HandleCancel(t.Context())
		c.HandleUnwatchAfterCancel()
	}
	settled(conn.Conn())
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("the statement after two cancelled ones = %v, want nil", err)
	}
}
