package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/shares"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
)

// failing is every service, failing always with one error.
type failing struct {
	mu  sync.Mutex
	err error
}

func (f *failing) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failing) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *failing) PutCollection(context.Context, knowledge.TenantID, knowledge.Collection) (knowledge.Collection, bool, error) {
	return knowledge.Collection{}, false, f.get()
}

func (f *failing) Definition(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Collection, error) {
	return knowledge.Collection{}, f.get()
}

func (f *failing) Collection(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Collection, error) {
	return knowledge.Collection{}, f.get()
}

func (f *failing) ListCollections(context.Context, knowledge.TenantID, knowledge.CollectionName, int) ([]knowledge.Collection, error) {
	return nil, f.get()
}

func (f *failing) DeleteCollection(context.Context, knowledge.TenantID, knowledge.CollectionName) error {
	return f.get()
}

func (f *failing) Health(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Health, error) {
	return knowledge.Health{}, f.get()
}

func (f *failing) Record(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.RecordID) (knowledge.Record, error) {
	return knowledge.Record{}, f.get()
}

func (f *failing) DeleteRecord(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.RecordID) error {
	return f.get()
}

func (f *failing) Prepare(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Write) (ingest.Prepared, error) {
	return ingest.Prepared{}, f.get()
}

func (f *failing) Search(context.Context, knowledge.TenantID, query.SearchText) (query.Results, error) {
	return query.Results{}, f.get()
}

func (f *failing) SearchBatch(context.Context, knowledge.TenantID, []query.SearchText) ([]query.Searched, error) {
	return nil, f.get()
}

func (f *failing) Answer(context.Context, knowledge.TenantID, query.Query) (query.Answer, error) {
	return query.Answer{}, f.get()
}

func (f *failing) Stream(context.Context, knowledge.TenantID, query.Query, func(query.Part) error) (query.Answer, error) {
	return query.Answer{}, f.get()
}

func (f *failing) AnswerBatch(context.Context, knowledge.TenantID, []query.Query, time.Duration) ([]query.Answered, error) {
	return nil, f.get()
}

func (f *failing) Version(context.Context, knowledge.TenantID, plugins.Name, plugins.Ref) (plugins.Version, error) {
	return plugins.Version{}, f.get()
}

func (f *failing) ListVersions(context.Context, knowledge.TenantID, plugins.Name, int, int) ([]plugins.Version, error) {
	return nil, f.get()
}

func (f *failing) Plugin(context.Context, knowledge.TenantID, plugins.Name) (plugins.Plugin, error) {
	return plugins.Plugin{}, f.get()
}

func (f *failing) ListPlugins(context.Context, knowledge.TenantID, plugins.Name, int) ([]plugins.Plugin, error) {
	return nil, f.get()
}

func (f *failing) SetAlias(context.Context, knowledge.TenantID, plugins.Name, plugins.Alias, int) error {
	return f.get()
}

func (f *failing) ChangeCollection(context.Context, knowledge.TenantID, knowledge.CollectionName, int64, func(knowledge.Collection) (knowledge.Collection, error)) (knowledge.Collection, error) {
	return knowledge.Collection{}, f.get()
}

func (f *failing) FillFields(context.Context, knowledge.TenantID, knowledge.CollectionName, func(int64, int64)) error {
	return f.get()
}

func (f *failing) Resolve(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Resolved, error) {
	return knowledge.Resolved{}, f.get()
}

func (f *failing) DeleteCollectionAndAliases(context.Context, knowledge.TenantID, knowledge.CollectionName) error {
	return f.get()
}

func (f *failing) ChangeAliases(context.Context, knowledge.TenantID, []knowledge.AliasAction) ([]knowledge.Alias, error) {
	return nil, f.get()
}

func (f *failing) Alias(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Alias, error) {
	return knowledge.Alias{}, f.get()
}

func (f *failing) ListAliases(context.Context, knowledge.TenantID, knowledge.CollectionName, int) ([]knowledge.Alias, error) {
	return nil, f.get()
}

func (f *failing) PutView(context.Context, knowledge.TenantID, knowledge.View) (knowledge.View, bool, error) {
	return knowledge.View{}, false, f.get()
}

