package api

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// called keeps calls of acme's plugin cited, half a second apart, by each of the keys in
// turn, and returns them.
func (w *world) called(n int, keys ...string) []ledger.Call {
	w.t.Helper()
	start := time.Now().UTC().AddDate(0, 0, -1).Truncate(24 * time.Hour).Add(time.Hour) // yesterday
	batch := ledger.Batch{Writer: w.t.Name(), Number: 1, Usage: map[ledger.Part]ledger.Usage{}}
	var calls []ledger.Call
	for i := range n {
		at := start.Add(time.Duration(i) * 500 * time.Millisecond)
		c := ledger.Call{
			ID: ledger.NewID(at), Key: keys[i%len(keys)], Plugin: "cited", Version: 1 + i%2, Digest: "sha256:" + strings.Repeat("0", 64), Capability: "rank",
			Tier: "process", Grade: "jail", Started: at, Outcome: []string{"ok", "deadline", "host-budget"}[i%3], VM: 1500 * time.Microsecond, PeakMemory: 1 << 20, Input: 7,
		}
		calls = append(calls, c)
		batch.Calls = append(batch.Calls, ledger.TenantCall{Tenant: "acme", Call: c})
		part := ledger.Part{Tenant: "acme", Day: ledger.DayOf(at), Key: c.Key, Plugin: "cited"}
		u := batch.Usage[part]
		u.Add(ledger.Usage{Calls: 1, VM: c.VM, ByteSeconds: 1_500_000, Input: 7})
		batch.Usage[part] = u
		part.Plugin = ""
		u = batch.Usage[part]
		u.Add(ledger.Usage{Queries: 1, Rows: 50})
		batch.Usage[part] = u
	}
	if err := w.ledger.Write(w.t.Context(), batch); err != nil {
		w.t.Fatal(err)
	}
	return calls
}

// listed are the ids that a list of calls has.
func (w *world) listed(path, token string) (ids []string, next string) {
	w.t.Helper()
	got := w.call("GET", path, token, "")
	w.wantStatus("GET "+path, got, 200)
	for _, c := range got.json["calls"].([]any) {
		ids = append(ids, c.(map[string]any)["id"].(string))
	}
	next, _ = got.json["next_cursor"].(string)
	return ids, next
}

func TestCalls(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("upload", w.uploadGood(token), 201)
	calls := w.called(6, "key_a")
	want := func(which ...int) (ids []string) {
		for _, i := range which {
			ids = append(ids, string(calls[i].ID))
		}
		return ids
	}
	const path = "/v1/plugins/cited/calls"
	first, next := w.listed(path+"?limit=4", token)
	rest, last := w.listed(path+"?limit=4&cursor="+next, token)
	if !slices.Equal(append(first, rest...), want(5, 4, 3, 2, 1, 0)) || len(first) != 4 || last != "" {
		t.Errorf("pages = %v and %v with cursor %q, want %v", first, rest, last, want(5, 4, 3, 2, 1, 0))
	}
	at := func(i int) string { return url.QueryEscape(calls[i].Started.Format(time.RFC3339Nano)) }
	for query, which := range map[string][]int{
		"?version=1": {4, 2, 0}, "?outcome=ok": {3, 0}, "?outcome=host-budget&version=1": {2}, "?outcome=nothing": nil, "?version=9": nil,
		"?since=" + at(4): {5, 4}, "?until=" + at(1): {0}, "?since=" + at(1) + "&until=" + at(3): {2, 1},
	} {
		if got, _ := w.listed(path+query, token); !slices.Equal(got, want(which...)) {
			t.Errorf("calls%s = %v, want %v", query, got, want(which...))
		}
	}
	got := w.call("GET", "/v1/calls/"+string(calls[1].ID), token, "")
	w.wantStatus("GET of a call", got, 200)
	if got.json["outcome"] != "deadline" || got.json["vm_us"] != 1500.0 || got.json["key"] != "key_a" || got.json["peak_memory_bytes"] != float64(1<<20) || got.json["input_bytes"] != 7.0 {
		t.Errorf("call = %s, want it as it was noted", got.body)
	}
	for _, bad := range []string{
		path + "?version=0", path + "?version=x", path + "?outcome=OK", path + "?outcome=", path + "?outcome=%00", path + "?since=yesterday", path + "?until=2026-02-03",
		path + "?cursor=x", path + "?limit=0", path + "?key=x", "/v1/calls/x", "/v1/calls/call_" + strings.Repeat("%00", 16), "/v1/calls/CALL_" + string(calls[0].ID[5:]),
	} {
		w.wantStatus("GET "+bad, w.call("GET", bad, token, ""), 400)
	}
	w.wantStatus("calls of no plugin", w.call("GET", "/v1/plugins/none/calls", token, ""), 404)
	w.wantStatus("no such call", w.call("GET", "/v1/calls/"+string(ledger.NewID(time.Now())), token, ""), 404)
	w.wantStatus("a cursor of another list", w.call("GET", "/v1/plugins?cursor="+next, token, ""), 400)
}

