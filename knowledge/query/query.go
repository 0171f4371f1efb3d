// Package query answers queries: it asks the store for every leg at once, fuses
// what they found, hands the candidates to the tenant's plugins, and verifies the
// citations that come back.
//
// The path of a query reads from [Engine.Answer] downwards. The engine owns the
// deadline of a query and how it is shared out. Stores are reached by
// [knowledge.Store], plugins by the small interface [Plugins], which package
// plugins fills.
package query

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of a query.
const (
	MaxLegs       = 16
	MaxPlugins    = 8
	MaxCandidates = 200   // of a leg, and handed to a plugin
	MaxQueryText  = 8_000 // bytes
	MaxTimeout    = 60 * time.Second
	MaxConfig     = 64 << 10 // bytes of one plugin's config
)

// Query is one question to the knowledge of a tenant.
type Query struct {
	Text    string        // the question; needed by legs without a vector and by plugins; up to [MaxQueryText] bytes
	Legs    []Leg         // 1 to [MaxLegs]
	Plugins []PluginCall  // in order: rank plugins run one after the other, synthesizers side by side; nil, not empty, means the default that all legs have, if there is a Text
	Limit   int           // matches in the answer, 1 to 200; 0 means the default that all legs have, or else 10
	Timeout time.Duration // 0 means the engine's default
}

// Leg is one retrieval of a query.
type Leg struct {
	Collection knowledge.CollectionName
	Text       string    // embedded when there is no Vector; empty means the query's text
	Vector     []float32 // of the collection's dimension
	Filter     knowledge.Filter
	Candidates int     // taken from this leg, 1 to [MaxCandidates]; 0 means 50
	Weight     float64 // in the fusion, > 0 up to 100; 0 means 1
}

// PluginCall asks for one plugin in a query.
type PluginCall struct {
	Name       string
	Version    string // an alias, a number or "sha256:…"; empty means "live"
	Capability Capability
	Config     json.RawMessage // a JSON object for the plugin, or nothing
	OnError    OnError
	Timeout    time.Duration // 0 means what its manifest says
}

// Capability is what a query calls a plugin for.
type Capability string

// The capabilities that a query calls.
const (
	Rank       Capability = "rank"
	Synthesize Capability = "synthesize"
)

// OnError is what becomes of the query when a plugin fails.
type OnError string

// The policies. The empty one is Skip.
const (
	Skip OnError = "skip" // the answer names it in Missing
	Fail OnError = "fail" // the query fails
)

// Candidate is a record on its way through a query.
type Candidate struct {
	knowledge.Match
	Score float64    // in the present order; the fused or ranked score
	Legs  []LegScore // where it was found
}

// LegScore says how one leg saw a candidate.
type LegScore struct {
	Leg   int     // index in Query.Legs
	Rank  int     // from 1
	Score float64 // of the metric
}

// Answer is what a query gave.
type Answer struct {
	Matches  []Candidate // best first, at most Limit
	Results  []Result    // one for each synthesizer that answered, in the order of the query
	Missing  []Missing   // what did not answer, in the order of the query; empty when complete
	Receipts []Receipt   // one for each plugin call that ran, failed ones too, in the order of the query
	Plans    []LegPlan   // one for each leg
	Took     time.Duration
}

// Result is the text that one synthesizer wrote.
type Result struct {
	Plugin    string
	Version   int
	Text      string
	Citations []Citation
	// Grounded says that there is at least one citation and that all are verified.
	Grounded bool
}

// Citation is a passage that an answer rests on. Start and End are offsets in
// UTF-8 bytes, half-open, of the text that the plugin was given; Verified means
// that the host found Quote exactly there. It says that the words occur, not
// that they support the answer.
type Citation struct {
	Collection knowledge.CollectionName
	ID         knowledge.RecordID
	Version    int64 // of the record
	Start, End int
	Quote      string
	Verified   bool
}

// Missing names a part of the query that gave no answer.
type Missing struct {
	Source string // "plugin NAME" or "leg N"
	Reason string // a word of the list in docs and openapi.yaml, such as "deadline"
	Detail string // for people; made by us, or by the tenant's own plugin
	Budget *BudgetUse
	After  time.Duration
}

// BudgetUse is a budget that a plugin call used up, or waited for in vain.
type BudgetUse struct {
	Name          string // such as "fuel"
	Used, Allowed int64
	Unit          string // "bytes", "us", "fuel" or "calls"
}

// Receipt is what one plugin call ran and cost.
type Receipt struct {
	Plugin     string
	Version    int
	Digest     string
	Capability Capability
	Tier       string // isolation in force: "process"
	Grade      string // what it was really made of, such as "jail+cgroup"
	Queue      time.Duration
	VM         time.Duration
	CPU        time.Duration // in the VM, host calls excluded; 0 where it is not measured
	Fuel       int64         // what its instructions cost: the same for the same instructions, on any machine
	PeakMemory int64         // bytes of linear memory and tables
	HostCalls  int
	HostBytes  int64 // arguments and answers of host calls
	HostTime   time.Duration
	Logs       []string
}

// LegPlan says how one leg was carried out.
type LegPlan struct {
	Collection knowledge.CollectionName
	Plan       knowledge.Plan
	Found      int
	Short      bool
	Took       time.Duration
}

// Plugins calls the plugins of a tenant. Package plugins fills it. Errors are
// *[PluginError], or wrap knowledge's kinds (an [knowledge.InvalidError] names a
// member of the call), or are ctx's. A call that ran has a receipt also when it
// failed; one that did not run has the zero Receipt.
type Plugins interface {
	// Rank returns the candidates in the plugin's order with its scores.
	// Whatever it left out follows in the order it had.
	Rank(ctx context.Context, tenant knowledge.TenantID, call PluginCall, text string, candidates []Candidate) ([]Candidate, Receipt, error)
	// Synthesize returns the plugin's answer. Citations are not verified
	// yet: Collection, ID, Version and Verified are set by the engine from
	// Index.
	Synthesize(ctx context.Context, tenant knowledge.TenantID, call PluginCall, text string, passages []Candidate) (Draft, Receipt, error)
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
