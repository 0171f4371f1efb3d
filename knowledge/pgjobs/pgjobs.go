// Package pgjobs keeps background work in PostgreSQL and runs it. [Jobs] is what
// tenants see of it; [Runner] is a node's part in the work.
//
// How it is laid out: the table jobs says what each job is, how far it is, and which
// process has it under way until when: its lease, which that process renews. River,
// in the schema tars_river, keeps notes, each of which says "look at this job": who
// finds one takes the job's lease, or, if the job does not wait any more, nothing. So
// a note too many does no harm. A job whose lease has run out, because its server is
// gone, goes back to the queue with a new note; every node looks for such jobs. All
// that River's own rescue knows is how long ago a job was begun, which says nothing
// when jobs may run for hours.
//
// Notes are polled for. So background work needs no connection of its own that
// listens, and works through any pooler.
//
// What it leaves to others: the tables (migrations), what a kind of job does (who
// registers it), and rights (api).
package pgjobs

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge/jobs"
)

// jobColumns are those that scanJob reads.
const jobColumns = `job_id, kind, state, done, coalesce(total, -1), detail, error, attempt, cancel_requested,
	created_at, started_at, finished_at, updated_at`

// scanJob reads jobColumns, and what follows them into more.
func scanJob(row pgx.Row, more ...any) (jobs.Job, error) {
	var (
		j                 jobs.Job
		detail            []byte
		started, finished *time.Time
	)
	into := []any{
		&j.ID, &j.Kind, &j.State, &j.Done, &j.Total, &detail, &j.Error, &j.Attempt, &j.CancelRequested,
		&j.Created, &started, &finished, &j.Updated,
	}
	if err := row.Scan(append(into, more...)...); err != nil {
		return jobs.Job{}, err
	}
	j.Detail = json.RawMessage(detail)
	if started != nil {
		j.Started = *started
	}
	if finished != nil {
		j.Finished = *finished
	}
	return j, nil
}
