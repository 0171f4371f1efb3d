package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// indexed is what a client sees of a job of this kind.
type indexedJob struct {
	State, Error string
	Detail       struct{ Collection, Phase string }
}

// afterIndexing waits until no job of the tenant is under way and n have ended, and
// returns them, newest first.
func afterIndexing(t *testing.T, c *rest.Client, n int) []indexedJob {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var list struct{ Jobs []indexedJob }
		do(t, c, http.MethodGet, "/v1/jobs?kind=index", nil, &list)
		ended := 0
		for _, j := range list.Jobs {
			if j.State == "succeeded" || j.State == "failed" {
				ended++
			}
		}
		if ended == len(list.Jobs) && ended >= n {
			return list.Jobs
		}
		if time.Now().After(deadline) {
			t.Fatalf("jobs after %s = %+v, want %d that ended", patience, list.Jobs, n)
		}
	}
}

// TestIndexJobs: a collection that grows gets its index by itself, and a field that is
// declared later its values, or the job tells which records are in the way.
func TestIndexJobs(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t), "TARS_INDEX_FROM=40000")
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 2}, nil)
	records := make([]any, 800)
	for i := range records {
		records[i] = map[string]any{"id": fmt.Sprint(i), "vector": []float32{1, float32(i)}, "metadata": map[string]any{"n": i, "word": "w", "mixed": "x"}}
	}
	records[799].(map[string]any)["metadata"] = map[string]any{"n": 799, "mixed": 5}
	do(t, client, http.MethodPost, "/v1/collections/c/records", map[string]any{"records": records}, nil)
	afterIndexing(t, client, 1)
	var health struct {
		Tier    string
		Records int
		Waiting int
	}
	do(t, client, http.MethodGet, "/v1/collections/c/health", nil, &health)
	if health.Tier != "own" || health.Records != 800 || health.Waiting != 0 {
		t.Errorf("health = %+v, want 800 records in a place of their own", health)
	}

	fields := func(names ...string) map[string]any {
		list := []any{}
		for _, name := range names {
			field, kind, _ := strings.Cut(name, ":")
			list = append(list, map[string]any{"name": field, "type": kind})
		}
		return map[string]any{"fields": list}
	}
	var c struct {
		Fields []struct{ Name, State string }
	}
	do(t, client, http.MethodPatch, "/v1/collections/c", fields("n:number"), nil)
	jobs := afterIndexing(t, client, 2)
	do(t, client, http.MethodGet, "/v1/collections/c", nil, &c)
	if jobs[0].State != "succeeded" || len(c.Fields) != 1 || c.Fields[0].State != "ready" {
		t.Errorf("declared later = %+v by %+v, want one field that is ready", c.Fields, jobs[0])
	}
	var found struct {
		Matches []struct{ ID string }
		Plan    struct {
			EstimatedRows int `json:"estimated_rows"`
		}
	}
	do(t, client, http.MethodPost, "/v1/collections/c/search", map[string]any{"vector": []float32{1, 0}, "limit": 10, "filter": map[string]any{"field": "n", "gte": 795}}, &found)
	if len(found.Matches) != 5 {
		t.Errorf("search by the field = %+v, want 5", found)
	}

	do(t, client, http.MethodPatch, "/v1/collections/c", fields("n:number", "mixed:keyword"), nil)
	jobs = afterIndexing(t, client, 3)
	do(t, client, http.MethodGet, "/v1/collections/c", nil, &c)
	if jobs[0].State != "failed" || !strings.Contains(jobs[0].Error, `"799"`) || len(c.Fields) != 1 {
		t.Errorf("declared against a record = %+v by %+v, want a job that names the record, and no field", c.Fields, jobs[0])
	}
}
