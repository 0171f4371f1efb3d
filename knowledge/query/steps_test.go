package query_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

func call(name string, capability query.Capability) query.PluginCall {
	return query.PluginCall{Name: name, Capability: capability}
}

func guardBefore(name string) query.PluginCall {
	return query.PluginCall{Name: name, Capability: query.Guard, Stage: query.Pre}
}

// deciding is a guard with a fixed verdict.
func deciding(v query.Verdict) plugin {
	return plugin{guard: func(context.Context, query.Task) (query.Verdict, error) { return v, nil }}
}

// scoring gives candidates fixed scores by their index; NaN: none.
func scoring(scores ...float64) func(context.Context, query.Task) ([]query.Scored, error) {
	return func(context.Context, query.Task) ([]query.Scored, error) {
		var all []query.Scored
		for i, s := range scores {
			if !math.IsNaN(s) {
				all = append(all, query.Scored{Index: i, Score: s, Reason: fmt.Sprintf("%g", s)})
			}
		}
		return all, nil
	}
}

func TestGuardBeforeNarrows(t *testing.T) {
	lang := knowledge.Filter{Op: knowledge.OpEq, Field: "lang", Values: []any{"go"}}
	year := knowledge.Filter{Op: knowledge.OpGt, Field: "year", Values: []any{2020.0}}
	searched := map[knowledge.CollectionName]knowledge.Filter{}
	e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
		searched[s.Collection] = s.Filter
		return found(s.Collection, match("a", 3), match("b", 2), match("c", 1)), nil
	}, plugins{
		"narrow": deciding(query.Verdict{Narrow: []query.Narrowing{{Leg: 0, Filter: year}, {Leg: 1, Filter: lang}}, Limit: 2}),
		"drop":   deciding(query.Verdict{DropLegs: []int{2}, Limit: 50}),
		"all":    deciding(query.Verdict{DropLegs: []int{0, 1, 2}}),
	})
	e.Parallel = 1
	q := query.Query{Text: "q", Limit: 3, Legs: legs("one", "two", "three"), Plugins: []query.PluginCall{guardBefore("narrow"), guardBefore("drop")}}
	q.Legs[0].Filter = lang
	for i := range q.Legs {
		q.Legs[i].Mode = query.Vector
	}
	a, err := e.Answer(t.Context(), tenant, q)
	want := map[knowledge.CollectionName]knowledge.Filter{
		"one": {Op: knowledge.OpAnd, Terms: []knowledge.Filter{lang, year}},
		"two": lang,
	}
	if err != nil || !reflect.DeepEqual(searched, want) || len(a.Matches) != 2 {
		t.Errorf("Answer searched %+v and gave %d matches, %v, want %+v and 2", searched, len(a.Matches), err, want)
	}
	if len(a.Plans) != 2 || a.Plans[1].Leg != 1 || !reflect.DeepEqual(q.Legs[0].Filter, lang) {
		t.Errorf("Plans = %+v and the query's filter %+v, want legs 0 and 1 and the filter as it was", a.Plans, q.Legs[0].Filter)
	}
	q.Plugins = []query.PluginCall{guardBefore("all")}
	if _, err := e.Answer(t.Context(), tenant, q); !errors.Is(err, knowledge.ErrForbidden) {
		t.Errorf("Answer without a leg left = %v, want ErrForbidden", err)
	}
}

func TestGuardRefuses(t *testing.T) {
	for _, stage := range []query.GuardStage{query.Pre, query.Post, ""} {
		p := plugins{"no": deciding(query.Verdict{Refuse: "not on Sundays"}), "s": saying("x")}
		guard := call("no", query.Guard)
		guard.Stage = stage
		a, err := three(p).Answer(t.Context(), tenant, ask(guard, synthesize("s")))
		var refused *knowledge.ForbiddenError
		if !errors.As(err, &refused) || refused.Detail != "guard no refused the query: not on Sundays" || !reflect.DeepEqual(a, query.Answer{}) {
			t.Errorf("stage %q: Answer = %+v, %v, want the guard's refusal alone", stage, a, err)
		}
	}
}

