package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgjobs"
	"github.com/tars-project/tars/knowledge/pgstore"
)

// kindIndex are the jobs that carry a collection's records to its index, and give
// newly declared fields their values.
const kindIndex jobs.Kind = "index"

type indexArgs struct {
	Collection knowledge.CollectionName `json:"collection"`
}

// indexDetail is what a tenant sees of such a job beside its progress, in records.
type indexDetail struct {
	Collection knowledge.CollectionName `json:"collection"`
	Phase      string                   `json:"phase"`
}

const (
	// touchedPause is how often collections that this node has written to are looked at.
	touchedPause = 2 * time.Second
	// untendedPause is how often all collections are, for those whose node was killed.
	untendedPause = 5 * time.Minute
)

// index is the worker of these jobs.
func (srv *server) index(ctx context.Context, tenant knowledge.TenantID, args json.RawMessage, progress jobs.Progress) error {
	var a indexArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	report := func(phase string, done, total int64) {
		if detail, err := json.Marshal(indexDetail{a.Collection, phase}); err == nil {
			progress.Report(done, total, detail)
		}
	}
	err := srv.store.FillFields(ctx, tenant, a.Collection, func(done, total int64) { report("filling", done, total) })
	var wrong *knowledge.FieldTypeError
	if errors.As(err, &wrong) {
		return knowledge.Invalid("fields", "%s", wrong)
	}
	if err == nil {
		err = srv.store.Tend(ctx, tenant, a.Collection, func(t pgstore.Tending) { report(t.Phase, t.Done, t.Total) })
	}
	if errors.Is(err, knowledge.ErrNotFound) { // it was deleted meanwhile
		return nil
	}
	return err
}

// enqueueIndex makes a job for each collection, unless it has one already. A tenant
// that has too many jobs is looked at again later.
func (srv *server) enqueueIndex(ctx context.Context, refs []pgstore.CollectionRef) error {
	var failed error
	for _, ref := range refs {
		_, _, err := srv.runner.Enqueue(ctx, ref.Tenant, kindIndex, indexArgs{ref.Name}, pgjobs.EnqueueOptions{UniqueKey: string(ref.Name)})
		if err != nil && !errors.Is(err, knowledge.ErrLimit) && !errors.Is(err, knowledge.ErrNotFound) {
			failed = err
		}
	}
	return failed
}

// tendUntended finds, in the whole database, the collections where there is work.
func (srv *server) tendUntended(ctx context.Context) error {
	refs, err := srv.store.Untended(ctx)
	if err != nil {
		return err
	}
	return srv.enqueueIndex(ctx, refs)
}

// tendTouched looks after the collections that this node writes to, until ctx ends.
func (srv *server) tendTouched(ctx context.Context) error {
	tick := time.NewTicker(touchedPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		refs, err := srv.store.Touched(ctx)
		if err = errors.Join(err, srv.enqueueIndex(ctx, refs)); err != nil && ctx.Err() == nil {
			srv.logger.Warn("look after collections", "error", err)
		}
	}
}
