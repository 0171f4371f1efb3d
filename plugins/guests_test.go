package plugins_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// The tests of this file run guests on the real engine. Those that the Go compiler
// made go the whole way of a query: store, engine, runner, host, guest and back.

const manual = knowledge.CollectionName("manual")

// texts of the records, nearest first to the vector (1, 0).
var passages = []struct{ id, text string }{
	{"pitr", "Größe zählt nicht. To restore to a point in time, stop the server, then restore the base backup and set recovery_target_time."},
	{"vacuum", "Routine vacuuming reclaims the storage of dead rows and keeps the visibility map current."},
	{"index", "An index allows the database server to find specific rows much faster."},
}

// engineOn returns an engine over a store with the passages above in the
// collection manual, and nothing in the collection empty.
func engineOn(t *testing.T, n *node) *query.Engine {
	t.Helper()
	store := memstore.New(memstore.Options{})
	for _, name := range []knowledge.CollectionName{manual, "empty"} {
		c := knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{ID: knowledge.NoEmbedder, Dimension: 2}}
		if _, _, err := store.PutCollection(t.Context(), alice, c); err != nil {
			t.Fatalf("PutCollection = %v, want nil", err)
		}
	}
	var records []knowledge.Record
	for i, p := range passages {
		records = append(records, knowledge.Record{ID: knowledge.RecordID(p.id), Text: p.text, Vector: []float32{1, float32(i)}})
	}
	if _, err := store.PutRecords(t.Context(), alice, manual, knowledge.Write{Records: records}); err != nil {
		t.Fatalf("PutRecords = %v, want nil", err)
	}
	return &query.Engine{Store: store, Plugins: n.runner, Parallel: 2, Timeout: 30 * time.Second}
}

func asking(collection knowledge.CollectionName, calls ...query.PluginCall) query.Query {
	return query.Query{
		Text:    "how do I restore to a point in time?",
		Legs:    []query.Leg{{Collection: collection, Vector: []float32{1, 0}}},
		Plugins: calls,
	}
}

// realNode has a guest from plugins/guests on the real engine, uploaded for
// alice.
func realNode(t *testing.T, guest string) *node {
	t.Helper()
	n := newNode(t, wazerovm.New(nil), 4)
	m := manifest(plugins.Name(guest))
	m.Capabilities = []plugins.Capability{plugins.Guard, plugins.Merge, plugins.Rank, plugins.Synthesize}
	m.Grants = []plugins.Grant{plugins.GrantEmbed, plugins.GrantLog, plugins.GrantVectors}
	n.upload(t, alice, m, vmhosttest.Guest(t, guest))
	return n
}

func matchesOf(a query.Answer) string {
	var list []string
	for _, m := range a.Matches {
		list = append(list, string(m.ID))
	}
	return strings.Join(list, " ")
}