// TestGuardFailsClosed: a guard that does not answer lets nothing through, unless
// the call says that it may.
func TestGuardFailsClosed(t *testing.T) {
	bad := plugin{guard: func(context.Context, query.Task) (query.Verdict, error) { return query.Verdict{}, trapped() }}
	for _, stage := range []query.GuardStage{query.Pre, query.Post} {
		guard := call("bad", query.Guard)
		guard.Stage = stage
		var fault *query.PluginError
		if _, err := three(plugins{"bad": bad}).Answer(t.Context(), tenant, ask(guard)); !errors.As(err, &fault) {
			t.Errorf("stage %s: Answer = %v, want the *PluginError", stage, err)
		}
		guard.OnError = query.Skip
		a, err := three(plugins{"bad": bad}).Answer(t.Context(), tenant, ask(guard))
		if err != nil || len(a.Missing) != 1 || order(a.Matches) != "a b c" {
			t.Errorf("stage %s, skip: Answer = %s and %+v, %v, want all and one missing", stage, order(a.Matches), a.Missing, err)
		}
	}
}

func TestGuardAfterTakesAway(t *testing.T) {
	const text = "Call Müller at 0123-456 or mail m@example.org today."
	mail := strings.Index(text, "m@example.org")
	e := engine(fixed(map[knowledge.CollectionName]knowledge.Found{"docs": found("docs",
		knowledge.Match{ID: "a", Score: 3, Text: text, Metadata: map[string]any{"ssn": "1", "lang": "de"}, Vector: []float32{1, 2}},
		knowledge.Match{ID: "b", Score: 2, Vector: []float32{3, 4}},
		knowledge.Match{ID: "c", Score: 1, Vector: []float32{5, 6}},
	)}), plugins{
		"one": deciding(query.Verdict{Redact: []query.Span{{0, mail, mail + 13}, {0, 16, 21}}, Drop: []int{1}}),
		"two": deciding(query.Verdict{Redact: []query.Span{{0, 18, 24}}, Hide: []query.Hidden{{0, []string{"ssn", "none"}}}}),
		"see": {synthesize: func(_ context.Context, passages []query.Candidate) (query.Draft, error) {
			return query.Draft{Text: passages[0].Text, Citations: []query.DraftCitation{
				{Index: 0, Start: 0, End: 28, Quote: passages[0].Text[:28]},
				{Index: 0, Start: 0, End: 28, Quote: text[:28]}, // what the record has
			}}, nil
		}},
	})
	one, two := call("one", query.Guard), call("two", query.Guard)
	one.Group, two.Group = "g", "g"
	a, err := e.Answer(t.Context(), tenant, ask(synthesize("see"), one, two))
	const want = "Call Müller at [redacted] or mail [redacted] today."
	if err != nil || order(a.Matches) != "a c" || a.Matches[0].Text != want || !a.Matches[0].Redacted || a.Matches[1].Redacted {
		t.Fatalf("Answer = %+v, %v, want a redacted and c", a.Matches, err)
	}
	if m := a.Matches[0]; !reflect.DeepEqual(m.Metadata, map[string]any{"lang": "de"}) || m.Vector != nil {
		t.Errorf("a redacted match has metadata %v and vector %v, want lang alone and none", m.Metadata, m.Vector)
	}
	r := a.Results[0]
	if r.Text != want || !r.Citations[0].Verified || r.Citations[1].Verified || r.Grounded {
		t.Errorf("the synthesizer saw %q and cited %+v, want the redacted text and only that verified", r.Text, r.Citations)
	}
}

