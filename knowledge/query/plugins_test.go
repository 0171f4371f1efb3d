package query_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// three is an engine over three records of one collection.
func three(p plugins) *query.Engine {
	return engine(fixed(map[knowledge.CollectionName]knowledge.Found{
		"docs": found("docs", match("a", 3), match("b", 2), match("c", 1)),
	}), p)
}

func ask(calls ...query.PluginCall) query.Query {
	return query.Query{Text: "q", Legs: legs("docs"), Plugins: calls}
}

func rank(name string) query.PluginCall {
	return query.PluginCall{Name: name, Capability: query.Rank}
}

func synthesize(name string) query.PluginCall {
	return query.PluginCall{Name: name, Capability: query.Synthesize}
}

// reversing turns the order round and notes what it was given.
func reversing(seen *[]string) plugin {
	return plugin{rank: func(_ context.Context, c []query.Candidate) ([]query.Candidate, error) {
		*seen = append(*seen, order(c))
		c = slices.Clone(c)
		slices.Reverse(c)
		return c, nil
	}}
}

// saying answers with a text and no citation.
func saying(text string) plugin {
	return plugin{synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
		return query.Draft{Text: text}, nil
	}}
}

// failing fails in both capabilities.
func failing(err error) plugin {
	return plugin{
		rank:       func(context.Context, []query.Candidate) ([]query.Candidate, error) { return nil, err },
		synthesize: func(context.Context, []query.Candidate) (query.Draft, error) { return query.Draft{}, err },
	}
}

func trapped() error {
	return fmt.Errorf("run: %w", &query.PluginError{Plugin: "bad", Reason: "trapped", Detail: "guest trapped", Budget: &spent})
}

// spent is the budget that the plugin of trapped is about.
var spent = query.BudgetUse{Name: "memory", Used: 2, Allowed: 1, Unit: "bytes"}

func TestRankPluginsAreAChain(t *testing.T) {
	var seen []string
	first := plugin{rank: func(_ context.Context, c []query.Candidate) ([]query.Candidate, error) {
		seen = append(seen, order(c))
		return []query.Candidate{c[1], c[0], c[2]}, nil
	}}
	a, err := three(plugins{"first": first, "second": reversing(&seen)}).Answer(t.Context(), tenant, ask(rank("first"), rank("second")))
	if err != nil || order(a.Matches) != "c a b" {
		t.Errorf("Answer = %s, %v, want c a b", order(a.Matches), err)
	}
	if want := []string{"a b c", "b a c"}; !reflect.DeepEqual(seen, want) {
		t.Errorf("plugins were given %v, want %v", seen, want)
	}
}

// TestOutcomesFollowTheQuery: whatever runs first, what became of the calls is
// told in their order.
func TestOutcomesFollowTheQuery(t *testing.T) {
	var seen []string
	p := plugins{"s1": saying("one"), "s2": saying("two"), "r": reversing(&seen), "bad": failing(trapped())}
	a, err := three(p).Answer(t.Context(), tenant, ask(synthesize("s1"), synthesize("bad"), rank("r"), rank("bad"), synthesize("s2")))
	if err != nil {
		t.Fatalf("Answer = %v, want nil", err)
	}
	var receipts, texts []string
	for _, r := range a.Receipts {
		receipts = append(receipts, r.Plugin+" "+string(r.Capability))
	}
	for _, r := range a.Results {
		texts = append(texts, r.Plugin+" "+r.Text)
	}
	// A call that failed ran as well, and has cost something.
	if want := []string{"s1 synthesize", "bad synthesize", "r rank", "bad rank", "s2 synthesize"}; !reflect.DeepEqual(receipts, want) {
		t.Errorf("Receipts = %v, want %v", receipts, want)
	}
	if want := []string{"s1 one", "s2 two"}; !reflect.DeepEqual(texts, want) {
		t.Errorf("Results = %v, want %v", texts, want)
	}
	if len(a.Missing) != 2 || order(a.Matches) != "c b a" {
		t.Errorf("Missing = %v and Matches = %s, want two and c b a", a.Missing, order(a.Matches))
	}
}

