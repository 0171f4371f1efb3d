package tars

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The stages of guard.
const (
	stagePre  = "pre"
	stagePost = "post"
)

// GuardPreInput is a query before its search.
type GuardPreInput struct {
	ABI    int        `json:"abi"`
	Stage  string     `json:"stage"` // pre
	Query  AskedQuery `json:"query"`
	Legs   []AskedLeg `json:"legs"` // the retrievals that are about to be made
	Config Config     `json:"config,omitempty"`
}

// AskedQuery is what was asked, and for how much.
type AskedQuery struct {
	Text  string `json:"text"`  // empty if the query was made by vector alone
	Limit int    `json:"limit"` // most matches of the answer
}

// AskedLeg is a retrieval that is about to be made.
type AskedLeg struct {
	Leg        int             `json:"leg"` // names it; its position in the query
	Collection string          `json:"collection"`
	Owner      string          `json:"owner,omitempty"`  // the tenant that shares it; empty: the caller's own
	Mode       string          `json:"mode"`             // vector, lexical or hybrid
	Filter     json.RawMessage `json:"filter,omitempty"` // a JSON object in the language of searches, or empty
}

// GuardPreOutput says what is taken from a query before its search; the zero
// value takes nothing.
type GuardPreOutput struct {
	Refuse   string      `json:"refuse,omitempty"`    // why the query is not answered, for people, at most 1024 characters; it ends the query
	Narrow   []Narrowing `json:"narrow,omitempty"`    // at most as many as there are legs
	DropLegs []int       `json:"drop_legs,omitempty"` // legs that are not retrieved
	Limit    int         `json:"limit,omitempty"`     // most matches of the answer; 0, or one above the query's, changes nothing
}

// Narrowing is a filter that a leg's own is joined to by "and".
type Narrowing struct {
	Leg    int             `json:"leg"`
	Filter json.RawMessage `json:"filter"` // a JSON object in the language of searches
}

// GuardPostInput is a query with what was found, after ranking, best first.
type GuardPostInput struct {
	ABI        int       `json:"abi"`
	Stage      string    `json:"stage"` // post
	Query      Query     `json:"query"`
	Legs       []Leg     `json:"legs,omitempty"`
	Candidates []Passage `json:"candidates"`
	Config     Config    `json:"config,omitempty"`
}

// GuardPostOutput says what is taken from what was found; the zero value takes
// nothing.
type GuardPostOutput struct {
	Refuse string      `json:"refuse,omitempty"` // why the query is not answered, for people, at most 1024 characters; it ends the query
	Drop   []int       `json:"drop,omitempty"`   // candidates that are not shown, by index
	Redact []Redaction `json:"redact,omitempty"` // at most 10,000 parts of texts that the host writes its mask over
	Hide   []Hiding    `json:"hide,omitempty"`   // members of metadata that are removed
}

// Redaction is a part of a candidate's text: Text[Start:End].
type Redaction struct {
	Index int `json:"index"` // of the candidate
	Start int `json:"start"` // offset of the first byte (UTF-8), on a character boundary
	End   int `json:"end"`   // offset of the byte after the last
}

// Redact makes the redaction of p.Text[start:end]. It panics if these are no
// offsets into the text.
func Redact(p Passage, start, end int) Redaction {
	_ = p.Text[start:end]
	return Redaction{Index: p.Index, Start: start, End: end}
}

// Hiding names top-level members of a candidate's metadata.
type Hiding struct {
	Index  int      `json:"index"`  // of the candidate
	Fields []string `json:"fields"` // 1 to 1,000; those that are not there change nothing
}

// GuardPre registers the function that may refuse or narrow a query before its
// search. A plugin with the capability guard has it, [GuardPost] or both; the
// stage that it has no function for takes nothing away. It must be called while
// package variables are initialised, and panics if the stage has a function
// already.
func GuardPre(fn func(ctx *Context, in GuardPreInput) (GuardPreOutput, error)) Registered {
	return plugin.guard(stagePre, guardPreHandler(fn), warmGuardPre)
}

// GuardPost registers the function that may drop, redact and hide what was
// found, or refuse the query after all; see [GuardPre].
func GuardPost(fn func(ctx *Context, in GuardPostInput) (GuardPostOutput, error)) Registered {
	return plugin.guard(stagePost, guardPostHandler(fn), warmGuardPost)
}

func guardPreHandler(fn func(*Context, GuardPreInput) (GuardPreOutput, error)) Handler {
	return typed(fn, func(in *GuardPreInput) *int { return &in.ABI }, nil)
}

func guardPostHandler(fn func(*Context, GuardPostInput) (GuardPostOutput, error)) Handler {
	return typed(fn, func(in *GuardPostInput) *int { return &in.ABI }, nil)
}

// guard adds the handler of a stage.
func (r *registry) guard(stage string, h Handler, warm func()) Registered {
	if r.stages == nil {
		r.stages = make(map[string]Handler)
		r.add("guard", r.guardAtStage)
	}
	if _, ok := r.stages[stage]; ok {
		panic(fmt.Sprintf("tars: stage %q of guard has two functions", stage))
	}
	r.stages[stage] = h
	r.warm = append(r.warm, warm)
	return Registered{}
}

// guardAtStage is the handler of guard. A stage of later versions is refused: to
// let pass what cannot be read would be no guard.
func (r *registry) guardAtStage(ctx *Context, input []byte) ([]byte, error) {
	stage, err := stageOf(input)
	if err != nil {
		return nil, &Error{Code: CodeBadInput, Message: err.Error()}
	}
	if h, ok := r.stages[stage]; ok {
		return h(ctx, input)
	}
	if stage != stagePre && stage != stagePost {
		return nil, &Error{Code: CodeUnsupported, Message: fmt.Sprintf("no stage %q of guard", stage)}
	}
	return []byte("{}"), nil
}

// stageOf finds the member stage of an input. It stands before the candidates,
// so that these are not read twice.
func stageOf(input []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(input))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", fmt.Errorf("the input is no JSON object: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", err
		}
		if name == "stage" {
			var stage string
			err := d.Decode(&stage)
			return stage, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", err
		}
	}
	return "", nil
}
