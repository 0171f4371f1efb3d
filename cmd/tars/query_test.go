package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// answered is what these tests look at of an answer.
type answered struct {
	Matches []struct {
		Collection, ID, Text string
		Score                float64
	}
	Results []struct {
		Call     int
		Plugin   string
		Text     string
		Grounded bool
	}
	Missing []struct {
		Call   int
		Reason string
	}
	Receipts []struct {
		Call int
		Tier string
		Fuel int64
	}
	Stages []struct {
		Stage string
		Calls []struct{ Call int }
	}
	TookMs float64 `json:"took_ms"`
}

// library makes so many collections, each of three records, and returns legs over
// them all.
func library(t *testing.T, client *rest.Client, collections int) []any {
	t.Helper()
	var legs []any
	for i := range collections {
		name := fmt.Sprintf("c%d", i)
		do(t, client, http.MethodPut, "/v1/collections/"+name, map[string]any{"embedder": "local-fast"}, nil)
		do(t, client, http.MethodPost, "/v1/collections/"+name+"/records", records(
			map[string]any{"id": "backup", "text": fmt.Sprintf("A base backup of cluster %d is taken with pg_basebackup while the server runs.", i)},
			map[string]any{"id": "restore", "text": fmt.Sprintf("To restore cluster %d, stop the server and copy the backup to its place.", i)},
			map[string]any{"id": "vacuum", "text": "VACUUM reclaims storage occupied by dead tuples."},
		), nil)
		legs = append(legs, map[string]any{"collection": name})
	}
	return legs
}

// uploadNamed uploads a guest under its name with a manifest of the test's.
func uploadNamed(t *testing.T, client *rest.Client, name, capabilities, limits string) {
	t.Helper()
	manifest := fmt.Appendf(nil, `{"abi":1,"name":%q,"capabilities":%s,"grants":["log"],"limits":%s}`, name, capabilities, limits)
	if _, err := client.Upload(t.Context(), "/v1/plugins/"+name+"/versions", manifest, vmhosttest.Guest(t, name), nil); err != nil {
		t.Fatalf("upload %s: %v", name, err)
	}
	do(t, client, http.MethodPut, "/v1/plugins/"+name+"/aliases/live", map[string]any{"version": 1}, nil)
}

// TestHostileQuery: a query with 16 legs and 16 plugins, of which three trap, one
// hangs, one floods and one lies, is answered in its time, with what the others gave
// and a word for each that failed.
func TestHostileQuery(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	legs := library(t, client, 16)
	const limits = `{"wall_ms":20000,"memory_bytes":67108864,"output_bytes":1048576}`
	uploadNamed(t, client, "trap", `["rank","guard","synthesize"]`, limits)
	uploadNamed(t, client, "loop", `["rank"]`, limits)
	uploadNamed(t, client, "flood", `["synthesize"]`, limits)
	uploadNamed(t, client, "liar", `["rank","synthesize"]`, limits)
	upload(t, client, "cited", vmhosttest.Guest(t, "cited"))
	one := func(name, capability string, more map[string]any) map[string]any {
		call := map[string]any{"name": name, "capability": capability}
		for k, v := range more {
			call[k] = v
		}
		return call
	}
	plugins := []any{
		one("trap", "guard", map[string]any{"stage": "pre", "on_error": "skip"}),
		one("trap", "rank", nil),
		one("loop", "rank", nil),
		one("cited", "rank", nil),
		one("liar", "rank", map[string]any{"config": map[string]any{"mode": "out-of-range"}}),
		one("trap", "synthesize", nil),
		one("flood", "synthesize", nil),
	}
	for len(plugins) < 16 {
		plugins = append(plugins, one("cited", "synthesize", nil))
	}
	const timeout = 6 * time.Second
	query := map[string]any{"text": "how is a base backup taken?", "legs": legs, "plugins": plugins, "timeout_ms": timeout.Milliseconds(), "explain": true}
	for round := range 2 { // cells cold, and warm
		var a answered
		start := time.Now()
		do(t, client, http.MethodPost, "/v1/query", query, &a)
		if took := time.Since(start); took > timeout {
			t.Errorf("round %d: the answer took %v, want at most %v", round, took, timeout)
		}
		got := map[int]string{}
		for _, m := range a.Missing {
			got[m.Call] = m.Reason
		}
		want := map[int]string{0: "trapped", 1: "trapped", 2: "deadline", 4: "output", 5: "trapped", 6: "output"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("round %d: missing %v, want %v", round, got, want)
		}
		if len(a.Matches) != 10 || !strings.Contains(a.Matches[0].Text, "base backup") {
			t.Errorf("round %d: matches %+v, want ten, about base backups first", round, a.Matches)
		}
		if len(a.Results) != 9 || len(a.Receipts) != 16 {
			t.Errorf("round %d: %d results and %d receipts, want 9 and 16", round, len(a.Results), len(a.Receipts))
		}
		for _, r := range a.Results {
			if !r.Grounded || r.Text != a.Results[0].Text {
				t.Errorf("round %d: result %+v, want the same as the others, and grounded", round, r)
			}
		}
		t.Logf("round %d: %.0f ms", round, a.TookMs)
	}
}

