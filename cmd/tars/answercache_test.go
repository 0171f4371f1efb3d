package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// keptAnswer is what these tests look at of an answer that may have been kept.
type keptAnswer struct {
	answered
	Cache *struct {
		Hit      bool
		Distance float64
	}
	Receipts []struct{ Cached bool }
}

// askKept asks and checks whether the answer was a kept one.
func askKept(t *testing.T, what string, client *rest.Client, body map[string]any, want bool) keptAnswer {
	t.Helper()
	var a keptAnswer
	do(t, client, http.MethodPost, "/v1/query", body, &a)
	switch {
	case a.Cache == nil:
		t.Fatalf("%s: the answer says nothing of the cache", what)
	case a.Cache.Hit != want:
		t.Errorf("%s: hit = %v, want %v", what, a.Cache.Hit, want)
	}
	for _, r := range a.Receipts {
		if r.Cached != want {
			t.Errorf("%s: a receipt is marked as kept: %v, want %v", what, r.Cached, want)
		}
	}
	return a
}

// TestKeptAnswers: with real guests, embeddings and PostgreSQL, on two nodes: the same
// question and one with the same meaning are answered without a call, until something
// changes, wherever it was changed.
func TestKeptAnswers(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s, other := start(t, d), start(t, d)
	acme, rival := s.tenant(t, "acme"), s.tenant(t, "rival")
	for _, client := range []*rest.Client{acme, rival} {
		library(t, client, 1)
		do(t, client, http.MethodPatch, "/v1/collections/c0", map[string]any{"cache": map[string]any{"max_age_seconds": 3600, "max_distance": 0.05}}, nil)
		upload(t, client, "cited", vmhosttest.Guest(t, "cited"))
	}
	ask := func(text string) map[string]any {
		return map[string]any{"text": text, "legs": []any{map[string]any{"collection": "c0"}}, "plugins": []any{map[string]any{"name": "cited", "capability": "synthesize"}}}
	}
	first := askKept(t, "the first time", acme, ask("how is a base backup taken?"), false)
	again := askKept(t, "the second time", acme, ask("how is a base backup taken?"), true)
	if fmt.Sprint(again.Matches, again.Results) != fmt.Sprint(first.Matches, first.Results) || len(again.Receipts) != 1 {
		t.Errorf("the kept answer is %+v, want %+v", again, first)
	}
	askKept(t, "the same meaning", acme, ask("How is a base backup taken"), true)
	askKept(t, "another question", acme, ask("what does vacuum do?"), false)
	askKept(t, "another tenant", rival, ask("how is a base backup taken?"), false)
	fresh := ask("how is a base backup taken?")
	fresh["cache"] = false
	var unkept keptAnswer
	if do(t, acme, http.MethodPost, "/v1/query", fresh, &unkept); unkept.Cache != nil {
		t.Errorf(`with "cache": false the answer says %+v, want nothing`, *unkept.Cache)
	}

	elsewhere := rest.New(other.url, acme.Token)
	for _, step := range []struct {
		what         string
		method, path string
		body         any
	}{
		{"a write on another node", http.MethodPost, "/v1/collections/c0/records", records(map[string]any{"id": "new", "text": "A base backup is taken by the new tool."})},
		{"a deletion on another node", http.MethodDelete, "/v1/collections/c0/records/new", nil},
		{"another version of the plugin", http.MethodPost, "", nil},
	} {
		askKept(t, "before "+step.what, acme, ask("how is a base backup taken?"), true)
		if step.path == "" {
			manifest := []byte(`{"abi":1,"name":"cited","capabilities":["synthesize"],"grants":["log"],"limits":{"wall_ms":900}}`)
			if _, err := elsewhere.Upload(t.Context(), "/v1/plugins/cited/versions", manifest, vmhosttest.Guest(t, "cited"), nil); err != nil {
				t.Fatal(err)
			}
			do(t, elsewhere, http.MethodPut, "/v1/plugins/cited/aliases/live", map[string]any{"version": 2}, nil)
		} else {
			do(t, elsewhere, step.method, step.path, step.body, nil)
		}
		askKept(t, "after "+step.what, acme, ask("how is a base backup taken?"), false)
	}
	do(t, acme, http.MethodPatch, "/v1/collections/c0", map[string]any{"cache": map[string]any{"max_age_seconds": 60}}, nil)
	askKept(t, "after a change of the definition", acme, ask("how is a base backup taken?"), false)
	askKept(t, "the same meaning, where only the same text counts", acme, ask("How is a base backup taken"), false)
	do(t, acme, http.MethodPatch, "/v1/collections/c0", map[string]any{"cache": nil}, nil)
	var none keptAnswer
	if do(t, acme, http.MethodPost, "/v1/query", ask("how is a base backup taken?"), &none); none.Cache != nil {
		t.Errorf("after the end of keeping the answer says %+v, want nothing", *none.Cache)
	}
}

// TestKeptAnswersAreNeverOld: while one node writes, both answer the same question: no
// answer is older than the last write that had been answered when it was asked.
func TestKeptAnswersAreNeverOld(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s, other := start(t, d), start(t, d)
	acme := s.tenant(t, "acme")
	do(t, acme, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local-fast", "cache": map[string]any{"max_age_seconds": 60}}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var written, hits, asked atomic.Int64
	put := func(n int64) {
		do(t, acme, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "counter", "text": "the counter", "metadata": map[string]any{"n": n}}), nil)
		written.Store(n)
	}
	put(1)
	var readers sync.WaitGroup
	for _, client := range []*rest.Client{acme, rest.New(other.url, acme.Token), rest.New(other.url, acme.Token)} {
		readers.Go(func() {
			for ctx.Err() == nil {
				least := written.Load()
				var a struct {
					Matches []struct{ Metadata struct{ N int64 } }
					Cache   struct{ Hit bool }
				}
				if _, err := client.Do(t.Context(), http.MethodPost, "/v1/query", map[string]any{"text": "the counter", "legs": []any{map[string]any{"collection": "c"}}}, &a); err != nil || len(a.Matches) != 1 {
					t.Errorf("query = %+v, %v, want one match", a, err)
					return
				}
				if asked.Add(1); a.Cache.Hit {
					hits.Add(1)
				}
				if got := a.Matches[0].Metadata.N; got < least {
					t.Errorf("an answer (kept: %v) has write %d, want at least %d", a.Cache.Hit, got, least)
				}
			}
		})
	}
	for n := int64(2); ctx.Err() == nil; n++ {
		time.Sleep(5 * time.Millisecond)
		put(n)
	}
	readers.Wait()
	if hits.Load() < 20 || written.Load() < 20 {
		t.Errorf("%d of %d answers were kept ones, with %d writes; want at least 20 of both", hits.Load(), asked.Load(), written.Load())
	}
	t.Logf("%d of %d answers were kept ones, with %d writes", hits.Load(), asked.Load(), written.Load())
}
