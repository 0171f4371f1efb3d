package api

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// The copy that is embedded is the contract at the top. Whether the generated code
// is up to date as well is checked by make check, which generates it again.
func TestDocumentIsUpToDate(t *testing.T) {
	want, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(oapi.Document(), want) {
		t.Error("api/oapi/openapi.yaml differs from openapi.yaml; run go generate ./api/oapi")
	}
}

// TestEveryOperationIsComplete checks openapi.yaml beyond what validators do.
func TestEveryOperationIsComplete(t *testing.T) {
	spec, err := loadSpec(oapi.Document())
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(t.Context()); err != nil { // examples too
		t.Errorf("openapi.yaml is not valid: %v", err)
	}
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			what := method + " " + path
			if o.OperationID == "" || o.Summary == "" || o.Description == "" || len(o.Tags) != 1 {
				t.Errorf("%s lacks an operationId, a summary, a description or its one tag", what)
			}
			for code, response := range o.Responses.Map() {
				if code < "400" {
					continue
				}
				media := response.Value.Content[problemType]
				if len(response.Value.Content) != 1 || media == nil || !strings.HasSuffix(media.Schema.Ref, "Problem") {
					t.Errorf("%s lists %s with %v, want a problem alone", what, code, response.Value.Content)
				}
			}
			if o.RequestBody != nil {
				for mediaType, media := range o.RequestBody.Value.Content {
					if mediaType == "application/json" && len(examplesOf(media)) == 0 {
						t.Errorf("%s has no example of its body", what)
					}
				}
			}
		}
	}
}

// operationCall is a request for an operation with parameters that fit.
type operationCall struct{ id, method, path string }

func (w *world) operationCalls() []operationCall {
	var calls []operationCall
	for path, item := range w.spec.Paths.Map() {
		for method, o := range item.Operations() {
			calls = append(calls, operationCall{o.OperationID, method, regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "some1")})
		}
	}
	return calls
}

// Nothing but health, the contract and its page is open, and no key of one kind
// opens what is of another.
func TestEveryOperationNeedsItsScope(t *testing.T) {
	w := newWorld(t, nil)
	open := map[string]bool{"getLivez": true, "getReadyz": true, "getOpenAPI": true, "getDocs": true}
	keys := map[tenancy.Scope]string{tenancy.ScopeAdmin: adminKey}
	for _, scope := range tenancy.TenantScopes() {
		keys[scope] = w.tenant("acme", scope)
	}
	wrong := keys["read"][:len(keys["read"])-8] + "aaaaaaaa"
	for _, call := range w.operationCalls() {
		if open[call.id] {
			w.wantStatus(call.id+" without a key", w.call(call.method, call.path, "", ""), 200)
			continue
		}
		op := w.server.operations[call.id]
		for _, token := range []string{"", "x", wrong, strings.Repeat("x", 600)} {
			got := w.call(call.method, call.path, token, "")
			w.wantStatus(call.id+" with no good key", got, 401)
			if got.header.Get("Www-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate = %q, want Bearer", call.id, got.header.Get("Www-Authenticate"))
			}
		}
		for scope, token := range keys {
			got := w.call(call.method, call.path, token, "")
			if forbidden := got.status == 403; forbidden != (scope != op.scope) {
				t.Errorf("%s with scope %s = %d, want 403 exactly when it is not %s", call.id, scope, got.status, op.scope)
			}
			if got.status >= 500 {
				t.Errorf("%s with scope %s = %d %s, want no fault", call.id, scope, got.status, got.body)
			}
		}
	}
}

