package query

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// withDefaults checks a query and returns it with zero values replaced. timeout
// is the default one.
func (q Query) withDefaults(timeout time.Duration) (Query, error) {
	switch {
	case checkText(q.Text) != nil:
		return q, knowledge.At("text", checkText(q.Text))
	case len(q.Legs) < 1 || len(q.Legs) > MaxLegs:
		return q, knowledge.Invalid("legs", "has %d entries; need 1 to %d", len(q.Legs), MaxLegs)
	case len(q.Plugins) > MaxPlugins:
		return q, knowledge.Invalid("plugins", "has %d entries; at most %d are allowed", len(q.Plugins), MaxPlugins)
	case q.Limit < 0 || q.Limit > MaxCandidates:
		return q, knowledge.Invalid("limit", "is %d; need 1 to %d", q.Limit, MaxCandidates)
	case q.Timeout < 0 || q.Timeout > MaxTimeout:
		return q, knowledge.Invalid("timeout_ms", "is %d; need 1 to %d", q.Timeout.Milliseconds(), MaxTimeout.Milliseconds())
	}
	if q.Timeout == 0 {
		q.Timeout = timeout
	}
	legs := make([]Leg, len(q.Legs))
	for i, leg := range q.Legs {
		var err error
		at := fmt.Sprintf("legs[%d]", i)
		if legs[i], err = leg.withDefaults(q.Text); err != nil {
			return q, knowledge.At(at, err)
		}
		legs[i].path = at
	}
	q.Legs = legs
	var err error
	if q.Stages, err = q.Stages.validate(); err != nil {
		return q, err
	}
	switch {
	case q.Unverified != "" && q.Unverified != Mark && q.Unverified != Drop:
		return q, knowledge.Invalid("unverified", "is not a policy; need mark or drop")
	case len(q.Seed) > MaxSeed:
		return q, knowledge.Invalid("seed", "has %d bytes; at most %d are allowed", len(q.Seed), MaxSeed)
	case q.Seed != "" && !q.Deterministic:
		return q, knowledge.Invalid("seed", "goes with deterministic alone")
	}
	if q.Plugins != nil {
		q.Plugins, err = withPluginDefaults(q.Plugins, q.Text)
	}
	return q, err
}

// withPluginDefaults checks the plugin calls of a query and returns them with
// zero values replaced.
func withPluginDefaults(calls []PluginCall, text string) ([]PluginCall, error) {
	full := make([]PluginCall, len(calls)) // also of none, which is not the default
	merges := 0
	for i, call := range calls {
		var err error
		if full[i], err = call.withDefaults(text); err != nil {
			return nil, knowledge.At(fmt.Sprintf("plugins[%d]", i), err)
		}
		if call.Capability == Merge {
			merges++
		}
		if merges > 1 {
			return nil, knowledge.Invalid(fmt.Sprintf("plugins[%d].capability", i), "is merge once more; a query has one")
		}
	}
	return full, nil
}

func (l Leg) withDefaults(text string) (Leg, error) {
	mode := l.Mode
	switch {
	case mode != "":
	case l.Text != "" && len(l.Vector) > 0:
		mode = Hybrid
	default:
		mode = Vector // what a collection prefers needs no more than this
	}
	if l.Text == "" && (len(l.Vector) == 0 || mode == Hybrid) {
		l.Text = text
	}
	if l.Candidates == 0 {
		l.Candidates = 50
	}
	if l.Weight == 0 {
		l.Weight = 1
	}
	switch {
	case mode != Vector && mode != Lexical && mode != Hybrid:
		return l, knowledge.Invalid("mode", "is not a mode; need vector, lexical or hybrid")
	case l.Text == "" && len(l.Vector) == 0:
		return l, knowledge.Invalid("text", "is missing, and so is the query's text; need one of these or a vector")
	case checkText(l.Text) != nil:
		return l, knowledge.At("text", checkText(l.Text))
	case l.Candidates < 1 || l.Candidates > MaxCandidates:
		return l, knowledge.Invalid("candidates", "is %d; need 1 to %d", l.Candidates, MaxCandidates)
	case l.Timeout < 0 || l.Timeout > MaxTimeout:
		return l, knowledge.Invalid("timeout_ms", "is %d; need 1 to %d", l.Timeout.Milliseconds(), MaxTimeout.Milliseconds())
	case !(l.Weight > 0 && l.Weight <= 100):
		return l, knowledge.Invalid("weight", "is %g; need more than 0, up to 100", l.Weight)
	}
	if err := checkMode(mode, l.Text != "", len(l.Vector) > 0); err != nil {
		return l, err
	}
	return l, knowledge.At("filter", l.Filter.Validate(knowledge.Collection{}))
}

func (c PluginCall) withDefaults(text string) (PluginCall, error) {
	if c.Capability == Guard {
		c.Stage, c.OnError = cmp.Or(c.Stage, Post), cmp.Or(c.OnError, Fail)
	}
	c.OnError = cmp.Or(c.OnError, Skip)
	return c, c.validate(text)
}

func (c PluginCall) validate(text string) error {
	switch {
	case c.Capability != Guard && c.Capability != Merge && c.Capability != Rank && c.Capability != Synthesize:
		return knowledge.Invalid("capability", "is not one that a query calls; need guard, merge, rank or synthesize")
	case c.Capability != Guard && c.Stage != "":
		return knowledge.Invalid("stage", "is for guards alone")
	case c.Capability == Guard && c.Stage != Pre && c.Stage != Post:
		return knowledge.Invalid("stage", "is not a stage; need pre or post")
	case len(c.Group) > MaxGroup:
		return knowledge.Invalid("group", "has %d bytes; at most %d are allowed", len(c.Group), MaxGroup)
	case c.Group != "" && c.Capability != Guard && c.Capability != Rank:
		return knowledge.Invalid("group", "is for guards and rankers alone")
	case c.Weight != 0 && (c.Capability != Rank || c.Group == ""):
		return knowledge.Invalid("weight", "is for rankers of a group alone")
	case !(c.Weight >= 0 && c.Weight <= MaxWeight):
		return knowledge.Invalid("weight", "is %g; need more than 0, up to %d", c.Weight, MaxWeight)
	case c.OnError != "" && c.OnError != Skip && c.OnError != Fail:
		return knowledge.Invalid("on_error", "is not a policy; need skip or fail")
	case len(c.Config) > MaxConfig:
		return knowledge.Invalid("config", "has %d bytes; at most %d are allowed", len(c.Config), MaxConfig)
	case len(c.Config) > 0 && !isObject(c.Config):
		return knowledge.Invalid("config", "is not a JSON object")
	case c.Timeout < 0 || c.Timeout > MaxTimeout:
		return knowledge.Invalid("timeout_ms", "is %d; need 1 to %d", c.Timeout.Milliseconds(), MaxTimeout.Milliseconds())
	case strings.TrimSpace(text) == "":
		return knowledge.Invalid("", "needs the query's text, which is missing")
	}
	return nil
}

func isObject(config json.RawMessage) bool {
	return json.Valid(config) && bytes.TrimLeft(config, " \t\r\n")[0] == '{'
}

// checkText refuses a question that is too long or no text.
func checkText(s string) error {
	if len(s) > MaxQueryText {
		return knowledge.Invalid("", "has %d bytes; at most %d are allowed", len(s), MaxQueryText)
	}
	return knowledge.CheckText(s)
}