func TestMerge(t *testing.T) {
	nan := math.NaN()
	both := map[knowledge.CollectionName]knowledge.Found{
		"docs": found("docs", match("a", 3), match("b", 2)),
		"more": found("more", match("x", 9), match("y", 8)),
	}
	var task query.Task
	p := plugins{
		"pick": {merge: func(ctx context.Context, m query.Task) ([]query.Scored, error) {
			task = m
			return scoring(1, nan, 5, nan)(ctx, m)
		}},
		"bad":  {merge: func(context.Context, query.Task) ([]query.Scored, error) { return nil, trapped() }},
		"none": {merge: func(context.Context, query.Task) ([]query.Scored, error) { return []query.Scored{}, nil }},
	}
	for _, tc := range []struct {
		name, want string
		kind       query.ScoreKind
		missing    int
	}{
		{"pick", "docs/b a", query.ScorePlugin, 0},
		{"none", "", query.ScorePlugin, 0},
		{"bad", "a more/x docs/b more/y", query.ScoreRRF, 1},
	} {
		q := query.Query{Text: "q", Legs: legs("docs", "more"), Plugins: []query.PluginCall{call(tc.name, query.Merge)}}
		for i := range q.Legs {
			q.Legs[i].Mode = query.Vector
		}
		a, err := engine(fixed(both), p).Answer(t.Context(), tenant, q)
		if got := order(a.Matches); err != nil || got != strings.ReplaceAll(tc.want, "docs/", "") || a.ScoreKind != tc.kind || len(a.Missing) != tc.missing {
			t.Errorf("%s: Answer = %q of kind %s with %d missing, %v, want %q of kind %s with %d", tc.name, got, a.ScoreKind, len(a.Missing), err, tc.want, tc.kind, tc.missing)
		}
	}
	want := []query.HandedList{
		{Leg: 0, Mode: query.Vector, Weight: 1, Entries: []query.Scored{{Index: 0, Score: 3}, {Index: 2, Score: 2}}},
		{Leg: 1, Mode: query.Vector, Weight: 1, Entries: []query.Scored{{Index: 1, Score: 9}, {Index: 3, Score: 8}}},
	}
	if got := task.Handout.Lists; order(task.Handout.Candidates) != "a more/x b more/y" || !reflect.DeepEqual(got, want) {
		t.Errorf("merge was given %s and %+v, want a more/x b more/y and %+v", order(task.Handout.Candidates), got, want)
	}
}

// TestRankersOfAGroup: the places that they give count, not their scores.
func TestRankersOfAGroup(t *testing.T) {
	nan := math.NaN()
	p := plugins{
		"up":   {scores: scoring(1, 2, 3)},
		"a":    {scores: scoring(1e9, nan, nan)},
		"bad":  failing(trapped()),
		"even": {scores: scoring(1, 1, 1)},
	}
	grouped := func(weights map[string]float64, names ...string) []query.PluginCall {
		var calls []query.PluginCall
		for _, name := range names {
			c := rank(name)
			c.Group, c.Weight = "g", weights[name]
			calls = append(calls, c)
		}
		return calls
	}
	for _, tc := range []struct {
		name  string
		calls []query.PluginCall
		want  string
	}{
		{"together", grouped(nil, "up", "a"), "a c b"},
		{"weighed", grouped(map[string]float64{"up": 100}, "up", "a"), "c b a"},
		{"one fails", grouped(nil, "up", "bad"), "c b a"},
		{"all fail", grouped(nil, "bad", "bad"), "a b c"},
		{"even", grouped(nil, "even", "even"), "a b c"},
	} {
		a, err := three(p).Answer(t.Context(), tenant, ask(tc.calls...))
		if err != nil || order(a.Matches) != tc.want {
			t.Errorf("%s: Answer = %s, %v, want %s", tc.name, order(a.Matches), err, tc.want)
		}
	}
	a, err := three(p).Answer(t.Context(), tenant, ask(rank("up")))
	if err != nil || a.Matches[0].Reason != "3" {
		t.Errorf("Answer = %+v, %v, want the ranker's reason with the first", a.Matches, err)
	}
}

