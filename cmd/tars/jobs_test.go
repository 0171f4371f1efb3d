package main

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgjobs"
	"github.com/tars-project/tars/migrations/pgtest"
)

// TestSweepOfExpiredRecords: a server removes what expired while none ran.
func TestSweepOfExpiredRecords(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 2}, nil)
	do(t, client, http.MethodPost, "/v1/collections/c/records", map[string]any{"records": []any{
		map[string]any{"id": "for-ever", "vector": []float32{1, 2}},
		map[string]any{"id": "gone", "vector": []float32{1, 2}, "expires_at": time.Now().Add(time.Hour)},
	}}, nil)
	if err := s.stop(t); err != nil {
		t.Fatalf("stop = %v", err)
	}
	owner := d.OwnerPool(t)
	if _, err := owner.Exec(t.Context(), "UPDATE tars.records SET expires_at = now() - interval '1 s' WHERE id = 'gone'"); err != nil {
		t.Fatal(err)
	}
	start(t, d)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var ids string
		if err := owner.QueryRow(t.Context(), "SELECT string_agg(id, ' ') FROM tars.records").Scan(&ids); err != nil {
			t.Fatal(err)
		}
		if ids == "for-ever" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("records %s after %s, want the one that does not expire", ids, patience)
		}
	}
}

// TestJobsOverHTTP: a job is seen, followed and cancelled by its tenant; a stream does
// not keep the server from stopping.
func TestJobsOverHTTP(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client, other := s.tenant(t, "acme"), s.tenant(t, "other")
	// Of a kind that no server has a worker for, so that it stays queued.
	r, err := pgjobs.NewRunner(d.JobsPool(t), pgjobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []jobs.ID
	for range 2 {
		j, _, err := r.Enqueue(t.Context(), "acme", "unheard_of", nil, pgjobs.EnqueueOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	var list struct{ Jobs []struct{ ID, State string } }
	do(t, client, http.MethodGet, "/v1/jobs", nil, &list)
	if len(list.Jobs) != 2 || list.Jobs[0].State != "queued" {
		t.Errorf("jobs = %+v, want two that wait", list.Jobs)
	}
	do(t, other, http.MethodGet, "/v1/jobs", nil, &list)
	if len(list.Jobs) != 0 {
		t.Errorf("jobs of another tenant = %+v, want none", list.Jobs)
	}
	follow := func(id jobs.ID) (states <-chan string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/jobs/"+string(id)+"/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+client.Token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		c := make(chan string, 100)
		go func() { // ends with the stream
			defer close(c)
			defer response.Body.Close()
			for lines := bufio.NewScanner(response.Body); lines.Scan(); {
				if _, state, ok := strings.Cut(lines.Text(), `"state":"`); ok {
					state, _, _ = strings.Cut(state, `"`)
					c <- state
				}
			}
		}()
		return c
	}
	next := func(states <-chan string) string {
		t.Helper()
		select {
		case state := <-states:
			return state // empty at the end
		case <-time.After(patience):
			t.Fatalf("no event within %s", patience)
			return ""
		}
	}
	states := follow(ids[0])
	if got := next(states); got != "queued" {
		t.Errorf("first event = %q, want queued", got)
	}
	do(t, client, http.MethodDelete, "/v1/jobs/"+string(ids[0]), nil, nil)
	if got := next(states); got != "cancelled" {
		t.Errorf("event after the cancel = %q, want cancelled", got)
	}
	if got := next(states); got != "" {
		t.Errorf("event after the last = %q, want the end", got)
	}
	states = follow(ids[1])
	next(states)
	if err := s.stop(t); err != nil {
		t.Errorf("stop beside a stream = %v, want a good end", err)
	}
	if got := next(states); got != "" {
		t.Errorf("event after the stop = %q, want the end", got)
	}
}
