package pgjobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
)

// noteWorker looks at jobs of one kind.
type noteWorker struct {
	river.WorkerDefaults[note]
	runner *Runner
	worker jobs.Worker
}

// Timeout implements [river.Worker].
func (w *noteWorker) Timeout(*river.Job[note]) time.Duration { return longest }

// Work implements [river.Worker]. When the database cannot be had the note is kept for
// later; every other one is done with, whatever became of the job: what goes back to
// the queue has a new one.
func (w *noteWorker) Work(ctx context.Context, found *river.Job[note]) error {
	n, asked := found.Args, time.Now()
	job, args, err := w.runner.claim(ctx, n)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // somebody else has it, or it has ended
		return nil
	case err != nil:
		w.runner.log.Warn("begin a job", slog.Any("error", err))
		return river.JobSnooze(2 * time.Second)
	}
	l := &lease{runner: w.runner, note: n, before: job, done: job.Done, total: job.Total, renewed: asked}
	w.runner.carryOut(ctx, l, w.worker, args)
	return nil
}

const claimSQL = `
UPDATE jobs SET
	state = 'running',
	runner = @runner,
	attempt = attempt + 1,
	due_at = now() + @lease::interval,
	started_at = coalesce(started_at, now()),
	updated_at = clock_timestamp()
WHERE tenant_id = @tenant AND job_id = @job AND state = 'queued'
RETURNING ` + jobColumns + `, args`

// claim takes the lease of a job that waits. It returns pgx.ErrNoRows for another.
func (r *Runner) claim(ctx context.Context, n note) (jobs.Job, json.RawMessage, error) {
	var args []byte
	ctx, cancel := context.WithTimeout(ctx, r.options.Lease/2)
	defer cancel()
	job, err := scanJob(r.pool.QueryRow(ctx, claimSQL, pgx.NamedArgs{
		"tenant": string(n.Tenant), "job": string(n.Job), "runner": r.name, "lease": r.options.Lease,
	}), &args)
	return job, args, err
}

// Why the context of a worker ended, beside the server's own end.
var (
	errCancelled = errors.New("the job was cancelled")
	errLost      = errors.New("the job's lease ran out")
)

// carryOut runs a worker on a job that was claimed, and writes what came of it.
func (r *Runner) carryOut(outer context.Context, l *lease, worker jobs.Worker, args json.RawMessage) {
	n := l.note
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		l.keep(ctx, stop, cancel)
	}()
	err := recovered(func() error { return worker(ctx, n.Tenant, args, l) })
	cause := context.Cause(ctx)
	close(stop)
	<-stopped
	outcome := r.settle(outer, l, err, cause)
	r.counts.add(string(n.Work), outcome)
	attributes := []slog.Attr{
		slog.String("tenant", string(n.Tenant)), slog.String("job", string(n.Job)),
		slog.String("kind", string(n.Work)), slog.String("outcome", outcome), slog.Int("attempt", l.before.Attempt),
	}
	level := slog.LevelInfo
	if err != nil {
		attributes = append(attributes, slog.Any("error", err))
		level = slog.LevelWarn
	}
	r.log.LogAttrs(outer, level, "job", attributes...)
}

// settle decides what becomes of a job whose worker has returned err, with its context
// ended by cause, if it is not nil. It returns a word for it.
func (r *Runner) settle(outer context.Context, l *lease, err, cause error) string {
	switch {
	case err == nil:
		return l.finish(outer, jobs.Succeeded, "")
	case errors.Is(cause, errLost):
		return "lost"
	case errors.Is(cause, errCancelled):
		return l.finish(outer, jobs.Cancelled, "")
	case outer.Err() != nil: // the server stops, or the job ran for very long; either is not its fault
		return l.requeue(outer, "released", 0, 1)
	case !errors.Is(err, knowledge.ErrUnavailable):
		return l.finish(outer, jobs.Failed, textFor(err))
	case l.before.Attempt >= r.options.Attempts:
		return l.finish(outer, jobs.Failed, fmt.Sprintf("what it needs could not be reached, %d times", l.before.Attempt))
	default:
		return l.requeue(outer, "retried", backoff(l.before.Attempt), 0)
	}
}

// backoff is how long a job waits after so many attempts: 1 s, 2 s, 4 s … a minute.
func backoff(attempt int) time.Duration {
	const most = time.Minute
	if attempt > 6 {
		return most
	}
	return min(time.Second<<max(attempt-1, 0), most)
}

// textFor is what the client may read of a worker's error.
func textFor(err error) string {
	var (
		invalid *knowledge.InvalidError
		unknown *knowledge.NotFoundError
		limit   *knowledge.LimitError
	)
	switch {
	case errors.As(err, &invalid):
		return invalid.Error()
	case errors.As(err, &unknown):
		return unknown.Error()
	case errors.As(err, &limit):
		return limit.Error()
	default:
		return "an internal error; the operator's log has it under the job's id"
	}
}

// panicError is a panic of a worker.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// recovered calls do and returns its panic as an error.
func recovered(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value, debug.Stack()}
		}
	}()
	return do()
}
