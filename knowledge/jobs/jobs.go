// Package jobs has the words of background work that a tenant asked for: what a job
// is, what may be done with one, and what a worker that carries it out must keep to.
// Who keeps jobs and runs them is package pgjobs.
package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// State is where a job stands.
type State string

// The states. The first two pass, the others are final.
const (
	Queued    State = "queued"  // waits for its turn, or to be tried again
	Running   State = "running" // a server has it under way
	Succeeded State = "succeeded"
	Failed    State = "failed" // its worker gave up; Error says why
	Cancelled State = "cancelled"
	// Interrupted: every attempt that it has was cut short, by servers that died. What
	// it did until then stays done.
	Interrupted State = "interrupted"
)

// States lists them all.
func States() []State {
	return []State{Queued, Running, Succeeded, Failed, Cancelled, Interrupted}
}

// Final reports that nothing about the job changes any more.
func (s State) Final() bool { return s != Queued && s != Running }

// ParseState checks s. It returns an [knowledge.InvalidError] without a field.
func ParseState(s string) (State, error) {
	for _, state := range States() {
		if s == string(state) {
			return state, nil
		}
	}
	return "", knowledge.Invalid("", "is no state of a job; need one of %v", States())
}

// Kind says what a job does, such as "import". Made only by [ParseKind].
type Kind string

// ParseKind checks s: 1 to 63 of a-z, 0-9 and "_", the first a letter. It returns an
// [knowledge.InvalidError] without a field.
func ParseKind(s string) (Kind, error) {
	if len(s) < 1 || len(s) > 63 || s[0] < 'a' || s[0] > 'z' {
		return "", knowledge.Invalid("", "is no kind of job; need 1 to 63 of a-z, 0-9 and \"_\", the first a letter")
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return "", knowledge.Invalid("", "is no kind of job; need 1 to 63 of a-z, 0-9 and \"_\", the first a letter")
		}
	}
	return Kind(s), nil
}

// NoTotal stands for the total of a job that does not know it.
const NoTotal = -1

// Job is one piece of background work, as its tenant sees it.
type Job struct {
	ID    ID
	Kind  Kind
	State State
	// Done of Total units, of a kind's own, are done; Total is [NoTotal] where it is
	// not known. Behind what is true by some 300 ms while the job runs.
	Done, Total int64
	Detail      json.RawMessage // of a kind's own: an object, never empty
	Error       string          // why it failed, made for the client; else empty
	Attempt     int             // how often it was begun
	// CancelRequested is set from the moment that somebody cancelled it.
	CancelRequested bool
	Created         time.Time
	Started         time.Time // of the first attempt; zero before
	Finished        time.Time // zero until the state is final
	Updated         time.Time // of the last change: another one means that something changed
}

// Jobs is what a tenant may do with its jobs. Implementations are safe for concurrent
// use and pass knowledge/jobs/jobstest. What is another tenant's job is not found.
type Jobs interface {
	// Get returns the job, or an error wrapping [knowledge.ErrNotFound].
	Get(ctx context.Context, tenant knowledge.TenantID, id ID) (Job, error)
	// List returns up to limit jobs, newest first, of those older than before and
	// with the selection's kind and state. limit is positive.
	List(ctx context.Context, tenant knowledge.TenantID, s Selection, limit int) ([]Job, error)
	// Cancel makes a queued job cancelled at once; a running one is told within a
	// second, and cancelled when its worker has returned. Cancelling once more does
	// nothing. It returns the job, and an error wrapping [knowledge.ErrNotFound], or
	// [knowledge.ErrConflict] for a job that is final.
	Cancel(ctx context.Context, tenant knowledge.TenantID, id ID) (Job, error)
	// Watch waits until the job differs from seen, which it returned before, and
	// returns it as it is then: a stream of changes, one call after the other. Of
	// several changes at short intervals only the last is seen. It returns a final
	// job at once, and ctx's error when that ends first.
	Watch(ctx context.Context, tenant knowledge.TenantID, seen Job) (Job, error)
}

// Selection says which jobs a list is of. The zero value means all.
type Selection struct {
	Before ID    // empty: from the newest on
	Kind   Kind  // empty: any
	State  State // empty: any
}
