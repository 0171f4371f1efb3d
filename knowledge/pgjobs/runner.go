package pgjobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// schema is where River's tables are; see migrations.
const schema = "tars_river"

// River's queues: a tenant's long jobs do not hold up the node's own work.
const (
	queueJobs     = "jobs"
	queuePeriodic = "periodic"
)

// Options are the bounds of a [Runner]. The zero value means the defaults.
type Options struct {
	// Workers is how many jobs the node runs at once; default 4.
	Workers int
	// Attempts is how often a job is begun at most; default 10.
	Attempts int
	// MostPending is how many jobs of one tenant may wait or run; default 100.
	MostPending int
	// Lease is how long a job belongs to a server that does not say any more that it
	// lives; default 15 s, at least 1 s. A job whose server was killed begins again
	// after 4/3 of it and a second at most, where a worker is free.
	Lease time.Duration
	// StopTimeout is how long jobs under way may go on after Stop; then their contexts
	// end and they go back to the queue. Default 5 s.
	StopTimeout time.Duration
	// Keep is how long jobs that have ended can be looked at; default 7 days.
	Keep time.Duration
	// Logger hears of what went wrong; default slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Workers, 4)
	setDefault(&o.Attempts, 10)
	setDefault(&o.MostPending, 100)
	setDefault(&o.Lease, 15*time.Second)
	o.Lease = max(o.Lease, time.Second)
	setDefault(&o.StopTimeout, 5*time.Second)
	setDefault(&o.Keep, 7*24*time.Hour)
	setDefault(&o.Logger, slog.Default())
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Times that River keeps to.
const (
	pollInterval = 500 * time.Millisecond
	// longest is how long a job may run before it goes back to the queue.
	longest = 12 * time.Hour
	// longestPeriodic is the same for work of the node, which is begun anew instead.
	longestPeriodic = 5 * time.Minute
)

// Runner is a node's part in background work: it enqueues jobs, runs them, and sees
// to those of servers that are gone. Register and Every come first, then Start, and
// Stop at last; Enqueue and Stats may be called at any time, concurrently.
type Runner struct {
	pool     *pgxpool.Pool
	name     string // of this process, unlike any other's
	options  Options
	log      *slog.Logger
	workers  map[jobs.Kind]jobs.Worker
	periodic map[string]periodic
	notes    *river.Client[pgx.Tx] // which only writes and reads them
	counts   counts

	client *river.Client[pgx.Tx] // which works on them; nil unless started
	end    context.CancelFunc    // of the watch
	ended  chan struct{}         // closed when the watch has ended
}

// periodic is work of the node.
type periodic struct {
	interval time.Duration
	do       func(context.Context) error
}

// NewRunner makes a Runner on a pool that is connected as tars_jobs and must stay
// open until Stop has returned. A job that runs uses a connection for some
// milliseconds, four times a second at most.
func NewRunner(pool *pgxpool.Pool, options Options) (*Runner, error) {
	r := &Runner{
		pool: pool, name: rand.Text(), options: options.withDefaults(),
		workers: make(map[jobs.Kind]jobs.Worker), periodic: make(map[string]periodic),
	}
	r.log = r.options.Logger
	var err error
	if r.notes, err = river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: schema, Logger: quiet(r.log)}); err != nil {
		return nil, fmt.Errorf("background work: %w", err)
	}
	r.Every("ended-jobs", time.Hour, r.sweepEnded)
	return r, nil
}

// Register says who carries out jobs of a kind. A job of a kind that no node knows
// waits for one that does.
func (r *Runner) Register(kind jobs.Kind, worker jobs.Worker) { r.workers[kind] = worker }

// Every has do called about once in each interval, of a minute or so and longer, on
// one of the nodes, and soon after the first of them has started. It belongs to no
// tenant and nobody sees it. Two calls may overlap when a server stalls; one that is
// cut short is not repeated before the next turn. Its context ends with the Runner,
// and after 5 minutes.
func (r *Runner) Every(name string, interval time.Duration, do func(context.Context) error) {
	r.periodic[name] = periodic{interval: interval, do: do}
}