func (f *failing) View(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.View, error) {
	return knowledge.View{}, f.get()
}

func (f *failing) ListViews(context.Context, knowledge.TenantID, knowledge.CollectionName, int) ([]knowledge.View, error) {
	return nil, f.get()
}

func (f *failing) DeleteView(context.Context, knowledge.TenantID, knowledge.CollectionName) error {
	return f.get()
}

func (f *failing) Upload(context.Context, knowledge.TenantID, tenancy.Policy, plugins.Manifest, []byte) (plugins.Version, bool, error) {
	return plugins.Version{}, false, f.get()
}

func (f *failing) Replay(context.Context, knowledge.TenantID, plugins.Recording, *plugins.Ref) (plugins.Replayed, error) {
	return plugins.Replayed{}, f.get()
}

func (f *failing) Recording(context.Context, knowledge.TenantID, ledger.ID, *string) (plugins.Recording, error) {
	return plugins.Recording{}, f.get()
}

func (f *failing) Delete(context.Context, knowledge.TenantID, ledger.ID, *string) error {
	return f.get()
}

func (f *failing) Invoke(context.Context, knowledge.TenantID, plugins.Name, plugins.Ref, string, []byte, bool) (plugins.Invocation, error) {
	return plugins.Invocation{}, f.get()
}

func (f *failing) CreateTenant(context.Context, tenancy.Tenant) (tenancy.Tenant, error) {
	return tenancy.Tenant{}, f.get()
}

func (f *failing) Tenant(context.Context, knowledge.TenantID) (tenancy.Tenant, error) {
	return tenancy.Tenant{}, f.get()
}

func (f *failing) ListTenants(context.Context, knowledge.TenantID, int) ([]tenancy.Tenant, error) {
	return nil, f.get()
}

func (f *failing) IssueKey(context.Context, knowledge.TenantID, string, []tenancy.Scope, time.Time, ...knowledge.CollectionName) (tenancy.Key, string, error) {
	return tenancy.Key{}, "", f.get()
}

func (f *failing) ListKeys(context.Context, knowledge.TenantID, string, int) ([]tenancy.Key, error) {
	return nil, f.get()
}

func (f *failing) ListQuarantined(context.Context, string, int) ([]plugins.Quarantined, error) {
	return nil, f.get()
}

func (f *failing) ReleaseQuarantined(context.Context, knowledge.TenantID, vmhost.Digest) error {
	return f.get()
}

func (f *failing) RevokeKey(context.Context, knowledge.TenantID, string) error { return f.get() }

func (f *failing) Get(context.Context, knowledge.TenantID, jobs.ID) (jobs.Job, error) {
	return jobs.Job{}, f.get()
}

func (f *failing) List(context.Context, knowledge.TenantID, jobs.Selection, int) ([]jobs.Job, error) {
	return nil, f.get()
}

func (f *failing) Cancel(context.Context, knowledge.TenantID, jobs.ID) (jobs.Job, error) {
	return jobs.Job{}, f.get()
}

func (f *failing) Watch(context.Context, knowledge.TenantID, jobs.Job) (jobs.Job, error) {
	return jobs.Job{}, f.get()
}

func (f *failing) Call(context.Context, knowledge.TenantID, ledger.ID) (ledger.Call, error) {
	return ledger.Call{}, f.get()
}

func (f *failing) Calls(context.Context, knowledge.TenantID, string, ledger.Selection, int) ([]ledger.Call, error) {
	return nil, f.get()
}

func (f *failing) Usage(context.Context, knowledge.TenantID, ledger.Question) ([]ledger.Sum, error) {
	return nil, f.get()
}

func (f *failing) Events(context.Context, knowledge.TenantID, audit.Selection, int) ([]audit.Entry, error) {
	return nil, f.get()
}

func (f *failing) Walk(context.Context, knowledge.TenantID, int64, func(first, last audit.Mark) error, func(audit.Entry) error) error {
	return f.get()
}

// failingShares fails likewise.
type failingShares struct{ *failing }

