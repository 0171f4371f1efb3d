package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/audit/audittest"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
)

// notAudited are the operations other than GET that leave no event when they may be done.
var notAudited = map[string]string{
	"countRecords": "reads", "scrollRecords": "reads", "searchRecords": "reads; in the usage", "searchRecordsBatch": "reads; in the usage",
	"query": "reads; in the usage and the calls", "queryBatch": "reads; in the usage and the calls", "mcp": "reads; in the usage and the calls",
	"embedTexts": "changes nothing; in the usage", "estimateCollection": "asks nothing but the request", "invokePlugin": "changes nothing; in the calls",
}

// Every operation that is not a GET is audited or named above, and what is read out in
// large is audited too.
func TestEveryOperationIsAudited(t *testing.T) {
	w := newWorld(t, nil)
	var reads []string
	for _, call := range w.operationCalls() {
		op := w.server.operations[call.id]
		_, excepted := notAudited[call.id]
		switch {
		case call.method == http.MethodGet && op.audit != nil:
			reads = append(reads, call.id)
		case call.method != http.MethodGet && (op.audit == nil) != excepted:
			t.Errorf("%s is audited: %v, want it, or a reason in this test", call.id, op.audit != nil)
		case op.audit != nil && strings.HasPrefix(op.audit.object, "plugin") != strings.HasPrefix(call.path, "/v1/plugins/"):
			t.Errorf("%s is of a %q, want what its path names", call.id, op.audit.object)
		}
	}
	slices.Sort(reads)
	if want := []string{"exportRecords", "exportTenant", "getRecording"}; !slices.Equal(reads, want) {
		t.Errorf("audited reads = %q, want %q", reads, want)
	}
	for what, extension := range map[string]any{
		"nothing": nil, "true": true, "a text": "yes", "no kind": map[string]any{"wait": true}, "no wait": map[string]any{"object": "key"},
		"more": map[string]any{"object": "key", "wait": true, "x": 1.0},
	} {
		o := *w.spec.Paths.Value("/v1/admin/tenants").Post
		o.Extensions = maps.Clone(o.Extensions)
		if o.Extensions["x-audit"] = extension; extension == nil {
			delete(o.Extensions, "x-audit")
		}
		if _, err := newOperation(http.MethodPost, w.spec.Paths.Value("/v1/admin/tenants"), &o, 1); err == nil {
			t.Errorf("an operation with x-audit %s was taken, want it refused at the start", what)
		}
	}
}

// audited flushes and returns what a log has, oldest first.
func (w *world) audited(owner knowledge.TenantID) []audit.Entry {
	w.t.Helper()
	if err := w.auditLog.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	entries, _, _ := audittest.All(w.t, w.audit, owner, 0)
	return entries
}

// eventOfRequest is the one event of an answer in a log.
func (w *world) eventOfRequest(owner knowledge.TenantID, got reply) (audit.Entry, bool) {
	w.t.Helper()
	var found []audit.Entry
	for _, e := range w.audited(owner) {
		if e.RequestID == got.header.Get("X-Request-ID") {
			found = append(found, e)
		}
	}
	if len(found) > 1 {
		w.t.Errorf("%d events of one request: %+v", len(found), found)
	}
	return append(found, audit.Entry{})[0], len(found) == 1
}

