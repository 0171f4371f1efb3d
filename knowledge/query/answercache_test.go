package query_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// keeping is a store whose collections keep answers.
type keeping struct {
	*store
	cache    map[knowledge.CollectionName]knowledge.AnswerCache
	versions map[knowledge.CollectionName]int64
	expiry   map[knowledge.CollectionName]time.Time
	view     *knowledge.View
	asked    atomic.Int32 // searches
}

func (k *keeping) Resolve(ctx context.Context, of knowledge.TenantID, name knowledge.CollectionName) (knowledge.Resolved, error) {
	r, err := k.store.Resolve(ctx, of, name)
	r.Cache, r.View = k.cache[name], k.view
	return r, err
}

func (k *keeping) Search(ctx context.Context, of knowledge.TenantID, s knowledge.Search) (knowledge.Found, error) {
	k.asked.Add(1)
	return k.store.Search(ctx, of, s)
}

func (k *keeping) WriteVersions(_ context.Context, _ knowledge.TenantID, names []knowledge.CollectionName) ([]int64, error) {
	versions := make([]int64, len(names))
	for i, n := range names {
		versions[i] = k.versions[n]
	}
	return versions, nil
}

func (k *keeping) EarliestExpiry(_ context.Context, _ knowledge.TenantID, name knowledge.CollectionName, _ []knowledge.RecordID) (time.Time, error) {
	return k.expiry[name], nil
}

// cachedEngine is an engine over docs and more, which keep answers, and bare ones.
func cachedEngine(p plugins) (*query.Engine, *keeping) {
	week := knowledge.AnswerCache{MaxAge: time.Hour}
	k := &keeping{
		store: &store{search: func(_ context.Context, s knowledge.Search) (knowledge.Found, error) {
			return found(s.Collection, match("a", 3), match("b", 2), match("c", 1)), nil
		}},
		cache:    map[knowledge.CollectionName]knowledge.AnswerCache{"docs": week, "more": week},
		versions: map[knowledge.CollectionName]int64{"docs": 1, "more": 1},
	}
	e := &query.Engine{Store: k, Embedders: &embedder{}, Plugins: p, Parallel: 1, Timeout: 10 * time.Second, Answers: query.NewAnswerCache(1 << 20)}
	return e, k
}

func asking(text string, calls ...query.PluginCall) query.Query {
	return query.Query{Text: text, Limit: 10, Legs: []query.Leg{{Collection: "docs", Mode: query.Vector}}, Plugins: append([]query.PluginCall{}, calls...)}
}

// hit asks and reports whether the answer was kept.
func hit(t *testing.T, e *query.Engine, q query.Query) bool {
	t.Helper()
	a, err := e.Answer(t.Context(), tenant, q)
	if err != nil {
		t.Fatalf("Answer = %v, want nil", err)
	}
	return a.Cache != nil && a.Cache.Hit
}

func TestAnswersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := plugins{"s": {synthesize: func(context.Context, []query.Candidate) (query.Draft, error) {
			calls++
			return query.Draft{Text: fmt.Sprint(calls)}, nil
		}}}
		e, k := cachedEngine(p)
		q := asking("four", synthesize("s"))
		first, err := e.Answer(t.Context(), tenant, q)
		if err != nil || first.Cache == nil || first.Cache.Hit {
			t.Fatalf("Answer = %+v, %v, want a miss", first.Cache, err)
		}
		time.Sleep(time.Minute)
		var parts []query.Part
		second, err := e.Stream(t.Context(), tenant, q, func(p query.Part) error { parts = append(parts, p); return nil })
		if err != nil || second.Cache == nil || !second.Cache.Hit || second.Cache.Age != time.Minute || calls != 1 || k.asked.Load() != 1 {
			t.Errorf("Answer again = %+v, %v with %d calls and %d searches, want a hit of a minute and nothing asked", second.Cache, err, calls, k.asked.Load())
		}
		if !second.Receipts[0].Cached || first.Receipts[0].Cached || second.Results[0].Text != "1" || order(second.Matches) != order(first.Matches) || len(parts) != 3 {
			t.Errorf("the kept answer is %+v in %d parts, want the first one with its receipt marked, in 3", second, len(parts))
		}
		for _, step := range []struct {
			what   string
			change func()
		}{
			{"a write", func() { k.versions["docs"]++ }},
			{"its time", func() { time.Sleep(time.Hour) }},
			{"a change of the view", func() { k.view = &knowledge.View{Filter: knowledge.Filter{Op: knowledge.OpExists, Field: "x"}} }},
			{"a change of the definition", func() { k.cache["docs"] = knowledge.AnswerCache{MaxAge: time.Minute} }},
			{"its minute", func() { time.Sleep(time.Minute) }},
			{"the end of keeping", func() { k.cache["docs"] = knowledge.AnswerCache{} }},
		} {
			hit(t, e, q)
			if !hit(t, e, q) {
				t.Errorf("before %s there is no hit", step.what)
			}
			step.change()
			if hit(t, e, q) {
				t.Errorf("after %s there is a hit", step.what)
			}
		}
	})
}

