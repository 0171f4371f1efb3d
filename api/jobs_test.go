package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/jobs"
)

func begin(j *jobs.Job) { j.State, j.Attempt, j.Started = jobs.Running, 1, time.Now() }

func end(j *jobs.Job) { j.State, j.Finished = jobs.Succeeded, time.Now() }

func TestJobs(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	var ids []string
	for _, kind := range []jobs.Kind{"import", "export", "import"} {
		ids = append(ids, string(w.jobs.Add("acme", kind).ID))
		time.Sleep(2 * time.Millisecond) // ids sort by milliseconds
	}
	w.jobs.Change("acme", jobs.ID(ids[1]), begin)
	list := func(query string) (found []string, next string) {
		t.Helper()
		got := w.call("GET", "/v1/jobs"+query, token, "")
		w.wantStatus("GET /v1/jobs"+query, got, 200)
		for _, j := range got.json["jobs"].([]any) {
			found = append(found, j.(map[string]any)["id"].(string))
		}
		next, _ = got.json["next_cursor"].(string)
		return found, next
	}
	first, next := list("?limit=2")
	rest, last := list("?limit=2&cursor=" + next)
	if want := []string{ids[2], ids[1], ids[0]}; !slices.Equal(append(first, rest...), want) || len(first) != 2 || last != "" {
		t.Errorf("pages = %v and %v with cursor %q, want %v", first, rest, last, want)
	}
	for query, want := range map[string][]string{
		"?kind=import": {ids[2], ids[0]}, "?state=running": {ids[1]}, "?kind=import&state=running": nil,
	} {
		if found, _ := list(query); !slices.Equal(found, want) {
			t.Errorf("jobs%s = %v, want %v", query, found, want)
		}
	}
	w.jobs.Change("acme", jobs.ID(ids[1]), func(j *jobs.Job) { j.Done, j.Total, j.Detail = 0, 0, json.RawMessage(`{"bad":[1,2]}`) })
	got := w.call("GET", "/v1/jobs/"+ids[1], token, "")
	w.wantStatus("GET", got, 200)
	if got.json["total"] != 0.0 || got.json["state"] != "running" || fmt.Sprint(got.json["detail"]) != "map[bad:[1 2]]" || got.json["error"] != nil {
		t.Errorf("job = %s, want it as it is, with the total of 0", got.body)
	}
	got = w.call("DELETE", "/v1/jobs/"+ids[1], token, "")
	w.wantStatus("DELETE of a job that runs", got, 202)
	if got.json["cancel_requested"] != true || got.json["state"] != "running" {
		t.Errorf("cancelled job = %s, want it told", got.body)
	}
	got = w.call("DELETE", "/v1/jobs/"+ids[0], token, "")
	w.wantStatus("DELETE of a job that waits", got, 202)
	if got.json["state"] != "cancelled" || got.json["finished_at"] == nil {
		t.Errorf("cancelled job = %s, want it cancelled", got.body)
	}
	w.wantStatus("DELETE of a job that has ended", w.call("DELETE", "/v1/jobs/"+ids[0], token, ""), 409)
	for _, bad := range []string{
		"/v1/jobs?kind=A", "/v1/jobs?kind=%00", "/v1/jobs?state=done", "/v1/jobs?limit=0", "/v1/jobs?cursor=x", "/v1/jobs?kind=", "/v1/jobs?x=1",
		"/v1/jobs/x", "/v1/jobs/" + strings.Repeat("w", 26), "/v1/jobs/" + strings.Repeat("%00", 26), "/v1/jobs/x/events", "/v1/jobs/" + strings.ToUpper(ids[0]),
	} {
		w.wantStatus("GET "+bad, w.call("GET", bad, token, ""), 400)
	}
}

// stream opens a job's events and returns its lines without those that are empty.
func (w *world) stream(ctx context.Context, id jobs.ID, token string) (*http.Response, <-chan string) {
	w.t.Helper()
	r := w.request("GET", "/v1/jobs/"+string(id)+"/events", token, http.NoBody).WithContext(ctx)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	lines := make(chan string, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(lines)
		for scan := bufio.NewScanner(response.Body); scan.Scan(); {
			if scan.Text() != "" {
				lines <- scan.Text()
			}
		}
	})
	w.t.Cleanup(func() {
		_ = response.Body.Close()
		reading.Wait()
	})
	return response, lines
}

