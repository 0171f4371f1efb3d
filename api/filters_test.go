package api

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// typedWorld has a collection that declares fields, with two records.
func typedWorld(t *testing.T) (*world, string) {
	t.Helper()
	w := newWorld(t, nil)
	token := w.tenant("acme")
	c, err := knowledge.Collection{
		Name: "typed", Embedder: knowledge.EmbedderInfo{Dimension: 2},
		Fields: []knowledge.Field{
			{Name: "lang", Type: knowledge.Keyword},
			{Name: "tags", Type: knowledge.Keywords},
			{Name: "year", Type: knowledge.Number},
			{Name: "draft", Type: knowledge.Boolean},
			{Name: "day", Type: knowledge.Datetime},
		},
	}.Validate()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.store.PutCollection(t.Context(), "acme", c); err != nil {
		t.Fatal(err)
	}
	w.wantStatus("records", w.call("POST", "/v1/collections/typed/records", token, `{"records":[
		{"id":"a","vector":[1,1],"text":"restore a backup","metadata":{"lang":"go","tags":["x","y"],"year":2026,"draft":false,"day":"2027-01-01T00:00:00+02:00"}},
		{"id":"b","vector":[1,1],"text":"something else","metadata":{"other":[1,"z"]}}]}`), 200)
	return w, token
}

// Filters of every operator are decoded, checked against the declared types, and
// mean what openapi.yaml says.
func TestTypedFilters(t *testing.T) {
	w, token := typedWorld(t)
	for filter, want := range map[string]string{
		`{"field":"lang","eq":"go"}`:                      "a",
		`{"field":"lang","ne":"go"}`:                      "b",
		`{"field":"tags","eq":"y"}`:                       "a",
		`{"field":"tags","contains":"x"}`:                 "a",
		`{"field":"tags","in":["q","y"]}`:                 "a",
		`{"field":"year","gte":2026}`:                     "a",
		`{"field":"draft","eq":false}`:                    "a",
		`{"field":"day","eq":"2026-12-31T22:00:00Z"}`:     "a",
		`{"field":"day","lt":"2026-12-31T22:00:00.001Z"}`: "a",
		`{"field":"day","exists":false}`:                  "b",
		`{"field":"other","exists":true}`:                 "b",
		`{"field":"other","contains":1}`:                  "b",
		`{"field":"other","contains":"z"}`:                "b",
		`{"match":"Backup restore"}`:                      "a",
		`{"not":{"match":"backup"}}`:                      "b",
		`{"field":"lang","match":"GO"}`:                   "a",
	} {
		got := w.call("POST", "/v1/collections/typed/search", token, `{"vector":[1,1],"filter":`+filter+`}`)
		w.wantStatus(filter, got, 200)
		matches, _ := got.json["matches"].([]any)
		if len(matches) != 1 || matches[0].(map[string]any)["id"] != want {
			t.Errorf("search with %s = %s, want %s alone", filter, got.body, want)
		}
	}
}

// A value of another type is refused; the answer names the place, the field, its
// type and what is needed, at search and in the leg of a query.
func TestFilterTypesAreRefused(t *testing.T) {
	w, token := typedWorld(t)
	for filter, want := range map[string][3]string{
		`{"field":"lang","eq":1}`:                                       {"eq", "keyword", "need a string"},
		`{"field":"lang","in":["a",true]}`:                              {"in[1]", "keyword", "need a string"},
		`{"field":"tags","contains":7}`:                                 {"contains", "keywords", "need a string"},
		`{"field":"year","gt":"2020"}`:                                  {"gt", "number", "need a number"},
		`{"field":"draft","eq":"false"}`:                                {"eq", "boolean", "need true or false"},
		`{"field":"day","gte":"yesterday"}`:                             {"gte", "datetime", "RFC 3339"},
		`{"field":"day","gte":1767225600}`:                              {"gte", "datetime", "RFC 3339"},
		`{"field":"lang","contains":"g"}`:                               {"contains", "keyword", "needs a list"},
		`{"field":"year","match":"2026"}`:                               {"match", "number", "needs a string"},
		`{"or":[{"not":{"and":[{"field":"year","eq":"2026; DROP"}]}}]}`: {"or[0].not.and[0].eq", "number", "need a number"},
	} {
		for place, got := range map[string]reply{
			"filter":         w.call("POST", "/v1/collections/typed/search", token, `{"vector":[1,1],"filter":`+filter+`}`),
			"legs[0].filter": w.call("POST", "/v1/query", token, `{"text":"q","legs":[{"collection":"typed","vector":[1,1],"filter":`+filter+`}]}`),
		} {
			w.wantStatus(filter, got, 400)
			var p struct {
				Detail string
				Errors []struct{ Field, Detail string }
			}
			if err := json.Unmarshal([]byte(got.body), &p); err != nil || len(p.Errors) != 1 {
				t.Fatalf("%s = %s, want a problem with one error", filter, got.body)
			}
			field := strings.ReplaceAll(p.Errors[0].Field, "not[0]", "not")
			if field != place+"."+want[0] || !strings.Contains(p.Errors[0].Detail, want[1]) || !strings.Contains(p.Errors[0].Detail, want[2]) {
				t.Errorf("%s = %s at %s, want %q at %s.%s", filter, p.Errors[0].Detail, p.Errors[0].Field, want[1:], place, want[0])
			}
			if strings.Contains(got.body, "DROP") {
				t.Errorf("%s = %s, want nothing of the value", filter, got.body)
			}
		}
	}
}