// TestLiar: each lie is the right *query.PluginError, in which the query is
// otherwise as if the plugin had not been there; what is merely untrue is shown
// as unverified.
func TestLiar(t *testing.T) {
	n := realNode(t, "liar")
	e := engineOn(t, n)
	common := []string{"", "bad-json", "empty", "null", "array", "deep", "trailing", "unknown-member", "bad-utf8"}
	indices := []string{"no-members", "out-of-range", "negative"}
	scores := slices.Concat(common, indices, []string{"duplicate-member", "fraction", "repeated", "nan", "infinite", "no-score", "long-reason"})
	both := slices.Concat(common, []string{"long-refusal", "other-stage"})
	for _, c := range []struct {
		capability query.Capability
		stage      query.GuardStage
		modes      []string
	}{
		{query.Guard, query.Pre, slices.Concat(both, []string{"no-limit", "no-leg", "narrow-no-leg", "narrow-twice", "bad-filter", "no-filter"})},
		{query.Guard, query.Post, slices.Concat(both, []string{"out-of-range", "negative", "redact-no-candidate", "redact-beyond-end", "redact-negative", "redact-backwards", "redact-nothing", "redact-inside-rune", "redact-no-end", "hide-no-candidate", "hide-no-fields"})},
		{query.Merge, "", scores},
		{query.Rank, "", scores},
		{query.Synthesize, "", slices.Concat(common, indices, []string{"backwards", "beyond-end", "inside-rune"})},
	} {
		call := query.PluginCall{Name: "liar", Capability: c.capability, Stage: c.stage}
		t.Run(fmt.Sprint(c.capability, c.stage), func(t *testing.T) { testLies(t, e, call, c.modes) })
	}
	for _, mode := range []string{"wrong-quote", "wrong-length"} {
		a, err := lying(t, e, query.PluginCall{Name: "liar", Capability: query.Synthesize, OnError: query.Fail}, mode)
		if err != nil || len(a.Results) != 1 || a.Results[0].Grounded || len(a.Results[0].Citations) != 1 || a.Results[0].Citations[0].Verified {
			t.Errorf("Answer by %s = %+v, %v, want a result whose citation is not verified", mode, a.Results, err)
		}
	}
}

// lying asks a query that calls the guest liar in one of its modes.
func lying(t *testing.T, e *query.Engine, call query.PluginCall, mode string) (query.Answer, error) {
	t.Helper()
	config, err := json.Marshal(map[string]string{"mode": mode})
	if err != nil {
		t.Fatal(err)
	}
	call.Config = config
	return e.Answer(t.Context(), alice, asking(manual, call))
}

// testLies: the modes are refused as output, and errors of the guest are errors.
func testLies(t *testing.T, e *query.Engine, call query.PluginCall, modes []string) {
	want := map[string]string{"error": "error", "bad-error": "error", "no-such-mode": "error"}
	for _, mode := range modes {
		want[mode] = "output"
	}
	for mode, reason := range want {
		t.Run(mode, func(t *testing.T) {
			call.OnError = query.Skip
			a, err := lying(t, e, call, mode)
			if err != nil || len(a.Missing) != 1 || a.Missing[0].Reason != reason || a.Missing[0].Source != "plugin liar" {
				t.Errorf("Answer = missing %+v, %v, want the plugin with the reason %s", a.Missing, err, reason)
			}
			if matchesOf(a) != "pitr vacuum index" || len(a.Results) != 0 || len(a.Receipts) != 1 {
				t.Errorf("Answer = %s, results %v, %d receipts, want the store's order, no result, and the receipt", matchesOf(a), a.Results, len(a.Receipts))
			}
			call.OnError = query.Fail
			_, err = lying(t, e, call, mode)
			var fault *query.PluginError
			if !errors.As(err, &fault) || fault.Reason != reason || fault.Detail == "" || len(fault.Detail) > 8<<10 {
				t.Errorf("Answer under fail = %v, want a *PluginError with the reason %s and a detail of bounded length", err, reason)
			}
		})
	}
}

// upwards is an embedder for which every text is the vector (0, 1).
type upwards struct{}

func (upwards) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: "upwards", Dimension: 2}
}

func (upwards) Embed(_ context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
	all := make([][]float32, len(texts))
	for i := range all {
		all[i] = []float32{0, 1}
	}
	return all, nil
}

func (u upwards) For(context.Context, knowledge.TenantID, knowledge.Collection) (knowledge.Embedder, error) {
	return u, nil
}