// TestGroupsRunAtOnce: calls of a group at the place of the first, chains after
// each other.
func TestGroupsRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := plugin{scores: func(context.Context, query.Task) ([]query.Scored, error) {
			time.Sleep(time.Second / 10)
			return nil, nil
		}}
		calls := []query.PluginCall{rank("p"), rank("p"), rank("p"), rank("p")}
		calls[0].Group, calls[3].Group = "g", "g"
		q := ask(calls...)
		q.Stages.Explain = true
		start := time.Now()
		a, err := three(plugins{"p": slow}).Answer(t.Context(), tenant, q)
		if took := time.Since(start); err != nil || took != 3*time.Second/10 {
			t.Errorf("a group of two and two alone took %v, %v, want 300ms", took, err)
		}
		var steps []string
		for _, s := range a.Stages {
			at := s.Stage
			for _, c := range s.Calls {
				at += fmt.Sprintf(" %d:%s", c.Call, c.Digest)
			}
			steps = append(steps, at)
		}
		want := []string{"retrieve", "fuse", "rank 0:digest of p 3:digest of p", "rank 1:digest of p", "rank 2:digest of p", "limit"}
		if !slices.Equal(steps, want) {
			t.Errorf("Stages = %q, want %q", steps, want)
		}
	})
}

// TestTimeIsSharedOut: of two that hang each has its part, and the answer comes in
// time with what is left.
func TestTimeIsSharedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := plugin{
			guard:      func(ctx context.Context, _ query.Task) (query.Verdict, error) { return query.Verdict{}, until(ctx) },
			merge:      func(ctx context.Context, _ query.Task) ([]query.Scored, error) { return nil, until(ctx) },
			scores:     func(ctx context.Context, _ query.Task) ([]query.Scored, error) { return nil, until(ctx) },
			synthesize: func(ctx context.Context, _ []query.Candidate) (query.Draft, error) { return query.Draft{}, until(ctx) },
		}
		before, after := guardBefore("hang"), call("hang", query.Guard)
		before.OnError, after.OnError = query.Skip, query.Skip
		q := ask(before, call("hang", query.Merge), rank("hang"), rank("hang"), after, synthesize("hang"), synthesize("good"))
		q.Timeout = 2 * time.Second
		var given []time.Duration
		e := three(plugins{"hang": hang, "good": saying("done")})
		e.Plugins = timed{e.Plugins, &given}
		start := time.Now()
		a, err := e.Answer(t.Context(), tenant, q)
		if took := time.Since(start); err != nil || took >= 2*time.Second || len(a.Missing) != 6 || len(a.Results) != 1 {
			t.Errorf("Answer = %d missing and %d results, %v after %v, want 6 and 1 within 2s", len(a.Missing), len(a.Results), err, took)
		}
		for _, m := range a.Missing {
			if m.Reason != "deadline" || m.After < 100*time.Millisecond {
				t.Errorf("Missing = %+v, want a deadline of at least 100ms", m)
			}
		}
		if len(given) != 2 || given[0] < 200*time.Millisecond {
			t.Errorf("rankers were given %v, want at least 200ms each", given)
		}
	})
}

// timed notes the time that rankers are given.
type timed struct {
	query.Plugins
	given *[]time.Duration
}

func (p timed) Rank(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	*p.given = append(*p.given, t.Call.Timeout)
	return p.Plugins.Rank(ctx, t)
}