// planning is an engine whose searches tell all that a plan can.
type planning struct{ engine }

func (planning) Search(_ context.Context, _ knowledge.TenantID, s query.SearchText) (query.Results, error) {
	plan := knowledge.Plan{
		Method: "hnsw-iterative", Ef: s.Ef, MaxScan: s.MaxScan, Estimated: true, Rows: 0, Selectivity: 0.125,
		Unindexed: []string{"other"}, Warnings: []string{"slow"},
	}
	if s.Stages.Explain {
		plan.Explained = &knowledge.Explained{Planning: 1500 * time.Microsecond, Execution: time.Second, Rows: 12, Waiting: 3, Text: "Limit"}
	}
	return query.Results{Plan: plan, Short: true}, nil
}

func TestPlanInTheAnswer(t *testing.T) {
	w := newWorld(t, func(s *Services, _ *Options) { s.Engine = planning{s.Engine} })
	token := w.tenant("acme")
	got := w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1],"ef":77,"max_scan":5000,"explain":true}`)
	w.wantStatus("search", got, 200)
	want := `{"ef":77,"estimated_rows":0,"explained":{"execution_ms":1000,"planning_ms":1.5,"rows":12,"text":"Limit","waiting_rows":3},"max_scan":5000,"method":"hnsw-iterative","selectivity":0.125,"unindexed":["other"],"warnings":["slow"]}`
	if plan, _ := json.Marshal(got.json["plan"]); string(plan) != want {
		t.Errorf("plan = %s, want %s", plan, want)
	}
	got = w.call("POST", "/v1/collections/c/search", token, `{"vector":[1,1]}`)
	if plan := got.json["plan"].(map[string]any); plan["explained"] != nil || plan["ef"] != nil {
		t.Errorf("plan without explain = %v, want neither explained nor ef", plan)
	}
}

// healthy is a store that has measured.
type healthy struct{}

func (healthy) Health(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Health, error) {
	return knowledge.Health{
		Own: true, Records: 10, Waiting: 2, IndexBytes: 8192, Target: 0.9, Warnings: []string{"w"},
		Recall: []knowledge.BucketRecall{
			{Bucket: knowledge.Unfiltered, Recall: 0, Samples: 3, Ef: 200},
			{Bucket: knowledge.Below1Percent, Ef: 1000, Exact: true},
		},
	}, nil
}

func TestCollectionHealth(t *testing.T) {
	w, token := typedWorld(t)
	got := w.call("GET", "/v1/collections/typed/health", token, "")
	w.wantStatus("health", got, 200)
	if got.json["tier"] != "shared" || got.json["records"] != 2.0 || got.json["recall_target"] != 0.95 {
		t.Errorf("health = %s, want 2 records in the shared tier, target 0.95", got.body)
	}
	w.wantStatus("health of none", w.call("GET", "/v1/collections/none/health", token, ""), 404)
	w.wantStatus("health of a foreign one", w.call("GET", "/v1/collections/typed/health", w.tenant("other"), ""), 404)

	w = newWorld(t, func(s *Services, _ *Options) { s.Health = healthy{} })
	got = w.call("GET", "/v1/collections/c/health", w.tenant("acme"), "")
	want := `[{"bucket":"unfiltered","ef":200,"exact":false,"recall":0,"samples":3},{"bucket":"below_1_percent","ef":1000,"exact":true,"samples":0}]`
	if recall, _ := json.Marshal(got.json["recall"]); string(recall) != want {
		t.Errorf("recall = %s, want %s", recall, want)
	}
	if got.json["tier"] != "own" || got.json["waiting"] != 2.0 || got.json["index_bytes"] != 8192.0 {
		t.Errorf("health = %s, want the store's figures", got.body)
	}
}

// A statement that took too long is no fault: the answer says what to do.
func TestTimeoutOfTheDatabaseIsClear(t *testing.T) {
	w, f := failingWorld(t)
	f.set(knowledge.Unavailable("the database gave up"))
	got := w.call("POST", "/v1/collections/c/search", w.tenant("acme"), `{"vector":[1,1]}`)
	w.wantStatus("search", got, 503)
	if got.json["detail"] != "the database gave up" {
		t.Errorf("problem = %s, want the reason", got.body)
	}
}
