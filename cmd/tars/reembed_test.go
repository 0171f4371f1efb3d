package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// TestReembed: a collection of records and documents is carried over to another
// embedder while it is written to by its alias; in the
// end the alias stands for the new one, which has all that was acknowledged.
func TestReembed(t *testing.T) {
	t.Parallel()
	url := pgtest.DB(t)
	s := start(t, url)
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/old", map[string]any{"embedder": "local-fast"}, nil)
	do(t, client, http.MethodPut, "/v1/aliases/c", map[string]any{"collection": "old"}, nil)
	var records []map[string]any
	for i := range 3000 {
		records = append(records, map[string]any{"id": fmt.Sprintf("r%04d", i), "text": fmt.Sprintf("number %d of the records that are carried", i)})
	}
	do(t, client, http.MethodPost, "/v1/collections/old/records", map[string]any{"records": records}, nil)
	if _, err := putGeneration(t.Context(), client, "d", 3); err != nil {
		t.Fatal(err)
	}
	var job struct{ ID, State, Error string }
	do(t, client, http.MethodPost, "/v1/collections/c/reembed", map[string]any{"embedder": "local", "into": "next"}, &job)

	// A writer by the alias, which goes on through it all: new records, changed ones
	// and deleted ones.
	ctx, stop := context.WithCancel(t.Context())
	wrote, deleted := map[string]string{}, map[string]bool{}
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id, text := fmt.Sprintf("r%04d", i*37%3100), fmt.Sprintf("changed %d times", i)
			if i%5 == 4 {
				_, err := client.Do(ctx, http.MethodPost, "/v1/collections/c/records/delete", map[string]any{"ids": []string{id}}, nil)
				if err == nil {
					delete(wrote, id)
					deleted[id] = true
				}
				continue
			}
			_, err := client.Do(ctx, http.MethodPost, "/v1/collections/c/records", map[string]any{"records": []any{map[string]any{"id": id, "text": text}}}, nil)
			if err == nil {
				wrote[id] = text
				delete(deleted, id)
			}
		}
	})
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		do(t, client, http.MethodGet, "/v1/jobs/"+job.ID, nil, &job)
		if job.State == "succeeded" {
			break
		}
		if job.State != "queued" && job.State != "running" || time.Now().After(end) {
			t.Fatalf("the job is %s: %s", job.State, job.Error)
		}
	}
	time.Sleep(100 * time.Millisecond) // for some writes after it; without it the test is only weaker
	stop()
	writer.Wait()
	var alias struct{ Collection string }
	do(t, client, http.MethodGet, "/v1/aliases/c", nil, &alias)
	var next struct {
		Records  int
		Embedder struct{ ID string }
	}
	do(t, client, http.MethodGet, "/v1/collections/next", nil, &next)
	if alias.Collection != "next" || next.Embedder.ID != "local" {
		t.Fatalf("the alias stands for %s, whose new collection has the embedder %s, want next and local", alias.Collection, next.Embedder.ID)
	}
	wantCarried(t, client, wrote, deleted)
	var d struct{ Passages int }
	do(t, client, http.MethodGet, "/v1/collections/next/documents/d", nil, &d)
	if generations, err := passagesOf(t.Context(), client, false); err != nil || len(generations) != d.Passages || d.Passages == 0 {
		t.Errorf("the document has %d passages, %v, of which it says %d", len(generations), err, d.Passages)
	}
}

// wantCarried reads all by the alias and compares it with what was acknowledged. The
// write that was cut off at the end may have happened.
func wantCarried(t *testing.T, client *rest.Client, wrote map[string]string, deleted map[string]bool) {
	t.Helper()
	have := map[string]string{}
	for after := ""; ; {
		var page struct {
			Records []struct {
				ID, Text string
			}
			NextCursor string `json:"next_cursor"`
		}
		body := map[string]any{"limit": 1000}
		if after != "" {
			body["cursor"] = after
		}
		do(t, client, http.MethodPost, "/v1/collections/c/records/scroll", body, &page)
		for _, r := range page.Records {
			have[r.ID] = r.Text
		}
		if after = page.NextCursor; after == "" {
			break
		}
	}
	lost, back := 0, 0
	for id, text := range wrote {
		if have[id] != text {
			lost++
		}
	}
	for id := range deleted {
		if _, there := have[id]; there {
			back++
		}
	}
	t.Logf("%d records, of which %d were written and %d deleted meanwhile", len(have), len(wrote), len(deleted))
	if lost > 1 || back > 1 || len(wrote) == 0 || len(have) < 2000 {
		t.Errorf("%d of %d writes are lost and %d of %d deleted records are there, of %d in all; want at most the one that was cut off", lost, len(wrote), back, len(deleted), len(have))
	}
}