// Start begins to work. ctx bounds only the start. It returns an error when River's
// tables are not those of this River.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.checkTables(ctx); err != nil {
		return err
	}
	workers := river.NewWorkers()
	for kind, worker := range r.workers {
		river.AddWorkerArgs(workers, note{Work: kind}, &noteWorker{runner: r, worker: worker})
	}
	river.AddWorker(workers, &turnWorker{runner: r})
	config := &river.Config{
		Schema:  schema,
		Workers: workers,
		Queues: map[string]river.QueueConfig{
			queueJobs:     {MaxWorkers: r.options.Workers},
			queuePeriodic: {MaxWorkers: 2},
		},
		FetchOnlyKnownKinds: true,
		Logger:              quiet(r.log),
		PollOnly:            true,
		FetchPollInterval:   pollInterval,
		SoftStopTimeout:     r.options.StopTimeout,
		// Of the node's own work; jobs have a longer time of their own.
		JobTimeout:           longestPeriodic,
		RescueStuckJobsAfter: longestPeriodic + time.Minute,
		// Building an index again takes its table's owner, and these stay small.
		ReindexerSchedule:           river.NeverSchedule(),
		CompletedJobRetentionPeriod: time.Hour,
		CancelledJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 24 * time.Hour,
	}
	for name, p := range r.periodic {
		config.PeriodicJobs = append(config.PeriodicJobs, river.NewPeriodicJob(river.PeriodicInterval(p.interval), turnOf(name),
			&river.PeriodicJobOpts{ID: name, RunOnStart: true}))
	}
	client, err := river.NewClient(riverpgxv5.New(r.pool), config)
	if err != nil {
		return fmt.Errorf("background work: %w", err)
	}
	working := context.WithoutCancel(ctx) // until Stop
	if err := client.Start(working); err != nil {
		return fmt.Errorf("background work: %w", err)
	}
	r.client = client
	working, r.end = context.WithCancel(working)
	r.ended = make(chan struct{})
	go r.watch(working)
	return nil
}

// checkTables looks whether the migrations have been run that this River needs.
func (r *Runner) checkTables(ctx context.Context) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(r.pool), &rivermigrate.Config{Schema: schema, Logger: quiet(r.log)})
	if err != nil {
		return fmt.Errorf("background work: %w", err)
	}
	found, err := migrator.Validate(ctx, nil)
	if err != nil {
		return fmt.Errorf("background work: look at its tables: %w", pgtx.Kind(ctx, err))
	}
	if !found.OK {
		return fmt.Errorf("the tables of background work are not complete (%s): run tars migrate up", strings.Join(found.Messages, "; "))
	}
	return nil
}

// Stop takes no more work, lets jobs under way finish for the stop timeout, then ends
// their contexts, and returns when all have returned and those that were not done are
// back in the queue. It returns an error when ctx ends before. Without Start it does
// nothing.
func (r *Runner) Stop(ctx context.Context) error {
	if r.client == nil {
		return nil
	}
	r.end()
	<-r.ended
	err := r.client.Stop(ctx)
	r.client = nil
	if err != nil {
		return fmt.Errorf("stop background work: %w", err)
	}
	return nil
}

// turn is River's note that it is time for work of the node.
type turn struct {
	Name string `json:"name"`
}

// Kind implements [river.JobArgs].
func (turn) Kind() string { return "tars_periodic" }

// turnOf makes the notes of one kind of work of the node. There is one at a time: a
// node that is too slow does not pile them up.
func turnOf(name string) river.PeriodicJobConstructor {
	return func() (river.JobArgs, *river.InsertOpts) {
		return turn{name}, &river.InsertOpts{
			Queue: queuePeriodic, MaxAttempts: 1,
			UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unfinished()},
		}
	}
}

// turnWorker does work of the node.
type turnWorker struct {
	river.WorkerDefaults[turn]
	runner *Runner
}

// Work implements [river.Worker].
func (w *turnWorker) Work(ctx context.Context, job *river.Job[turn]) error {
	r, name := w.runner, job.Args.Name
	p, known := r.periodic[name]
	if !known {
		return nil // of a version that is gone, or that this node is not yet; it will come again
	}
	err := recovered(func() error { return p.do(ctx) })
	outcome := "succeeded"
	if err != nil {
		outcome = "failed"
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			outcome = "released"
		}
		r.log.Warn("periodic work", slog.String("name", name), slog.Any("error", err))
	}
	r.counts.add(name, outcome)
	return nil // the next turn is the retry
}

const sweepEndedSQL = `
DELETE FROM jobs
WHERE (tenant_id, job_id) IN (
	SELECT tenant_id, job_id
	FROM jobs
	WHERE finished_at < now() - @keep::interval
	ORDER BY finished_at
	LIMIT 1000)`

// sweepEnded deletes jobs that ended long ago.
func (r *Runner) sweepEnded(ctx context.Context) error {
	for {
		tag, err := r.pool.Exec(ctx, sweepEndedSQL, pgx.NamedArgs{"keep": r.options.Keep})
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
	}
}
