package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// bearing adds a token to each request.
type bearing string

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// TestMCP: an agent with the protocol's own SDK asks the shipped server: what there is,
// a query with a real guest over its own and over another tenant's view, and what it
// cost is in the usage.
func TestMCP(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	acme, rival := s.tenant(t, "acme"), s.tenant(t, "rival")
	library(t, acme, 1)
	library(t, rival, 1)
	upload(t, acme, "cited", vmhosttest.Guest(t, "cited"))
	do(t, rival, http.MethodPut, "/v1/views/public", map[string]any{"collection": "c0", "filter": map[string]any{"and": []any{}}}, nil)
	do(t, rival, http.MethodPost, "/v1/shares", map[string]any{"view": "public", "grantee": "acme"}, nil)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp", HTTPClient: &http.Client{Transport: bearing(acme.Token)}, DisableStandaloneSSE: true}
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer session.Close()
	var text string
	call := func(name string, arguments any) map[string]any {
		t.Helper()
		got, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
		if err != nil || got.IsError {
			t.Fatalf("%s = %+v, %v, want an answer", name, got, err)
		}
		text = got.Content[0].(*mcp.TextContent).Text
		return got.StructuredContent.(map[string]any)
	}
	if got := call("list_collections", nil)["collections"].([]any); len(got) != 1 || got[0].(map[string]any)["name"] != "c0" {
		t.Errorf("the collections are %v, want c0", got)
	}
	answer := call("query", map[string]any{
		"text":    "how is a base backup taken?",
		"legs":    []any{map[string]any{"collection": "c0"}, map[string]any{"owner": "rival", "collection": "public"}},
		"plugins": []any{map[string]any{"name": "cited", "capability": "synthesize"}},
	})
	owners := map[any]int{}
	for _, m := range answer["matches"].([]any) {
		owners[m.(map[string]any)["owner"]]++
	}
	results := answer["results"].([]any)
	if owners[nil] != 3 || owners["rival"] != 3 || len(results) != 1 || !strings.Contains(results[0].(map[string]any)["text"].(string), "backup") {
		t.Errorf("the answer has matches of %v and results %v, want three of each tenant, and one about backups", owners, results)
	}
	if !strings.Contains(text, "(of tenant rival, score") {
		t.Errorf("the answer for a model is %s, want it to say which matches are of rival", text)
	}
	refused, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "search", Arguments: map[string]any{"collection": "none", "text": "x"}})
	if err != nil || !refused.IsError {
		t.Errorf("search of what is not there = %+v, %v, want the tool's error", refused, err)
	}
}