// rowsOf are the rows of a report, as text.
func (w *world) rowsOf(path, token string) (rows []string) {
	w.t.Helper()
	got := w.call("GET", path, token, "")
	w.wantStatus("GET "+path, got, 200)
	for _, r := range got.json["rows"].([]any) {
		row := r.(map[string]any)
		text := ""
		for _, name := range []string{"day", "key", "plugin", "queries", "rows_read", "plugin_calls", "vm_us", "megabyte_seconds"} {
			if v, ok := row[name]; ok {
				text += fmt.Sprintf("%s=%v ", name, v)
			}
		}
		rows = append(rows, strings.TrimSpace(text))
	}
	return rows
}

func TestUsage(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	calls := w.called(4, "key_a", "key_b")
	day := ledger.DayOf(calls[0].Started)
	all := "queries=4 rows_read=200 plugin_calls=4 vm_us=6000 megabyte_seconds=6"
	for query, want := range map[string][]string{
		"":                               {all},
		"?to=" + string(day):             {all},
		"?from=2001-01-01&to=2001-12-31": nil,
		fmt.Sprintf("?from=%s&to=%s&group_by=day", day, day): {"day=" + string(day) + " " + all},
		"?group_by=plugin": {"plugin= queries=4 rows_read=200 plugin_calls=0 vm_us=0 megabyte_seconds=0", "plugin=cited queries=0 rows_read=0 plugin_calls=4 vm_us=6000 megabyte_seconds=6"},
		"?group_by=key":    {"key=key_a queries=2 rows_read=100 plugin_calls=2 vm_us=3000 megabyte_seconds=3", "key=key_b queries=2 rows_read=100 plugin_calls=2 vm_us=3000 megabyte_seconds=3"},
	} {
		if got := w.rowsOf("/v1/usage"+query, token); !slices.Equal(got, want) {
			t.Errorf("usage%s = %q, want %q", query, got, want)
		}
		if query != "" && strings.HasPrefix(query, "?group_by") {
			if got := w.rowsOf("/v1/admin/tenants/acme/usage"+query, adminKey); !slices.Equal(got, want) {
				t.Errorf("the operator's usage%s = %q, want %q", query, got, want)
			}
		}
	}
	if got := w.rowsOf("/v1/usage", w.tenant("other")); len(got) != 0 {
		t.Errorf("another's usage = %q, want none", got)
	}
	for _, bad := range []string{
		"?from=2026-02-30", "?from=2026-2-3", "?to=x", "?from=2026-02-02&to=2026-02-01", "?from=2024-01-01&to=2026-01-01", "?group_by=", "?group_by=hour",
		"?group_by=day,day", "?group_by=day&group_by=key", "?from=1969-12-31", "?to=2026-02-03T00:00:00Z",
	} {
		w.wantStatus("GET /v1/usage"+bad, w.call("GET", "/v1/usage"+bad, token, ""), 400)
	}
	w.wantStatus("usage of no tenant", w.call("GET", "/v1/admin/tenants/none/usage", adminKey, ""), 404)
}