func (f failingShares) Grant(context.Context, knowledge.TenantID, knowledge.Share) (knowledge.Share, error) {
	return knowledge.Share{}, f.get()
}

func (f failingShares) Revoke(context.Context, knowledge.TenantID, knowledge.ShareID, string) error {
	return f.get()
}

func (f failingShares) Given(context.Context, knowledge.TenantID, knowledge.ShareID, int) ([]shares.Used, error) {
	return nil, f.get()
}

func (f failingShares) Received(context.Context, knowledge.TenantID, knowledge.ShareID, int) ([]shares.Used, error) {
	return nil, f.get()
}

func failingWorld(t *testing.T) (*world, *failing) {
	f := new(failing)
	return newWorld(t, func(s *Services, _ *Options) {
		s.Tenants, s.Collections, s.Names, s.Health, s.Records, s.Writer, s.Engine = f, f, f, f, failingStore{f}, f, f
		s.Importer, s.Documents, s.Embedders = failingImporter{f}, failingDocuments{f}, failingEmbedders{f}
		s.Reembedder, s.Ledger, s.Shares, s.Audit = failingReembedder{f}, f, failingShares{f}, f
		s.Catalog, s.Registry, s.Invoker, s.Recorder, s.Quarantine, s.Jobs = f, f, f, f, f, f
	}), f
}

// goodCall makes a request that reaches the operation's service.
func (w *world) goodCall(id, method, path, token string) reply {
	if id == "uploadPluginVersion" {
		return w.upload(token, "cited", part{"manifest", "application/json", goodManifest}, part{"module", "application/wasm", goodModule})
	}
	if id == "putDocument" {
		return w.putDocument(path, token, "text/plain", "text")
	}
	if strings.HasPrefix(id, "import") {
		r := w.request(method, path, token, strings.NewReader("{}\n"))
		r.Header.Set("Content-Type", "application/x-ndjson")
		return w.do(r)
	}
	body := map[string]string{
		"patchRecord": `{"metadata":{}}`, "deleteRecords": `{"all":true}`, "countRecords": `{}`, "scrollRecords": `{}`,
		"putCollection": `{"dimension":2}`, "putRecords": record(`"vector":[1,1]`), "searchRecords": `{"vector":[1,1]}`,
		"patchCollection": `{"ttl_seconds":null}`, "putAlias": `{"collection":"c"}`, "changeAliases": `{"actions":[{"action":"delete","alias":"a"}]}`,
		"putView": `{"collection":"c","filter":{"and":[]}}`, "estimateCollection": `{"rows":1,"dimension":2}`,
		"searchRecordsBatch": `{"searches":[{"vector":[1,1]}]}`,
		"query":              `{"legs":[{"collection":"c","vector":[1,1]}]}`, "setPluginAlias": `{"version":1}`,
		"queryBatch":   `{"queries":[{"legs":[{"collection":"c","vector":[1,1]}]}]}`,
		"invokePlugin": `{"capability":"rank","input":1}`, "createTenant": `{"id":"acme"}`, "createKey": `{}`,
		"reembedCollection": `{"embedder":"local"}`, "createShare": `{"view":"v","grantee":"rival"}`,
		"putEmbedder": `{"base_url":"https://example.com","model":"m"}`, "embedTexts": `{"texts":["a"]}`,
		"replayCall": `{}`,
	}[id]
	path = strings.NewReplacer("/versions/some1", "/versions/1", "/quarantine/some1/some1", "/quarantine/some1/"+moduleOfAcme.String(),
		"/shares/some1", "/shares/share_"+strings.Repeat("a", 16),
		"/calls/some1", "/calls/"+string(ledger.NewID(time.Now())), "/imports/some1", "/imports/"+strings.Repeat("A", 26), "/jobs/some1", "/jobs/"+string(jobs.NewID(time.Now()))).Replace(path)
	return w.call(method, path, token, body)
}

