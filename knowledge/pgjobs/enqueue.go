package pgjobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// note is River's note to look at a job.
type note struct {
	Tenant knowledge.TenantID `json:"tenant"`
	Job    jobs.ID            `json:"job"`
	Work   jobs.Kind          `json:"kind"`
}

// Kind implements [river.JobArgs]. River's kinds are ours, so that a node finds only
// notes about jobs that it can do: one of an older version would otherwise keep taking
// those away from a newer one.
func (n note) Kind() string { return "job_" + string(n.Work) }

// unfinished are the states in which River still has something to do with a note.
func unfinished() []rivertype.JobState {
	return []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}
}

// patience is how long after its time a queued job is looked at, in case that whoever
// had found its note is gone.
const patience = 30 * time.Second

// EnqueueOptions say more about a job. The zero value is good.
type EnqueueOptions struct {
	// UniqueKey: while a job of the tenant, the kind and this key waits or runs there
	// is no second one. Empty: none; else up to 512 bytes of UTF-8 without NUL.
	UniqueKey string
}

const maxUniqueKey = 512

const insertSQL = `
INSERT INTO jobs (tenant_id, job_id, kind, state, args, unique_key, due_at)
SELECT @tenant, @job, @kind, 'queued', @args::jsonb, nullif(@unique_key, ''), now() + @patience::interval
WHERE (SELECT count(*) FROM jobs WHERE tenant_id = @tenant AND finished_at IS NULL) < @most
ON CONFLICT (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL DO NOTHING
RETURNING ` + jobColumns

const byKeySQL = `
SELECT ` + jobColumns + `
FROM jobs
WHERE tenant_id = @tenant AND kind = @kind AND unique_key = @unique_key AND finished_at IS NULL`

const noteSQL = `UPDATE jobs SET river_id = @river WHERE tenant_id = @tenant AND job_id = @job`

// Enqueue adds a job, and reports whether it did: with a unique key it returns the
// job that there is already. args are encoded as JSON. Once it returned, the job
// survives a crash. It returns an error wrapping [knowledge.ErrLimit] when the tenant
// has as many jobs waiting or running as it may, and [knowledge.ErrNotFound] when
// there is no such tenant.
func (r *Runner) Enqueue(ctx context.Context, tenant knowledge.TenantID, kind jobs.Kind, args any, o EnqueueOptions) (job jobs.Job, created bool, err error) {
	if len(o.UniqueKey) > maxUniqueKey || !utf8.ValidString(o.UniqueKey) || strings.Contains(o.UniqueKey, "\x00") {
		return jobs.Job{}, false, knowledge.Invalid("unique_key", "is not UTF-8 of up to %d bytes without NUL", maxUniqueKey)
	}
	encoded, err := json.Marshal(args)
	if err != nil {
		return jobs.Job{}, false, fmt.Errorf("enqueue %s: %w", kind, err)
	}
	// Once more when the job with the key ended between the two statements.
	for range 5 {
		job, created, err = r.enqueue(ctx, tenant, pgx.NamedArgs{
			"tenant": string(tenant), "job": string(jobs.NewID(time.Now())), "kind": string(kind), "args": string(encoded),
			"unique_key": o.UniqueKey, "patience": patience, "most": r.options.MostPending,
		})
		if !errors.Is(err, pgx.ErrNoRows) {
			break
		}
		if o.UniqueKey == "" { // then the limit is the only reason
			err = knowledge.Limit("the tenant has as many jobs waiting or running as it may")
			break
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = knowledge.Limit("the tenant has as many jobs waiting or running as it may")
	}
	if err != nil {
		return jobs.Job{}, false, fmt.Errorf("enqueue %s: %w", kind, pgtx.Kind(ctx, err))
	}
	return job, created, nil
}

// enqueue returns pgx.ErrNoRows when there is neither room for the job nor one with
// its key.
func (r *Runner) enqueue(ctx context.Context, tenant knowledge.TenantID, args pgx.NamedArgs) (job jobs.Job, created bool, err error) {
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		job, err = scanJob(tx.QueryRow(ctx, insertSQL, args))
		if errors.Is(err, pgx.ErrNoRows) {
			job, err = scanJob(tx.QueryRow(ctx, byKeySQL, args))
			return err
		}
		if err != nil {
			return err
		}
		created = true
		return r.write(ctx, tx, note{Tenant: tenant, Job: job.ID, Work: job.Kind}, 0)
	})
	return job, created && err == nil, err
}

// write writes the note that makes a job begin after a while, within tx, in which
// the job was queued.
func (r *Runner) write(ctx context.Context, tx pgx.Tx, n note, after time.Duration) error {
	options := &river.InsertOpts{Queue: queueJobs, MaxAttempts: 1}
	if after > 0 {
		options.ScheduledAt = time.Now().Add(after)
	}
	written, err := r.notes.InsertTx(ctx, tx, n, options)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, noteSQL, pgx.NamedArgs{"river": written.Job.ID, "tenant": string(n.Tenant), "job": string(n.Job)})
	return err
}