// TestVectorsOfCandidates: rows are those of a leg's candidates as it found them,
// and only of what the step was given.
func TestVectorsOfCandidates(t *testing.T) {
	all := map[knowledge.CollectionName]knowledge.Found{
		"docs": found("docs", knowledge.Match{ID: "a", Score: 3, Vector: []float32{1, 2}}, knowledge.Match{ID: "b", Score: 2, Vector: []float32{3, 4}}, knowledge.Match{ID: "c", Score: 1, Vector: []float32{5, 6}}),
		"more": found("more", knowledge.Match{ID: "x", Score: 1, Vector: []float32{7, 8}}),
	}
	asked := 0
	var handed []*query.Handout
	take := func(_ context.Context, task query.Task) ([]query.Scored, error) {
		handed = append(handed, task.Handout)
		return scoring(1, 2, 3, 4)(t.Context(), task)
	}
	drop := plugin{guard: func(_ context.Context, task query.Task) (query.Verdict, error) {
		b := slices.IndexFunc(task.Handout.Candidates, func(c query.Candidate) bool { return c.ID == "b" })
		c := slices.IndexFunc(task.Handout.Candidates, func(c query.Candidate) bool { return c.ID == "c" })
		return query.Verdict{Drop: []int{b}, Redact: []query.Span{{Index: c, Start: 0, End: 3}}}, nil
	}}
	see := plugin{guard: func(_ context.Context, task query.Task) (query.Verdict, error) {
		handed = append(handed, task.Handout)
		return query.Verdict{}, nil
	}}
	for _, wants := range []bool{false, true} {
		asked, handed = 0, nil
		e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
			if s.Vectors {
				asked++
			}
			return all[s.Collection], nil
		}, plugins{"take": {scores: take, vectors: wants}, "drop": drop, "see": see})
		e.Parallel = 1
		q := query.Query{Text: "q", Legs: legs("docs", "more"), Plugins: []query.PluginCall{rank("take"), call("drop", query.Guard), call("see", query.Guard)}}
		for i := range q.Legs {
			q.Legs[i].Mode = query.Vector
		}
		if _, err := e.Answer(t.Context(), tenant, q); err != nil || len(handed) != 2 {
			t.Fatalf("Answer = %v with %d handouts, want 2", err, len(handed))
		}
		if want := map[bool]int{false: 0, true: 2}[wants]; asked != want {
			t.Errorf("%d searches were asked for vectors, want %d", asked, want)
		}
	}
	rows := func(h *query.Handout, leg, first, count uint32) string {
		b, err := h.Vectors(leg, first, count)
		if err != nil {
			return "refused"
		}
		var all []float32
		for ; len(b) > 0; b = b[4:] {
			all = append(all, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		return fmt.Sprint(all)
	}
	for _, tc := range []struct {
		step              int
		leg, first, count uint32
		want              string
	}{
		{0, 0, 0, 3, "[1 2 3 4 5 6]"},
		{0, 0, 1, 1, "[3 4]"},
		{0, 1, 0, 1, "[7 8]"},
		{0, 0, 3, 0, "[]"},
		{0, 0, 3, 1, "refused"},
		{0, 0, 0, 4, "refused"},
		{0, 2, 0, 0, "refused"},
		{0, 0, math.MaxUint32, 1, "refused"},
		{0, 0, 1, math.MaxUint32, "refused"},
		{0, math.MaxUint32, 0, 1, "refused"},
		{1, 0, 0, 1, "[1 2]"}, // b was dropped and c redacted
		{1, 0, 0, 2, "refused"},
	} {
		if got := rows(handed[tc.step], tc.leg, tc.first, tc.count); got != tc.want {
			t.Errorf("Vectors(%d, %d, %d) of step %d = %s, want %s", tc.leg, tc.first, tc.count, tc.step, got, tc.want)
		}
	}
	if h := handed[1]; h.Legs[0].Rows() != 1 || h.Legs[0].Dimension != 2 || !slices.ContainsFunc(h.Candidates, func(c query.Candidate) bool { return c.ID == "c" }) {
		t.Errorf("the last step has %+v, want one row of two and c, without its vector", h.Legs[0])
	}
}

// TestEmbedOfPlugins: by the one embedder of the query's collections.
func TestEmbedOfPlugins(t *testing.T) {
	for _, tc := range []struct {
		name string
		legs []query.Leg
		want string
	}{
		{"one", legs("docs"), "[4 1]"},
		{"one without", append(legs("docs"), query.Leg{Collection: "bare", Mode: query.Lexical}), "[4 1]"},
		{"none", []query.Leg{{Collection: "bare", Mode: query.Lexical}}, "refused"},
	} {
		got := ""
		p := plugins{"p": {scores: func(ctx context.Context, task query.Task) ([]query.Scored, error) {
			v, err := task.Handout.Embed(ctx, "four")
			got = fmt.Sprint(v)
			if errors.Is(err, knowledge.ErrInvalid) {
				got = "refused"
			}
			return nil, nil
		}}}
		if _, err := engine(fixed(nil), p).Answer(t.Context(), tenant, query.Query{Text: "q", Legs: tc.legs, Plugins: []query.PluginCall{rank("p")}}); err != nil || got != tc.want {
			t.Errorf("%s: Embed = %s, %v, want %s", tc.name, got, err, tc.want)
		}
	}
}

func TestSeeds(t *testing.T) {
	seeds := func(q query.Query) (all [][32]byte, deterministic bool) {
		p := plugins{}
		for _, name := range []string{"p", "o"} {
			p[name] = plugin{scores: func(_ context.Context, task query.Task) ([]query.Scored, error) {
				all = append(all, task.Seed)
				deterministic = task.Deterministic
				return nil, nil
			}}
		}
		q.Text, q.Legs = "q", legs("docs")
		q.Plugins = []query.PluginCall{rank("p"), rank("p"), rank("o")}
		if _, err := three(p).Answer(t.Context(), tenant, q); err != nil {
			t.Fatalf("Answer = %v, want nil", err)
		}
		return all, deterministic
	}
	one, deterministic := seeds(query.Query{Deterministic: true, Seed: "1"})
	again, _ := seeds(query.Query{Deterministic: true, Seed: "1"})
	other, _ := seeds(query.Query{Deterministic: true, Seed: "2"})
	if !deterministic || !reflect.DeepEqual(one, again) || one[0] == one[1] || one[1] == one[2] || one[0] == other[0] {
		t.Errorf("seeds %x, again %x, other %x, want the same again and no two alike", one, again, other)
	}
	if _, deterministic := seeds(query.Query{}); deterministic {
		t.Errorf("a query that does not ask for it is deterministic")
	}
}

func TestUnverifiedAreDropped(t *testing.T) {
	const text = "Stop the server, if it's running."
	p := plugins{"s": {synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
		return query.Draft{Citations: []query.DraftCitation{{End: 4, Quote: "Stop"}, {End: len(text), Quote: text}}}, nil
	}}}
	e := engine(fixed(map[knowledge.CollectionName]knowledge.Found{"docs": found("docs", knowledge.Match{ID: "a", Text: text})}), p)
	q := ask(synthesize("s"))
	q.Unverified = query.Drop
	a, err := e.Answer(t.Context(), tenant, q)
	if err != nil || len(a.Results[0].Citations) != 1 || !a.Results[0].Citations[0].Verified || a.Results[0].Dropped != 1 || a.Results[0].Grounded {
		t.Errorf("Results = %+v, %v, want the verified citation, one dropped, not grounded", a.Results, err)
	}
}

