package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// sharedMatch is what these tests look at of a match.
type sharedMatch struct {
	Owner, Collection, ID, Text string
	Score                       float64
	Metadata                    map[string]any
	Legs                        []struct {
		Mode  string
		Score float64
	}
}

// askShared is a query, of which it returns what was found, or the problem.
func askShared(t *testing.T, c *rest.Client, body map[string]any) ([]sharedMatch, *rest.Problem) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var answer struct{ Matches []sharedMatch }
	_, err := c.Do(ctx, http.MethodPost, "/v1/query", body, &answer)
	var problem *rest.Problem
	if err != nil && !errors.As(err, &problem) {
		t.Fatalf("query: %v", err)
	}
	return answer.Matches, problem
}

func sharedLegs(mode, text string) map[string]any {
	return map[string]any{"text": text, "limit": 50, "explain": true, "legs": []any{map[string]any{"owner": "acme", "collection": "public", "mode": mode}}}
}

// wantNoCollection checks that a query is answered as one of no collection, but for its
// id.
func wantNoCollection(t *testing.T, what string, c *rest.Client, body map[string]any) {
	t.Helper()
	_, want := askShared(t, c, map[string]any{"text": "x", "legs": []any{map[string]any{"collection": "none"}}})
	matches, got := askShared(t, c, body)
	if want == nil || want.Status != http.StatusNotFound {
		t.Fatalf("query of no collection = %v, want 404", want)
	}
	if got == nil {
		t.Errorf("%s: found %v, want as for no collection", what, matches)
		return
	}
	same := *got
	same.RequestID = want.RequestID
	if fmt.Sprint(same) != fmt.Sprint(*want) {
		t.Errorf("%s = %+v, want as for no collection: %+v", what, *got, *want)
	}
}

// shareRecords are some that are public and some that are not, about the same.
func shareRecords(from, to int, public bool) map[string]any {
	var all []any
	for i := from; i < to; i++ {
		text := fmt.Sprintf("Apple tree number %d grows in the open garden.", i)
		if !public {
			text = strings.Repeat(fmt.Sprintf("Apple tree number %d is a secret of the walled garden. ", i), 1+i%3)
		}
		all = append(all, map[string]any{"id": fmt.Sprintf("%v-%d", public, i), "text": text, "metadata": map[string]any{"public": public, "price": i, "kind": "tree"}})
	}
	return records(all...)
}