func TestUsageAsCSV(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.called(4, "key_a", "")
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json", "text/html": "application/json", "text/csv;q=0.5, application/json": "application/json",
		"text/csv;q=0": "application/json", "text/csv;q=x": "application/json",
		"text/csv": "text/csv", "text/csv, */*;q=0.1": "text/csv", "application/json;q=0.2, text/csv;q=0.7": "text/csv", "TEXT/CSV; charset=utf-8": "text/csv",
	} {
		r := w.request("GET", "/v1/usage?group_by=plugin,key", token, http.NoBody)
		r.Header.Set("Accept", accept)
		got := w.do(r)
		w.wantStatus("usage as "+accept, got, 200)
		if kind := got.header.Get("Content-Type"); kind != want || got.header.Get("Vary") != "Accept" {
			t.Errorf("usage as %q is %q, varying by %q, want %q by Accept", accept, kind, got.header.Get("Vary"), want)
		}
		if want != "text/csv" {
			continue
		}
		lines, err := csv.NewReader(strings.NewReader(got.body)).ReadAll()
		if err != nil || len(lines) != 5 || len(lines[0]) != 16 || strings.Join(lines[0][:5], " ") != "plugin key queries searches rows_read" ||
			strings.Join(lines[1][:5], " ") != "  2 0 100" || strings.Join(lines[4][:8], " ") != "cited key_a 0 0 0 0 0 2" {
			t.Errorf("usage as %q = %v of\n%s\nwant a line of names and four of sums", accept, err, got.body)
		}
	}
}

// A key that is limited to views sees what was done with it, and no more.
func TestLimitedKeysSeeTheirOwnUse(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("upload", w.uploadGood(token), 201)
	key, limited, err := w.keys.IssueKey(t.Context(), "acme", "limited", []tenancy.Scope{tenancy.ScopeRead, tenancy.ScopeInvoke}, time.Time{}, "v")
	if err != nil {
		t.Fatal(err)
	}
	calls := w.called(4, "key_other", key.ID)
	if got, _ := w.listed("/v1/plugins/cited/calls", limited); !slices.Equal(got, []string{string(calls[3].ID), string(calls[1].ID)}) {
		t.Errorf("calls = %v, want the two of the key", got)
	}
	if got, _ := w.listed("/v1/plugins/cited/calls", token); len(got) != 4 {
		t.Errorf("calls of a key without limits = %v, want all 4", got)
	}
	w.wantStatus("its own call", w.call("GET", "/v1/calls/"+string(calls[1].ID), limited, ""), 200)
	foreign, unknown := w.call("GET", "/v1/calls/"+string(calls[0].ID), limited, ""), w.call("GET", "/v1/calls/"+string(ledger.NewID(time.Now())), limited, "")
	if foreign.status != 404 || foreign.json["detail"] != unknown.json["detail"] || foreign.json["type"] != unknown.json["type"] {
		t.Errorf("another key's call = %s, want the same as none: %s", foreign.body, unknown.body)
	}
	want := []string{"key=" + key.ID + " queries=2 rows_read=100 plugin_calls=2 vm_us=3000 megabyte_seconds=3"}
	if got := w.rowsOf("/v1/usage?group_by=key", limited); !slices.Equal(got, want) {
		t.Errorf("usage = %q, want %q", got, want)
	}
}

// The id of the key goes with the request to where things are noted.
func TestKeyGoesWithTheRequest(t *testing.T) {
	seen := make(chan string, 1)
	b := &blocking{leave: func(ctx context.Context) error {
		seen <- knowledge.AskerOf(ctx)
		return nil
	}}
	w := newWorld(t, func(s *Services, _ *Options) { s.Engine = b })
	w.tenant("acme")
	key, token, err := w.keys.IssueKey(t.Context(), "acme", "k", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_ = w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1]}`) // whose answer is none
	if got := <-seen; got != key.ID {
		t.Errorf("the search was asked by %q, want %q", got, key.ID)
	}
}