// TestGuestsOfStages: the guests of each stage do in a query what they are for.
func TestGuestsOfStages(t *testing.T) {
	n := newNode(t, wazerovm.New(nil), 4)
	for name, capability := range map[plugins.Name]plugins.Capability{"rerank": plugins.Rank, "dedupe": plugins.Merge, "guardian": plugins.Guard} {
		m := plugins.Manifest{Name: name, Capabilities: []plugins.Capability{capability}, Limits: plugins.Limits{HostCalls: 4}}
		if name == "rerank" {
			m.Grants = []plugins.Grant{plugins.GrantEmbed, plugins.GrantVectors}
		}
		n.upload(t, alice, m, vmhosttest.Guest(t, string(name)))
	}
	e := engineOn(t, n)
	e.Embedders = upwards{}
	c := knowledge.Collection{Name: "upwards", Embedder: upwards{}.Info()}
	if _, _, err := e.Store.(*memstore.Store).PutCollection(t.Context(), alice, c); err != nil {
		t.Fatal(err)
	}
	var records []knowledge.Record
	for i, text := range []string{"The same words.", "the SAME words", "Write to kim@example.com", "A secret."} {
		records = append(records, knowledge.Record{
			ID: knowledge.RecordID(fmt.Sprint(i)), Text: text, Vector: []float32{1, float32(i)},
			Metadata: map[string]any{"secret": i == 3, "place": fmt.Sprint(i % 2)},
		})
	}
	if _, err := e.Store.(*memstore.Store).PutRecords(t.Context(), alice, "upwards", knowledge.Write{Records: records}); err != nil {
		t.Fatal(err)
	}
	call := func(name string, capability query.Capability, stage query.GuardStage, config string) query.PluginCall {
		return query.PluginCall{Name: name, Capability: capability, Stage: stage, OnError: query.Fail, Config: json.RawMessage(config)}
	}
	for _, tc := range []struct {
		name  string
		calls []query.PluginCall
		want  string // ids, best first
	}{
		{"none", nil, "0 1 2 3"},
		{"merge without what begins alike", []query.PluginCall{call("dedupe", query.Merge, "", `{}`)}, "0 2 3"},
		{"rank by stored vectors", []query.PluginCall{call("rerank", query.Rank, "", `{"by":"vector"}`)}, "3 2 1 0"},
		{"narrowed", []query.PluginCall{call("guardian", query.Guard, query.Pre, `{"narrow":{"field":"place","eq":"1"}}`)}, "1 3"},
		{"guarded", []query.PluginCall{call("guardian", query.Guard, query.Post, `{}`)}, "0 1 2"},
		{"all at once", []query.PluginCall{
			call("guardian", query.Guard, query.Post, `{}`), call("rerank", query.Rank, "", `{}`), call("dedupe", query.Merge, "", `{}`),
		}, "2 0"},
	} {
		a, err := e.Answer(t.Context(), alice, asking("upwards", tc.calls...))
		if err != nil || matchesOf(a) != tc.want || len(a.Missing) != 0 {
			t.Errorf("%s: Answer = %q, missing %+v, %v, want %q", tc.name, matchesOf(a), a.Missing, err, tc.want)
		}
		for _, m := range a.Matches {
			if guarded := strings.HasPrefix(tc.name, "guarded") || strings.HasPrefix(tc.name, "all"); m.ID == "2" && strings.Contains(m.Text, "@") == guarded {
				t.Errorf("%s: the text of 2 is %q, want the address redacted if a guard was there", tc.name, m.Text)
			}
		}
	}
	_, err := e.Answer(t.Context(), alice, asking("upwards", call("guardian", query.Guard, query.Pre, `{"refuse":["RESTORE"]}`)))
	if !errors.Is(err, knowledge.ErrForbidden) {
		t.Errorf("Answer to a refused question = %v, want ErrForbidden", err)
	}
}