// TestExpiryEndsAnswers: an answer goes when a record of it expires, or one that a
// plugin found.
func TestExpiryEndsAnswers(t *testing.T) {
	for _, name := range []knowledge.CollectionName{"docs", "more"} {
		synctest.Test(t, func(t *testing.T) {
			var e *query.Engine
			e, k := cachedEngine(plugins{"s": searching(&e, "more")})
			k.expiry = map[knowledge.CollectionName]time.Time{name: time.Now().Add(10 * time.Second)}
			q := asking("four", synthesize("s"))
			hit(t, e, q)
			time.Sleep(9 * time.Second)
			if !hit(t, e, q) {
				t.Errorf("before a record of %s expires there is no hit", name)
			}
			time.Sleep(time.Second)
			if hit(t, e, q) {
				t.Errorf("after a record of %s has expired there is a hit", name)
			}
		})
	}
}

// searching is a plugin that searches a collection.
func searching(e **query.Engine, collection knowledge.CollectionName) plugin {
	return plugin{synthesize: func(ctx context.Context, _ []query.Candidate) (query.Draft, error) {
		_, err := (*e).Search(ctx, tenant, query.SearchText{Search: knowledge.Search{Collection: collection, Vector: []float32{1, 1}, Limit: 1}})
		return query.Draft{}, err
	}}
}

// TestDistance: the embedder of these tests makes of a text its length and one.
func TestDistance(t *testing.T) {
	e, k := cachedEngine(nil)
	k.cache["docs"] = knowledge.AnswerCache{MaxAge: time.Hour, MaxDistance: 0.01}
	hit(t, e, asking("twelve bytes"))
	for text, want := range map[string]bool{"twelve bytes": true, "other  bytes": true, "thirteen byte": true, "x": false} {
		q := asking(text)
		a, err := e.Answer(t.Context(), tenant, q)
		if err != nil || (a.Cache != nil && a.Cache.Hit) != want {
			t.Errorf("Answer to %q = %+v, %v, want a hit: %v", text, a.Cache, err, want)
		}
	}
	k.cache["docs"] = knowledge.AnswerCache{MaxAge: time.Hour}
	hit(t, e, asking("twelve bytes"))
	if hit(t, e, asking("other  bytes")) {
		t.Error("with the distance 0 another text is a hit")
	}
}

