package pgjobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Jobs is what tenants may do with their jobs. Safe for concurrent use.
type Jobs struct{ app *pgxpool.Pool }

var _ jobs.Jobs = (*Jobs)(nil)

// New makes a Jobs on a pool that is connected as tars_app.
func New(app *pgxpool.Pool) *Jobs { return &Jobs{app: app} }

const getSQL = `
SELECT ` + jobColumns + `
FROM jobs
WHERE tenant_id = @tenant AND job_id = @job`

// Get implements [jobs.Jobs].
func (s *Jobs) Get(ctx context.Context, tenant knowledge.TenantID, id jobs.ID) (jobs.Job, error) {
	found, err := s.read(ctx, tenant, getSQL, pgx.NamedArgs{"tenant": string(tenant), "job": string(id)})
	if err != nil {
		return jobs.Job{}, fmt.Errorf("job: %w", err)
	}
	if len(found) == 0 {
		return jobs.Job{}, knowledge.NotFound("job", id)
	}
	return found[0], nil
}

const listSQL = `
SELECT ` + jobColumns + `
FROM jobs
WHERE tenant_id = @tenant
	AND (@before = '' OR job_id < @before)
	AND (@kind = '' OR kind = @kind)
	AND (@state = '' OR state = @state)
ORDER BY job_id DESC
LIMIT @limit`

// List implements [jobs.Jobs].
func (s *Jobs) List(ctx context.Context, tenant knowledge.TenantID, selection jobs.Selection, limit int) ([]jobs.Job, error) {
	found, err := s.read(ctx, tenant, listSQL, pgx.NamedArgs{
		"tenant": string(tenant), "before": string(selection.Before),
		"kind": string(selection.Kind), "state": string(selection.State), "limit": limit,
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return found, nil
}

func (s *Jobs) read(ctx context.Context, tenant knowledge.TenantID, sql string, args pgx.NamedArgs) ([]jobs.Job, error) {
	var found []jobs.Job
	err := pgtx.Read(ctx, s.app, tenant, sql, args, func(rows pgx.Rows) error {
		for rows.Next() {
			j, err := scanJob(rows)
			if err != nil {
				return err
			}
			found = append(found, j)
		}
		return rows.Err()
	})
	return found, err
}

// cancelSQL leaves a running job to its runner, which looks each half second.
const cancelSQL = `
UPDATE jobs SET
	cancel_requested = true,
	state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
	finished_at = CASE state WHEN 'queued' THEN clock_timestamp() END,
	updated_at = CASE WHEN cancel_requested THEN updated_at ELSE clock_timestamp() END
WHERE tenant_id = @tenant AND job_id = @job AND finished_at IS NULL
RETURNING ` + jobColumns

// Cancel implements [jobs.Jobs].
func (s *Jobs) Cancel(ctx context.Context, tenant knowledge.TenantID, id jobs.ID) (jobs.Job, error) {
	found, err := s.read(ctx, tenant, cancelSQL, pgx.NamedArgs{"tenant": string(tenant), "job": string(id)})
	if err != nil {
		return jobs.Job{}, fmt.Errorf("cancel job: %w", err)
	}
	if len(found) > 0 {
		return found[0], nil
	}
	if _, err := s.Get(ctx, tenant, id); err != nil {
		return jobs.Job{}, err
	}
	return jobs.Job{}, fmt.Errorf("job %s has ended: %w", id, knowledge.ErrConflict)
}

// How often Watch looks. What it waits for changes either several times a second or
// hardly ever.
const (
	watchFirst   = 500 * time.Millisecond
	watchSlowest = 4 * time.Second
)

// Watch implements [jobs.Jobs] by looking, at first each half second and then more
// seldom: it costs one look-up by primary key a time, holds no connection, and works
// through a pooler, where LISTEN does not.
func (s *Jobs) Watch(ctx context.Context, tenant knowledge.TenantID, seen jobs.Job) (jobs.Job, error) {
	for wait := watchFirst; ; wait = min(wait*5/4, watchSlowest) {
		j, err := s.Get(ctx, tenant, seen.ID)
		if err != nil || j.State.Final() || !j.Updated.Equal(seen.Updated) {
			return j, err
		}
		if err := pgtx.Pause(ctx, wait); err != nil {
			return jobs.Job{}, err
		}
	}
}
