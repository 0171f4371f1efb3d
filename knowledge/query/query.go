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
	"encoding/json"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of a query.
const (
	MaxLegs       = 16
	MaxPlugins    = 32
	MaxCandidates = 200   // of a leg, and handed to a plugin
	MaxQueryText  = 8_000 // bytes
	MaxTimeout    = 60 * time.Second
	MaxConfig     = 64 << 10 // bytes of one plugin's config
	MaxGroup      = 63       // bytes of the name of a group
	MaxSeed       = 64       // bytes
)

// Query is one question to the knowledge of a tenant.
type Query struct {
	Text    string        // the question; needed by legs without a vector and by plugins; up to [MaxQueryText] bytes
	Legs    []Leg         // 1 to [MaxLegs]
	Plugins []PluginCall  // up to [MaxPlugins]; nil, not empty, means the default that all legs have, if there is a Text
	Limit   int           // matches in the answer, 1 to 200; 0 means the default that all legs have, or else 10
	Stages  Stages        // between the legs and the plugins
	Timeout time.Duration // 0 means the engine's default
	// Unverified is what becomes of citations that do not stand the test.
	Unverified Unverified
	// Deterministic has every plugin run with a fixed clock, and with random
	// numbers that follow from Seed, the plugin and its place in the query: the
	// same candidates then give the same answer, to the byte.
	Deterministic bool
	Seed          string // up to [MaxSeed] bytes; may be empty
	Uncached      bool   // neither take the answer from an [AnswerCache] nor keep it there
}

// Unverified is a policy for citations that are not verified.
type Unverified string

// The policies. The empty one is Mark.
const (
	Mark Unverified = "mark" // they are there, and say so
	Drop Unverified = "drop" // they are left out, and counted
)

// Leg is one retrieval of a query.
type Leg struct {
	Collection knowledge.CollectionName
	Owner      knowledge.TenantID // whose view Collection is, by a share; empty: the tenant's own
	Mode       Mode
	Text       string    // embedded when there is no Vector and the mode needs one; empty means the query's text
	Vector     []float32 // of the collection's dimension
	Filter     knowledge.Filter
	Candidates int     // taken from this leg, 1 to [MaxCandidates]; 0 means 50
	Weight     float64 // in the fusion, > 0 up to 100; 0 means 1
	// Timeout bounds each retrieval of the leg; one that takes longer is missing from
	// the answer instead of ending the query. 0: as long as the query may take.
	Timeout time.Duration

	// Of a search that is no query.
	exact       bool
	ef, maxScan int
	vectors     bool   // give the vectors of what was found
	path        string // where the request has this leg; empty for a search
}

// PluginCall asks for one plugin in a query.
type PluginCall struct {
	Name       string
	Version    string // an alias, a number or "sha256:…"; empty means "live"
	Capability Capability
	Stage      GuardStage      // of a guard alone; empty means [Post]
	Config     json.RawMessage // a JSON object for the plugin, or nothing
	OnError    OnError
	Timeout    time.Duration // 0 means what its manifest says
	// Group: calls of one capability (and stage) with the same group run at once,
	// each given the same, in the place of the first of them; what they gave is
	// put together. Without one a guard or ranker has a step of its own, after
	// those before it. Synthesizers always run at once.
	Group  string  // up to [MaxGroup] bytes
	Weight float64 // of a ranker in its group, above 0 up to [MaxWeight]; 0 means 1
	// Record keeps all that the call needs to be run again. It runs as a deterministic
	// one then, with a seed of its own if the query has none.
	Record bool
}

// Capability is what a query calls a plugin for.
type Capability string

// The capabilities that a query calls.
const (
	Guard      Capability = "guard"      // narrows or refuses a query, takes away from what was found
	Merge      Capability = "merge"      // makes one list of what the legs found, in the place of the fusion; one a query
	Rank       Capability = "rank"       // orders the candidates
	Synthesize Capability = "synthesize" // answers from the matches
)

// GuardStage says when a guard is called.
type GuardStage string

// The stages of guards.
const (
	Pre  GuardStage = "pre"  // before the search: may narrow or refuse
	Post GuardStage = "post" // after ranking: may drop, redact and hide
)

// OnError is what becomes of the query when a plugin fails.
type OnError string

// The policies. The empty one is Fail for a guard, for a doubt must not let
// anything through, and Skip for the others.
const (
	Skip OnError = "skip" // the answer names it in Missing
	Fail OnError = "fail" // the query fails
)

// Candidate is a record on its way through a query.
type Candidate struct {
	knowledge.Match
	Score float64    // in the present order; the fused or ranked score
	Legs  []LegScore // where it was found
	// Reason is what the last ranker that gave one says of its score.
	Reason   string
	Redacted bool // a guard took something of its text or metadata away
}

// LegScore says how one leg saw a candidate.
type LegScore struct {
	Leg   int     // index in Query.Legs
	Mode  Mode    // Vector or Lexical: a hybrid leg has both
	Rank  int     // from 1
	Score float64 // of the metric, or BM25
}

// Answer is what a query gave.
type Answer struct {
	Matches  []Candidate // best first, at most Limit
	Results  []Result    // one for each synthesizer that answered, in the order of the query
	Missing  []Missing   // what did not answer, in the order of the query; empty when complete
	Receipts []Receipt   // one for each plugin call that ran, failed ones too, in the order of the query
	Plans    []LegPlan   // one for each retrieval: two for a hybrid leg
	// ScoreKind is that of the matches' scores.
	ScoreKind ScoreKind
	Stages    []StagePlan // when the query asked for it
	Cache     *CacheUse   // nil: the query was not for the cache
	Took      time.Duration
}

// Result is the text that one synthesizer wrote.
type Result struct {
	Call      int // index in Query.Plugins
	Plugin    string
	Version   int
	Text      string
	Citations []Citation
	// Grounded says that there was at least one citation and that all were
	// verified, those too that were dropped.
	Grounded bool
	Dropped  int // citations that were left out by [Drop]
}

// Citation is a passage that an answer rests on. Start and End are offsets in
// UTF-8 bytes, half-open, of the text that the plugin was given; Verified means
// that the host found Quote exactly there. It says that the words occur, not
// that they support the answer.
type Citation struct {
	Owner      knowledge.TenantID // of a record of another tenant, by a share
	Collection knowledge.CollectionName
	ID         knowledge.RecordID
	Version    int64 // of the record
	Start, End int
	Quote      string
	Verified   bool
}

// Missing names a part of the query that gave no answer.
type Missing struct {
	Call   int    // index in Query.Plugins; -1: a leg
	Leg    int    // index in Query.Legs; -1: a plugin
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
	ID         string // of the call in knowledge/ledger
	Call       int    // index in Query.Plugins, of a query
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
	Cached     bool   // the call was made for an earlier query, whose answer this is
	Recording  string // what became of the recording that was asked for: "kept", "too-large" or "failed"; else empty

	// For the ledger alone.
	Started       time.Time // when it was asked for; then it waited for Queue
	Input, Output int64     // bytes of the documents that it was given and gave back
	Records       int64     // that its host calls read
}

// LegPlan says how one retrieval was carried out.
type LegPlan struct {
	Leg        int
	Mode       Mode               // Vector or Lexical
	Owner      knowledge.TenantID // of the leg
	Collection knowledge.CollectionName
	Plan       knowledge.Plan
	Words      *knowledge.WordsPlan // what a search by words looked for, when the query asked
	Found      int
	Short      bool
	Took       time.Duration
}
