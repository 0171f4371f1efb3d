package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tars-project/tars/migrations/pgtest"
)

// foundOverREST is what of a search's answer these tests look at.
type foundOverREST struct {
	Matches []struct {
		ID     string
		Scores []struct{ Mode string }
	}
	ScoreKind string `json:"score_kind"`
	Facets    []struct {
		Values []struct {
			Value any
			Count int
		}
	}
}

// TestSearchesOverREST: words in their language, hybrids with the built-in
// embedder, facets and batches, from REST to PostgreSQL.
func TestSearchesOverREST(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/manual", map[string]any{}, nil)
	var records []any
	for id, text := range map[string]string{
		"restore": "Restoring a database to a point in time starts from a base backup.",
		"vacuum":  "Vacuuming removes rows that are no longer visible to anybody.",
		"index":   "An index on an expression is useful for queries that use it.",
	} {
		records = append(records, map[string]any{"id": id, "text": text, "metadata": map[string]any{"kind": id, "tags": []any{"all", id}}})
	}
	do(t, client, http.MethodPost, "/v1/collections/manual/records", map[string]any{"records": records}, nil)
	for _, test := range []struct {
		what string
		body map[string]any
		want string
	}{
		{"stems", map[string]any{"text": "restores", "mode": "lexical"}, "restore"},
		{"stop words alone", map[string]any{"text": "the of and to", "mode": "lexical"}, ""},
		{"a phrase", map[string]any{"text": `"base backups" -vacuum*`, "mode": "lexical"}, "restore"},
		{"signs", map[string]any{"text": `'); & | !(:* <-> \`, "mode": "lexical"}, ""},
		{"8,000 bytes", map[string]any{"text": strings.Repeat("x' ", 2666), "mode": "lexical"}, ""},
		{"hybrid", map[string]any{"text": "get a backup back", "mode": "hybrid", "limit": 1, "diversify": map[string]any{"lambda": 1}}, "restore"},
		{"recommend", map[string]any{"recommend": map[string]any{"positive": []string{"restore"}, "negative": []string{"index"}}}, "vacuum"},
	} {
		var found foundOverREST
		do(t, client, http.MethodPost, "/v1/collections/manual/search", test.body, &found)
		var ids []string
		for _, m := range found.Matches {
			ids = append(ids, m.ID)
		}
		if got := strings.Join(ids, " "); got != test.want {
			t.Errorf("%s found %q, want %q", test.what, got, test.want)
		}
	}
	var batch struct {
		Results []struct {
			Result  *foundOverREST
			Problem *struct{ Status int }
		}
	}
	do(t, client, http.MethodPost, "/v1/collections/manual/search/batch", map[string]any{"searches": []any{
		map[string]any{"text": "rows", "mode": "lexical", "facets": []any{map[string]any{"field": "tags", "limit": 1}}}, map[string]any{"vector": []float32{1}},
	}}, &batch)
	if len(batch.Results) != 2 || batch.Results[0].Result == nil || batch.Results[1].Problem == nil || batch.Results[1].Problem.Status != 400 {
		t.Fatalf("batch = %+v, want a result and a problem", batch)
	}
	first := batch.Results[0].Result
	if len(first.Matches) != 1 || first.ScoreKind != "bm25" || len(first.Facets) != 1 || first.Facets[0].Values[0].Value != "all" || first.Facets[0].Values[0].Count != 3 {
		t.Errorf("first of the batch = %+v, want vacuum, and 3 records tagged all", first)
	}
}