// Each call of each operation leaves one event when it is audited, with who, what and what
// came of it, and none otherwise; and each refusal of a key leaves one.
func TestEveryCallLeavesItsEvent(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	narrow := map[bool]string{true: w.tenant("acme", tenancy.ScopeInvoke), false: w.tenant("acme", tenancy.ScopeRead)} // by whether the scope is read
	list, err := w.keys.ListKeys(t.Context(), "acme", "", 10)
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	for _, call := range w.operationCalls() {
		op := w.server.operations[call.id]
		if op.scope == "" {
			continue
		}
		owner, good, bad := knowledge.TenantID("acme"), token, narrow[op.scope == tenancy.ScopeRead]
		if op.scope == tenancy.ScopeAdmin {
			owner, good, bad = audit.Operator, adminKey, token
		}
		if strings.HasSuffix(call.id, "Audit") {
			continue // reads the whole chain; tested below
		}
		got := w.goodCall(call.id, call.method, call.path, good)
		e, there := w.eventOfRequest(owner, got)
		if there != (op.audit != nil) {
			t.Errorf("%s = %d left an event: %v, want %v", call.id, got.status, there, op.audit != nil)
		}
		outcome, _ := got.json["type"].(string)
		outcome = strings.TrimPrefix(outcome, "/problems/")
		if got.status < 400 {
			outcome = "ok"
		}
		if there && (e.Operation != call.id || e.Status != got.status || e.Outcome != outcome || e.Remote != "127.0.0.1" || e.Kind != op.audit.object || time.Since(e.At) > time.Minute || len(e.Actor) < 5) {
			t.Errorf("%s = %d left %+v, want it as it was", call.id, got.status, e.Event)
		}
		got = w.goodCall(call.id, call.method, call.path, bad)
		w.wantStatus(call.id+" with a wrong key", got, 403)
		if e, there := w.eventOfRequest("acme", got); !there || e.Operation != call.id || e.Status != 403 || e.Outcome != "forbidden" {
			t.Errorf("%s refused left %+v, want one event of it", call.id, e.Event)
		}
	}
	before := len(w.audited("acme")) + len(w.audited(audit.Operator))
	w.wantStatus("no key", w.call("DELETE", "/v1/collections/c", "", ""), 401)
	w.wantStatus("no such path", w.call("DELETE", "/v1/nothing", token, ""), 404)
	if after := len(w.audited("acme")) + len(w.audited(audit.Operator)); after != before {
		t.Errorf("requests of nobody left %d events, want none", after-before)
	}
}

// What an event names: the object with what it is in, also what was made, and the names of
// the body's members.
func TestEventsNameWhatWasChanged(t *testing.T) {
	w := newWorld(t, nil)
	issued := func() reply {
		return w.call("POST", "/v1/admin/tenants/acme/keys", adminKey, `{"name":"k","scopes":["read","write"]}`)
	}
	check := func(what string, owner knowledge.TenantID, got reply, kind, name string, details ...string) {
		t.Helper()
		e, there := w.eventOfRequest(owner, got)
		if !there || e.Kind != kind || e.Name != name || !slices.Equal(e.Details, details) {
			t.Errorf("%s = %d %.200s left %+v, want %s %s with %q", what, got.status, got.body, e.Event, kind, name, details)
		}
	}
	made := w.call("POST", "/v1/admin/tenants", adminKey, `{"id":"acme","name":"Acme"}`)
	key := issued()
	id, _ := key.json["key"].(map[string]any)["id"].(string)
	for _, owner := range []knowledge.TenantID{audit.Operator, "acme"} { // the tenant sees what the operator does to it
		check("createTenant", owner, made, "tenant", "acme", "id", "name")
		check("createKey", owner, key, "key", "acme/"+id, "name", "scopes", "scopes=read", "scopes=write")
		check("revokeKey", owner, w.call("DELETE", "/v1/admin/tenants/acme/keys/"+id, adminKey, ""), "key", "acme/"+id)
	}
	unknown := w.call("POST", "/v1/admin/tenants/nobody/keys", adminKey, `{}`)
	check("createKey of nobody", audit.Operator, unknown, "key", "nobody")
	if got := w.audited("nobody"); len(got) != 0 {
		t.Errorf("a tenant that is not there has events: %+v", got)
	}
	token := w.tenant("acme")
	check("putCollection", "acme", w.call("PUT", "/v1/collections/notes", token, `{"dimension":2}`), "collection", "notes", "dimension")
	check("putRecords", "acme", w.call("POST", "/v1/collections/notes/records", token, record(`"vector":[1,1],"metadata":{"hidden":1}`)), "collection", "notes", "records")
	check("patchRecord", "acme", w.call("PATCH", "/v1/collections/notes/records/a%2Fb%20c", token, `{"metadata":{"hidden":1}}`), "record", "notes/a/b c", "metadata")
	check("a member that is not", "acme", w.call("PUT", "/v1/collections/notes", token, `{"dimension":2,"hunter2":"hunter2"}`), "collection", "notes", "dimension")
	check("a path that is no name", "acme", w.call("DELETE", "/v1/collections/Not%20A%20Name", token, ""), "collection", "")
	check("changeAliases", "acme", w.call("POST", "/v1/aliases", token, `{"actions":[{"action":"set","alias":"a","collection":"notes"},{"action":"set","alias":"b","collection":"notes"}]}`), "alias", "", "actions", "alias=a", "alias=b")
	check("putView", "acme", w.call("PUT", "/v1/views/v", token, `{"collection":"notes","filter":{"and":[]}}`), "view", "v", "collection", "filter")
	share := w.call("POST", "/v1/shares", token, `{"view":"v","grantee":"rival"}`)
	shareID, _ := share.json["share"].(string)
	check("createShare", "acme", share, "share", shareID, "grantee", "grantee=rival", "view", "view=v")
	upload := w.uploadGood(token)
	check("uploadPluginVersion", "acme", upload, "plugin", "cited/1", "digest="+upload.json["digest"].(string))
	check("setPluginAlias", "acme", w.call("PUT", "/v1/plugins/cited/aliases/live", token, `{"version":1}`), "plugin alias", "cited/live", "version", "version=1")
	check("exportTenant", "acme", w.call("GET", "/v1/export", token, ""), "tenant", "acme")
	check("cancelJob", "acme", w.goodCall("cancelJob", "DELETE", "/v1/jobs/some1", token), "job", w.audited("acme")[len(w.audited("acme"))-1].Name)
	if _, err := jobs.ParseID(w.audited("acme")[len(w.audited("acme"))-1].Name); err != nil {
		t.Errorf("the job that was to be cancelled: %v, want its id", err)
	}
}