// TestEveryErrorIsListed lets the service of every operation fail in every way
// that it may, and finds each answer listed in openapi.yaml ([world.do] checks).
func TestEveryErrorIsListed(t *testing.T) {
	w, f := failingWorld(t)
	token := w.tenant("acme")
	const secret = "postgres://tars:hunter2@10.0.0.1/tars"
	always := map[error]int{
		knowledge.Invalid("a[0]", "is wrong"): 400, knowledge.ErrForbidden: 403, knowledge.ErrLimit: 429, knowledge.ErrUnavailable: 503,
		context.DeadlineExceeded: 504, errors.New("fault"): 500,
	}
	for _, call := range w.operationCalls() {
		op := w.server.operations[call.id]
		if op.scope == "" || call.id == "estimateCollection" || call.id == "mcp" { // which ask no service, or answer in their own protocol
			continue
		}
		key := token
		if op.scope == tenancy.ScopeAdmin {
			key = adminKey
		}
		kinds := map[error]int{}
		for kind, code := range always {
			kinds[kind] = code
		}
		switch call.id {
		case "createTenant":
			kinds[knowledge.ErrConflict] = 409
		case "putCollection", "importTenant":
			kinds[knowledge.ErrConflict] = 409
			kinds[knowledge.ErrRunning], kinds[knowledge.ErrReused] = 409, 422
		case "exportTenant":
		case "cancelJob":
			kinds[knowledge.ErrConflict], kinds[knowledge.ErrNotFound] = 409, 404
		case "putEmbedder", "deleteEmbedder", "createShare":
			kinds[knowledge.ErrConflict], kinds[knowledge.ErrNotFound] = 409, 404
		case "embedTexts": // an unknown embedder is a fault of the body
			kinds[knowledge.ErrConflict], kinds[knowledge.ErrNotFound] = 409, 400
		case "listShares", "listReceivedShares", "listCollections", "listEmbedders", "listAliases", "listViews", "listPlugins", "listTenants", "listQuarantined", "listJobs", "queryBatch", "getUsage", "getAudit", "getOperatorAudit":
		case "uploadPluginVersion":
			kinds[knowledge.ErrConflict] = 409
			kinds[&vmhost.RefusedError{Section: "code", Offset: 9, Detail: "too deep"}] = 422
			kinds[vmhost.ErrMemory], kinds[vmhost.ErrTrapped], kinds[vmhost.ErrDeadline] = 422, 422, 422
			kinds[vmhost.ErrBusy], kinds[vmhost.ErrUnavailable], kinds[vmhost.ErrCrashed] = 429, 503, 503
			kinds[&vmhost.QuarantinedError{}] = 409
		case "invokePlugin", "query", "replayCall":
			kinds[knowledge.ErrNotFound] = 404
			for reason, kind := range map[string]error{"deadline": vmhost.ErrDeadline, "memory": vmhost.ErrMemory, "trapped": vmhost.ErrTrapped, "output": vmhost.ErrOutput, "input": vmhost.ErrInput, "refused": vmhost.ErrRefused, "fuel": vmhost.ErrFuel, "cpu": vmhost.ErrCPU, "host-budget": vmhost.ErrHostBudget} {
				kinds[&query.PluginError{Plugin: "p", Reason: reason, Detail: "d", Err: kind}] = 422
			}
			kinds[&query.PluginError{Plugin: "p", Reason: "error", Detail: "bad_config: x", Err: &vmhost.GuestError{Code: "bad_config", Message: "x"}}] = 422
			kinds[&query.PluginError{Plugin: "p", Reason: "busy", Err: vmhost.ErrBusy}] = 429
			kinds[&query.PluginError{Plugin: "p", Reason: "crashed", Err: vmhost.ErrCrashed}] = 503
			for budget, status := range map[vmhost.Budget]int{
				vmhost.BudgetWall: 422, vmhost.BudgetCPU: 422, vmhost.BudgetFuel: 422, vmhost.BudgetMemory: 422, vmhost.BudgetInput: 422, vmhost.BudgetOutput: 422,
				vmhost.BudgetHostCalls: 422, vmhost.BudgetHostBytes: 422, vmhost.BudgetHostTime: 422,
				vmhost.BudgetQueue: 429, vmhost.BudgetQueueTime: 429, vmhost.BudgetAccountMemory: 429, vmhost.BudgetNodeMemory: 429,
			} {
				kinds[&query.PluginError{Plugin: "p", Reason: "r", Err: &vmhost.BudgetError{Budget: budget, Used: 2, Allowed: 1}}] = status
			}
			kinds[&vmhost.BudgetError{Budget: vmhost.BudgetAccountMemory, Used: 2, Allowed: 1, Never: true}] = 422
			kinds[fmt.Errorf("p: %w: %w", &vmhost.BudgetError{Budget: vmhost.BudgetQueueTime, Used: 1, Allowed: 1}, context.DeadlineExceeded)] = 429
			kinds[&query.PluginError{Plugin: "p", Reason: "quarantined", Err: &vmhost.QuarantinedError{}}] = 409
		case "patchCollection":
			kinds[knowledge.ErrPrecondition], kinds[knowledge.ErrConflict], kinds[knowledge.ErrNotFound] = 412, 409, 404
		case "putDocument", "deleteDocument":
			kinds[knowledge.Conflict("document", "is taken")], kinds[knowledge.ErrNotFound] = 409, 404
			kinds[knowledge.ErrRunning], kinds[knowledge.ErrReused], kinds[knowledge.ErrPrecondition] = 409, 422, 412
		case "locateInDocument":
			kinds[knowledge.Conflict("version", "is 1")], kinds[knowledge.ErrNotFound] = 409, 404
		case "putRecords", "deleteRecords", "deleteRecord", "deleteCollection", "importRecords":
			kinds[knowledge.ErrConflict], kinds[knowledge.ErrNotFound] = 409, 404
			kinds[knowledge.ErrRunning], kinds[knowledge.ErrReused] = 409, 422
		case "patchRecord":
			kinds[knowledge.Conflict("if_version", "is 1")], kinds[knowledge.ErrNotFound] = 409, 404
			kinds[knowledge.ErrRunning], kinds[knowledge.ErrReused], kinds[knowledge.ErrPrecondition] = 409, 422, 412
		case "searchRecords", "changeAliases", "putAlias", "deleteAlias", "putView":
			kinds[knowledge.ErrConflict], kinds[knowledge.ErrNotFound] = 409, 404
		default:
			kinds[knowledge.ErrNotFound] = 404
		}
		for kind, want := range kinds {
			f.set(fmt.Errorf("connect to %s: %w", secret, kind))
			got := w.goodCall(call.id, call.method, call.path, key)
			w.wantStatus(fmt.Sprintf("%s failing with %v", call.id, kind), got, want)
			if strings.Contains(got.body, "hunter2") {
				t.Errorf("%s failing with %v = %s, want nothing of the error's own text", call.id, kind, got.body)
			}
			if retry := got.header.Get("Retry-After"); (retry != "") != (want == 429 || want == 503 || errors.Is(kind, knowledge.ErrRunning)) {
				t.Errorf("%s failing with %v: Retry-After = %q, want it with 429, 503 and request-running alone", call.id, kind, retry)
			}
		}
	}
	if !strings.Contains(w.log.String(), "hunter2") {
		t.Error("the log lacks the text of internal errors, want it there")
	}
}