func TestPluginFails(t *testing.T) {
	internal := errors.New("internal")
	for _, tc := range []struct {
		name    string
		err     error
		onError query.OnError
		want    error // nil: missing
	}{
		{"by default", trapped(), "", nil},
		{"skip", trapped(), query.Skip, nil},
		{"fail", trapped(), query.Fail, &query.PluginError{}},
		{"refused request, skip", knowledge.Invalid("config", "is bad"), query.Skip, knowledge.ErrInvalid},
		{"unknown plugin, skip", fmt.Errorf("plugin: %w", knowledge.ErrNotFound), query.Skip, knowledge.ErrNotFound},
		{"isolation, skip", fmt.Errorf("%w: tier", knowledge.ErrUnavailable), query.Skip, knowledge.ErrUnavailable},
		{"internal, skip", internal, query.Skip, internal},
	} {
		for _, capability := range []query.Capability{query.Rank, query.Synthesize} {
			call := query.PluginCall{Name: "bad", Capability: capability, OnError: tc.onError}
			a, err := three(plugins{"bad": failing(tc.err), "good": saying("x")}).Answer(t.Context(), tenant, ask(synthesize("good"), call))
			var fault *query.PluginError
			switch {
			case tc.want == nil:
				want := query.Missing{Call: 1, Leg: -1, Source: "plugin bad", Reason: "trapped", Detail: "guest trapped", Budget: &spent}
				if err != nil || len(a.Missing) != 1 || a.Missing[0].After < 0 {
					t.Errorf("%s, %s: Answer = %+v, %v, want one missing", tc.name, capability, a.Missing, err)
					continue
				}
				a.Missing[0].After = 0
				if a.Missing[0] != want || order(a.Matches) != "a b c" || len(a.Results) != 1 {
					t.Errorf("%s, %s: Missing = %+v, matches %s, %d results, want %+v, a b c and 1", tc.name, capability, a.Missing[0], order(a.Matches), len(a.Results), want)
				}
			case errors.As(tc.want, &fault):
				if !errors.As(err, &fault) || fault.Plugin != "bad" || fault.Reason != "trapped" {
					t.Errorf("%s, %s: Answer = %v, want the *PluginError", tc.name, capability, err)
				}
			default:
				if !errors.Is(err, tc.want) {
					t.Errorf("%s, %s: Answer = %v, want %v", tc.name, capability, err, tc.want)
				}
				var invalid *knowledge.InvalidError
				if errors.As(err, &invalid) && invalid.Field != "plugins[1].config" {
					t.Errorf("%s, %s: Answer = %v, want it at plugins[1].config", tc.name, capability, err)
				}
			}
			if err != nil && !reflect.DeepEqual(a, query.Answer{}) {
				t.Errorf("%s, %s: Answer gave %+v beside its error", tc.name, capability, a)
			}
		}
	}
}

func TestUnknownPlugin(t *testing.T) {
	for _, c := range []query.PluginCall{rank("nobody"), synthesize("nobody")} {
		if _, err := three(nil).Answer(t.Context(), tenant, ask(c)); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Answer with an unknown plugin = %v, want ErrNotFound", err)
		}
	}
}

// TestNothingFound: plugins are asked all the same.
func TestNothingFound(t *testing.T) {
	var seen []string
	p := plugins{"r": reversing(&seen), "s": {synthesize: func(_ context.Context, passages []query.Candidate) (query.Draft, error) {
		return query.Draft{Text: fmt.Sprintf("%d passages", len(passages))}, nil
	}}}
	e := engine(fixed(nil), p)
	a, err := e.Answer(t.Context(), tenant, ask(rank("r"), synthesize("s")))
	if err != nil || len(a.Matches) != 0 || len(a.Missing) != 0 || len(a.Receipts) != 2 {
		t.Errorf("Answer = %+v, %v, want nothing found and two receipts", a, err)
	}
	if len(seen) != 1 || len(a.Results) != 1 || a.Results[0].Text != "0 passages" || a.Results[0].Grounded {
		t.Errorf("rank saw %q and Results = %+v, want one empty set and an answer that is not grounded", seen, a.Results)
	}
	if _, err := e.Answer(t.Context(), tenant, ask(rank("nobody"))); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Answer with an unknown plugin and nothing found = %v, want ErrNotFound", err)
	}
}

func TestSynthesizersRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(text string, d time.Duration) plugin {
			return plugin{synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
				time.Sleep(d) // of the bubble
				return query.Draft{Text: text}, nil
			}}
		}
		e := three(plugins{"1": slow("1", 3*time.Second), "2": slow("2", 2*time.Second), "3": slow("3", time.Second)})
		e.Parallel = 1 // of retrievals: it does not bound these
		start := time.Now()
		a, err := e.Answer(t.Context(), tenant, ask(synthesize("1"), synthesize("2"), synthesize("3")))
		if err != nil || len(a.Results) != 3 || a.Results[0].Text != "1" || a.Results[2].Text != "3" {
			t.Errorf("Results = %+v, %v, want 1, 2 and 3 in the order of the query", a.Results, err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("calls of 3s, 2s and 1s took %v, want 3s", took)
		}
	})
}

