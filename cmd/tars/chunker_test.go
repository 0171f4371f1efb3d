package main

import (
	"errors"
	"net/http"
	"testing"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// TestChunkerPlugin: a tenant's plugin cuts a document in place of the service, in its
// cell; a document cut by another version is not the same; what the plugin refuses
// leaves nothing.
func TestChunkerPlugin(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	upload(t, client, "paragraphs", vmhosttest.Guest(t, "paragraphs"))
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local-fast"}, nil)
	const source = "# Pump\n\nOil it.\n\n## Parts\n\nA valve.\n\nA gasket.\n"
	for query, want := range map[string]int{"": 2, "?chunker=paragraphs": 3, "?chunker=paragraphs&chunker_version=1": 3} {
		if got, err := putDocument(t.Context(), client, "d", query, source); err != nil || got != want {
			t.Errorf("PUT %s = %d passages, %v, want %d", query, got, err, want)
		}
	}
	var out struct {
		Records []struct {
			Text     string
			Metadata struct{ Headings []string }
		}
	}
	do(t, client, http.MethodPost, "/v1/collections/c/records/scroll", map[string]any{}, &out)
	if len(out.Records) != 3 || out.Records[2].Text != "Pump › Parts\n\nA gasket." {
		t.Errorf("passages = %+v, want three, the last one a gasket under its headings", out.Records)
	}
	for query, status := range map[string]int{"?chunker=nothing": 404, "?chunker=paragraphs&chunker_version=9": 404, "?chunker_version=1": 400} {
		var p *rest.Problem
		if _, err := putDocument(t.Context(), client, "e", query, source); !errors.As(err, &p) || p.Status != status {
			t.Errorf("PUT %s = %v, want %d", query, err, status)
		}
	}
	var p *rest.Problem
	if _, err := putDocument(t.Context(), client, "e", "?chunker=paragraphs", "# A heading alone\n"); !errors.As(err, &p) || p.Status != 422 {
		t.Errorf("PUT of what the plugin refuses = %v, want 422", err)
	}
	if _, err := client.Do(t.Context(), http.MethodGet, "/v1/collections/c/documents/e", nil, nil); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("GET of a refused document = %v, want 404", err)
	}
}