// A client can tell what its plugin did, and what is wrong with its module.
func TestProblemsExplain(t *testing.T) {
	w, f := failingWorld(t)
	token := w.tenant("acme")
	for _, c := range []struct {
		err          error
		name, detail string
		reason       any
	}{
		{&vmhost.RefusedError{Section: "code", Offset: 9, Detail: "too deep"}, "module-refused", "code section, offset 9: too deep", "refused"},
		{&query.PluginError{Plugin: "p", Reason: "deadline", Detail: "2s", Err: vmhost.ErrDeadline}, "plugin-failed", "plugin p: deadline: 2s", "deadline"},
		{&query.PluginError{Plugin: "p", Reason: "error", Detail: "bad_config: no k"}, "plugin-failed", "plugin p: error: bad_config: no k", "error"},
		{
			&query.PluginError{Plugin: "p", Reason: "quarantined", Err: &vmhost.QuarantinedError{Quarantine: vmhost.Quarantine{Reason: "out of memory", Since: time.Unix(0, 0), Deaths: 5}}},
			"plugin-quarantined", "program in quarantine since 1970-01-01T00:00:00Z: its machine died, 5 in a row, the last: out of memory", "quarantined",
		},
		{knowledge.Invalid("records[3].vector[7]", "is not finite"), "invalid", "records[3].vector[7]: is not finite", nil},
		{knowledge.NameTaken("a", "an alias"), "conflict", `name: "a" is already that of an alias; collections, aliases and views share their names`, nil},
		{knowledge.WriteThroughView("v"), "forbidden", `"v" is a view, which can only be read; write to its collection`, nil},
	} {
		f.set(c.err)
		got := w.call("POST", "/v1/plugins/p/invoke", token, `{"capability":"rank","input":1}`)
		if got.json["type"] != "/problems/"+c.name || got.json["detail"] != c.detail || got.json["reason"] != c.reason {
			t.Errorf("problem of %v = %s, want type %s, detail %q, reason %v", c.err, got.body, c.name, c.detail, c.reason)
		}
	}
}