// TestNotKept: what could be another answer the next time.
func TestNotKept(t *testing.T) {
	clocked := query.PluginCall{Name: "clock", Capability: query.Synthesize}
	recorded := synthesize("s")
	recorded.Record = true
	skipping := call("g", query.Guard)
	skipping.OnError = query.Skip
	vector := asking("q")
	vector.Legs[0].Vector = []float32{1, 1}
	bare := asking("q")
	bare.Legs = append(bare.Legs, query.Leg{Collection: "plain", Mode: query.Vector})
	uncached, explained := asking("q"), asking("q")
	uncached.Uncached, explained.Stages.Explain = true, true
	var e *query.Engine
	p := plugins{
		"s": saying("x"), "clock": saying("now"), "bad": failing(trapped()), "g": deciding(query.Verdict{}), "searches": searching(&e, "plain"),
		"long": saying(strings.Repeat("x", 300<<10)),
	}
	e, _ = cachedEngine(p)
	e.Plugins = clocks{e.Plugins}
	for name, q := range map[string]query.Query{
		"a plugin that sees the time": asking("q", clocked), "a recorded call": asking("q", recorded), "a guard that may fail open": asking("q", skipping),
		"a vector": vector, "a collection that keeps none": bare, "on request": uncached, "explained": explained,
		"something is missing": asking("q", synthesize("bad")), "a plugin that searches where none is kept": asking("q", synthesize("searches")),
		"an answer that is too long": asking("q", synthesize("long")),
	} {
		for range 2 {
			if hit(t, e, q) {
				t.Errorf("%s: there is a hit", name)
			}
		}
	}
	hit(t, e, asking("q", synthesize("s")))
	if !hit(t, e, asking("q", synthesize("s"))) {
		t.Error("a usual query is not kept")
	}
}

// clocks lets the plugin "clock" see the time.
type clocks struct{ query.Plugins }

func (c clocks) Find(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall) (query.Version, error) {
	v, err := c.Plugins.Find(ctx, tenant, call)
	v.Clock = call.Name == "clock"
	return v, err
}

// TestSearchesOfPluginsCount: what a plugin read counts as what the legs read.
func TestSearchesOfPluginsCount(t *testing.T) {
	var e *query.Engine
	e, k := cachedEngine(plugins{"s": searching(&e, "more")})
	q := asking("q", synthesize("s"))
	hit(t, e, q)
	if !hit(t, e, q) {
		t.Error("there is no hit")
	}
	k.versions["more"]++
	if hit(t, e, q) {
		t.Error("after the collection that the plugin searched was written there is a hit")
	}
}

// TestWritesDuringAQuery: what is written while a query runs makes its answer stale.
func TestWritesDuringAQuery(t *testing.T) {
	e, k := cachedEngine(nil)
	plain := k.search
	k.search = func(ctx context.Context, s knowledge.Search) (knowledge.Found, error) {
		k.versions["docs"]++
		return plain(ctx, s)
	}
	hit(t, e, asking("q"))
	k.search = plain
	if hit(t, e, asking("q")) {
		t.Error("an answer that a write overtook is a hit")
	}
}

// TestKeysOfAnswers walks through all that a query can say: whatever differs, the
// answer is not that of the other, or the query is refused.
func TestKeysOfAnswers(t *testing.T) {
	full := func() query.Query {
		q := asking("four", rank("r"), call("g", query.Guard), synthesize("s"))
		half, one := 0.5, 1.0
		q.Plugins[0].Group, q.Plugins[0].Weight, q.Plugins[0].Config = "g", 2, json.RawMessage(`{"a":1}`)
		q.Plugins[1].Stage, q.Plugins[0].Version = query.Post, "1"
		q.Legs[0].Filter = knowledge.Filter{Op: knowledge.OpEq, Field: "f", Values: []any{"v"}}
		q.Legs[0].Text, q.Legs[0].Candidates, q.Legs[0].Weight = "other", 20, 2
		q.Stages = query.Stages{
			Fusion: query.Fusion{Method: query.RRF, K: 10, VectorWeight: &one, LexicalWeight: &half}, MinScore: &half,
			Diversify: &query.Diversify{Lambda: &half, Candidates: 10},
		}
		q.Unverified, q.Deterministic, q.Seed = query.Mark, true, "seed"
		return q
	}
	e, _ := cachedEngine(plugins{"r": {scores: func(context.Context, query.Task) ([]query.Scored, error) { return nil, nil }}, "g": deciding(query.Verdict{}), "s": saying("x"), "s2": saying("y"), "r2": {scores: scoring(1, 2, 3)}})
	// What may differ without another answer: how long it may take; the text itself
	// is compared apart.
	same := map[string]bool{"Timeout": true, "Legs[0].Timeout": true}
	for i := range full().Plugins { // and by what name a digest was found
		same[fmt.Sprintf("Plugins[%d].Timeout", i)], same[fmt.Sprintf("Plugins[%d].Version", i)] = true, true
	}
	tried := 0
	for path, change := range changesOf(full()) {
		tried++
		base, changed := full(), full()
		change(&changed)
		e.Answers = query.NewAnswerCache(1 << 20)
		if _, err := e.Answer(t.Context(), tenant, base); err != nil {
			t.Fatalf("Answer = %v, want nil", err)
		}
		a, err := e.Answer(t.Context(), tenant, changed)
		if err == nil && a.Cache != nil && a.Cache.Hit && !same[path] {
			t.Errorf("a query that differs in %s got the answer of the other", path)
		}
		if same[path] && (err != nil || a.Cache == nil || !a.Cache.Hit) {
			t.Errorf("a query that differs in %s alone = %+v, %v, want the same answer", path, a.Cache, err)
		}
	}
	if tried < 25 {
		t.Errorf("%d changes were tried, want all that a query can say", tried)
	}
	limited := knowledge.LimitToViews(t.Context(), []knowledge.CollectionName{"docs"})
	e.Answers = query.NewAnswerCache(1 << 20)
	for _, ctx := range []context.Context{t.Context(), limited} {
		if a, err := e.Answer(ctx, tenant, full()); err != nil || a.Cache.Hit {
			t.Errorf("Answer = %+v, %v, want no answer of who may see more or less", a.Cache, err)
		}
	}
}

