package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// bearing adds a token to each request.
type bearing string

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// mcpSession connects the SDK's client.
func (w *world) mcpSession(token string) *mcp.ClientSession {
	w.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: w.url + "/mcp", HTTPClient: &http.Client{Transport: bearing(token)}, DisableStandaloneSSE: true}
	session, err := client.Connect(w.t.Context(), transport, nil)
	if err != nil {
		w.t.Fatalf("connect: %v", err)
	}
	w.t.Cleanup(func() { _ = session.Close() })
	return session
}

// tool calls a tool and returns its structured result, its text, and whether it is
// an error.
func callTool(t *testing.T, session *mcp.ClientSession, name string, arguments any) (result map[string]any, text string, isError bool) {
	t.Helper()
	got, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	result, _ = got.StructuredContent.(map[string]any)
	return result, got.Content[0].(*mcp.TextContent).Text, got.IsError
}

func TestMCPTools(t *testing.T) {
	w, token := asker(t, nil)
	session := w.mcpSession(token)
	listed, err := session.ListTools(t.Context(), nil)
	if err != nil || len(listed.Tools) != 3 {
		t.Fatalf("ListTools = %+v, %v, want three", listed, err)
	}
	examples := map[string][]string{
		"list_collections": {`{}`, `{"limit":1}`},
		"search":           {`{"collection":"notes","text":"backup","limit":1,"mode":"lexical","filter":{"not":{"and":[{"field":"a","eq":1},{"field":"b","in":[1,"x"]}]}}}`},
		"query":            {`{"text":"backup","legs":[{"collection":"notes"}],"plugins":[{"name":"cited","capability":"synthesize","config":{"a":1}}],"limit":1}`},
	}
	if _, text, isError := callTool(t, session, "list_collections", json.RawMessage("null")); isError {
		t.Errorf("list_collections without arguments = %s, want no error", text)
	}
	violations := map[string][]string{
		"list_collections": {`{"limit":0}`, `{"limit":"1"}`, `{"tenant":"other"}`, `{"cursor":""}`},
		"search": {
			`{"text":"x"}`, `{"collection":"notes"}`, `{"collection":"notes","text":"x","tenant":"other"}`, `{"collection":"notes","text":""}`,
			`{"collection":"No name","text":"x"}`, `{"collection":"notes","text":"x","limit":1001}`, `{"collection":"notes","text":"x","mode":"fast"}`,
			`{"collection":"notes","text":"x","filter":{"field":"a"}}`, `{"collection":"notes","text":"x","filter":` + strings.Repeat(`{"not":`, 40) + `{"field":"a","eq":1}` + strings.Repeat(`}`, 41),
		},
		"query": {`{"text":"x"}`, `{"text":"x","legs":[]}`, `{"text":"x","legs":[{"collection":"notes","owner":1}]}`, `{"text":"x","legs":[{"collection":"notes"}],"plugins":[{"name":"cited","capability":"chunk"}]}`},
	}
	for _, tool := range listed.Tools {
		text, err := json.Marshal(tool.InputSchema)
		if err != nil {
			t.Fatal(err)
		}
		var schema jsonschema.Schema
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatalf("%s: schema %s: %v", tool.Name, text, err)
		}
		resolved, err := schema.Resolve(nil)
		if err != nil {
			t.Fatalf("%s: schema %s: %v", tool.Name, text, err)
		}
		t.Logf("%s: %d bytes of schema", tool.Name, len(text))
		for _, example := range examples[tool.Name] {
			if err := resolved.Validate(decoded(t, example)); err != nil {
				t.Errorf("%s: the schema refuses %s: %v", tool.Name, example, err)
			}
			if _, text, isError := callTool(t, session, tool.Name, json.RawMessage(example)); isError {
				t.Errorf("%s of %s = %s, want no error", tool.Name, example, text)
			}
		}
		for _, bad := range violations[tool.Name] {
			deep := strings.Count(bad, "not") > 17 // what no schema can say
			if err := resolved.Validate(decoded(t, bad)); err == nil && !deep {
				t.Errorf("%s: the schema admits %s", tool.Name, bad)
			}
			if result, text, isError := callTool(t, session, tool.Name, json.RawMessage(bad)); !isError || result["status"] != 400.0 || !strings.Contains(text, "Invalid request") {
				t.Errorf("%s of %.200s = %v, %s, want the problem 400", tool.Name, bad, result, text)
			}
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// TestMCPAnswers: tools answer what the operations do, in words too.
func TestMCPAnswers(t *testing.T) {
	w, token := asker(t, nil)
	session := w.mcpSession(token)
	page, text, _ := callTool(t, session, "list_collections", nil)
	if len(page["collections"].([]any)) != 1 || text != "notes: 2 records\n" {
		t.Errorf("list_collections = %v, %q, want notes with two records", page, text)
	}
	found, text, _ := callTool(t, session, "search", map[string]any{"collection": "notes", "text": "base", "mode": "lexical"})
	if len(found["matches"].([]any)) != 1 || !strings.Contains(text, "[1] notes/a") || !strings.Contains(text, "the base backup of a cluster") {
		t.Errorf("search = %v, %q, want the note a", found, text)
	}
	answer, text, _ := callTool(t, session, "query", map[string]any{
		"text": "backup", "legs": []any{map[string]any{"collection": "notes"}}, "plugins": []any{map[string]any{"name": "cited", "capability": "synthesize"}},
	})
	citation := answer["results"].([]any)[0].(map[string]any)["citations"].([]any)[0].(map[string]any)
	if citation["verified"] != true || !strings.Contains(text, "Answer of cited (grounded: true)") || !strings.Contains(text, "verified: true") {
		t.Errorf("query = %v, %q, want an answer with its citation", answer, text)
	}
	if _, text, _ := callTool(t, session, "search", map[string]any{"collection": "notes", "text": "xylophone", "mode": "lexical"}); text != "Nothing was found.\n" {
		t.Errorf("search without matches says %q", text)
	}
	if problem, text, isError := callTool(t, session, "search", map[string]any{"collection": "none", "text": "x"}); !isError || problem["status"] != 404.0 || text != "Not found: there is no such collection" {
		t.Errorf("search of an unknown collection = %v, %q, want the problem 404", problem, text)
	}
}

// TestMCPKeys: a tool does no more for a key than the operations do.
func TestMCPKeys(t *testing.T) {
	w, token := asker(t, nil)
	w.wantStatus("PUT view", w.call("PUT", "/v1/views/some", token, `{"collection":"notes","filter":{"match":"base"}}`), 201)
	_, limited, err := w.keys.IssueKey(t.Context(), "acme", "limited", nil, noTime, "some")
	if err != nil {
		t.Fatal(err)
	}
	session := w.mcpSession(limited)
	if page, _, _ := callTool(t, session, "list_collections", nil); len(page["collections"].([]any)) != 1 || page["collections"].([]any)[0].(map[string]any)["name"] != "some" {
		t.Errorf("list_collections of a limited key = %v, want its view alone", page)
	}
	if _, text, isError := callTool(t, session, "search", map[string]any{"collection": "notes", "text": "backup"}); !isError {
		t.Errorf("search beyond the view = %q, want an error", text)
	}
	found, _, _ := callTool(t, session, "search", map[string]any{"collection": "some", "text": "backup", "mode": "lexical"})
	if len(found["matches"].([]any)) != 1 {
		t.Errorf("search of the view = %v, want one note", found)
	}
	other := w.mcpSession(w.tenant("other"))
	if _, text, isError := callTool(t, other, "search", map[string]any{"collection": "notes", "text": "backup"}); !isError {
		t.Errorf("search of another tenant's = %q, want an error", text)
	}
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	_, invoking, err := w.keys.IssueKey(t.Context(), "acme", "invoking", []tenancy.Scope{tenancy.ScopeInvoke}, noTime)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{"": 401, "wrong": 401, adminKey: 403, invoking: 403} {
		if got := w.mcpPost(t.Context(), key, list); got.StatusCode != want {
			t.Errorf("/mcp with the key %.8q… = %d, want %d", key, got.StatusCode, want)
		}
	}
}

// mcpPost sends one message as it is.
func (w *world) mcpPost(ctx context.Context, token, message string) *http.Response {
	w.t.Helper()
	r := w.request("POST", "/mcp", token, strings.NewReader(message)).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	response.Body = io.NopCloser(strings.NewReader(string(text)))
	return response
}

// TestMCPHostile: what is no message of the protocol.
func TestMCPHostile(t *testing.T) {
	w, token := asker(t, nil)
	for name, message := range map[string]string{
		"empty": "", "no JSON": "{", "null": "null", "an array of nothing": "[]", "no method": `{"jsonrpc":"2.0","id":1}`,
		"deep": strings.Repeat("[", 100_000), "unknown method": `{"jsonrpc":"2.0","id":1,"method":"tenants/list"}`,
		"unknown tool":       `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop"}}`,
		"arguments a string": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":"x"}}`,
		"deep arguments":     `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5002),
		"bad UTF-8":          "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"search\",\"arguments\":{\"collection\":\"notes\",\"text\":\"\xff\"}}}",
	} {
		got := w.mcpPost(t.Context(), token, message)
		text, _ := io.ReadAll(got.Body)
		if got.StatusCode >= 500 || got.StatusCode == 200 && !strings.Contains(string(text), "error") && !strings.Contains(string(text), `"isError":true`) {
			t.Errorf("%s: %d %.300s, want a refusal", name, got.StatusCode, text)
		}
	}
	if got := w.mcpPost(t.Context(), token, strings.Repeat(" ", 1<<20)+"{}"); got.StatusCode != 413 {
		t.Errorf("a message of over 1 MiB = %d, want 413", got.StatusCode)
	}
	w.wantStatus("GET", w.call("GET", "/mcp", token, ""), 405)
}

// answering is an engine whose searches are a function.
type answering struct {
	engine
	search func(ctx context.Context) error
}

func (a answering) Search(ctx context.Context, _ knowledge.TenantID, _ query.SearchText) (query.Results, error) {
	return query.Results{}, a.search(ctx)
}

const callSearch = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"collection":"notes","text":"x"}}}`

// TestMCPFaults: a tool that panics or fails says nothing of why, and ends nothing
// else.
func TestMCPFaults(t *testing.T) {
	for name, search := range map[string]func(context.Context) error{
		"panic": func(context.Context) error { panic("secret 42") },
		"fault": func(context.Context) error { return errors.New("secret 42") },
	} {
		w, token := asker(t, func(s *Services, _ *Options) { s.Engine = answering{s.Engine, search} })
		got := w.mcpPost(t.Context(), token, callSearch)
		text, _ := io.ReadAll(got.Body)
		if got.StatusCode != 200 || !strings.Contains(string(text), "Internal error") || strings.Contains(string(text), "secret") || !strings.Contains(w.log.String(), "secret 42") {
			t.Errorf("%s: %d %s, want an internal error, and its words in the log alone", name, got.StatusCode, text)
		}
	}
}

// TestMCPClientGone: a client that goes ends the work done for it.
func TestMCPClientGone(t *testing.T) {
	entered, left := make(chan struct{}, 1), make(chan error, 1)
	w, token := asker(t, func(s *Services, _ *Options) {
		s.Engine = answering{s.Engine, func(ctx context.Context) error {
			entered <- struct{}{}
			<-ctx.Done()
			left <- ctx.Err()
			return ctx.Err()
		}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	r := w.request("POST", "/mcp", token, strings.NewReader(callSearch)).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	go func() {
		<-entered
		cancel()
	}()
	if response, err := http.DefaultClient.Do(r); err == nil {
		_ = response.Body.Close()
		t.Errorf("a cancelled request was answered with %d, want none", response.StatusCode)
	}
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the search ended with %v, want Canceled", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the search goes on")
	}
}

// TestMCPBatch: the calls of a batch run one after the other.
func TestMCPBatch(t *testing.T) {
	running := make(chan struct{}, 1)
	w, token := asker(t, func(s *Services, _ *Options) {
		s.Engine = answering{s.Engine, func(context.Context) error {
			select {
			case running <- struct{}{}:
			default:
				t.Error("two searches of a batch run at once")
			}
			time.Sleep(time.Millisecond)
			<-running
			return nil
		}}
	})
	calls := make([]string, 20)
	for i := range calls {
		calls[i] = strings.Replace(callSearch, `"id":1`, fmt.Sprintf(`"id":%d`, i+1), 1)
	}
	got := w.mcpPost(t.Context(), token, "["+strings.Join(calls, ",")+"]")
	text, _ := io.ReadAll(got.Body)
	if got.StatusCode >= 500 || got.StatusCode == 200 && strings.Count(string(text), `"structuredContent"`) != 20 {
		t.Errorf("a batch = %d %.300s, want 20 answers or a refusal", got.StatusCode, text)
	}
	t.Logf("a batch of 20: %d", got.StatusCode)
}
