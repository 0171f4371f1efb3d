package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

func TestValidation(t *testing.T) {
	leg := func(change func(*query.Leg)) func(*query.Query) {
		return func(q *query.Query) { change(&q.Legs[0]) }
	}
	call := func(change func(*query.PluginCall)) func(*query.Query) {
		return func(q *query.Query) {
			q.Plugins = []query.PluginCall{{Name: "p", Capability: query.Rank}}
			change(&q.Plugins[0])
		}
	}
	many := func(n int) func(*query.Query) {
		return func(q *query.Query) {
			for range n {
				q.Plugins = append(q.Plugins, query.PluginCall{Name: "p", Capability: query.Rank})
			}
		}
	}
	config := func(s string) func(*query.PluginCall) {
		return func(c *query.PluginCall) { c.Config = json.RawMessage(s) }
	}
	for _, tc := range []struct {
		name   string
		change func(*query.Query)
		want   string
	}{
		{"good", func(*query.Query) {}, "ok"},
		{"text of 8000", func(q *query.Query) { q.Text = strings.Repeat("t", 8000) }, "ok"},
		{"text of 8001", func(q *query.Query) { q.Text = strings.Repeat("t", 8001) }, "text"},
		{"text with NUL", func(q *query.Query) { q.Text = "a\x00" }, "text"},
		{"text of bad UTF-8", func(q *query.Query) { q.Text = "\xff" }, "text"},
		{"no legs", func(q *query.Query) { q.Legs = nil }, "legs"},
		{"16 legs", func(q *query.Query) { q.Legs = make16(q.Legs[0], 16) }, "ok"},
		{"17 legs", func(q *query.Query) { q.Legs = make16(q.Legs[0], 17) }, "legs"},
		{"32 plugins", many(32), "ok"},
		{"33 plugins", many(33), "plugins"},
		{"limit -1", func(q *query.Query) { q.Limit = -1 }, "limit"},
		{"limit 200", func(q *query.Query) { q.Limit = 200 }, "ok"},
		{"limit 201", func(q *query.Query) { q.Limit = 201 }, "limit"},
		{"limit 2^31", func(q *query.Query) { q.Limit = 1 << 31 }, "limit"},
		{"timeout -1", func(q *query.Query) { q.Timeout = -1 }, "timeout_ms"},
		{"timeout 60s", func(q *query.Query) { q.Timeout = time.Minute }, "ok"},
		{"timeout over 60s", func(q *query.Query) { q.Timeout = time.Minute + 1 }, "timeout_ms"},

		{"no text anywhere", func(q *query.Query) { q.Text = "" }, "legs[0].text"},
		{"leg's own text", func(q *query.Query) { q.Text, q.Legs[0].Text = "", "t" }, "ok"},
		{"text and vector", leg(func(l *query.Leg) { l.Text, l.Vector = "t", []float32{1, 2} }), "ok"},
		{"text and vector by vector", leg(func(l *query.Leg) { l.Text, l.Vector, l.Mode = "t", []float32{1, 2}, query.Vector }), "legs[0].text"},
		{"leg text of 8001", leg(func(l *query.Leg) { l.Text = strings.Repeat("t", 8001) }), "legs[0].text"},
		{"leg text with NUL", leg(func(l *query.Leg) { l.Text = "\x00" }), "legs[0].text"},
		{"leg text of bad UTF-8", leg(func(l *query.Leg) { l.Text = "\xc0" }), "legs[0].text"},
		{"candidates -1", leg(func(l *query.Leg) { l.Candidates = -1 }), "legs[0].candidates"},
		{"candidates 200", leg(func(l *query.Leg) { l.Candidates = 200 }), "ok"},
		{"candidates 201", leg(func(l *query.Leg) { l.Candidates = 201 }), "legs[0].candidates"},
		{"weight -1", leg(func(l *query.Leg) { l.Weight = -1 }), "legs[0].weight"},
		{"weight 100", leg(func(l *query.Leg) { l.Weight = 100 }), "ok"},
		{"weight over 100", leg(func(l *query.Leg) { l.Weight = 100.1 }), "legs[0].weight"},
		{"weight NaN", leg(func(l *query.Leg) { l.Weight = math.NaN() }), "legs[0].weight"},
		{"weight infinite", leg(func(l *query.Leg) { l.Weight = math.Inf(1) }), "legs[0].weight"},
		{"filter", leg(func(l *query.Leg) { l.Filter = knowledge.Filter{Op: "regex"} }), "legs[0].filter"},
		{"filter without operator", leg(func(l *query.Leg) { l.Filter = knowledge.Filter{Field: "f"} }), "legs[0].filter"},

		{"capability", call(func(c *query.PluginCall) { c.Capability = "chunk" }), "plugins[0].capability"},
		{"stage of a ranker", call(func(c *query.PluginCall) { c.Stage = query.Pre }), "plugins[0].stage"},
		{"stage", call(func(c *query.PluginCall) { c.Capability, c.Stage = query.Guard, "mid" }), "plugins[0].stage"},
		{"group of a synthesizer", call(func(c *query.PluginCall) { c.Capability, c.Group = query.Synthesize, "g" }), "plugins[0].group"},
		{"long group", call(func(c *query.PluginCall) { c.Group = strings.Repeat("g", 64) }), "plugins[0].group"},
		{"weight without a group", call(func(c *query.PluginCall) { c.Weight = 1 }), "plugins[0].weight"},
		{"weight", call(func(c *query.PluginCall) { c.Group, c.Weight = "g", -1 }), "plugins[0].weight"},
		{"weight that is none", call(func(c *query.PluginCall) { c.Group, c.Weight = "g", math.NaN() }), "plugins[0].weight"},
		{"two merges", func(q *query.Query) {
			merge := query.PluginCall{Name: "p", Capability: query.Merge}
			q.Plugins = []query.PluginCall{merge, merge}
		}, "plugins[1].capability"},
		{"unverified", func(q *query.Query) { q.Unverified = "hide" }, "unverified"},
		{"seed", func(q *query.Query) { q.Deterministic, q.Seed = true, strings.Repeat("s", 65) }, "seed"},
		{"seed alone", func(q *query.Query) { q.Seed = "s" }, "seed"},
		{"no capability", call(func(c *query.PluginCall) { c.Capability = "" }), "plugins[0].capability"},
		{"on_error", call(func(c *query.PluginCall) { c.OnError = "retry" }), "plugins[0].on_error"},
		{"call timeout -1", call(func(c *query.PluginCall) { c.Timeout = -1 }), "plugins[0].timeout_ms"},
		{"call timeout over 60s", call(func(c *query.PluginCall) { c.Timeout = time.Minute + 1 }), "plugins[0].timeout_ms"},
		{"config", call(config(" {\"a\":[1]}\n")), "ok"},
		{"config of 64 KiB", call(config(`{"a":"` + strings.Repeat("x", 64<<10-8) + `"}`)), "ok"},
		{"config over 64 KiB", call(config(`{"a":"` + strings.Repeat("x", 64<<10-7) + `"}`)), "plugins[0].config"},
		{"config a list", call(config(`[{}]`)), "plugins[0].config"},
		{"config a string", call(config(`"{}"`)), "plugins[0].config"},
		{"config null", call(config(`null`)), "plugins[0].config"},
		{"config cut", call(config(`{"a":`)), "plugins[0].config"},
		{"config twice", call(config(`{} {}`)), "plugins[0].config"},
		{"config white space", call(config(` `)), "plugins[0].config"},
		{"config deep", call(config(`{"a":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`)), "plugins[0].config"},
		{"plugin without text", func(q *query.Query) {
			q.Text, q.Legs[0].Text = "", "t"
			many(1)(q)
		}, "plugins[0]"},
		{"plugin with white space for text", func(q *query.Query) {
			q.Text, q.Legs[0].Text = " \n", "t"
			many(1)(q)
		}, "plugins[0]"},
	} {
		asked := false
		e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
			asked = true
			return found(s.Collection), nil
		}, plugins{"p": {rank: func(_ context.Context, c []query.Candidate) ([]query.Candidate, error) { return c, nil }}})
		e.Parallel = 1
		q := query.Query{Text: "question", Legs: []query.Leg{{Collection: "docs"}}}
		tc.change(&q)
		_, err := e.Answer(t.Context(), tenant, q)
		got := "ok"
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) {
			got = invalid.Field
		} else if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: Answer = %v at %q, want %q", tc.name, err, got, tc.want)
		}
		if err != nil && asked {
			t.Errorf("%s: the store was asked before the query was refused", tc.name)
		}
	}
}

func make16(leg query.Leg, n int) []query.Leg {
	var legs []query.Leg
	for range n {
		legs = append(legs, leg)
	}
	return legs
}

// TestQueryIsNotChanged: a caller may use its query again.
func TestQueryIsNotChanged(t *testing.T) {
	e := engine(fixed(map[knowledge.CollectionName]knowledge.Found{}), nil)
	q := query.Query{Text: "q", Legs: []query.Leg{{Collection: "docs"}}}
	if _, err := e.Answer(t.Context(), tenant, q); err != nil {
		t.Fatalf("Answer = %v, want nil", err)
	}
	if l := q.Legs[0]; l.Text != "" || l.Candidates != 0 || l.Weight != 0 || l.Vector != nil {
		t.Errorf("Answer changed the caller's leg to %+v", l)
	}
}