// TestStream: the parts are the answer, in another order.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := plugin{synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
			time.Sleep(time.Second)
			return query.Draft{Text: "late"}, nil
		}}
		var seen []string
		e := three(plugins{"late": late, "soon": saying("soon"), "bad": failing(trapped()), "r": reversing(&seen)})
		var parts []string
		put := query.Answer{}
		results, missing, receipts := map[int]query.Result{}, map[int]query.Missing{}, map[int]query.Receipt{}
		a, err := e.Stream(t.Context(), tenant, ask(synthesize("late"), rank("bad"), synthesize("soon"), rank("r")), func(p query.Part) error {
			switch {
			case p.Matches != nil:
				parts = append(parts, "matches "+order(p.Matches.Matches))
				put.Matches, put.ScoreKind = p.Matches.Matches, p.Matches.ScoreKind
			case p.Result != nil:
				parts = append(parts, "result "+p.Result.Text)
				results[p.Result.Call] = *p.Result
			case p.Missing != nil:
				parts = append(parts, "missing "+p.Missing.Source)
				missing[p.Missing.Call] = *p.Missing
			case p.Receipt != nil:
				parts = append(parts, "receipt "+p.Receipt.Plugin)
				receipts[p.Receipt.Call] = *p.Receipt
			}
			return nil
		})
		want := []string{"missing plugin bad", "receipt bad", "receipt r", "matches c b a", "result soon", "receipt soon", "result late", "receipt late"}
		if err != nil || !slices.Equal(parts, want) {
			t.Errorf("Stream gave %q, %v, want %q", parts, err, want)
		}
		for i := range 4 {
			if r, ok := results[i]; ok {
				put.Results = append(put.Results, r)
			}
			if m, ok := missing[i]; ok {
				put.Missing = append(put.Missing, m)
			}
			if r, ok := receipts[i]; ok {
				put.Receipts = append(put.Receipts, r)
			}
		}
		put.Plans, put.Took = a.Plans, a.Took
		if !reflect.DeepEqual(put, a) {
			t.Errorf("the parts put together are %+v, want the answer %+v", put, a)
		}
	})
}

