package main

import (
	"context"
	"time"

	"github.com/tars-project/tars/api"
	"github.com/tars-project/tars/knowledge/pgjobs"
)

const (
	// sweeping is how often what has expired, and what was left behind, is removed.
	sweeping = time.Minute
	// placeAge is how long a place without a collection may wait for it.
	placeAge = 10 * time.Minute
	// repliesSwept is the most replies that are removed each time.
	repliesSwept = 10_000
	// usePause is how often last uses of keys are written.
	usePause = 30 * time.Second
)

// newRunner wires the background work. Kinds of jobs are registered here.
func (srv *server) newRunner(c *serverConfig) (*pgjobs.Runner, error) {
	r, err := pgjobs.NewRunner(srv.pools.jobs, pgjobs.Options{
		Workers:     c.JobWorkers,
		StopTimeout: c.StopTimeout / 2, // the rest is for going back to the queue
		Logger:      srv.logger,
	})
	if err != nil {
		return nil, err
	}
	r.Register(kindIndex, srv.index)
	r.Register(kindReembed, srv.reembed)
	r.Every("untended-collections", untendedPause, srv.tendUntended)
	r.Every("expired-records", sweeping, func(ctx context.Context) error {
		_, err := srv.store.SweepExpired(ctx)
		return err
	})
	r.Every("expired-documents", sweeping, func(ctx context.Context) error {
		_, err := srv.store.SweepDocuments(ctx)
		return err
	})
	r.Every("unused-places", sweeping, func(ctx context.Context) error {
		_, err := srv.store.SweepPlaces(ctx, placeAge)
		return err
	})
	r.Every("kept-replies", sweeping, func(ctx context.Context) error {
		_, err := srv.store.SweepReplies(ctx, repliesSwept)
		return err
	})
	r.Every("old-recordings", sweeping, func(ctx context.Context) error {
		_, err := srv.recordings.SweepRecordings(ctx)
		return err
	})
	r.Every("old-calls", sweeping, func(ctx context.Context) error {
		_, err := srv.ledger.Sweep(ctx, c.CallsKept)
		return err
	})
	r.Every("old-audit", sweeping, func(ctx context.Context) error {
		_, err := srv.audit.Sweep(ctx, c.AuditKept)
		return err
	})
	return r, nil
}

// jobCounts are the figures of background work, for the metrics.
func (srv *server) jobCounts() []api.JobCount {
	stats := srv.runner.Stats()
	counts := make([]api.JobCount, len(stats))
	for i, s := range stats {
		counts[i] = api.JobCount{Kind: s.Kind, Outcome: s.Outcome, N: s.N}
	}
	return counts
}

// noteUse writes the last uses of keys, which each node knows of its own requests,
// until ctx ends.
func (srv *server) noteUse(ctx context.Context) error {
	tick := time.NewTicker(usePause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := srv.keys.FlushUse(ctx); err != nil && ctx.Err() == nil {
			srv.logger.Warn("last use of keys", "error", err)
		}
	}
}