// Nothing that is secret, and no text, comes into any log, wherever a client puts it.
func TestAuditHoldsNoSecrets(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	const text, apiKey = "the-text-of-hunter2", "sk-hunter2-0123456789"
	_, secret, _ := strings.Cut(strings.TrimPrefix(token, "tars_"), "_")
	colleague := w.tenant("acme")
	hidden := map[string]string{"token": token, "token of another": colleague, "its secret": secret, "admin key": adminKey, "text": text, "api key": apiKey}
	w.call("PUT", "/v1/embedders/mine", token, fmt.Sprintf(`{"base_url":"https://user:%s@example.com","model":"m","api_key":%q}`, apiKey, apiKey))
	w.call("PUT", "/v1/embedders/mine", token, fmt.Sprintf(`{"base_url":"https://example.com","model":"m","api_key":%q,%q:1}`, apiKey, apiKey))
	w.call("PUT", "/v1/collections/c", token, `{"dimension":2}`)
	for _, value := range hidden {
		w.call("POST", "/v1/collections/c/records", token, fmt.Sprintf(`{"records":[{"id":"1","text":%q,"vector":[1,1],"metadata":{"m":%q}}]}`, value, value))
		w.call("POST", "/v1/collections/c/records/delete", token, fmt.Sprintf(`{"filter":{"field":"m","eq":%q}}`, value))
		w.call("PATCH", "/v1/collections/c/records/1", token, fmt.Sprintf(`{"metadata":{%q:%q}}`, value, value))
		w.putDocument("/v1/collections/c/documents/d?title="+value, token, "text/plain", value)
		w.call("POST", "/v1/admin/tenants", adminKey, fmt.Sprintf(`{"id":"other","name":%q}`, value))
		w.call("POST", "/v1/admin/tenants/acme/keys", adminKey, fmt.Sprintf(`{"name":%q}`, value))
		w.call("POST", "/v1/shares", token, fmt.Sprintf(`{"view":"v","grantee":"rival","note":%q}`, value))
		w.call("PUT", "/v1/views/v", token, fmt.Sprintf(`{"collection":"c","filter":{"field":"m","eq":%q}}`, value))
		w.upload(token, "cited", part{"manifest", "application/json", goodManifest}, part{"module", "application/wasm", goodModule + value})
	}
	w.call("DELETE", "/v1/admin/tenants/acme/keys/"+token, adminKey, "") // a token in the place of its id
	w.call("DELETE", "/v1/admin/tenants/acme/keys/"+token, token, "")
	w.call("DELETE", "/v1/collections/c/records/"+token, token, "")
	w.call("DELETE", "/v1/collections/"+token, token, "")
	w.call("DELETE", "/v1/collections/c/records/"+colleague, token, "")
	w.call("DELETE", "/v1/collections/c/records/"+adminKey, adminKey, "")
	r := w.request("DELETE", "/v1/collections/c", token, nil)
	r.Header.Set("X-Request-ID", token)
	w.do(r)
	count := 0
	for _, owner := range []knowledge.TenantID{"acme", "other", audit.Operator} {
		for _, e := range w.audited(owner) {
			count++
			line, _ := json.Marshal(auditOut(e))
			for what, value := range hidden {
				if strings.Contains(string(line), value) {
					t.Errorf("the log of %s has the %s: %s", owner, what, line)
				}
			}
		}
	}
	if count < 40 {
		t.Errorf("%d events, want those of all requests", count)
	}
}

