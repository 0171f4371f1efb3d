package jobs

import (
	"context"
	"encoding/json"

	"github.com/tars-project/tars/knowledge"
)

// Worker carries out the jobs of one kind. args are what the job was enqueued with.
//
// It must be resumable. A job may be begun again at any time after it was begun, on
// another server: because the server died, because it was stopped, because the worker
// returned an error that may pass. What was done by then stays done, so a worker does
// its work in steps that may be repeated, or keeps with each step, in the step's own
// transaction, that it was done. [Progress.Before] tells how far the job said it was,
// which is at most what was done and may be less.
//
// Of one job one worker is at work at a time, as long as the clocks of the servers run
// at about the same speed. Where even a stopped machine that wakes up must do no harm,
// the step's transaction has to see to that itself.
//
// ctx ends when the job is cancelled, when the server stops and has waited for its
// stop timeout, when the server has lost the database for so long that another may
// take the job over, and after 12 hours. The worker then returns soon, with any error:
// what becomes of the job follows from why ctx ended.
//
// nil means success. An error that wraps [knowledge.ErrUnavailable] means that the job
// is tried again, after 1 s, 2 s, 4 s … up to a minute, until its attempts are used up.
// Any other means that the job has failed. Only texts of an [knowledge.InvalidError],
// [knowledge.NotFoundError] or [knowledge.LimitError] reach the client. A panic is a
// failure.
type Worker func(ctx context.Context, tenant knowledge.TenantID, args json.RawMessage, progress Progress) error

// Progress is how a worker tells how far it is. Safe for concurrent use, until the
// worker has returned.
type Progress interface {
	// Before returns the job as it was when this attempt began.
	Before() Job
	// Report says that done of total units, [NoTotal] if unknown, are done, and what
	// else there is to tell: an object in JSON of up to 64 KiB, or nil to leave it as
	// it is. It does not wait: the latest report is written within 300 ms, and with
	// the job's end, so that calling it often costs nothing.
	Report(done, total int64, detail json.RawMessage)
}

// MaxDetail is the most bytes of a job's detail. A larger one is left out.
const MaxDetail = 64 << 10