// TestSharedView: with real keys of two tenants, over PostgreSQL, on two nodes: the view
// holds in every mode, a share ends everywhere within a second, and what is not shared
// is answered as what is not there.
func TestSharedView(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s, other := start(t, d), start(t, d)
	acme, rival := s.tenant(t, "acme"), s.tenant(t, "rival")
	elsewhere := rest.New(other.url, rival.Token)
	do(t, acme, http.MethodPut, "/v1/collections/trees", map[string]any{"embedder": "local-fast"}, nil)
	do(t, acme, http.MethodPost, "/v1/collections/trees/records", shareRecords(0, 10, true), nil)
	do(t, acme, http.MethodPost, "/v1/collections/trees/records", shareRecords(0, 10, false), nil)
	do(t, acme, http.MethodPut, "/v1/aliases/also", map[string]any{"collection": "trees"}, nil)
	view := map[string]any{"collection": "also", "filter": map[string]any{"field": "public", "eq": true}, "hidden": []string{"price"}}
	do(t, acme, http.MethodPut, "/v1/views/public", view, nil)
	do(t, acme, http.MethodPut, "/v1/views/private", view, nil)

	wantNoCollection(t, "before it is shared", rival, sharedLegs("hybrid", "apple tree"))
	grant := func(more map[string]any) string {
		t.Helper()
		var share struct{ Share string }
		body := map[string]any{"view": "public", "grantee": "rival"}
		for name, value := range more {
			body[name] = value
		}
		do(t, acme, http.MethodPost, "/v1/shares", body, &share)
		return share.Share
	}
	id := grant(map[string]any{"note": "for the fair"})

	// The view holds, whatever is asked for, and no score tells what is behind it.
	type question struct{ mode, text string }
	before := map[question][]sharedMatch{}
	for _, mode := range []string{"vector", "lexical", "hybrid"} {
		for _, text := range []string{"apple tree", "secret walled garden"} {
			matches, problem := askShared(t, rival, sharedLegs(mode, text))
			if problem != nil || len(matches) != 10 {
				t.Fatalf("%s for %q = %d, %v, want the 10 that are public", mode, text, len(matches), problem)
			}
			for _, m := range matches {
				if m.Owner != "acme" || m.Collection != "public" || !strings.HasPrefix(m.ID, "true") || strings.Contains(m.Text, "secret") || m.Metadata["price"] != nil || m.Metadata["kind"] != "tree" {
					t.Errorf("%s for %q found %+v, want what the view shows alone", mode, text, m)
				}
			}
			before[question{mode, text}] = matches
		}
	}
	do(t, acme, http.MethodPost, "/v1/collections/trees/records", shareRecords(10, 60, false), nil)
	for q, want := range before {
		if got, problem := askShared(t, rival, sharedLegs(q.mode, q.text)); problem != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s for %q with more behind the view = %v, %v, want as before %v", q.mode, q.text, got, problem, want)
		}
	}
	if _, problem := askShared(t, rival, map[string]any{"text": "x", "legs": []any{map[string]any{"owner": "acme", "collection": "public", "filter": map[string]any{"field": "price", "gt": 1}}}}); problem == nil || problem.Status != 400 {
		t.Errorf("query by a hidden field = %v, want 400", problem)
	}

	for what, leg := range map[string]map[string]any{
		"another view":   {"owner": "acme", "collection": "private"},
		"the collection": {"owner": "acme", "collection": "trees"},
		"an alias":       {"owner": "acme", "collection": "also"},
		"nothing":        {"owner": "acme", "collection": "nothing"},
		"of nobody":      {"owner": "nobody", "collection": "public"},
		"of itself":      {"owner": "rival", "collection": "public"},
	} {
		wantNoCollection(t, what, rival, map[string]any{"text": "apple", "legs": []any{leg}})
	}
	wantNoCollection(t, "for another tenant", s.tenant(t, "third"), sharedLegs("hybrid", "apple"))

	wantUsage(t, acme, "/v1/shares", id)
	wantUsage(t, rival, "/v1/shares/received", id)

	// Revoked in the midst: at once here, within a second there.
	revokedInTheMidst(t, acme, id, rival, elsewhere)

	expires := time.Now().Add(2 * time.Second)
	grant(map[string]any{"expires_at": expires.Format(time.RFC3339Nano)})
	if matches, problem := askShared(t, rival, sharedLegs("hybrid", "apple")); problem != nil || len(matches) != 10 {
		t.Errorf("query by a share for 2 s = %d, %v, want 10", len(matches), problem)
	}
	time.Sleep(time.Until(expires))
	wantNoCollection(t, "expired", rival, sharedLegs("hybrid", "apple"))
	wantNoCollection(t, "expired, elsewhere", elsewhere, sharedLegs("hybrid", "apple"))

	grant(nil)
	if _, problem := askShared(t, rival, sharedLegs("hybrid", "apple")); problem != nil {
		t.Errorf("query by a new share = %v, want an answer", problem)
	}
	do(t, acme, http.MethodDelete, "/v1/views/public", nil, nil)
	wantNoCollection(t, "without its view", rival, sharedLegs("hybrid", "apple"))
	do(t, acme, http.MethodPut, "/v1/views/public", view, nil)
	wantNoCollection(t, "with another view of the name", rival, sharedLegs("hybrid", "apple"))

	for _, line := range []string{`"share granted"`, `"share revoked"`, `"shared view refused"`} {
		if !strings.Contains(s.logs.String(), line) {
			t.Errorf("the log has no line %s", line)
		}
	}
}

// wantUsage waits until a list shows that the share was read.
func wantUsage(t *testing.T, c *rest.Client, path, id string) {
	t.Helper()
	type reads struct{ Queries, Rows int }
	type used struct {
		Share string
		Usage struct{ Today, Total reads }
	}
	want := reads{12, 160} // 10 records each; a hybrid finds them twice
	var list struct{ Shares []used }
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		do(t, c, http.MethodGet, path, nil, &list)
		if slices.ContainsFunc(list.Shares, func(s used) bool { return s.Share == id && s.Usage.Today == want && s.Usage.Total == want }) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s = %+v, want %+v of %s", path, list.Shares, want, id)
			return
		}
	}
}

// revokedInTheMidst revokes a share while queries by it run on two nodes.
func revokedInTheMidst(t *testing.T, owner *rest.Client, id string, here, there *rest.Client) {
	t.Helper()
	var revoking, revoked, stop atomic.Bool
	var asking sync.WaitGroup
	var answered, refused atomic.Int64
	ask := func(c *rest.Client, at string, late func() bool) {
		for !stop.Load() {
			before := late()
			matches, problem := askShared(t, c, sharedLegs("hybrid", "apple"))
			switch {
			case problem == nil && before:
				t.Errorf("%s: a query that began after the share was revoked found %d", at, len(matches))
			case problem != nil && (problem.Status != 404 || !revoking.Load()):
				t.Errorf("%s: query = %v, want an answer until it is revoked, then 404", at, problem)
			case problem == nil:
				answered.Add(1)
			default:
				refused.Add(1)
			}
		}
	}
	var at atomic.Int64
	asking.Go(func() { ask(here, "here", revoked.Load) })
	asking.Go(func() {
		ask(there, "elsewhere", func() bool { return revoked.Load() && time.Since(time.Unix(0, at.Load())) > 1100*time.Millisecond })
	})
	time.Sleep(300 * time.Millisecond)
	revoking.Store(true)
	do(t, owner, http.MethodDelete, "/v1/shares/"+id, nil, nil)
	at.Store(time.Now().UnixNano())
	revoked.Store(true)
	time.Sleep(1500 * time.Millisecond)
	stop.Store(true)
	asking.Wait()
	if answered.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d queries were answered and %d refused, want some of both", answered.Load(), refused.Load())
	}
}