// A client can tell which budget its plugin used up, and how much it needs.
func TestProblemsNameBudgets(t *testing.T) {
	w, f := failingWorld(t)
	token := w.tenant("acme")
	spent := &vmhost.BudgetError{Budget: vmhost.BudgetFuel, Used: 1001, Allowed: 1000}
	waited := &vmhost.BudgetError{Budget: vmhost.BudgetAccountMemory, Used: 300, Allowed: 200}
	for _, c := range []struct {
		err    error
		detail string
		reason any
		want   map[string]any
	}{
		{
			&query.PluginError{Plugin: "p", Reason: "fuel", Detail: spent.Error(), Err: spent}, "plugin p: fuel: budget fuel: 1001 fuel used, at most 1000 are allowed", "fuel",
			map[string]any{"name": "fuel", "used": 1001.0, "allowed": 1000.0, "unit": "fuel"},
		},
		{
			fmt.Errorf("call: %w: %w", waited, context.DeadlineExceeded), "budget account_memory: 300 bytes with this call, at most 200 are allowed", "busy",
			map[string]any{"name": "account_memory", "used": 300.0, "allowed": 200.0, "unit": "bytes"},
		},
	} {
		f.set(c.err)
		got := w.call("POST", "/v1/plugins/p/invoke", token, `{"capability":"rank","input":1}`)
		if got.json["detail"] != c.detail || got.json["reason"] != c.reason || !reflect.DeepEqual(got.json["budget"], any(c.want)) {
			t.Errorf("problem of %v = %s, want detail %q, reason %v, budget %v", c.err, got.body, c.detail, c.reason, c.want)
		}
	}
	f.set(knowledge.ErrNotFound)
	if got := w.call("POST", "/v1/plugins/p/invoke", token, `{"capability":"rank","input":1}`); got.json["budget"] != nil {
		t.Errorf("problem about no budget = %s, want none in it", got.body)
	}
}

// An internal fault is logged once, with the id that the client was told.
func TestInternalErrorIsLoggedOnce(t *testing.T) {
	w, f := failingWorld(t)
	token := w.tenant("acme")
	f.set(errors.New("the disk is on fire"))
	got := w.call("GET", "/v1/collections", token, "")
	w.wantStatus("list", got, 500)
	var lines []string
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "the disk is on fire") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 || !strings.Contains(lines[0], got.header.Get("X-Request-ID")) {
		t.Errorf("log has %q, want one line with the request's id", lines)
	}
}

// blocking is an engine that waits until it is told, and then panics or returns.
type blocking struct {
	engine
	entered chan context.Context
	leave   func(ctx context.Context) error
}

func (b *blocking) Search(ctx context.Context, _ knowledge.TenantID, _ query.SearchText) (query.Results, error) {
	if b.entered != nil {
		b.entered <- ctx
	}
	return query.Results{}, b.leave(ctx)
}

