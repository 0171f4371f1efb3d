package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"go.uber.org/goleak"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/audit/audittest"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/embed/openai"
	"github.com/tars-project/tars/knowledge/embed/outbound"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/jobs/jobstest"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/recordings/recordingstest"
	"github.com/tars-project/tars/knowledge/shares"
	"github.com/tars-project/tars/knowledge/shares/sharestest"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/tenancytest"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/memcatalog"
)

func TestMain(m *testing.M) {
	for _, mediaType := range append(documentTypes(), "application/x-ndjson") {
		openapi3filter.RegisterBodyDecoder(mediaType, func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
			text, err := io.ReadAll(body)
			return string(text), err
		})
	}
	goleak.VerifyTestMain(m)
}

const adminKey = "the-admin-key-of-these-tests-has-40-bytes"

// world is a server behind a real listener, with everything in memory and the
// plugins played by Go functions.
type world struct {
	t       *testing.T
	url     string
	spec    *openapi3.T
	store   *memstore.Store
	catalog *memcatalog.Catalog
	plugins *pluginsDouble

	recordings *recordingstest.Memory
	recorder   *plugins.Recorder
	jobs       *jobstest.Memory
	ledger     *ledgertest.Memory
	audit      *audittest.Memory
	auditLog   *audit.Log
	shares     *shares.Registry
	log        *lockedBuffer
	keys       *tenancy.Keys
	services   Services // as they were before change
	server     *Server
}

