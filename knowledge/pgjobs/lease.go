package pgjobs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// lease is a job that this process has under way: what keeps it, and what its worker
// says of it. It implements [jobs.Progress].
type lease struct {
	runner *Runner
	note   note
	before jobs.Job

	renewed time.Time // when the statement began that renewed it last; of keep alone

	mu          sync.Mutex
	done, total int64
	detail      json.RawMessage // nil: as it is
	dirty       bool            // there is something to write
}

var _ jobs.Progress = (*lease)(nil)

// Before implements [jobs.Progress].
func (l *lease) Before() jobs.Job { return l.before }

// Report implements [jobs.Progress].
func (l *lease) Report(done, total int64, detail json.RawMessage) {
	if detail != nil && !fits(detail) {
		l.runner.log.Warn("detail of a job left out", slog.String("job", string(l.note.Job)), slog.Int("bytes", len(detail)))
		detail = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done, l.total, l.dirty = done, total, true
	if detail != nil {
		l.detail = detail
	}
}

// fits reports whether detail is an object of a size that is kept.
func fits(detail json.RawMessage) bool {
	return len(detail) <= jobs.MaxDetail && bytes.HasPrefix(detail, []byte("{")) && json.Valid(detail) && utf8.Valid(detail)
}

// How often a job that runs is looked after.
const (
	writeInterval = 250 * time.Millisecond // at most, for what it reports
	checkInterval = 500 * time.Millisecond // whether it was cancelled
)

// keep writes what the worker reports, renews the lease each third of it, and ends the
// worker's context by cancel when the job was cancelled or is not ours any more. It
// does so too when half of the lease has gone without, and the try that is under way
// then may take a quarter: after a whole one another may begin. It returns when stop
// is closed.
func (l *lease) keep(ctx context.Context, stop <-chan struct{}, cancel context.CancelCauseFunc) {
	ctx = context.WithoutCancel(ctx) // a worker that takes its time to end keeps its lease
	tick := time.NewTicker(writeInterval)
	defer tick.Stop()
	checked := l.renewed
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		renew := l.isDirty() || now.Sub(l.renewed) >= l.runner.options.Lease/3
		if !renew && now.Sub(checked) < checkInterval {
			continue
		}
		ours, cancelled, err := l.touch(ctx, renew)
		switch {
		case err != nil:
			l.runner.log.Warn("keep a job's lease", slog.String("job", string(l.note.Job)), slog.Any("error", err))
			if time.Since(l.renewed) > l.runner.options.Lease/2 {
				cancel(errLost)
			}
			continue
		case !ours:
			cancel(errLost)
			return
		case cancelled:
			cancel(errCancelled)
		}
		if checked = now; renew {
			l.renewed = now
		}
	}
}

func (l *lease) isDirty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dirty
}

// held is the condition of each statement on a job that runs here.
const held = `tenant_id = @tenant AND job_id = @job AND state = 'running' AND runner = @runner AND attempt = @attempt`

const renewSQL = `
UPDATE jobs SET
	done = @done,
	total = @total,
	detail = coalesce(@detail::jsonb, detail),
	due_at = now() + @lease::interval,
	updated_at = CASE WHEN @dirty THEN clock_timestamp() ELSE updated_at END
WHERE ` + held + `
RETURNING cancel_requested`

const checkSQL = `SELECT cancel_requested FROM jobs WHERE ` + held