// changesOf are changes of a query, one for each exported field below it.
func changesOf(q query.Query) map[string]func(*query.Query) {
	changes := map[string]func(*query.Query){}
	var walk func(path string, v reflect.Value, at func(*query.Query) reflect.Value)
	walk = func(path string, v reflect.Value, at func(*query.Query) reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(strings.TrimPrefix(path+"."+f.Name, "."), v.Field(i), func(q *query.Query) reflect.Value { return at(q).Field(i) })
				}
			}
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem(), func(q *query.Query) reflect.Value { return at(q).Elem() })
			}
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Uint8 {
				changes[path] = func(q *query.Query) { at(q).SetBytes([]byte(`{"a":2}`)) }
				return
			}
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), func(q *query.Query) reflect.Value { return at(q).Index(i) })
			}
		case reflect.Interface:
			changes[path] = func(q *query.Query) { at(q).Set(reflect.ValueOf("another")) }
		case reflect.String:
			changes[path] = func(q *query.Query) { at(q).SetString(at(q).String() + "2") }
		case reflect.Bool:
			changes[path] = func(q *query.Query) { at(q).SetBool(!at(q).Bool()) }
		case reflect.Int, reflect.Int64:
			changes[path] = func(q *query.Query) {
				at(q).SetInt(at(q).Int() + int64(time.Second)*btoi(strings.HasSuffix(path, "Timeout")) + btoi(!strings.HasSuffix(path, "Timeout")))
			}
		case reflect.Float64:
			changes[path] = func(q *query.Query) { at(q).SetFloat(at(q).Float()/2 + 0.125) }
		}
	}
	walk("", reflect.ValueOf(q), func(q *query.Query) reflect.Value { return reflect.ValueOf(q).Elem() })
	return changes
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// TestAnswersAreBounded: the oldest go, and one tenant does not push out the others.
func TestAnswersAreBounded(t *testing.T) {
	e, _ := cachedEngine(nil)
	e.Answers = query.NewAnswerCache(40 << 10)
	for i := range 500 {
		hit(t, e, asking(fmt.Sprintf("question %d", i)))
	}
	s := e.Answers.Stats()
	if s.Bytes > 10<<10 || s.Answers < 2 || s.Misses != 500 {
		t.Errorf("the cache of 40 KiB has %+v, want at most a quarter of one tenant's", s)
	}
	if !hit(t, e, asking("question 499")) || hit(t, e, asking("question 0")) {
		t.Error("want the newest kept, and the oldest gone")
	}
}