// TestStreamEnds: nothing goes on when what takes the parts has ended.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		var waiting atomic.Int32
		waits := plugin{synthesize: func(ctx context.Context, _ []query.Candidate) (query.Draft, error) {
			waiting.Add(1)
			return query.Draft{}, until(ctx)
		}}
		start := time.Now()
		_, err := three(plugins{"waits": waits, "soon": saying("soon")}).Stream(t.Context(), tenant, ask(synthesize("waits"), synthesize("soon")), func(p query.Part) error {
			if p.Result != nil {
				return gone
			}
			return nil
		})
		if !errors.Is(err, gone) || time.Since(start) != 0 || waiting.Load() != 1 {
			t.Errorf("Stream = %v after %v, want the error of emit at once", err, time.Since(start))
		}
	})
}

func TestAnswerBatch(t *testing.T) {
	p := plugins{"s": saying("x")}
	queries := []query.Query{ask(synthesize("s")), {Text: "q", Legs: legs("none")}, ask()}
	all, err := three(p).AnswerBatch(t.Context(), tenant, queries, 0)
	if err != nil || len(all) != 3 || len(all[0].Answer.Results) != 1 || !errors.Is(all[1].Err, knowledge.ErrNotFound) || order(all[2].Answer.Matches) != "a b c" {
		t.Errorf("AnswerBatch = %+v, %v, want an answer, ErrNotFound, an answer", all, err)
	}
	many := func(n int, q query.Query) []query.Query { return slices.Repeat([]query.Query{q}, n) }
	large := ask()
	large.Limit = query.MaxCandidates
	wide := query.Query{Text: "q", Legs: legs(slices.Repeat([]knowledge.CollectionName{"docs"}, query.MaxLegs)...)}
	for _, tc := range []struct {
		name    string
		queries []query.Query
		timeout time.Duration
		field   string
	}{
		{"none", nil, 0, "queries"},
		{"too many", many(101, ask()), 0, "queries"},
		{"time", many(1, ask()), time.Hour, "timeout_ms"},
		{"matches", many(51, large), 0, "queries[50].limit"},
		{"legs", many(13, wide), 0, "queries[12].legs"},
		{"calls", many(26, ask(slices.Repeat([]query.PluginCall{rank("s")}, 8)...)), 0, "queries[25].plugins"},
	} {
		var invalid *knowledge.InvalidError
		if _, err := three(p).AnswerBatch(t.Context(), tenant, tc.queries, tc.timeout); !errors.As(err, &invalid) || invalid.Field != tc.field {
			t.Errorf("%s: AnswerBatch = %v, want an InvalidError at %s", tc.name, err, tc.field)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		e := stuck()["leg"]
		start := time.Now()
		all, err := e.AnswerBatch(t.Context(), tenant, many(100, ask()), 3*time.Second)
		if err != nil || time.Since(start) != 3*time.Second || !errors.Is(all[99].Err, context.DeadlineExceeded) {
			t.Errorf("AnswerBatch that hangs = %v after %v, want each its DeadlineExceeded after 3s", err, time.Since(start))
		}
	})
}