// TestFailEndsOtherSynthesizers: nobody waits for what cannot be used.
func TestFailEndsOtherSynthesizers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting := plugin{synthesize: func(ctx context.Context, _ []query.Candidate) (query.Draft, error) {
			<-ctx.Done()
			return query.Draft{}, ctx.Err()
		}}
		bad := synthesize("bad")
		bad.OnError = query.Fail
		start := time.Now()
		_, err := three(plugins{"waits": waiting, "bad": failing(trapped())}).Answer(t.Context(), tenant, ask(synthesize("waits"), bad))
		var fault *query.PluginError
		if !errors.As(err, &fault) || time.Since(start) != 0 {
			t.Errorf("Answer = %v after %v, want the *PluginError at once", err, time.Since(start))
		}
	})
}

func TestCitations(t *testing.T) {
	const first = "Stop the server, if it's running. Größe zählt."
	const second = "Unique words beyond the shadow of a doubt."
	e := engine(fixed(map[knowledge.CollectionName]knowledge.Found{"docs": found("docs",
		knowledge.Match{ID: "a", Score: 2, Text: first}, knowledge.Match{ID: "b", Score: 1, Text: second + "            \n            "},
	)}), nil)
	for _, tc := range []struct {
		name string
		c    query.DraftCitation
		want bool
	}{
		{"right", query.DraftCitation{Index: 0, Start: 0, End: 33, Quote: first[:33]}, true},
		{"right to the end", query.DraftCitation{Index: 0, Start: 34, End: len(first), Quote: first[34:]}, true},
		{"12 bytes", query.DraftCitation{Index: 1, Start: 0, End: 13, Quote: "Unique words "}, false},
		{"12 visible bytes", query.DraftCitation{Index: 1, Start: 0, End: 14, Quote: "Unique words b"}, true},
		{"too short", query.DraftCitation{Index: 0, Start: 0, End: 4, Quote: "Stop"}, false},
		{"white space", query.DraftCitation{Index: 1, Start: len(second), End: len(second) + 25, Quote: "            \n            "}, false},
		{"wrong quote", query.DraftCitation{Index: 0, Start: 0, End: 33, Quote: "Keep the server, if it's running."}, false},
		{"of the other passage", query.DraftCitation{Index: 1, Start: 0, End: 33, Quote: first[:33]}, false},
		{"off by one", query.DraftCitation{Index: 0, Start: 1, End: 34, Quote: first[:33]}, false},
		{"quote too long", query.DraftCitation{Index: 0, Start: 0, End: 33, Quote: first[:34]}, false},
		{"beyond the end", query.DraftCitation{Index: 0, Start: 0, End: len(first) + 1, Quote: first}, false},
		{"negative", query.DraftCitation{Index: 0, Start: -1, End: 33, Quote: first[:33]}, false},
		{"backwards", query.DraftCitation{Index: 0, Start: 33, End: 0, Quote: first[:33]}, false},
		{"extremes", query.DraftCitation{Index: 0, Start: -1 << 63, End: 1<<63 - 1, Quote: first}, false},
		{"no quote", query.DraftCitation{Index: 0, Start: 5, End: 5}, false},
	} {
		e.Plugins = plugins{"s": {synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
			return query.Draft{Text: "t", Citations: []query.DraftCitation{tc.c}}, nil
		}}}
		a, err := e.Answer(t.Context(), tenant, ask(synthesize("s")))
		if err != nil || len(a.Results) != 1 || len(a.Results[0].Citations) != 1 {
			t.Errorf("%s: Results = %+v, %v, want one with its citation", tc.name, a.Results, err)
			continue
		}
		r := a.Results[0]
		want := query.Citation{
			Collection: "docs", ID: []knowledge.RecordID{"a", "b"}[tc.c.Index], Version: 7,
			Start: tc.c.Start, End: tc.c.End, Quote: tc.c.Quote, Verified: tc.want,
		}
		if r.Citations[0] != want || r.Grounded != tc.want || r.Plugin != "s" || r.Version != 3 {
			t.Errorf("%s: Result = %+v, want citation %+v, grounded %v", tc.name, r, want, tc.want)
		}
	}
}