func TestCited(t *testing.T) {
	e := engineOn(t, realNode(t, "cited"))
	rank := query.PluginCall{Name: "cited", Capability: query.Rank, OnError: query.Fail}
	synthesize := query.PluginCall{Name: "cited", Capability: query.Synthesize, OnError: query.Fail}
	a, err := e.Answer(t.Context(), alice, asking(manual, rank, synthesize))
	if err != nil || len(a.Results) != 1 || len(a.Missing) != 0 {
		t.Fatalf("Answer = %+v, %v, want one result", a, err)
	}
	r := a.Results[0]
	if !r.Grounded || len(r.Citations) == 0 || r.Citations[0].ID != "pitr" || !strings.Contains(r.Text, "restore") || r.Version != 1 {
		t.Errorf("Result = %+v, want an answer grounded in pitr", r)
	}
	for _, c := range r.Citations {
		if !c.Verified || c.Collection != manual || c.Version != 1 {
			t.Errorf("citation %+v, want it verified, of record version 1", c)
		}
	}
	if !strings.HasPrefix(matchesOf(a), "pitr ") || len(a.Receipts) != 2 || a.Receipts[0].Capability != query.Rank || a.Receipts[1].PeakMemory == 0 {
		t.Errorf("matches %s and receipts %+v, want pitr first and one for each call", matchesOf(a), a.Receipts)
	}
	// With nothing found it has nothing to say, and says so.
	a, err = e.Answer(t.Context(), alice, asking("empty", rank, synthesize))
	if err != nil || len(a.Matches) != 0 || len(a.Results) != 1 || a.Results[0].Grounded || len(a.Results[0].Citations) != 0 {
		t.Errorf("Answer of nothing found = %+v, %v, want a result that is not grounded", a, err)
	}
}

// exactNode has a guest of the drivers' suite, which does what its name says when
// its input begins with "!", uploaded for alice. They are small: a compiled one
// takes ten seconds to load under the race detector.
func exactNode(t *testing.T, guest string) *node {
	t.Helper()
	n := newNode(t, wazerovm.New(nil), 4)
	m := manifest(plugins.Name(guest))
	m.Limits = plugins.Limits{Memory: 4 << 20, Output: 64 << 10, Wall: 300 * time.Millisecond}
	n.upload(t, alice, m, vmhosttest.ExactGuest(t, guest))
	return n
}

// TestEndsOfGuests: what ends a guest is told by its word, and the next call is
// as the first.
func TestEndsOfGuests(t *testing.T) {
	for guest, want := range map[string]string{
		"trap": "trapped", "hog": "memory", "flood": "output", "binary": "output", "refusal": "error", "loop": "deadline",
	} {
		t.Run(guest, func(t *testing.T) {
			n := exactNode(t, guest)
			for range 2 {
				_, err := n.runner.Invoke(t.Context(), alice, plugins.Name(guest), plugins.Ref{}, "rank", []byte("!"), false)
				if got := reason(t, "Invoke", err); got != want {
					t.Errorf("Invoke = %q (%v), want %q", got, err, want)
				}
				got, err := n.runner.Invoke(t.Context(), alice, plugins.Name(guest), plugins.Ref{}, "rank", []byte("{}"), false)
				if err != nil || string(got.Output) != "{}" {
					t.Errorf("Invoke afterwards = %s, %v, want {}, nil", got.Output, err)
				}
			}
		})
	}
}

// TestStateIsFresh: no call sees what another left.
func TestStateIsFresh(t *testing.T) {
	n := exactNode(t, "state")
	for range 3 {
		got, err := n.runner.Invoke(t.Context(), alice, "state", plugins.Ref{}, "rank", []byte("{}"), false)
		if err != nil || string(got.Output) != "11" {
			t.Errorf("Invoke = %s, %v, want 11, nil: a count of 1 in both of its places", got.Output, err)
		}
	}
}

// TestLoopEndsWithItsCaller: a guest that never ends does not outlive the call.
func TestLoopEndsWithItsCaller(t *testing.T) {
	n := exactNode(t, "loop")
	invoke := func(ctx context.Context) error {
		_, err := n.runner.Invoke(ctx, alice, "loop", plugins.Ref{}, "rank", []byte("!"), false)
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := invoke(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Invoke = %v, want DeadlineExceeded", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := invoke(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Invoke when cancelled = %v, want Canceled", err)
	}
}
