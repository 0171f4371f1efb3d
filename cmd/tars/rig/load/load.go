// Package load puts the same load on whatever answers searches: closed loop (each
// client asks again when it has the answer) and open loop (searches are due at a
// constant rate, whatever the service does). Right answers alone count; a failed
// search stays in the denominator.
package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Client is one caller's own connection, for one goroutine.
type Client interface {
	// Ask makes the n-th search, n from 0 on, and looks whether the answer is a
	// right one. After an error the client must be able to go on.
	Ask(n int) error
	Close() error
}

// Result is what a run gave.
type Result struct {
	Took time.Duration // of the run, without connecting
	// Latencies of the right answers, sorted. In an open loop they count from when
	// a search was due, not from when it was sent.
	Latencies []time.Duration
	Errors    int
	First     error // the first of them
	Late      int   // open loop: searches that were due and not sent when the run ended
}

// Rate is right answers a second.
func (r Result) Rate() float64 { return float64(len(r.Latencies)) / r.Took.Seconds() }

// ErrorRate is the share of searches that failed, late ones included.
func (r Result) ErrorRate() float64 {
	bad := float64(r.Errors + r.Late)
	return bad / max(bad+float64(len(r.Latencies)), 1)
}

// worker is one client's part of a run.
type worker struct {
	latencies []time.Duration
	errors    int
	first     error
}

func (w *worker) ask(c Client, n int, due time.Time) {
	if err := c.Ask(n); err != nil {
		w.errors++
		if w.first == nil {
			w.first = err
		}
		return
	}
	w.latencies = append(w.latencies, time.Since(due))
}

// run has each client loop, and adds up what they give.
func run(ctx context.Context, clients []Client, loop func(w *worker, c Client)) (Result, error) {
	workers := make([]worker, len(clients))
	start := time.Now()
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { loop(&workers[i], clients[i]) })
	}
	group.Wait()
	result := Result{Took: time.Since(start)}
	for _, w := range workers {
		result.Latencies = append(result.Latencies, w.latencies...)
		result.Errors += w.errors
		if result.First == nil {
			result.First = w.first
		}
	}
	slices.Sort(result.Latencies)
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("load: %w", err)
	}
	return result, nil
}

// Closed keeps all clients busy for a while. They share the numbers of the
// searches, beginning with first.
func Closed(ctx context.Context, clients []Client, first int, lasts time.Duration) (Result, error) {
	var next atomic.Int64
	next.Store(int64(first))
	end := time.Now().Add(lasts)
	return run(ctx, clients, func(w *worker, c Client) {
		for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
			w.ask(c, int(next.Add(1)-1), now)
		}
	})
}

// Open makes rate searches a second due for a while. One that finds no client free
// waits, and the wait counts.
func Open(ctx context.Context, clients []Client, rate float64, lasts time.Duration) (Result, error) {
	total := int64(rate * lasts.Seconds())
	start := time.Now()
	// Long enough for what is due at the end to be answered, no longer: a service
	// that cannot keep up would make a run without end.
	end := start.Add(lasts + lasts/4)
	var next atomic.Int64
	result, err := run(ctx, clients, func(w *worker, c Client) {
		for ctx.Err() == nil && time.Now().Before(end) {
			n := next.Add(1) - 1
			if n >= total {
				return
			}
			due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			w.ask(c, int(n), due)
		}
	})
	result.Late = int(max(total-int64(len(result.Latencies)+result.Errors), 0))
	return result, err
}