func TestPanic(t *testing.T) {
	b := &blocking{leave: func(context.Context) error { panic("secret 42") }}
	w := newWorld(t, func(s *Services, _ *Options) { s.Engine = b })
	token := w.tenant("acme")
	got := w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1]}`)
	w.wantStatus("search that panics", got, 500)
	if strings.Contains(got.body, "secret 42") || !strings.Contains(w.log.String(), "secret 42") {
		t.Errorf("panic: answer %s, want its text in the log alone", got.body)
	}
	w.wantStatus("the next request", w.call("GET", "/v1/collections", token, ""), 200)
}

// A client that goes away ends the work done for it.
func TestClientGone(t *testing.T) {
	left := make(chan error, 1)
	b := &blocking{entered: make(chan context.Context, 1)}
	b.leave = func(ctx context.Context) error {
		<-ctx.Done()
		left <- ctx.Err()
		return ctx.Err()
	}
	w := newWorld(t, func(s *Services, _ *Options) { s.Engine = b })
	token := w.tenant("acme")
	ctx, cancel := context.WithCancel(t.Context())
	r := w.request("POST", "/v1/collections/c/search", token, strings.NewReader(`{"vector":[1,1]}`)).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	go func() {
		<-b.entered
		cancel()
	}()
	if response, err := http.DefaultClient.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		t.Errorf("a cancelled request was answered with %d, want none", response.StatusCode)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v, want canceled", err)
	}
}

// An operation's deadline ends the work and is told as 504.
func TestHandlerDeadline(t *testing.T) {
	b := &blocking{leave: func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("search: %w", ctx.Err())
	}}
	w := newWorld(t, func(s *Services, _ *Options) { s.Engine = b })
	w.server.operations["searchRecords"].total = 20 * time.Millisecond
	token := w.tenant("acme")
	w.wantStatus("search that does not end", w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1]}`), 504)
}

// /readyz says what failed, and not why.
func TestReadiness(t *testing.T) {
	broken := errors.New("password hunter2 refused")
	w := newWorld(t, func(_ *Services, o *Options) {
		o.Checks = []Check{
			{"sandbox", func(context.Context) (string, error) { return "jail", nil }},
			{"database", func(context.Context) (string, error) { return "", broken }},
			{"stuck", func(ctx context.Context) (string, error) { return "", ctx.Err() }},
		}
	})
	got := w.call("GET", "/readyz", "", "")
	w.wantStatus("readyz", got, 503)
	if want := `[map[detail:jail name:sandbox ok:true] map[detail:failing name:database ok:false] map[name:stuck ok:true]]`; fmt.Sprint(got.json["checks"]) != want {
		t.Errorf("checks = %v, want %s", got.json["checks"], want)
	}
	w.wantStatus("livez", w.call("GET", "/livez", "", ""), 200)
}

// A tenant is no operator and an operator is no tenant, even with keys that say
// otherwise.
func TestScopesDoNotMakeAnOperator(t *testing.T) {
	all := append(tenancy.TenantScopes(), tenancy.ScopeAdmin)
	w := newWorld(t, func(s *Services, _ *Options) {
		s.Keys = principals{"tenant": {Tenant: "acme", Scopes: all}, "operator": {Scopes: all}}
	})
	w.wantStatus("a tenant that lists tenants", w.call("GET", "/v1/admin/tenants", "tenant", ""), 403)
	w.wantStatus("an operator that lists collections", w.call("GET", "/v1/collections", "operator", ""), 403)
	w.wantStatus("a tenant that lists collections", w.call("GET", "/v1/collections", "tenant", ""), 200)
}

// principals are who the tokens belong to.
type principals map[string]tenancy.Principal

func (p principals) Authenticate(_ context.Context, token string) (tenancy.Principal, error) {
	return p[token], nil
}

// Authentication that cannot be done is not a wrong key.
func TestAuthenticationUnavailable(t *testing.T) {
	w := newWorld(t, func(s *Services, _ *Options) { s.Keys = noDirectory{} })
	w.wantStatus("any", w.call("GET", "/v1/collections", "x", ""), 503)
}

type noDirectory struct{}

func (noDirectory) Authenticate(context.Context, string) (tenancy.Principal, error) {
	return tenancy.Principal{}, fmt.Errorf("directory: %w", knowledge.ErrUnavailable)
}
