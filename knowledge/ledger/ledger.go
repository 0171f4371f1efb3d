// Package ledger has the words of what was used: a [Call] for each call of a plugin
// that ran, kept for some weeks, and the [Usage] of each tenant a day, kept for ever.
//
// Who calls plugins, searches and embeds notes it in a [Book], which writes what was
// noted together, about once a second, to a [Store]; knowledge/ledger/pgledger keeps it
// in PostgreSQL. What is read of a Store is behind by that second.
package ledger

import (
	"context"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// OutcomeOK is the outcome of a call that went well. All others are the reasons of
// knowledge/query.PluginError, and [OutcomeCancelled] and [OutcomeInternal].
const (
	OutcomeOK        = "ok"
	OutcomeCancelled = "cancelled" // whoever wanted it had gone, or its query ended
	OutcomeInternal  = "internal"  // a fault of the service
)

// Call is one call of a plugin that ran, whatever became of it.
type Call struct {
	ID         ID
	Key        string // id of the key that asked; empty for work in the background
	Plugin     string
	Version    int
	Digest     string // "sha256:…"
	Capability string
	Tier       string // isolation in force, such as "process"
	Grade      string // what that was made of
	Started    time.Time
	Outcome    string

	// Of the call's receipt. Durations are kept to the microsecond.
	Queue      time.Duration
	VM         time.Duration
	CPU        time.Duration
	Fuel       int64
	PeakMemory int64 // bytes
	HostCalls  int
	HostBytes  int64
	HostTime   time.Duration
	Input      int64 // bytes of the document that it was given
	Output     int64 // and that it gave back; 0 when it did not come to that
	Rows       int64 // records that its host calls read
}

// Usage is what something used, each field a sum.
type Usage struct {
	Queries  int64 // whose retrievals were answered
	Searches int64 // as well; those of batches each, and those that recommend
	Rows     int64 // records that the retrievals of both found

	EmbeddedTexts  int64
	EmbeddedTokens int64 // that servers counted; 0 for embedders of the process

	Calls       int64 // of plugins, that ran
	Failed      int64 // of these
	Fuel        int64
	VM          time.Duration
	CPU         time.Duration
	ByteSeconds int64 // peak memory times VM, each call rounded down
	HostCalls   int64
	Input       int64 // bytes that plugins were given
	Output      int64 // and that they gave back
}

// Add adds v to u.
func (u *Usage) Add(v Usage) {
	u.Queries += v.Queries
	u.Searches += v.Searches
	u.Rows += v.Rows
	u.EmbeddedTexts += v.EmbeddedTexts
	u.EmbeddedTokens += v.EmbeddedTokens
	u.Calls += v.Calls
	u.Failed += v.Failed
	u.Fuel += v.Fuel
	u.VM += v.VM
	u.CPU += v.CPU
	u.ByteSeconds += v.ByteSeconds
	u.HostCalls += v.HostCalls
	u.Input += v.Input
	u.Output += v.Output
}

// usage is what the call adds to the sums of its day. Its times are cut to whole
// microseconds first, as the call itself is kept, so that the sum of the calls is that
// of the day.
func (c Call) usage() Usage {
	u := Usage{
		Calls: 1, Fuel: c.Fuel, VM: c.VM.Truncate(time.Microsecond), CPU: c.CPU.Truncate(time.Microsecond), HostCalls: int64(c.HostCalls),
		ByteSeconds: c.PeakMemory * c.VM.Microseconds() / 1_000_000, // below 2^62 for 4 GiB and ten minutes, the most that a call may take
		Input:       c.Input, Output: c.Output,
	}
	if c.Outcome != OutcomeOK {
		u.Failed = 1
	}
	return u
}

// Part names the sum that something is added to.
type Part struct {
	Tenant knowledge.TenantID
	Day    Day
	Key    string // empty for work in the background
	Plugin string // empty for none
}

// TenantCall is a call of a tenant.
type TenantCall struct {
	Tenant knowledge.TenantID
	Call
}

// Batch is what a process writes at once. Writer is unlike that of any other process;
// Number is one more than that of its batch before.
type Batch struct {
	Writer string
	Number int64
	Calls  []TenantCall // no id twice
	Usage  map[Part]Usage
}

// Writer keeps what a [Book] writes. Safe for concurrent use.
type Writer interface {
	// Write keeps a batch, all of it or nothing: it adds to the sums, and keeps the
	// calls; one whose id is there already is passed over. A batch of a number that
	// its writer has reached already changes nothing, so that one whose fate is not
	// known may be written again. What is of a tenant that is not there is passed
	// over. An error wraps [knowledge.ErrUnavailable] when the same may succeed later.
	Write(ctx context.Context, b Batch) error
}

// Reader gives a tenant what is kept. Safe for concurrent use.
type Reader interface {
	// Call returns a call, or an error wrapping [knowledge.ErrNotFound].
	Call(ctx context.Context, tenant knowledge.TenantID, id ID) (Call, error)
	// Calls returns up to limit calls of a plugin, those that began last first.
	// limit is positive.
	Calls(ctx context.Context, tenant knowledge.TenantID, plugin string, s Selection, limit int) ([]Call, error)
	// Usage returns sums, by day, then key, then plugin, as far as they are told
	// apart. There are at most [MaxSums], or it returns a [knowledge.InvalidError].
	Usage(ctx context.Context, tenant knowledge.TenantID, q Question) ([]Sum, error)
}

// Store is all that is kept. Implementations pass knowledge/ledger/ledgertest.
type Store interface {
	Writer
	Reader
	// Sweep deletes the calls of all tenants that began longer than age ago, and
	// returns how many. It works in small transactions, until there are no more or
	// ctx ends; several may run at once. Sums stay.
	Sweep(ctx context.Context, age time.Duration) (int64, error)
}

// Selection says which calls a list is of. The zero value means all.
type Selection struct {
	Before       ID        // empty: from the newest on
	Key          *string   // nil: of any
	Version      int       // 0: any
	Outcome      string    // empty: any
	Since, Until time.Time // began at Since or later, and before Until; zero: no bound
}

// Bounds of a [Question].
const (
	MaxDays = 366
	MaxSums = 10_000
)

// Question asks for sums of the days from From to To, both of them too.
type Question struct {
	From, To               Day
	Key                    *string // nil: of any
	ByKey, ByPlugin, ByDay bool    // tell these apart
}

// Check returns an [knowledge.InvalidError] unless the days are in order, and at most
// [MaxDays].
func (q Question) Check() error {
	from, to := q.From.Time(), q.To.Time()
	switch days := int(to.Sub(from)/(24*time.Hour)) + 1; {
	case to.Before(from):
		return knowledge.Invalid("to", "is before from")
	case days > MaxDays:
		return knowledge.Invalid("from", "is %d days before to, both counted; at most %d are allowed", days, MaxDays)
	}
	return nil
}

// TooManySums is the error of a question that has more answers than [MaxSums].
func TooManySums() error {
	return knowledge.Invalid("group_by", "gives more than %d sums; ask for fewer days, or tell less apart", MaxSums)
}

// Sum is the usage of some days together. What a question does not tell apart is empty.
type Sum struct {
	Day    Day
	Key    string
	Plugin string
	Usage
}
