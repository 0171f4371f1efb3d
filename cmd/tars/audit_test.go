package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// auditTool runs a command of tars audit, and returns what it printed and its error.
func auditTool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"audit"}, args...), func(string) string { return "" }, strings.NewReader(""), &out, &out)
	return out.String(), err
}

// auditPage is what a test looks at of a log.
type auditPage struct {
	Events []eventLine
	Next   string `json:"next_cursor"`
}

// TestAudit: what is done with the shipped server is in the logs of the tenant and the
// operator, without secrets; it is exported, checked without a server, and what is changed
// in a file is found, with its line.
func TestAudit(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	const apiKey, text = "sk-hunter2-0123456789", "the text of hunter2"
	embedder := map[string]any{"base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key": apiKey} // where tenants' may not be
	if _, err := client.Do(t.Context(), http.MethodPut, "/v1/embedders/mine", embedder, nil); err == nil {
		t.Error("an embedder on this machine was taken, want it refused")
	}
	upload(t, client, "echo", vmhosttest.Guest(t, "echo"))
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 3}, nil)
	do(t, client, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "1", "text": text, "vector": []float32{1, 0, 0}}), nil)
	do(t, client, http.MethodPost, "/v1/collections/c/search", map[string]any{"vector": []float32{1, 0, 0}}, nil)
	if _, err := client.Do(t.Context(), http.MethodGet, "/v1/admin/tenants", nil, nil); !rest.IsStatus(err, http.StatusForbidden) {
		t.Errorf("a tenant's GET of tenants = %v, want 403", err)
	}
	admin := rest.New(s.url, adminKey)
	want := []string{"createTenant ok", "createKey ok", "putEmbedder invalid", "uploadPluginVersion ok", "setPluginAlias ok", "putCollection ok", "putRecords ok", "listTenants forbidden"}
	var page auditPage
	for deadline := time.Now().Add(time.Second); len(page.Events) < len(want) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		do(t, client, http.MethodGet, "/v1/audit", nil, &page)
	}
	var got []string
	for _, e := range page.Events {
		got = append([]string{e.Operation + " " + e.Outcome}, got...)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("the log has %q, want %q", got, want)
	}
	do(t, admin, http.MethodGet, "/v1/admin/audit?operation=createKey", nil, &page)
	if len(page.Events) != 1 || !strings.HasPrefix(page.Events[0].Object.Name, "acme/key_") || page.Events[0].Actor != "admin" {
		t.Errorf("the operator's log has of createKey %+v, want the one key of acme", page.Events)
	}
	for _, secret := range []string{apiKey, text, client.Token[len(client.Token)-52:], adminKey} {
		var holding, all int
		err := d.OwnerPool(t).QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE strpos(e::text, $1) > 0), count(*) FROM tars.audit_events e`, secret).Scan(&holding, &all)
		if err != nil || holding > 0 || all < 10 {
			t.Errorf("%d of %d events hold %q, %v, want none of the ten", holding, all, secret, err)
		}
	}

	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	remote := []string{"--server", s.url, "--key", client.Token}
	printed, err := auditTool(t, append([]string{"export", first}, remote...)...)
	if err != nil || !strings.Contains(printed, "the log of acme is whole: 8 events after number 0, up to 8:") {
		t.Fatalf("tars audit export = %q, %v, want 8 events", printed, err)
	}
	head := strings.TrimSpace(printed[strings.LastIndex(printed, " ")+1:])
	do(t, client, http.MethodDelete, "/v1/collections/c", nil, nil)
	if printed, err := auditTool(t, append([]string{"export", second, "--after", "8"}, remote...)...); err != nil {
		t.Fatalf("tars audit export --after = %q, %v", printed, err)
	}
	if printed, err := auditTool(t, "verify", first, second, "--head", head); err != nil || !strings.Contains(printed, "9 events after number 0, up to 9:") {
		t.Errorf("tars audit verify of both = %q, %v, want 9 events", printed, err)
	}
	for _, of := range [][]string{{"--admin"}, {"--of", "acme"}} {
		if printed, err := auditTool(t, append([]string{"export", "--server", s.url, "--key", adminKey}, of...)...); err != nil {
			t.Errorf("tars audit export %v = %q, %v", of, printed, err)
		}
	}
	tamper(t, first, second, head)
}

// tamper changes exported files and checks that each change is found, and where.
func tamper(t *testing.T, first, second, head string) {
	t.Helper()
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	swapped := append([]string(nil), lines...)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	without := func(i int) string {
		return strings.Join(append(append([]string(nil), lines[:i]...), lines[i+1:]...), "")
	}
	replaced := func(i int, old, changed string) string {
		all := append([]string(nil), lines...)
		if all[i] = strings.Replace(all[i], old, changed, 1); all[i] == lines[i] {
			t.Fatalf("line %d has no %s: %s", i+1, old, lines[i])
		}
		return strings.Join(all, "")
	}
	for what, test := range map[string]struct{ text, want string }{
		"a changed outcome":       {replaced(8, `"forbidden"`, `"ok"`), "line 9: the chain is broken at event 8"},
		"a changed name":          {replaced(6, `"c"`, `"d"`), "line 7: the chain is broken at event 6"},
		"a changed hash":          {replaced(2, `"hash":"`, `"hash":"0`), "line 3: "},
		"a member twice":          {replaced(2, `{"actor"`, `{"actor":"key_other","actor"`), "line 3: is not an event"},
		"a member in capitals":    {replaced(2, `{"actor"`, `{"actor":"key_other","Actor"`), "line 3: is not an event"},
		"a removed event":         {without(5), "line 6: the chain is broken at event 5: it is missing"},
		"the first event removed": {without(1), "line 2: the chain is broken at event 1"},
		"the last event removed":  {without(8), "line 9: the chain is broken at event 8"},
		"the last line removed":   {without(9), "line 10: the file ends here"},
		"half of it":              {string(whole[:len(whole)/2]), "line "},
		"reordered":               {strings.Join(swapped, ""), "line 4: the chain is broken at event 3"},
		"something after it":      {string(whole) + "\n" + lines[9], "line 11: comes after the last line"},
		"of another log":          {replaced(0, `"acme"`, `"rival"`), "line 2: the chain is broken at event 1: it is not as it was written"},
		"not of any log":          {"{}\n", "line 1: is not the first line"},
		"nothing":                 {"", "line 1: is not the first line"},
	} {
		path := filepath.Join(filepath.Dir(first), "tampered")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if printed, err := auditTool(t, "verify", path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("verify of a file with %s = %q, %v, want %q", what, printed, err, test.want)
		}
	}
	for what, args := range map[string][]string{
		"files in the wrong order": {second, first}, "a file missing": {second, second},
		"another head": {first, "--head", strings.Replace(head, "8:", "7:", 1)}, "a head that is not reached": {first, "--head", "9" + head[1:]}, "no head": {first, "--head", "x"},
	} {
		if printed, err := auditTool(t, append([]string{"verify"}, args...)...); err == nil {
			t.Errorf("verify with %s = %q, want an error", what, printed)
		}
	}
}

// acknowledged are requests that were answered well, by their ids, with when.
type acknowledged struct {
	mu       sync.Mutex
	sure     map[string]bool // whose answer waits for the event
	soon     map[string]time.Time
	requests int
}

// TestAuditSurvivesKill: the chain is whole after each kill -9 of two servers of one
// tenant; the event of each answer that waits for it is there, and of each other answer that
// was a second old.
func TestAuditSurvivesKill(t *testing.T) {
	t.Parallel()
	const kills = 4
	d := pgtest.DB(t)
	first, second := start(t, d), start(t, d)
	token := first.tenant(t, "acme").Token
	do(t, rest.New(first.url, token), http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 3}, nil)
	a := &acknowledged{sure: map[string]bool{}, soon: map[string]time.Time{}}
	for round := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 4 {
			client := rest.New([]string{first.url, second.url}[w%2], token)
			wg.Go(func() { a.write(ctx, client, fmt.Sprintf("r%d-w%d", round, w)) })
		}
		a.waitFor(t, 60*(round+1))
		time.Sleep(1200 * time.Millisecond)
		killed := time.Now()
		first.kill()
		second.kill()
		cancel()
		wg.Wait()
		first, second = start(t, d), start(t, d)
		a.check(t, rest.New(first.url, token), killed)
	}
	t.Logf("%d requests, %d sure and %d soon to be kept, over %d kills of two servers", a.requests, len(a.sure), len(a.soon), kills)
}

// write changes an alias and writes a record, again and again, until ctx ends.
func (a *acknowledged) write(ctx context.Context, client *rest.Client, name string) {
	for n := 0; ctx.Err() == nil; n++ {
		for _, one := range []struct {
			wait               bool
			method, path, body string
		}{
			{true, http.MethodPut, "/v1/aliases/" + name, `{"collection":"c"}`},
			{false, http.MethodPost, "/v1/collections/c/records", `{"records":[{"id":"1","vector":[1,2,3]}]}`},
		} {
			id := fmt.Sprintf("%s-%d-%t", name, n, one.wait)
			header := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {id}}
			err := client.Stream(ctx, one.method, one.path, header, strings.NewReader(one.body), new(any))
			a.mu.Lock()
			a.requests++
			if err == nil && one.wait {
				a.sure[id] = true
			} else if err == nil {
				a.soon[id] = time.Now()
			}
			a.mu.Unlock()
		}
	}
}

func (a *acknowledged) waitFor(t *testing.T, sure int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		a.mu.Lock()
		n := len(a.sure)
		a.mu.Unlock()
		if n >= sure {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d changes were acknowledged, want %d", n, sure)
		}
	}
}

// check exports the chain and finds what was acknowledged before the kill in it, once each.
func (a *acknowledged) check(t *testing.T, client *rest.Client, killed time.Time) {
	t.Helper()
	body, err := client.GetAs(t.Context(), "/v1/audit", http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	if _, err := readChain(bytes.NewReader(text.Bytes()), nil); err != nil {
		t.Errorf("the chain after a kill: %v", err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(text.String()) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		seen[e.RequestID]++
	}
	for id := range a.sure {
		if seen[id] != 1 {
			t.Errorf("the change %s, which was acknowledged, has %d events, want one", id, seen[id])
		}
	}
	lost := 0
	for id, at := range a.soon {
		switch {
		case seen[id] > 1:
			t.Errorf("the write %s has %d events, want one", id, seen[id])
		case seen[id] == 0 && killed.Sub(at) > time.Second:
			t.Errorf("the write %s, acknowledged %s before the kill, has no event", id, killed.Sub(at))
		case seen[id] == 0:
			lost++
			delete(a.soon, id) // it will not come any more
		}
	}
	t.Logf("%d writes of the last second have no event", lost)
}

// TestAuditRetention: what is older than the setting goes, and the rest is a chain still.
func TestAuditRetention(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d, "TARS_AUDIT_RETENTION=24h")
	client := s.tenant(t, "acme")
	for n := range 3 {
		do(t, client, http.MethodPut, fmt.Sprintf("/v1/collections/c%d", n), map[string]any{"dimension": 3}, nil)
	}
	if err := s.stop(t); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OwnerPool(t).Exec(t.Context(), `UPDATE tars.audit_events SET at = at - interval '25 hours' WHERE tenant_id = 'acme' AND seq <= 2`); err != nil {
		t.Fatal(err)
	}
	s = start(t, d, "TARS_AUDIT_RETENTION=24h") // which sweeps soon
	client = rest.New(s.url, client.Token)
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		var page auditPage
		do(t, client, http.MethodGet, "/v1/audit", nil, &page)
		if len(page.Events) == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events, want the two old ones swept", len(page.Events))
		}
	}
	if printed, err := auditTool(t, "export", "--server", s.url, "--key", client.Token); err != nil || !strings.Contains(printed, "3 events after number 2, up to 5:") {
		t.Errorf("tars audit export after the sweep = %q, %v, want it whole", printed, err)
	}
}
