package pgjobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"github.com/tars-project/tars/knowledge/jobs"
)

// watch looks, until ctx ends, for jobs that nobody sees to any more.
func (r *Runner) watch(ctx context.Context) {
	defer close(r.ended)
	tick := time.NewTicker(r.options.Lease / 3)
	defer tick.Stop()
	for {
		if err := r.rescue(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("look for jobs of servers that are gone", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mostRescued bounds one transaction.
const mostRescued = 50

// overdueSQL leaves those to others that others have in hand.
const overdueSQL = `
SELECT tenant_id, job_id, kind, state, attempt, cancel_requested, coalesce(river_id, 0)
FROM jobs
WHERE finished_at IS NULL AND due_at < now()
ORDER BY due_at
LIMIT @most
FOR UPDATE SKIP LOCKED`

// overdue is a job whose time is over.
type overdue struct {
	note
	state     jobs.State
	attempt   int
	cancelled bool
	river     int64
}

// rescue sees to jobs whose lease has run out, and to queued ones whose time has come
// and gone.
func (r *Runner) rescue(ctx context.Context) error {
	for {
		found := 0
		err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, overdueSQL, pgx.NamedArgs{"most": mostRescued})
			if err != nil {
				return err
			}
			all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o overdue, err error) {
				err = row.Scan(&o.Tenant, &o.Job, &o.Work, &o.state, &o.attempt, &o.cancelled, &o.river)
				return o, err
			})
			if err != nil {
				return err
			}
			found = len(all)
			for _, o := range all {
				if err := r.see(ctx, tx, o); err != nil {
					return fmt.Errorf("job %s: %w", o.Job, err)
				}
			}
			return nil
		})
		if err != nil || found < mostRescued {
			return err
		}
	}
}

const abandonSQL = `
UPDATE jobs SET
	state = @state,
	error = @error,
	runner = NULL,
	finished_at = clock_timestamp(),
	updated_at = clock_timestamp()
WHERE tenant_id = @tenant AND job_id = @job`

const rescueSQL = `
UPDATE jobs SET
	state = 'queued',
	runner = NULL,
	due_at = now() + @patience::interval,
	updated_at = CASE state WHEN 'queued' THEN updated_at ELSE clock_timestamp() END
WHERE tenant_id = @tenant AND job_id = @job`

// see decides about a job that the transaction has locked.
func (r *Runner) see(ctx context.Context, tx pgx.Tx, o overdue) error {
	args := pgx.NamedArgs{"tenant": string(o.Tenant), "job": string(o.Job), "patience": patience, "error": ""}
	abandon := func(state jobs.State) error {
		args["state"] = string(state)
		r.counts.add(string(o.Work), string(state))
		_, err := tx.Exec(ctx, abandonSQL, args)
		return err
	}
	if o.state == jobs.Running {
		switch {
		case o.cancelled:
			return abandon(jobs.Cancelled)
		case o.attempt >= r.options.Attempts:
			args["error"] = fmt.Sprintf("the server that had it under way went away, %d times", o.attempt)
			return abandon(jobs.Interrupted)
		}
		r.counts.add(string(o.Work), "rescued")
		r.log.Warn("a job's server is gone; it begins again", slog.String("tenant", string(o.Tenant)),
			slog.String("job", string(o.Job)), slog.String("kind", string(o.Work)), slog.Int("attempt", o.attempt))
	}
	if _, err := tx.Exec(ctx, rescueSQL, args); err != nil {
		return err
	}
	if o.state == jobs.Queued {
		if waits, err := r.waits(ctx, tx, o.river); err != nil || waits {
			return err // every worker has much to do
		}
	}
	return r.write(ctx, tx, o.note, 0)
}

// waits reports whether a note has still to be found.
func (r *Runner) waits(ctx context.Context, tx pgx.Tx, id int64) (bool, error) {
	found, err := r.notes.JobGetTx(ctx, tx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch found.State {
	case rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateScheduled:
		return true, nil
	default:
		return false, nil
	}
}
