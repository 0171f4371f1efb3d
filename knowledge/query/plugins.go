package query

import (
	"context"

	"github.com/tars-project/tars/knowledge"
)

// Plugins calls the plugins of a tenant. Package plugins fills it. Errors are
// *[PluginError], or wrap knowledge's kinds (an [knowledge.InvalidError] names a
// member of the call), or are ctx's. A call that ran has a receipt also when it
// failed; one that did not run has the zero Receipt. What comes back was checked:
// indices are in range and not repeated, numbers finite, texts UTF-8.
type Plugins interface {
	// Find returns the version that a call names, if that has the call's
	// capability.
	Find(ctx context.Context, tenant knowledge.TenantID, call PluginCall) (Version, error)
	// Guard asks a guard about the query, or about the candidates, as the call's
	// stage says.
	Guard(ctx context.Context, t Task) (Verdict, Receipt, error)
	// Merge returns the candidates that are to be kept.
	Merge(ctx context.Context, t Task) ([]Scored, Receipt, error)
	// Rank returns new scores of candidates.
	Rank(ctx context.Context, t Task) ([]Scored, Receipt, error)
	// Synthesize returns the plugin's answer. Its citations are not verified.
	Synthesize(ctx context.Context, t Task) (Draft, Receipt, error)
}

// Version is one version of a plugin.
type Version struct {
	Number  int
	Digest  string // "sha256:…"
	Vectors bool   // it may ask for candidates' vectors
	Clock   bool   // it sees the time
}

// Task is one call of a plugin.
type Task struct {
	Tenant  knowledge.TenantID
	Index   int        // in Query.Plugins
	Call    PluginCall // its Version is a digest
	Handout *Handout   // shared with other calls
	// With Deterministic the clock stands, and random numbers follow from Seed.
	Deterministic bool
	Seed          [32]byte
}

// Scored is a candidate with the score that a plugin gave it.
type Scored struct {
	Index  int
	Score  float64
	Reason string // for people; may be empty
}

// Verdict is what a guard decided. The zero one lets everything through. Of a
// guard before the search Narrow, DropLegs and Limit can be set, of one after
// ranking Drop, Redact and Hide.
type Verdict struct {
	Refuse   string // why the query is not to be answered; empty: it is
	Narrow   []Narrowing
	DropLegs []int
	Limit    int   // most matches; 0: as many as were asked for
	Drop     []int // candidates
	Redact   []Span
	Hide     []Hidden
}

// Narrowing is a condition that a leg has to meet beside its own.
type Narrowing struct {
	Leg    int
	Filter knowledge.Filter
}

// Span is a part of a candidate's text, in bytes, on boundaries of characters.
type Span struct{ Index, Start, End int }

// Hidden are top-level fields of a candidate's metadata.
type Hidden struct {
	Index  int
	Fields []string
}

// Draft is an answer as a plugin wrote it.
type Draft struct {
	Text      string
	Citations []DraftCitation
}

// DraftCitation is a citation as a plugin claims it. Index is in range.
type DraftCitation struct {
	Index      int // of the passage
	Start, End int
	Quote      string
}

// PluginError is a failure of a plugin call that is the plugin's, or its
// budget's, and not the service's.
type PluginError struct {
	Plugin string
	Reason string     // a word: "deadline", "cpu", "fuel", "memory", "trapped", "output", "input", "host-budget", "refused", "error", "crashed", "quarantined", "busy", "unavailable"
	Detail string     // for the tenant's people
	Budget *BudgetUse // what it is about; nil when it is about none
	Err    error      // the cause
}

func (e *PluginError) Error() string { return "plugin " + e.Plugin + ": " + e.Reason + ": " + e.Detail }

func (e *PluginError) Unwrap() error { return e.Err }