// wantEvent reads the next event, past comments, and returns its job.
func wantEvent(t *testing.T, lines <-chan string) oapiJob {
	t.Helper()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatal("the stream ended, want an event")
			}
			data, isData := strings.CutPrefix(line, "data: ")
			if !isData {
				continue
			}
			var j oapiJob
			if err := json.Unmarshal([]byte(data), &j); err != nil {
				t.Fatalf("event %q: %v", line, err)
			}
			return j
		case <-time.After(10 * time.Second):
			t.Fatal("no event within 10 s")
		}
	}
}

type oapiJob struct {
	ID    string
	State string
	Done  int
}

func TestJobEvents(t *testing.T) {
	w := newWorld(t, func(_ *Services, o *Options) { o.Heartbeat = 20 * time.Millisecond })
	token := w.tenant("acme")
	id := w.jobs.Add("acme", "import").ID
	response, lines := w.stream(t.Context(), id, token)
	if ct := response.Header.Get("Content-Type"); response.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("events = %d of type %q, want an event stream", response.StatusCode, ct)
	}
	if j := wantEvent(t, lines); j.ID != string(id) || j.State != "queued" {
		t.Errorf("first event = %+v, want the job as it is", j)
	}
	w.jobs.Change("acme", id, begin)
	if j := wantEvent(t, lines); j.State != "running" {
		t.Errorf("event = %+v, want it running", j)
	}
	for line := range lines { // nothing happens
		if line == ": heartbeat" {
			break
		}
		t.Errorf("line %q, want a heartbeat", line)
	}
	w.jobs.Change("acme", id, func(j *jobs.Job) { j.Done = 5 })
	if j := wantEvent(t, lines); j.Done != 5 {
		t.Errorf("event = %+v, want 5 done", j)
	}
	w.jobs.Change("acme", id, end)
	if j := wantEvent(t, lines); j.State != "succeeded" {
		t.Errorf("event = %+v, want the final state", j)
	}
	for line := range lines {
		t.Errorf("line %q after the final state, want the end", line)
	}
	_, lines = w.stream(t.Context(), id, token)
	if j := wantEvent(t, lines); j.State != "succeeded" {
		t.Errorf("event of a job that has ended = %+v, want the final state", j)
	}
	if line, more := <-lines; more {
		t.Errorf("line %q after the final state, want the end", line)
	}
}

// TestJobEventsAreBounded: so many streams of a tenant, and each one counts until it
// ends.
func TestJobEventsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	token, other := w.tenant("acme"), w.tenant("other")
	id, foreign := w.jobs.Add("acme", "import").ID, w.jobs.Add("other", "import").ID
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range mostStreams {
		_, lines := w.stream(ctx, id, token)
		wantEvent(t, lines)
	}
	w.wantStatus("one stream more", w.call("GET", "/v1/jobs/"+string(id)+"/events", token, ""), 429)
	own, cancelOwn := context.WithCancel(t.Context())
	defer cancelOwn()
	response, lines := w.stream(own, foreign, other)
	if wantEvent(t, lines); response.StatusCode != 200 {
		t.Errorf("stream of another tenant = %d, want 200", response.StatusCode)
	}
	cancel()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.server.streams.mu.Lock()
		n := w.server.streams.open["acme"]
		w.server.streams.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d streams are counted after their clients have gone, want none", n)
		}
	}
	_, lines = w.stream(own, id, token)
	wantEvent(t, lines)
}

// TestJobEventsEndWithTheServer: a stop does not wait for jobs.
func TestJobEventsEndWithTheServer(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	id := w.jobs.Add("acme", "import").ID
	response, lines := w.stream(t.Context(), id, token)
	wantEvent(t, lines)
	w.server.streams.end() // which HTTPServer has Shutdown do
	for line := range lines {
		t.Errorf("line %q, want the end", line)
	}
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Errorf("the stream ended with %v, want a good end", err)
	}
}