// TestVanishedClient: a client that goes frees its statements and its guests in
// 50 ms. Of several attempts the quickest counts, for the machine may be busy with
// something else; one that is not told of the end would never be quick.
func TestVanishedClient(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	legs := library(t, client, 1)
	uploadNamed(t, client, "loop", `["rank"]`, `{"wall_ms":20000,"memory_bytes":67108864}`)
	owner := d.OwnerPool(t)
	for where, plugins := range map[string][]any{"SQL": {}, "guest": {map[string]any{"name": "loop", "capability": "rank", "on_error": "fail"}}} {
		var all []time.Duration
		for attempt := range 5 {
			release := func() {}
			if where == "SQL" {
				tx, err := owner.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec(t.Context(), "LOCK TABLE tars.records IN ACCESS EXCLUSIVE MODE"); err != nil {
					t.Fatal(err)
				}
				release = func() { _ = tx.Rollback(context.Background()) }
			}
			before := strings.Count(s.logs.String(), `"operation":"query"`)
			gone := make(chan time.Time, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				time.Sleep(300 * time.Millisecond) // so that it is in the midst of it
				gone <- time.Now()
				cancel()
			}()
			_, err := client.Do(ctx, http.MethodPost, "/v1/query", map[string]any{"text": "backup", "legs": legs, "plugins": plugins}, nil)
			if err == nil || ctx.Err() == nil {
				t.Fatalf("%s, attempt %d: the query ended with %v by itself, want it cancelled", where, attempt, err)
			}
			all = append(all, s.endedAt(t, before).Sub(<-gone))
			if where == "SQL" {
				var running int
				for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
					err := owner.QueryRow(t.Context(), retrievingSQL).Scan(&running)
					if err != nil || running == 0 || time.Now().After(deadline) {
						break
					}
				}
				if running != 0 {
					t.Errorf("attempt %d: %d statements still run", attempt, running)
				}
			}
			release()
		}
		t.Logf("%s: freed after %v", where, all)
		if quickest := slices.Min(all); quickest > 50*time.Millisecond {
			t.Errorf("%s: freed after %v at the quickest, want at most 50ms", where, quickest)
		}
	}
}

// retrievingSQL counts the statements of searches that run: what else the server does
// in the background waits for the lock of the test too.
const retrievingSQL = `
SELECT count(*) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND state = 'active' AND datname = current_database()
	AND (query LIKE '%AS distance%' OR query LIKE '%l.lexeme%')`

// endedAt waits for the log of one more query than before and returns its time,
// which is when nothing of the query was left.
func (s *running) endedAt(t *testing.T, before int) time.Time {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		seen := 0
		for line := range strings.Lines(s.logs.String()) {
			if !strings.Contains(line, `"operation":"query"`) {
				continue
			}
			if seen++; seen <= before {
				continue
			}
			var entry struct{ Time time.Time }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("log line %s: %v", line, err)
			}
			return entry.Time
		}
	}
	t.Fatalf("the query does not end")
	return time.Time{}
}

// TestQueryStream: the events of the shipped server, put together, are the answer,
// and the matches come before a synthesizer has ended.
func TestQueryStream(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	legs := library(t, client, 2)
	upload(t, client, "cited", vmhosttest.Guest(t, "cited"))
	query := map[string]any{"text": "how is a base backup taken?", "legs": legs, "deterministic": true, "seed": "1", "plugins": []any{
		map[string]any{"name": "cited", "capability": "rank"}, map[string]any{"name": "cited", "capability": "synthesize"},
	}}
	var plain, again map[string]any
	do(t, client, http.MethodPost, "/v1/query", query, &plain)
	do(t, client, http.MethodPost, "/v1/query", query, &again)
	if !reflect.DeepEqual(plain["matches"], again["matches"]) || !reflect.DeepEqual(plain["results"], again["results"]) {
		t.Errorf("a deterministic query gave %v and then %v, want the same", plain["results"], again["results"])
	}
	body, err := json.Marshal(query)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/query", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Authorization": {"Bearer " + client.Token}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var names []string
	data := map[string]map[string]any{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			names = append(names, name)
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var document map[string]any
			if err := json.Unmarshal([]byte(text), &document); err != nil {
				t.Fatal(err)
			}
			data[names[len(names)-1]] = document
		}
	}
	if want := []string{"receipt", "matches", "result", "receipt", "done"}; !slices.Equal(names, want) {
		t.Fatalf("events %v, want %v", names, want)
	}
	if !reflect.DeepEqual(data["matches"]["matches"], plain["matches"]) || !reflect.DeepEqual([]any{data["result"]}, plain["results"]) {
		t.Errorf("the events have %v and %v, want those of the plain answer", data["matches"], data["result"])
	}
}
