package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// searcher is a client whose answers can be looked at.
type searcher interface {
	load.Client
	// Rows makes the n-th search and returns what it found, nearest first.
	Rows(n int) ([]int32, error)
}

// layer is one way to search a dataset.
type layer struct {
	name    string
	data    *dataset
	slow    bool          // its answers are looked at for fewer queries
	scopes  []scope       // the n-th search is in the n-th, from the start again after the last
	right   [][]neighbour // of each query
	clients []int         // with how many at once it is measured
	// connect opens one client.
	connect func(ctx context.Context) (searcher, error)
	// outside makes load with a program of its own; nil for the load of this one.
	outside func(ctx context.Context, clients int, lasts time.Duration) (load.Result, error)
	asked   int                // searches so far
	open    []searcher         // kept from round to round
	close   func()             // what the clients share; nil for nothing
	quality quality            // of its answers
	rates   map[int][]float64  // by clients: of each round
	sums    map[int]*aggregate // by clients: of all rounds
}

// aggregate adds up rounds.
type aggregate struct {
	result load.Result
	used   rig.Usage
}

// dial makes sure that so many clients are there, and returns them.
func (l *layer) dial(ctx context.Context, clients int) ([]load.Client, error) {
	for len(l.open) < clients {
		c, err := l.connect(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		l.open = append(l.open, c)
	}
	some := make([]load.Client, clients)
	for i := range some {
		some[i] = l.open[i]
	}
	return some, nil
}

// run makes a closed loop.
func (l *layer) run(ctx context.Context, clients int, lasts time.Duration) (load.Result, error) {
	if l.outside != nil {
		return l.outside(ctx, clients, lasts)
	}
	some, err := l.dial(ctx, clients)
	if err != nil {
		return load.Result{}, err
	}
	r, err := load.Closed(ctx, some, l.asked, lasts)
	l.asked += len(r.Latencies) + r.Errors
	return r, err
}

// assess makes each search once and compares the answers with what is right.
func (l *layer) assess(ctx context.Context, most int) error {
	if _, err := l.dial(ctx, 1); err != nil {
		return err
	}
	answers := make([][]int32, min(most, l.data.count()))
	for n := range answers {
		var err error
		if answers[n], err = l.open[0].Rows(n); err != nil && !errors.Is(err, rig.ErrAnswer) {
			return fmt.Errorf("%s: search %d: %w", l.name, n, err)
		}
	}
	l.quality = assess(l.data, l.scopes, l.right, answers)
	return ctx.Err()
}

func (l *layer) shut() error {
	var err error
	for _, c := range l.open {
		err = errors.Join(err, c.Close())
	}
	l.open = nil
	if l.close != nil {
		l.close()
	}
	return err
}