// newWorld starts a server. change may replace services and options.
func newWorld(t *testing.T, change func(*Services, *Options)) *world {
	t.Helper()
	w := &world{t: t, store: memstore.New(memstore.Options{MaxCollections: 100}), catalog: new(memcatalog.Catalog), jobs: jobstest.NewMemory(), ledger: ledgertest.NewMemory(), audit: audittest.NewMemory(), log: new(lockedBuffer)}
	w.plugins = &pluginsDouble{catalog: w.catalog}
	w.recordings = new(recordingstest.Memory)
	ring, err := tenancy.NewRing(bytes.Repeat([]byte{7}, tenancy.RingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = tenancy.NewKeys(tenancytest.NewMemory(), ring, adminKey); err != nil {
		t.Fatal(err)
	}
	w.recorder = &plugins.Recorder{Store: w.recordings, Ring: ring, Life: time.Hour, Most: 1 << 30}
	set, err := embed.NewSet(hashing{})
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := outbound.Parse("127.0.0.1") // for servers of tests; localhost is not
	if err != nil {
		t.Fatal(err)
	}
	registry := embed.NewRegistry(embed.Parts{Node: set, Store: embedtest.NewMemory(w.store), Ring: ring, Open: openai.Opener(allowed), Cache: embed.NewQueryCache(1 << 20)})
	t.Cleanup(registry.Close)
	writer := &ingest.Writer{Store: w.store, Embedders: registry}
	log := slog.New(slog.NewJSONHandler(w.log, nil))
	w.shares = shares.NewRegistry(sharestest.NewMemory(w.store), log)
	t.Cleanup(func() {
		if err := w.shares.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.auditLog = audit.NewLog(w.audit, audit.Options{Log: log})
	t.Cleanup(func() {
		if err := w.auditLog.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.services = Services{
		Keys: w.keys, Tenants: w.keys, Collections: w.store, Names: w.store, Health: w.store, Records: w.store,
		Writer: writer, Importer: &ingest.Importer{Store: w.store, Writer: writer}, Embedders: registry,
		Documents: &ingest.Documents{Store: w.store, Writer: writer, Extractor: reading{}},
		Engine:    &query.Engine{Store: w.store, Embedders: registry, Plugins: w.plugins, Shares: w.shares, Parallel: 4, Timeout: 10 * time.Second},
		Catalog:   w.catalog, Registry: w.plugins, Invoker: w.plugins, Recorder: w.recorder, Quarantine: new(quarantineDouble), Jobs: w.jobs,
		Reembedder: reembedDouble{w.jobs}, Ledger: w.ledger, Shares: w.shares, Audit: w.audit, AuditLog: w.auditLog,
	}
	options := Options{Log: log, Metrics: NewMetrics(), MaxModule: 1 << 20}
	services := w.services
	if change != nil {
		change(&services, &options)
	}
	if w.server, err = New(services, options); err != nil {
		t.Fatal(err)
	}
	if w.spec, err = loadSpec(oapi.Document()); err != nil {
		t.Fatal(err)
	}
	w.listen(options.Log)
	return w
}

func (w *world) listen(log *slog.Logger) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := HTTPServer(w.server, log)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(Listener(l)) })
	w.t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	w.url = "http://" + l.Addr().String()
}

// tenant makes a tenant and returns a token with the scopes, or all.
func (w *world) tenant(id string, scopes ...tenancy.Scope) string {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.keys.Tenant(ctx, knowledge.TenantID(id)); err != nil {
		if _, err := w.keys.CreateTenant(ctx, tenancy.Tenant{ID: knowledge.TenantID(id), Name: id}); err != nil {
			w.t.Fatal(err)
		}
	}
	_, token, err := w.keys.IssueKey(ctx, knowledge.TenantID(id), "test", scopes, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// reply is an answer whose body has been read.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any // nil when the body is no object
}

// call sends JSON, or nothing, and checks the answer against openapi.yaml.
func (w *world) call(method, path, token, body string) reply {
	w.t.Helper()
	r := w.request(method, path, token, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json")
	return w.do(r)
}

func (w *world) request(method, path, token string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func (w *world) do(r *http.Request) reply {
	w.t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	got := reply{status: response.StatusCode, header: response.Header, body: string(text)}
	_ = json.Unmarshal(text, &got.json)
	w.checkContract(r, got)
	return got
}

// checkContract fails the test unless openapi.yaml lists the answer and its body
// fits, and, for any error, unless it is a problem with the request's id.
func (w *world) checkContract(r *http.Request, got reply) {
	w.t.Helper()
	if got.status >= 400 && r.Method != http.MethodHead {
		if ct := got.header.Get("Content-Type"); ct != problemType {
			w.t.Errorf("%s %s = %d of type %q, want %s\n%s", r.Method, r.URL.Path, got.status, ct, problemType, got.body)
		}
		if id := got.header.Get("X-Request-ID"); id == "" || got.json["request_id"] != id || got.json["status"] != float64(got.status) {
			w.t.Errorf("%s %s: problem %v with X-Request-ID %q, want the same id and status %d", r.Method, r.URL.Path, got.json, id, got.status)
		}
	}
	route := w.route(r)
	if route == nil || strings.HasPrefix(route.Path, "/openapi") || strings.HasPrefix(route.Path, "/docs") {
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route},
		Status:                 got.status, Header: got.header, Body: io.NopCloser(strings.NewReader(got.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(w.t.Context(), input); err != nil {
		w.t.Errorf("%s %s = %d, which openapi.yaml does not allow: %v\n%.500s", r.Method, r.URL.Path, got.status, err, got.body)
	}
}

// route finds the operation of a request in openapi.yaml, or nil.
func (w *world) route(r *http.Request) *routers.Route {
	for path, item := range w.spec.Paths.Map() {
		pattern := "^" + regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "[^/]+") + "$"
		if o := item.GetOperation(r.Method); o != nil && regexp.MustCompile(pattern).MatchString(r.URL.EscapedPath()) {
			return &routers.Route{Spec: w.spec, Path: path, PathItem: item, Method: r.Method, Operation: o}
		}
	}
	return nil
}

// wantStatus fails the test unless the answer has the status.
func (w *world) wantStatus(what string, got reply, want int) {
	w.t.Helper()
	if got.status != want {
		w.t.Errorf("%s = %d %.300s, want %d", what, got.status, got.body, want)
	}
}

// part is one part of an upload.
type part struct{ name, mediaType, content string }

// form makes a multipart body and its Content-Type.
func form(parts ...part) (io.Reader, string) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, p := range parts {
		header := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename="f"`, p.name)}}
		if p.mediaType != "" {
			header.Set("Content-Type", p.mediaType)
		}
		into, _ := m.CreatePart(header) // writing to a buffer never fails
		_, _ = io.WriteString(into, p.content)
	}
	_ = m.Close()
	return &b, m.FormDataContentType()
}

const (
	goodManifest = `{"abi":1,"name":"cited","capabilities":["rank","synthesize"],"grants":["log"]}`
	goodModule   = "\x00asm\x01\x00\x00\x00"
)

func (w *world) upload(token, name string, parts ...part) reply {
	w.t.Helper()
	body, contentType := form(parts...)
	r := w.request("POST", "/v1/plugins/"+name+"/versions", token, body)
	r.Header.Set("Content-Type", contentType)
	return w.do(r)
}

func (w *world) uploadGood(token string) reply {
	return w.upload(token, "cited", part{"manifest", "application/json", goodManifest}, part{"module", "application/wasm", goodModule})
}

// documentTypes are the types of body that documents may have.
func documentTypes() []string {
	return []string{
		"text/plain", "text/markdown", "text/html", "application/pdf",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	}
}

// reading reads documents without a cell.
type reading struct{}

func (reading) Extract(ctx context.Context, _ knowledge.TenantID, mediaType string, source []byte) (document.Text, error) {
	return document.Parse(ctx, mediaType, source, document.Limits{})
}

// putDocument writes a document.
func (w *world) putDocument(path, token, mediaType, source string) reply {
	w.t.Helper()
	r := w.request("PUT", path, token, strings.NewReader(source))
	r.Header.Set("Content-Type", mediaType)
	return w.do(r)
}

// hashing embeds a text as counts of its words' hashes.
type hashing struct{}

func (hashing) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: "local", Version: "hashing-1", Dimension: 16}
}

func (h hashing) Embed(_ context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
	if err := embed.CheckTexts(texts); err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		vectors[i] = make([]float32, h.Info().Dimension)
		for _, word := range strings.Fields(strings.ToLower(text)) {
			sum := fnv.New32a()
			_, _ = sum.Write([]byte(word))
			vectors[i][sum.Sum32()%16]++
		}
	}
	return vectors, nil
}

// pluginsDouble plays the registry, the runner and the invoker. Its functions may
// be set; without, uploads are kept unchecked and calls echo.
type pluginsDouble struct {
	catalog *memcatalog.Catalog
	upload  func() error
	invoke  func(ctx context.Context) ([]byte, error)
	lie     string // put after the quotes of citations
	refuse  string // what a guard before the search says
}

func (p *pluginsDouble) Upload(ctx context.Context, tenant knowledge.TenantID, policy tenancy.Policy, m plugins.Manifest, module []byte) (plugins.Version, bool, error) {
	if p.upload != nil {
		if err := p.upload(); err != nil {
			return plugins.Version{}, false, err
		}
	}
	v := plugins.Version{Name: m.Name, Digest: plugins.DigestOf(m, module), Manifest: m, Size: int64(len(module))}
	return p.catalog.PutVersion(ctx, tenant, v, module, policy.MaxPlugins)
}

func (p *pluginsDouble) Invoke(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, ref plugins.Ref, capability string, input []byte, record bool) (plugins.Invocation, error) {
	v, err := p.catalog.Version(ctx, tenant, name, ref)
	if err != nil {
		return plugins.Invocation{}, err
	}
	output := input
	if p.invoke != nil {
		if output, err = p.invoke(ctx); err != nil {
			return plugins.Invocation{}, err
		}
	}
	return plugins.Invocation{Version: v, Output: output, Receipt: p.receipt(v, query.Capability(capability))}, nil
}

// Replay gives twice what was given before, one host call short of its recording.
func (p *pluginsDouble) Replay(ctx context.Context, tenant knowledge.TenantID, rec plugins.Recording, ref *plugins.Ref) (plugins.Replayed, error) {
	if ref == nil {
		ref = &plugins.Ref{Number: rec.Version}
	}
	v, err := p.catalog.Version(ctx, tenant, rec.Plugin, *ref)
	after := rec.Outcome
	after.Output += after.Output
	return plugins.Replayed{
		Version: v, Before: rec.Outcome, After: after, Diverged: 1,
		Output: []plugins.Difference{{Pointer: "/a", Before: []byte(`1`)}, {Pointer: "", After: []byte(`"x"`)}},
	}, err
}

func (p *pluginsDouble) receipt(v plugins.Version, capability query.Capability) query.Receipt {
	return query.Receipt{
		ID: string(ledger.FirstID(time.UnixMilli(1))), Plugin: string(v.Name), Version: v.Number, Digest: v.Digest.String(), Capability: capability,
		Tier: "inproc", Grade: "none", VM: time.Millisecond, CPU: 900 * time.Microsecond, Fuel: 5,
		PeakMemory: 6, HostCalls: 7, HostBytes: 8, HostTime: 9 * time.Microsecond, Logs: []string{"called"},
	}
}

// found is the version that a call of a query runs.
func (p *pluginsDouble) found(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall) (plugins.Version, error) {
	return p.catalog.Version(ctx, tenant, plugins.Name(call.Name), plugins.Ref{Alias: plugins.Live})
}

func (p *pluginsDouble) Find(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall) (query.Version, error) {
	v, err := p.found(ctx, tenant, call)
	return query.Version{Number: v.Number, Digest: v.Digest.String()}, err
}

// Guard takes the first word of the first candidate away.
func (p *pluginsDouble) Guard(ctx context.Context, t query.Task) (query.Verdict, query.Receipt, error) {
	v, err := p.found(ctx, t.Tenant, t.Call)
	var verdict query.Verdict
	if t.Call.Stage == query.Pre {
		verdict.Refuse = p.refuse
	} else if len(t.Handout.Candidates) > 0 {
		verdict.Redact = []query.Span{{Index: 0, Start: 0, End: strings.Index(t.Handout.Candidates[0].Text, " ")}}
	}
	return verdict, p.receipt(v, query.Guard), err
}

// Merge keeps the first candidate.
func (p *pluginsDouble) Merge(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	v, err := p.found(ctx, t.Tenant, t.Call)
	return []query.Scored{{Index: 0, Score: 9, Reason: "the first"}}[:min(1, len(t.Handout.Candidates))], p.receipt(v, query.Merge), err
}

func (p *pluginsDouble) Rank(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	v, err := p.found(ctx, t.Tenant, t.Call)
	return nil, p.receipt(v, query.Rank), err
}

func (p *pluginsDouble) Synthesize(ctx context.Context, t query.Task) (query.Draft, query.Receipt, error) {
	v, err := p.found(ctx, t.Tenant, t.Call)
	if err == nil && p.invoke != nil {
		_, err = p.invoke(ctx)
	}
	passages := t.Handout.Candidates
	if err != nil || len(passages) == 0 {
		return query.Draft{}, query.Receipt{}, err
	}
	text := passages[0].Text
	return query.Draft{Text: text, Citations: []query.DraftCitation{{Index: 0, Start: 0, End: len(text), Quote: text + p.lie}}}, p.receipt(v, query.Synthesize), nil
}

// lockedBuffer is a buffer that goroutines may share.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
