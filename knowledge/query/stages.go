package query

import (
	"math"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Mode is how a retrieval looks for records.
type Mode = knowledge.Mode

// The modes.
const (
	Vector  = knowledge.ModeVector  // by the nearest vectors
	Lexical = knowledge.ModeLexical // by words, see [knowledge.TextSearch]
	Hybrid  = knowledge.ModeHybrid  // by both, fused
)

// ScoreKind says what the scores of an answer are. Scores of different kinds, or
// of different collections, cannot be compared.
type ScoreKind string

// The kinds of score.
const (
	ScoreMetric  ScoreKind = "metric"  // of the collection's metric: similarity, negative distance or inner product
	ScoreBM25    ScoreKind = "bm25"    // above 0
	ScoreRRF     ScoreKind = "rrf"     // the sum of weight / (k + rank)
	ScoreSum     ScoreKind = "sum"     // the sum of weighted, normalised scores, from 0
	ScoreBoosted ScoreKind = "boosted" // one of these, boosted
	ScorePlugin  ScoreKind = "plugin"  // whatever the last rank plugin gave
)

// Stages are what becomes of what was retrieved, in this order: fuse, boost,
// threshold, diversify. Searches may group then, queries call plugins; the limit
// comes last. Each stage takes what the one before it left; a stage that is not
// asked for changes nothing.
type Stages struct {
	Fusion    Fusion
	Boost     *Boosting
	MinScore  *float64 // records of a lower score are dropped, after boosting
	Diversify *Diversify
	Explain   bool // say what each stage did
}

// StagePlan says what one stage did.
type StagePlan struct {
	// Stage is "guard", "retrieve", "fuse", "merge", "boost", "threshold",
	// "diversify", "rank", "group", "limit" or "synthesize".
	Stage  string
	In     int // candidates that it was given; 0 for retrieve
	Out    int // that it left
	Took   time.Duration
	Calls  []StageCall   // of plugins, which ran at once
	Budget time.Duration // for each of them; 0 without any
}

// StageCall is one plugin call of a stage.
type StageCall struct {
	Call    int // index in Query.Plugins
	Plugin  string
	Version int
	Digest  string
}

// validate returns the stages with zero values replaced, or an
// [knowledge.InvalidError].
func (s Stages) validate() (Stages, error) {
	var err error
	if s.Fusion, err = s.Fusion.validate(); err != nil {
		return s, knowledge.At("fusion", err)
	}
	if s.Boost != nil {
		boost, err := s.Boost.validate()
		if err != nil {
			return s, knowledge.At("boost", err)
		}
		s.Boost = &boost
	}
	if s.MinScore != nil && !finite(*s.MinScore, 1e15) {
		return s, knowledge.Invalid("min_score", "is %g; need a number up to ±1e15", *s.MinScore)
	}
	if s.Diversify != nil {
		diversify, err := s.Diversify.validate()
		if err != nil {
			return s, knowledge.At("diversify", err)
		}
		s.Diversify = &diversify
	}
	return s, nil
}

// finite reports that x is a number of at most a size.
func finite(x, most float64) bool { return !math.IsNaN(x) && math.Abs(x) <= most }

// run takes what was retrieved through the stages. now is the present, for
// boosts; want is how many are needed in the end.
func (s Stages) run(lists []Retrieved, now time.Time, want int, trace *trace) ([]Candidate, ScoreKind) {
	candidates, kind := s.fused(lists, trace)
	return s.order(candidates, kind, now, want, trace)
}

// fused is what was retrieved as one list.
func (s Stages) fused(lists []Retrieved, trace *trace) ([]Candidate, ScoreKind) {
	in := 0
	for _, l := range lists {
		in += len(l.Matches)
	}
	start := time.Now()
	candidates, kind := s.Fusion.fuse(lists)
	trace.add("fuse", in, len(candidates), start)
	return candidates, kind
}

// order takes a list, with scores of a kind, through the stages after the fusion.
func (s Stages) order(candidates []Candidate, kind ScoreKind, now time.Time, want int, trace *trace) ([]Candidate, ScoreKind) {
	if s.Boost != nil {
		trace.stage("boost", &candidates, func(c []Candidate) []Candidate { return s.Boost.apply(c, now) })
		kind = ScoreBoosted
	}
	if s.MinScore != nil {
		trace.stage("threshold", &candidates, func(c []Candidate) []Candidate { return atLeast(c, *s.MinScore) })
	}
	if s.Diversify != nil {
		trace.stage("diversify", &candidates, func(c []Candidate) []Candidate { return s.Diversify.apply(c, want) })
	}
	return candidates, kind
}

// atLeast keeps the candidates whose score is at least minimum.
func atLeast(candidates []Candidate, minimum float64) []Candidate {
	var kept []Candidate
	for _, c := range candidates {
		if c.Score >= minimum {
			kept = append(kept, c)
		}
	}
	return kept
}

// window is the page of candidates from offset, at most limit long.
func window(candidates []Candidate, offset, limit int) []Candidate {
	candidates = candidates[min(offset, len(candidates)):]
	return candidates[:min(limit, len(candidates))]
}

// traceStep notes a step of plugins.
func (r *run) traceStep(name string, s step, budget time.Duration, h *Handout, start time.Time) {
	r.trace.add(name, len(h.Candidates), len(h.Candidates), start)
	stage := r.trace.last()
	stage.Budget = budget
	for _, i := range s {
		stage.Calls = append(stage.Calls, StageCall{Call: i, Plugin: r.q.Plugins[i].Name, Version: r.versions[i].Number, Digest: r.versions[i].Digest})
	}
}

// trace collects what stages did. It is used by one goroutine.
type trace struct{ stages []StagePlan }

// last is the stage that was noted last.
func (t *trace) last() *StagePlan { return &t.stages[len(t.stages)-1] }

func (t *trace) add(name string, in, out int, start time.Time) {
	t.stages = append(t.stages, StagePlan{Stage: name, In: in, Out: out, Took: time.Since(start)})
}

// stage runs one and notes it.
func (t *trace) stage(name string, candidates *[]Candidate, do func([]Candidate) []Candidate) {
	start, in := time.Now(), len(*candidates)
	*candidates = do(*candidates)
	t.add(name, in, len(*candidates), start)
}