// touch looks at the job, and with renew writes to it. It reports whether the job is
// still ours, and whether it was cancelled.
func (l *lease) touch(ctx context.Context, renew bool) (ours, cancelled bool, err error) {
	ctx, end := context.WithTimeout(ctx, l.runner.options.Lease/4)
	defer end()
	sql, args := checkSQL, l.args()
	if renew {
		sql = renewSQL
		if l.report(args) {
			defer func() {
				if err != nil {
					l.again(err)
				}
			}()
		}
	}
	rows, err := l.runner.pool.Query(ctx, sql, args)
	if err != nil {
		return false, false, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil || len(found) == 0 {
		return false, false, err
	}
	return true, found[0], nil
}

// again has what could not be written written later, without a detail that the
// database does not take: JSON may say what jsonb cannot, such as NUL.
func (l *lease) again(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirty = true
	if pgerrcode.IsDataException(pgtx.Code(err)) {
		l.detail = nil
	}
}

// args are the parameters of held.
func (l *lease) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"tenant": string(l.note.Tenant), "job": string(l.note.Job), "runner": l.runner.name, "attempt": l.before.Attempt,
		"lease": l.runner.options.Lease,
	}
}

// report adds what the worker said last to the parameters, and returns whether it is
// news.
func (l *lease) report(args pgx.NamedArgs) (dirty bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var detail *string
	if l.detail != nil {
		s := string(l.detail)
		detail = &s
	}
	var total *int64
	if l.total >= 0 {
		n := l.total
		total = &n
	}
	maps.Copy(args, pgx.NamedArgs{"done": l.done, "total": total, "detail": detail, "dirty": l.dirty})
	dirty, l.dirty = l.dirty, false
	return dirty
}

const finishSQL = `
UPDATE jobs SET
	state = @state,
	error = @error,
	done = @done,
	total = @total,
	detail = coalesce(@detail::jsonb, detail),
	runner = NULL,
	finished_at = clock_timestamp(),
	updated_at = clock_timestamp()
WHERE ` + held

// finish ends the job, and returns its state, or "lost" when it is not ours any more.
func (l *lease) finish(ctx context.Context, state jobs.State, text string) string {
	return l.last(ctx, string(state), func(ctx context.Context) (bool, error) {
		args := l.args()
		l.report(args)
		args["state"], args["error"] = string(state), fitText(text)
		tag, err := l.runner.pool.Exec(ctx, finishSQL, args)
		return tag.RowsAffected() == 1, err
	})
}

// maxText is the most bytes of an error's text.
const maxText = 2 << 10

func fitText(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

const requeueSQL = `
UPDATE jobs SET
	state = 'queued',
	done = @done,
	total = @total,
	detail = coalesce(@detail::jsonb, detail),
	attempt = attempt - @refund,
	runner = NULL,
	due_at = now() + @after::interval + @patience::interval,
	updated_at = clock_timestamp()
WHERE ` + held + ` AND NOT cancel_requested`

// requeue puts the job back to be begun again after a while, and returns word. refund
// is how many attempts are not counted. A job that was cancelled meanwhile ends.
func (l *lease) requeue(ctx context.Context, word string, after time.Duration, refund int) string {
	queued := false
	outcome := l.last(ctx, word, func(ctx context.Context) (bool, error) {
		args := l.args()
		l.report(args)
		args["after"], args["refund"], args["patience"] = after, refund, patience
		err := pgx.BeginFunc(ctx, l.runner.pool, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, requeueSQL, args)
			if queued = tag.RowsAffected() == 1; err != nil || !queued {
				return err
			}
			return l.runner.write(ctx, tx, l.note, after)
		})
		return true, err
	})
	if outcome == word && !queued {
		return l.finish(ctx, jobs.Cancelled, "")
	}
	return outcome
}

// last runs the last statement of a lease, also when the server stops, and again while
// the lease lasts if the database cannot be had. It returns word, or "lost" if it
// could not be done: then the job begins again when its lease has run out.
func (l *lease) last(ctx context.Context, word string, do func(context.Context) (bool, error)) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.runner.options.Lease/2)
	defer cancel()
	for {
		ours, err := do(ctx)
		if err == nil {
			if !ours {
				return "lost"
			}
			return word
		}
		l.again(err)
		l.runner.log.Warn("end a job", slog.String("job", string(l.note.Job)), slog.Any("error", err))
		if pgtx.Pause(ctx, 200*time.Millisecond) != nil {
			return "lost"
		}
	}
}
