// Package audit has the words of the audit log: who did what to which, from where, and
// what came of it. Each tenant has a log of its own, and so has the operator; each is a
// chain, in which every event has the hash of the one before in its own, so that none can
// be changed, taken out or put in without a [Verifier] finding it.
//
// Who carries out operations gives events to a [Log], which writes them to a [Store];
// knowledge/audit/pgaudit keeps it in PostgreSQL. Which operations are noted, and with
// what, is for package api. Events have names and never values: neither secrets nor texts.
package audit

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
)

// Operator owns the operator's log. It is no id that a tenant can have.
const Operator knowledge.TenantID = "(operator)"

// ActorAdmin is the actor of what the operator did.
const ActorAdmin = "admin"

// OutcomeOK is the outcome of what succeeded. Others are the last part of the type of the
// problem that it was answered with, such as "forbidden".
const OutcomeOK = "ok"

// Event is something that was done, or refused. Fields have no control characters.
type Event struct {
	ID        string // unlike that of any other
	At        time.Time
	Actor     string // id of the key, or [ActorAdmin]
	Remote    string // address that it came from, without a port
	Operation string // operationId in openapi.yaml
	Kind      string // of the object, such as "collection"; empty for none
	Name      string // of the object, with those that it is in: "acme/key_x"; may be empty
	Status    int    // of HTTP
	Outcome   string
	RequestID string
	Details   []string // names of members of the body that say what was to change, in order
}

// Bounds of an event. What is longer is cut.
const (
	MaxName    = 1024 // bytes
	maxText    = 256  // of the other texts
	MaxDetails = 32
)

// Normal returns the event as it is kept: bounded, in UTF-8 without control characters,
// its time in UTC to the microsecond, with an id if it has none.
func (e Event) Normal() Event {
	if e.ID == "" {
		e.ID = rand.Text()
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	for _, text := range []*string{&e.ID, &e.Actor, &e.Remote, &e.Operation, &e.Kind, &e.Outcome, &e.RequestID} {
		*text = clean(*text, maxText)
	}
	e.Name = clean(e.Name, MaxName)
	details := make([]string, 0, min(len(e.Details), MaxDetails))
	for _, d := range e.Details {
		if d = clean(d, maxText); d != "" {
			details = append(details, d)
		}
	}
	slices.Sort(details)
	e.Details = slices.Compact(details)
	e.Details = e.Details[:min(len(e.Details), MaxDetails)]
	return e
}

func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r // what is no UTF-8 is RuneError already
	}, s)
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// Entry is an event in its place in a chain.
type Entry struct {
	Event
	Seq      int64 // 1 for the first of a log, then one more each
	Previous Hash  // of the entry before; zeros for the first
	Hash     Hash
}

// Mark is a place in a chain: after the entry with this number and hash. The zero value is
// the beginning.
type Mark struct {
	Seq  int64
	Hash Hash
}

// Selection says which events a list is of. The zero value means all.
type Selection struct {
	Before       int64 // number; 0: from the newest on
	Actor        string
	Operation    string
	Kind, Name   string
	Outcome      string
	Since, Until time.Time // at Since or later, and before Until; zero: no bound
}

// Writer keeps what a [Log] writes. Safe for concurrent use, also on several nodes.
type Writer interface {
	// Append adds events to the log of a tenant, or of [Operator], in their order, all of
	// them or none. They must be normal. One whose id the log has already is passed over,
	// so that events whose fate is not known may be added again. An error wraps
	// [knowledge.ErrUnavailable] when the same may succeed later.
	Append(ctx context.Context, owner knowledge.TenantID, events []Event) error
}

// Reader gives what is kept of the log of a tenant, or of [Operator]. Safe for concurrent
// use.
type Reader interface {
	// Events returns up to limit entries, the newest first. limit is positive.
	Events(ctx context.Context, owner knowledge.TenantID, s Selection, limit int) ([]Entry, error)
	// Walk calls begin with the marks between which the entries after number after lie as
	// of one moment, and then each for every one of them in order. What was swept is not
	// given: the first mark is behind it. It returns an [knowledge.InvalidError] when the
	// chain has not come as far as after, or the errors of begin and each.
	Walk(ctx context.Context, owner knowledge.TenantID, after int64, begin func(first, last Mark) error, each func(Entry) error) error
}

// Store is all that is kept. Implementations pass knowledge/audit/audittest.
type Store interface {
	Writer
	Reader
	// Sweep deletes from the beginning of each log what happened longer than age ago, up
	// to the first event that is younger, keeps the mark behind it, and returns how many
	// went. It works in small transactions; several may run at once.
	Sweep(ctx context.Context, age time.Duration) (int64, error)
}

// TooFar is the error of a walk after an entry that is not there yet.
func TooFar(after, last int64) error {
	return knowledge.Invalid("after", "is %d; the last event is %d", after, last)
}