// TestSearchesOfPluginsShare: what a query's plugins search at once is bounded.
func TestSearchesOfPluginsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		e := engine(func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
			if s.Collection == "more" {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Millisecond)
				now.Add(-1)
			}
			return knowledge.Found{}, nil
		}, nil)
		searches := plugin{synthesize: func(ctx context.Context, _ []query.Candidate) (query.Draft, error) {
			_, err := e.Search(ctx, tenant, query.SearchText{Search: knowledge.Search{Collection: "more", Vector: []float32{1, 1}, Limit: 1}})
			return query.Draft{}, err
		}}
		e.Plugins, e.Parallel = plugins{"p": searches}, 6
		a, err := e.Answer(t.Context(), tenant, ask(slices.Repeat([]query.PluginCall{synthesize("p")}, query.MaxPlugins)...))
		if err != nil || len(a.Results) != query.MaxPlugins || most.Load() != 3 {
			t.Errorf("%d plugins searched, %d at once, %v, want all, 3 at once", len(a.Results), most.Load(), err)
		}
	})
}

// TestVersionsArePinned: a plugin is called by the digest that its name had when the
// query began.
func TestVersionsArePinned(t *testing.T) {
	var called []string
	p := plugins{"p": {scores: func(_ context.Context, task query.Task) ([]query.Scored, error) {
		called = append(called, task.Call.Version)
		return nil, nil
	}}}
	canary := rank("p")
	canary.Version = "canary"
	if _, err := three(p).Answer(t.Context(), tenant, ask(rank("p"), canary)); err != nil || !slices.Equal(called, []string{"digest of p", "digest of p"}) {
		t.Errorf("Answer called versions %q, %v, want the digests that were found first", called, err)
	}
}

// TestLegsHaveTimes: a leg that takes longer than it may is missing, and the others are
// there.
func TestLegsHaveTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(func(ctx context.Context, s knowledge.Search) (knowledge.Found, error) {
			if s.Collection == "slow" {
				return knowledge.Found{}, until(ctx)
			}
			return found("docs", match("a", 1)), nil
		}, nil)
		q := query.Query{Text: "q", Legs: legs("slow", "docs")}
		for i := range q.Legs {
			q.Legs[i].Mode = query.Vector
		}
		q.Legs[0].Timeout = time.Second
		var told []query.Missing
		start := time.Now()
		a, err := e.Stream(t.Context(), tenant, q, func(p query.Part) error {
			if p.Missing != nil {
				told = append(told, *p.Missing)
			}
			return nil
		})
		want := []query.Missing{{Call: -1, Leg: 0, Source: "leg 0", Reason: "deadline", Detail: "the vector retrieval took longer than the leg's 1000 ms", After: time.Second}}
		if err != nil || time.Since(start) != time.Second || order(a.Matches) != "a" || !reflect.DeepEqual(a.Missing, want) || !reflect.DeepEqual(told, want) {
			t.Errorf("Stream = %s, missing %+v, told %+v, %v after %v, want a and the slow leg missing after 1s", order(a.Matches), a.Missing, told, err, time.Since(start))
		}
		if len(a.Plans) != 2 || a.Plans[0].Collection != "slow" || !a.Plans[0].Short {
			t.Errorf("Plans = %+v, want both, the slow one short", a.Plans)
		}
		q.Legs[0].Timeout = time.Minute // longer than the query's
		if _, err := e.Answer(t.Context(), tenant, q); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Answer past its own time = %v, want DeadlineExceeded", err)
		}
		q.Legs[0].Timeout = 2 * time.Minute
		if _, err := e.Answer(t.Context(), tenant, q); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("Answer with two minutes for a leg = %v, want ErrInvalid", err)
		}
	})
}