// Whoever has the answer to a change that waits knows that its event is kept; without the
// event there is no answer but an error, which the event outlives.
func TestAnswersWaitForTheirEvents(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	for n := range 20 { // no flush: the answer is enough
		w.wantStatus("PUT", w.call("PUT", fmt.Sprintf("/v1/collections/c%d", n), token, `{"dimension":2}`), 201)
		if entries, _, _ := audittest.All(t, w.audit, "acme", 0); len(entries) != n+1 {
			t.Fatalf("%d events when answer %d came, want as many", len(entries), n+1)
		}
	}
	w.audit.Fail(knowledge.ErrUnavailable)
	got := w.call("PUT", "/v1/collections/unsure", token, `{"dimension":2}`)
	w.wantStatus("PUT while the log fails", got, 503)
	if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "audit log") || strings.Contains(got.body, "dimension") {
		t.Errorf("the answer is %s, want it to say why and nothing of what was done", got.body)
	}
	start := time.Now()
	w.wantStatus("a write that does not wait", w.call("POST", "/v1/collections/c0/records", token, record(`"vector":[1,1]`)), 200)
	w.wantStatus("a search", w.call("POST", "/v1/collections/c0/search", token, `{"vector":[1,1]}`), 200)
	if took := time.Since(start); took > time.Second {
		t.Errorf("what does not wait took %s while the log fails", took)
	}
	w.audit.Fail(nil)
	if e, there := w.eventOfRequest("acme", got); !there || e.Status != 201 || e.Name != "unsure" {
		t.Errorf("the event of the change that was not confirmed = %+v, want it once the log works", e)
	}
	w.wantStatus("GET", w.call("GET", "/v1/collections/unsure", token, ""), 200)
	audittest.Check(t, w.audit, "acme", 22)
}

// A handler that panics, and an answer that is cut off, leave their events too.
func TestFailuresLeaveEvents(t *testing.T) {
	var fail func() error
	w := newWorld(t, func(s *Services, _ *Options) {
		s.Registry.(*pluginsDouble).upload = func() error { return fail() }
	})
	token := w.tenant("acme")
	fail = func() error { panic("hunter2") }
	for what, f := range map[string]func() error{"panic": fail, "fault": func() error { return errors.New("hunter2") }} {
		fail = f
		got := w.uploadGood(token)
		w.wantStatus(what, got, 500)
		if e, there := w.eventOfRequest("acme", got); !there || e.Status != 500 || e.Outcome != "internal" || e.Name != "cited" {
			t.Errorf("a %s left %+v, want an internal error", what, e.Event)
		}
	}
}

// A log is read by pages, by filters, and by those alone whose it is.
func TestReadAudit(t *testing.T) {
	w := newWorld(t, nil)
	token, other := w.tenant("acme"), w.tenant("other")
	for n := range 7 {
		w.call("PUT", fmt.Sprintf("/v1/collections/c%d", n), token, `{"dimension":2}`)
	}
	w.call("DELETE", "/v1/collections/c3", token, "")
	w.call("DELETE", "/v1/collections/c3", token, "")
	w.audited("acme")
	listed := func(path, token string) (seqs []int, next string) {
		t.Helper()
		got := w.call("GET", path, token, "")
		w.wantStatus(path, got, 200)
		for _, e := range got.json["events"].([]any) {
			seqs = append(seqs, int(e.(map[string]any)["seq"].(float64)))
		}
		next, _ = got.json["next_cursor"].(string)
		return seqs, next
	}
	var all []int
	for cursor, path := "", "/v1/audit?limit=4"; ; path = "/v1/audit?limit=4&cursor=" + cursor {
		var page []int
		if page, cursor = listed(path, token); len(page) > 4 {
			t.Errorf("a page of %v, want 4 at most", page)
		}
		if all = append(all, page...); cursor == "" {
			break
		}
	}
	if !slices.Equal(all, []int{9, 8, 7, 6, 5, 4, 3, 2, 1}) {
		t.Errorf("all pages = %v, want the newest first, each once", all)
	}
	for query, want := range map[string][]int{
		"object=c3": {9, 8, 4}, "outcome=not-found": {9}, "operation=deleteCollection": {9, 8}, "kind=collection&object=c0": {1}, "actor=admin": nil,
		"since=2100-01-01T00:00:00Z": nil, "until=2000-01-01T00:00:00Z": nil, "until=2100-01-01T00:00:00Z&object=c1": {2},
	} {
		if got, _ := listed("/v1/audit?"+query, token); !slices.Equal(got, want) {
			t.Errorf("events by %s = %v, want %v", query, got, want)
		}
		if got, _ := listed("/v1/admin/tenants/acme/audit?"+query, adminKey); !slices.Equal(got, want) {
			t.Errorf("events by %s for the operator = %v, want %v", query, got, want)
		}
	}
	if got, _ := listed("/v1/audit", other); len(got) != 0 {
		t.Errorf("another tenant sees %v, want nothing", got)
	}
	w.wantStatus("of nobody", w.call("GET", "/v1/admin/tenants/nobody/audit", adminKey, ""), 404)
	for _, query := range []string{"after=1", "cursor=x", "cursor=" + newCursor("audit", "0"), "limit=0", "outcome=X", "since=yesterday", "after=-1"} {
		w.wantStatus(query, w.call("GET", "/v1/audit?"+query, token, ""), 400)
	}
	_, limited, err := w.keys.IssueKey(t.Context(), "acme", "limited", nil, time.Time{}, "v")
	if err != nil {
		t.Fatal(err)
	}
	w.wantStatus("a key that is limited to views", w.call("GET", "/v1/audit", limited, ""), 403)
}

