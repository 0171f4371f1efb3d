package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what a run gave.
type Result struct {
	Took time.Duration // of the run, without connecting
	// Latencies of the answers that were right, sorted. In an open loop they
	// count from when the request was due, not from when it was sent.
	Latencies []time.Duration
	Errors    int
	First     error // the first of them
	Late      int   // open loop: requests that were due and not sent when the run ended
}

// Rate is right answers a second.
func (r Result) Rate() float64 { return float64(len(r.Latencies)) / r.Took.Seconds() }

// ErrorRate is the share of requests that failed, late ones included.
func (r Result) ErrorRate() float64 {
	bad := float64(r.Errors + r.Late)
	return bad / max(bad+float64(len(r.Latencies)), 1)
}

// worker is one connection's part of a run.
type worker struct {
	latencies []time.Duration
	errors    int
	first     error
}

// send makes one request, reconnecting after a broken one.
func (w *worker) send(ctx context.Context, c **conn, r Request, due time.Time) {
	err := error(nil)
	if *c == nil {
		*c, err = dial(ctx, r)
	}
	if err == nil {
		err = (*c).do()
	}
	if err == nil {
		w.latencies = append(w.latencies, time.Since(due))
		return
	}
	w.errors++
	if w.first == nil {
		w.first = err
	}
	if *c != nil && !errors.Is(err, errAnswer) {
		(*c).Close()
		*c = nil
	}
}

// run starts workers on connections of their own and adds up what they give.
func run(ctx context.Context, r Request, connections int, loop func(ctx context.Context, w *worker, c **conn)) (Result, error) {
	conns := make([]*conn, connections)
	for i := range conns {
		c, err := dial(ctx, r)
		if err != nil {
			return Result{}, err
		}
		conns[i] = c
	}
	workers := make([]worker, connections)
	start := time.Now()
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { loop(ctx, &workers[i], &conns[i]) })
	}
	group.Wait()
	result := Result{Took: time.Since(start)}
	for i, w := range workers {
		result.Latencies = append(result.Latencies, w.latencies...)
		result.Errors += w.errors
		if result.First == nil {
			result.First = w.first
		}
		if conns[i] != nil {
			conns[i].Close()
		}
	}
	slices.Sort(result.Latencies)
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("load: %w", err)
	}
	return result, nil
}

// Closed keeps so many connections busy for a while.
func Closed(ctx context.Context, r Request, connections int, lasts time.Duration) (Result, error) {
	end := time.Now().Add(lasts)
	return run(ctx, r, connections, func(ctx context.Context, w *worker, c **conn) {
		for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
			w.send(ctx, c, r, now)
		}
	})
}

// Open sends rate requests a second for a while, over at most so many
// connections. A request that finds none free waits, and the wait counts.
func Open(ctx context.Context, r Request, connections int, rate float64, lasts time.Duration) (Result, error) {
	total := int64(rate * lasts.Seconds())
	start := time.Now()
	// Long enough for what is due at the end to be answered, no longer: a
	// server that cannot keep up would make a run without end.
	end := start.Add(lasts + lasts/4)
	var next atomic.Int64
	result, err := run(ctx, r, connections, func(ctx context.Context, w *worker, c **conn) {
		for ctx.Err() == nil && time.Now().Before(end) {
			n := next.Add(1) - 1
			if n >= total {
				return
			}
			due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			w.send(ctx, c, r, due)
		}
	})
	result.Late = int(max(total-int64(len(result.Latencies)+result.Errors), 0))
	return result, err
}
