package plugins_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	m.Grants = []plugins.Grant{plugins.GrantLog}
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
	always := []string{"", "bad-json", "empty", "null", "array", "deep", "no-members", "trailing", "unknown-member", "bad-utf8", "out-of-range", "negative"}
	lies := map[query.Capability][]string{
		query.Rank:       append(always, "duplicate-member", "fraction", "repeated", "nan", "infinite", "no-score", "long-reason"),
		query.Synthesize: append(always, "backwards", "beyond-end", "inside-rune"),
	}
	ask := func(t *testing.T, capability query.Capability, mode string, onError query.OnError) (query.Answer, error) {
		t.Helper()
		config, err := json.Marshal(map[string]string{"mode": mode})
		if err != nil {
			t.Fatal(err)
		}
		return e.Answer(t.Context(), alice, asking(manual, query.PluginCall{Name: "liar", Capability: capability, Config: config, OnError: onError}))
	}
	for capability, modes := range lies {
		want := map[string]string{"error": "error", "bad-error": "error", "no-such-mode": "error"}
		for _, mode := range modes {
			want[mode] = "output"
		}
		for mode, reason := range want {
			t.Run(fmt.Sprintf("%s %s", capability, mode), func(t *testing.T) {
				a, err := ask(t, capability, mode, query.Skip)
				if err != nil || len(a.Missing) != 1 || a.Missing[0].Reason != reason || a.Missing[0].Source != "plugin liar" {
					t.Errorf("Answer = missing %+v, %v, want the plugin with the reason %s", a.Missing, err, reason)
				}
				if matchesOf(a) != "pitr vacuum index" || len(a.Results) != 0 || len(a.Receipts) != 1 {
					t.Errorf("Answer = %s, results %v, %d receipts, want the store's order, no result, and the receipt", matchesOf(a), a.Results, len(a.Receipts))
				}
				_, err = ask(t, capability, mode, query.Fail)
				var fault *query.PluginError
				if !errors.As(err, &fault) || fault.Reason != reason || fault.Detail == "" || len(fault.Detail) > 8<<10 {
					t.Errorf("Answer under fail = %v, want a *PluginError with the reason %s and a detail of bounded length", err, reason)
				}
			})
		}
	}
	for _, mode := range []string{"wrong-quote", "wrong-length"} {
		a, err := ask(t, query.Synthesize, mode, query.Fail)
		if err != nil || len(a.Results) != 1 || a.Results[0].Grounded || len(a.Results[0].Citations) != 1 || a.Results[0].Citations[0].Verified {
			t.Errorf("Answer by %s = %+v, %v, want a result whose citation is not verified", mode, a.Results, err)
		}
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
				_, err := n.runner.Invoke(t.Context(), alice, plugins.Name(guest), plugins.Ref{}, "rank", []byte("!"))
				if got := reason(t, "Invoke", err); got != want {
					t.Errorf("Invoke = %q (%v), want %q", got, err, want)
				}
				got, err := n.runner.Invoke(t.Context(), alice, plugins.Name(guest), plugins.Ref{}, "rank", []byte("{}"))
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
		got, err := n.runner.Invoke(t.Context(), alice, "state", plugins.Ref{}, "rank", []byte("{}"))
		if err != nil || string(got.Output) != "11" {
			t.Errorf("Invoke = %s, %v, want 11, nil: a count of 1 in both of its places", got.Output, err)
		}
	}
}

// TestLoopEndsWithItsCaller: a guest that never ends does not outlive the call.
func TestLoopEndsWithItsCaller(t *testing.T) {
	n := exactNode(t, "loop")
	invoke := func(ctx context.Context) error {
		_, err := n.runner.Invoke(ctx, alice, "loop", plugins.Ref{}, "rank", []byte("!"))
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