func TestGrounded(t *testing.T) {
	const text = "Stop the server, if it's running."
	good := query.DraftCitation{Start: 0, End: len(text), Quote: text}
	inside := query.DraftCitation{Start: 5, End: 25, Quote: text[5:25]} // overlaps
	bad := query.DraftCitation{Start: 0, End: 4, Quote: "Stop"}
	for _, tc := range []struct {
		name      string
		citations []query.DraftCitation
		want      bool
	}{
		{"none", nil, false},
		{"one", []query.DraftCitation{good}, true},
		{"overlapping", []query.DraftCitation{good, inside, good}, true},
		{"the last is bad", []query.DraftCitation{good, bad}, false},
		{"the first is bad", []query.DraftCitation{bad, good}, false},
	} {
		e := engine(fixed(map[knowledge.CollectionName]knowledge.Found{"docs": found("docs", knowledge.Match{ID: "a", Text: text})}),
			plugins{"s": {synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
				return query.Draft{Citations: tc.citations}, nil
			}}})
		a, err := e.Answer(t.Context(), tenant, ask(synthesize("s")))
		if err != nil || len(a.Results) != 1 || a.Results[0].Grounded != tc.want || len(a.Results[0].Citations) != len(tc.citations) {
			t.Errorf("%s: Results = %+v, %v, want grounded %v with all citations", tc.name, a.Results, err, tc.want)
		}
	}
}

// until blocks until its context ends.
func until(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// stuck engines wait in one place each until they are told to stop.
func stuck() map[string]*query.Engine {
	in := func(ctx context.Context, _ []query.Candidate) ([]query.Candidate, error) { return nil, until(ctx) }
	return map[string]*query.Engine{
		"leg": engine(func(ctx context.Context, _ knowledge.Search) (knowledge.Found, error) {
			return knowledge.Found{}, until(ctx)
		}, plugins{"p": saying("x")}),
		"rank":        three(plugins{"p": {rank: in, synthesize: saying("x").synthesize}}),
		"synthesizer": three(plugins{"p": {rank: func(_ context.Context, c []query.Candidate) ([]query.Candidate, error) { return c, nil }, synthesize: func(ctx context.Context, _ []query.Candidate) (query.Draft, error) { return query.Draft{}, until(ctx) }}}),
	}
}

// TestDeadline: a retrieval that hangs ends the query, a plugin that hangs only
// its part of it. synctest fails if a goroutine is left when Answer has returned.
func TestDeadline(t *testing.T) {
	for where, e := range stuck() {
		for _, timeout := range []time.Duration{0, 3 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				q := ask(rank("p"), synthesize("p"))
				q.Timeout = timeout
				within := timeout
				if within == 0 {
					within = e.Timeout
				}
				start := time.Now()
				a, err := e.Answer(t.Context(), tenant, q)
				took := time.Since(start)
				if where == "leg" {
					if !errors.Is(err, context.DeadlineExceeded) || took != within || !reflect.DeepEqual(a, query.Answer{}) {
						t.Errorf("stuck in a leg: Answer = %v after %v, want DeadlineExceeded after %v", err, took, within)
					}
					return
				}
				if err != nil || took >= within || len(a.Missing) != 1 || a.Missing[0].Reason != "deadline" || order(a.Matches) != "a b c" {
					t.Errorf("stuck in a %s: Answer = %+v, %v after %v, want one missing for its deadline, within %v", where, a.Missing, err, took, within)
				}
				if where == "rank" && len(a.Results) != 1 {
					t.Errorf("stuck in a %s: %d results, want that of the synthesizer, which has its own time", where, len(a.Results))
				}
			})
		}
	}
}

func TestCallerCancels(t *testing.T) {
	for where, e := range stuck() {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			_, err := e.Answer(ctx, tenant, ask(rank("p"), synthesize("p")))
			if !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
				t.Errorf("stuck in a %s: Answer = %v after %v, want Canceled after 1s", where, err, time.Since(start))
			}
		})
	}
}

// TestEndOfTimeHidesWhatFollows: when the time of a call is over, what it says of
// that is not the reason.
func TestEndOfTimeHidesWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := three(plugins{"p": {rank: func(ctx context.Context, _ []query.Candidate) ([]query.Candidate, error) {
			<-ctx.Done()
			return nil, errors.New("connection closed")
		}}})
		if a, err := e.Answer(t.Context(), tenant, ask(rank("p"))); err != nil || len(a.Missing) != 1 || a.Missing[0].Reason != "deadline" {
			t.Errorf("Answer = %+v, %v, want one missing for its deadline", a.Missing, err)
		}
	})
}

func TestSearchDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := stuck()["leg"]
		start := time.Now()
		_, err := e.Search(t.Context(), tenant, query.SearchText{Search: knowledge.Search{Collection: "docs", Limit: 1}, Text: "t"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != e.Timeout {
			t.Errorf("Search = %v after %v, want DeadlineExceeded after %v", err, time.Since(start), e.Timeout)
		}
	})
}
