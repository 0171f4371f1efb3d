package api

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/jobs/jobstest"
)

// reembedDouble starts jobs that nobody carries out, and keeps in their detail what
// they are about.
type reembedDouble struct{ jobs *jobstest.Memory }

func (d reembedDouble) Reembed(_ context.Context, tenant knowledge.TenantID, x ingest.Reembedding) (jobs.Job, error) {
	job := d.jobs.Add(tenant, "reembed")
	d.jobs.Change(tenant, job.ID, func(j *jobs.Job) {
		j.Detail, _ = json.Marshal(map[string]any{"is": []any{x.From, x.To, x.Alias}}) // strings always have a JSON
	})
	return job, nil
}

// failingReembedder is one that cannot start anything.
type failingReembedder struct{ *failing }

func (f failingReembedder) Reembed(context.Context, knowledge.TenantID, ingest.Reembedding) (jobs.Job, error) {
	return jobs.Job{}, f.get()
}

// TestReembed: the new collection is that of the old but for the embedder, and what is
// no collection to be carried, or nowhere to be carried to, is refused.
func TestReembed(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/bare", token, `{"dimension":16,"metric":"l2","fields":[{"name":"year","type":"number"}]}`), 201)
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/own", token, `{"embedder":"local"}`), 201)
	w.wantStatus("alias", w.call("PUT", "/v1/aliases/docs", token, `{"collection":"bare"}`), 201)
	w.wantStatus("view", w.call("PUT", "/v1/views/some", token, `{"collection":"bare","filter":{"field":"year","gt":1}}`), 201)
	for _, test := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"docs", `{"embedder":"local"}`, 202, `["bare","bare-local","docs"]`},
		{"bare", `{"embedder":"local","into":"next"}`, 202, `["bare","next",""]`},
		{"own", `{"embedder":"local"}`, 400, "is the collection's own"},
		{"bare", `{"embedder":"none-such"}`, 400, "embedder"},
		{"bare", `{"embedder":"local","into":"No"}`, 400, "into"},
		{"bare", `{"embedder":"local","into":"docs"}`, 409, ""},
		{"bare", `{}`, 400, "embedder"},
		{"some", `{"embedder":"local"}`, 403, ""},
		{"nothing", `{"embedder":"local"}`, 404, ""},
	} {
		got := w.call("POST", "/v1/collections/"+test.name+"/reembed", token, test.body)
		w.wantStatus(test.name+" "+test.body, got, test.status)
		body := got.body
		if test.status == 202 {
			body = w.call("GET", "/v1/jobs/"+got.json["id"].(string), token, "").body
		}
		if !strings.Contains(body, test.want) {
			t.Errorf("%s %s = %s, want %s in it", test.name, test.body, body, test.want)
		}
	}
	next := w.call("GET", "/v1/collections/next", token, "")
	if fields := next.json["fields"].([]any); next.json["metric"] != "l2" || len(fields) != 1 || next.json["embedder"].(map[string]any)["id"] != "local" {
		t.Errorf("the new collection = %s, want the old one's definition with the embedder local", next.body)
	}
	w.wantStatus("POST", w.call("POST", "/v1/collections/next/records", token, `{"records":[{"id":"a","text":"x","metadata":{"year":1}}]}`), 200)
	w.wantStatus("into what has records", w.call("POST", "/v1/collections/bare/reembed", token, `{"embedder":"local","into":"next"}`), 409)
}