// The four ways of having no good key are told apart by nobody.
func TestUnauthenticatedAnswersAreTheSame(t *testing.T) {
	w := newWorld(t, nil)
	good := w.tenant("acme")
	_, revoked, _ := w.keys.IssueKey(t.Context(), "acme", "r", nil, noTime)
	list, err := w.keys.ListKeys(t.Context(), "acme", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if strings.Contains(revoked, k.Prefix) {
			if err := w.keys.RevokeKey(t.Context(), "acme", k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	var first string
	for what, token := range map[string]string{
		"unknown": "tars_aaaaaaaaaaaa_" + good[len(good)-52:], "wrong": good[:len(good)-52] + strings.Repeat("a", 52),
		"revoked": revoked, "malformed": "tars_", "foreign": "eyJhbGciOiJub25lIn0.e30.",
	} {
		got := w.call("GET", "/v1/collections", token, "")
		w.wantStatus(what, got, 401)
		text := strings.ReplaceAll(got.body, got.header.Get("X-Request-ID"), "")
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("%s key: %s, want the same as for the others: %s", what, text, first)
		}
	}
}

// What another tenant owns is answered exactly as what does not exist.
func TestForeignIsUnknown(t *testing.T) {
	w := newWorld(t, nil)
	owner, other := w.tenant("owner"), w.tenant("other")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/notes", owner, `{"dimension":2}`), 201)
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/mine", other, `{"dimension":2}`), 201)
	w.wantStatus("records", w.call("POST", "/v1/collections/notes/records", owner, `{"records":[{"id":"a","vector":[1,1]}]}`), 200)
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/files", owner, `{"embedder":"local"}`), 201)
	w.wantStatus("document", w.putDocument("/v1/collections/files/documents/d", owner, "text/plain", "his"), 201)
	foreignWrite, unknownWrite := w.putDocument("/v1/collections/files/documents/d", other, "text/plain", "hers"), w.putDocument("/v1/collections/none/documents/d", other, "text/plain", "hers")
	if foreignWrite.status != 404 || foreignWrite.json["detail"] != unknownWrite.json["detail"] {
		t.Errorf("PUT into another's collection = %s, want the same as into none: %s", foreignWrite.body, unknownWrite.body)
	}
	w.wantStatus("upload", w.uploadGood(owner), 201)
	w.wantStatus("alias", w.call("PUT", "/v1/plugins/cited/aliases/live", owner, `{"version":1}`), 200)
	job, noJob := "/v1/jobs/"+string(w.jobs.Add("owner", "import").ID), "/v1/jobs/"+string(jobs.NewID(time.Now()))
	call := ledger.Call{ID: ledger.NewID(time.Now()), Plugin: "cited", Started: time.Now()}
	if err := w.ledger.Write(t.Context(), ledger.Batch{Writer: "w", Number: 1, Calls: []ledger.TenantCall{{Tenant: "owner", Call: call}}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, foreign, unknown, body string }{
		{"GET", "/v1/plugins/cited/calls", "/v1/plugins/none/calls", ""},
		{"GET", "/v1/calls/" + string(call.ID), "/v1/calls/" + string(ledger.NewID(time.Now())), ""},
		{"GET", "/v1/collections/notes", "/v1/collections/none", ""},
		{"DELETE", "/v1/collections/notes", "/v1/collections/none", ""},
		{"POST", "/v1/collections/notes/records", "/v1/collections/none/records", `{"records":[{"id":"a","vector":[1,1]}]}`},
		{"POST", "/v1/collections/notes/search", "/v1/collections/none/search", `{"vector":[1,1]}`},
		{"POST", "/v1/collections/notes/search", "/v1/collections/none/search", `{"text":"a"}`},
		{"GET", "/v1/collections/notes/records/a", "/v1/collections/none/records/a", ""},
		{"GET", "/v1/collections/mine/records/a", "/v1/collections/mine/records/b", ""},
		{"DELETE", "/v1/collections/notes/records/a", "/v1/collections/none/records/a", ""},
		{"GET", "/v1/collections/files/documents", "/v1/collections/none/documents", ""},
		{"GET", "/v1/collections/files/documents/d", "/v1/collections/none/documents/d", ""},
		{"GET", "/v1/collections/files/documents/d/source", "/v1/collections/none/documents/d/source", ""},
		{"GET", "/v1/collections/files/documents/d/text", "/v1/collections/none/documents/d/text", ""},
		{"GET", "/v1/collections/files/documents/d/locate", "/v1/collections/none/documents/d/locate", ""},
		{"DELETE", "/v1/collections/files/documents/d", "/v1/collections/none/documents/d", ""},
		{"GET", "/v1/collections/mine/documents/d", "/v1/collections/mine/documents/e", ""},
		{"GET", "/v1/plugins/cited", "/v1/plugins/none", ""},
		{"GET", "/v1/plugins/cited/versions", "/v1/plugins/none/versions", ""},
		{"GET", "/v1/plugins/cited/versions/1", "/v1/plugins/none/versions/1", ""},
		{"PUT", "/v1/plugins/cited/aliases/live", "/v1/plugins/none/aliases/live", `{"version":1}`},
		{"POST", "/v1/plugins/cited/invoke", "/v1/plugins/none/invoke", `{"capability":"rank","input":1}`},
		{"GET", job, noJob, ""},
		{"DELETE", job, noJob, ""},
		{"GET", job + "/events", noJob + "/events", ""},
	} {
		foreign, unknown := w.call(c.method, c.foreign, other, c.body), w.call(c.method, c.unknown, other, c.body)
		w.wantStatus(c.method+" "+c.foreign, foreign, 404)
		got := strings.ReplaceAll(foreign.body, foreign.header.Get("X-Request-ID"), "")
		if want := strings.ReplaceAll(unknown.body, unknown.header.Get("X-Request-ID"), ""); got != want {
			t.Errorf("%s %s = %s, want the same as %s: %s", c.method, c.foreign, got, c.unknown, want)
		}
	}
	for _, c := range []struct{ foreign, unknown string }{
		{`{"text":"x","legs":[{"collection":"notes","vector":[1,1]}]}`, `{"text":"x","legs":[{"collection":"none","vector":[1,1]}]}`},
		{
			`{"text":"x","legs":[{"collection":"mine","vector":[1,1]}],"plugins":[{"name":"cited","capability":"rank","on_error":"fail"}]}`,
			`{"text":"x","legs":[{"collection":"mine","vector":[1,1]}],"plugins":[{"name":"none","capability":"rank","on_error":"fail"}]}`,
		},
	} {
		foreign, unknown := w.call("POST", "/v1/query", other, c.foreign), w.call("POST", "/v1/query", other, c.unknown)
		w.wantStatus("query "+c.foreign, foreign, 404)
		w.wantStatus("query "+c.unknown, unknown, 404)
	}
	// Nothing of the owner's has changed.
	if got := w.call("GET", "/v1/collections/files/documents/d/source", owner, ""); got.body != "his" {
		t.Errorf("the owner's document = %d %q, want it as it was", got.status, got.body)
	}
	w.wantStatus("GET", w.call("GET", "/v1/collections/notes/records/a", owner, ""), 200)
}

// A cursor gives no right: another tenant's leads through one's own list only.
func TestForeignCursor(t *testing.T) {
	w := newWorld(t, nil)
	owner, other := w.tenant("owner"), w.tenant("other")
	for _, name := range []string{"a", "b", "c"} {
		w.wantStatus("PUT", w.call("PUT", "/v1/collections/"+name, owner, `{"dimension":2}`), 201)
	}
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/z", other, `{"dimension":2}`), 201)
	cursor := w.call("GET", "/v1/collections?limit=1", owner, "").json["next_cursor"].(string)
	got := w.call("GET", "/v1/collections?cursor="+cursor, other, "")
	if list := got.json["collections"].([]any); len(list) != 1 || list[0].(map[string]any)["name"] != "z" {
		t.Errorf("list with a foreign cursor = %s, want one's own collection alone", got.body)
	}
	w.wantStatus("cursor of another list", w.call("GET", "/v1/plugins?cursor="+cursor, owner, ""), 400)
}