// lines asks for a chain as lines.
func (w *world) lines(path, token string) reply {
	w.t.Helper()
	r := w.request("GET", path, token, nil)
	r.Header.Set("Accept", "application/x-ndjson")
	return w.do(r)
}

func TestExportAudit(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	for n := range 5 {
		w.call("PUT", fmt.Sprintf("/v1/collections/c%d", n), token, `{"dimension":2}`)
	}
	entries := w.audited("acme")
	for after := range 6 {
		got := w.lines(fmt.Sprintf("/v1/audit?after=%d", after), token)
		w.wantStatus("export", got, 200)
		lines := strings.Split(strings.TrimSuffix(got.body, "\n"), "\n")
		if len(lines) != 7-after || !strings.HasPrefix(lines[0], fmt.Sprintf(`{"audit":1,"log":"acme","after":{"seq":%d,"hash":"`, after)) ||
			lines[len(lines)-1] != fmt.Sprintf(`{"end":true,"seq":5,"hash":"%s"}`, entries[4].Hash) {
			t.Errorf("export after %d = %s\nwant its first line, the events and its last", after, got.body)
		}
	}
	for _, path := range []string{"/v1/audit?after=6", "/v1/audit?limit=5", "/v1/audit?object=c1", "/v1/audit?since=2000-01-01T00:00:00Z"} {
		w.wantStatus(path+" as lines", w.lines(path, token), 400)
	}
	if got := w.lines("/v1/admin/audit", adminKey); !strings.HasPrefix(got.body, `{"audit":1,"log":"(operator)","after":{"seq":0`) {
		t.Errorf("the operator's log = %s", got.body)
	}
}

// The time that a client takes, or that it goes away, does not take its event away.
func TestEventsOfThoseWhoLeft(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(s *Services, _ *Options) {
		s.Registry.(*pluginsDouble).upload = func() error {
			close(entered)
			<-leave
			return nil
		}
	})
	token := w.tenant("acme")
	ctx, cancel := context.WithCancel(t.Context())
	body, contentType := form(part{"manifest", "application/json", goodManifest}, part{"module", "application/wasm", goodModule})
	r := w.request("POST", "/v1/plugins/cited/versions", token, body).WithContext(ctx)
	r.Header.Set("Content-Type", contentType)
	done := make(chan error)
	go func() {
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = response.Body.Close()
		}
		done <- err
	}()
	<-entered
	cancel()
	<-done
	close(leave)
	for deadline := time.Now().Add(10 * time.Second); len(w.audited("acme")) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no event of an upload whose client left")
		}
	}
	if e := w.audited("acme")[0]; e.Operation != "uploadPluginVersion" {
		t.Errorf("event = %+v, want the upload", e)
	}
	if _, err := w.catalog.Version(t.Context(), "acme", "cited", plugins.Ref{Number: 1}); err != nil {
		t.Errorf("the version: %v, want it there", err)
	}
}
