package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// libraryWorld has a collection with some records.
func libraryWorld(t *testing.T) (*world, string) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/c", token, `{"dimension":2}`), 201)
	var records []string
	for i, text := range []string{"restore to a point in time", "the base backup", "point and time", "vacuum", "a base"} {
		records = append(records, fmt.Sprintf(`{"id":"r%d","text":%q,"vector":[1,%d],"metadata":{"n":%d,"kind":%q,"tags":["a",%d,true]}}`, i, text, i, i, strings.Fields(text)[0], i%2))
	}
	w.wantStatus("records", w.call("POST", "/v1/collections/c/records", token, `{"records":[`+strings.Join(records, ",")+`]}`), 200)
	return w, token
}

// foundIDs are the ids of an answer's matches.
func foundIDs(got map[string]any) string {
	var ids []string
	list, _ := got["matches"].([]any)
	for _, m := range list {
		ids = append(ids, m.(map[string]any)["id"].(string))
	}
	return strings.Join(ids, " ")
}

func TestSearches(t *testing.T) {
	w, token := libraryWorld(t)
	for _, test := range []struct{ what, body, ids, holds string }{
		{"lexical", `{"text":"\"point in time\"","mode":"lexical"}`, "r0", `"score_kind":"bm25"`},
		{"lexical, scores", `{"text":"vacuum","mode":"lexical"}`, "r3", `"scores":[{"mode":"lexical","rank":1,"score":`},
		{"lexical, nothing but exclusions", `{"text":"-vacuum","mode":"lexical"}`, "", `"matches":[]`},
		{"lexical, only signs", `{"text":"& | ! ( )","mode":"lexical"}`, "", `"matches":[]`},
		{"hybrid", `{"text":"base","vector":[1,0],"mode":"hybrid","limit":2,"fusion":{"method":"rrf","k":1,"weights":{"vector":0.1,"lexical":1}}}`, "r4 r1", `"score_kind":"rrf"`},
		{"explain", `{"text":"base -backup","mode":"lexical","explain":true}`, "r4", `"words":{"all":false`},
		{"page", `{"vector":[1,0],"limit":2,"offset":2}`, "r2 r3", `"score_kind":"metric"`},
		{"threshold", `{"vector":[1,0],"min_score":0.99}`, "r0", ``},
		{"boost", `{"vector":[1,0],"limit":1,"boost":{"boosts":[{"value_factor":{"field":"n","modifier":"log1p"}}]}}`, "r2", `"score_kind":"boosted"`},
		{"boost by filter", `{"vector":[1,0],"limit":1,"boost":{"combine":"sum","boosts":[{"match":{"filter":{"field":"kind","eq":"vacuum"}},"weight":5}]}}`, "r3", `"score_kind":"boosted"`},
		{"diversify", `{"vector":[1,0],"limit":2,"diversify":{"lambda":0}}`, "r0 r4", ``},
		{"recommend", `{"recommend":{"positive":["r0"]},"limit":1}`, "r1", ``},
		{"groups", `{"vector":[1,0],"group_by":{"field":"tags","groups":2,"size":1}}`, "", `"groups":[{"matches":[{"id":"r0"`},
		{"facets", `{"vector":[1,0],"limit":1,"facets":[{"field":"tags","limit":2},{"field":"n","ranges":[{"to":2},{"from":2}]}]}`, "r0", `{"approximate":false,"counted":5,"field":"n","ranges":[2,3]}`},
	} {
		got := w.call("POST", "/v1/collections/c/search", token, test.body)
		w.wantStatus(test.what, got, 200)
		if ids := foundIDs(got.json); ids != test.ids || !strings.Contains(got.body, test.holds) {
			t.Errorf("%s = %s, want %q and %s", test.what, got.body, test.ids, test.holds)
		}
	}
	got := w.call("POST", "/v1/query", token, `{"text":"base","legs":[{"collection":"c","mode":"lexical"},{"collection":"c","vector":[1,0],"candidates":2}],"explain":true,"diversify":{},"fusion":{"k":1}}`)
	w.wantStatus("query", got, 200)
	if foundIDs(got.json) == "" || got.json["score_kind"] != "rrf" || len(got.json["stages"].([]any)) != 4 || !strings.Contains(got.body, `"leg":1,"mode":"vector"`) {
		t.Errorf("query = %s, want legs of both modes and the stages", got.body)
	}
}

// TestSearchBatch: each search has what it would have alone, or its own problem.
func TestSearchBatch(t *testing.T) {
	w, token := libraryWorld(t)
	good, bad := `{"text":"vacuum","mode":"lexical"}`, `{"vector":[1,2,3]}`
	got := w.call("POST", "/v1/collections/c/search/batch", token, `{"searches":[`+good+`,`+bad+`,`+good+`]}`)
	w.wantStatus("batch", got, 200)
	list, _ := got.json["results"].([]any)
	if len(list) != 3 {
		t.Fatalf("batch = %s, want 3 results", got.body)
	}
	alone := w.call("POST", "/v1/collections/c/search", token, good)
	for _, i := range []int{0, 2} {
		text, _ := json.Marshal(list[i].(map[string]any)["result"])
		want, _ := json.Marshal(alone.json)
		if string(text) != string(want) {
			t.Errorf("result %d = %s, want %s", i, text, want)
		}
	}
	problem, _ := list[1].(map[string]any)["problem"].(map[string]any)
	if problem["status"] != 400.0 || !strings.HasPrefix(fmt.Sprint(problem["detail"]), "vector") {
		t.Errorf("result 1 = %v, want a problem with the vector", list[1])
	}
	for what, body := range map[string]string{
		"none": `{"searches":[]}`, "too many": `{"searches":[` + strings.TrimSuffix(strings.Repeat(good+",", 101), ",") + `]}`,
		"one that is no search": `{"searches":[` + good + `,{"texts":"x"}]}`,
	} {
		w.wantStatus(what, w.call("POST", "/v1/collections/c/search/batch", token, body), 400)
	}
	other := w.tenant("other")
	got = w.call("POST", "/v1/collections/c/search/batch", other, `{"searches":[`+good+`]}`)
	if got.status != 404 || strings.Contains(got.body, "vacuum") {
		t.Errorf("another tenant's batch = %d %s, want not found", got.status, got.body)
	}
}

// TestHostileSearches: numbers that are none, wrong kinds and sizes are the
// client's mistake, and questions of any text have an answer; both soon.
func TestHostileSearches(t *testing.T) {
	w, token := libraryWorld(t)
	quote := func(s string) string { text, _ := json.Marshal(s); return string(text) }
	words := func(s string) string { return `{"mode":"lexical","text":` + quote(s) + `}` }
	v := `"vector":[1,0],`
	for body, want := range map[string]int{
		words(strings.Repeat("a ", 4000)): 200, words(strings.Repeat("(", 8000)): 200, words(strings.Repeat(`"`, 8000)): 200, words(strings.Repeat("'", 8000)): 200,
		words(`':* | & ! <-> \`): 200, words("a*"): 200, words("*"): 200, words("-"): 200, words(" "): 200, words("'; DROP TABLE records; --"): 200,
		words(strings.Repeat("a", 8001)): 400, words(""): 400, words("a\x00b"): 400, `{"mode":"lexical","text":"\ud800"}`: 400, words(strings.Repeat("w1 ", 10_000)): 400,
		`{"mode":"lexical","vector":[1,0]}`: 400, `{"mode":"hybrid","vector":[1,0]}`: 400, `{"mode":"hybrid","text":"a"}`: 400, // no embedder
		`{` + v + `"min_score":1e400}`: 400, `{` + v + `"min_score":1e16}`: 400, `{` + v + `"min_score":"1"}`: 400, `{` + v + `"offset":991}`: 400, `{` + v + `"offset":-1}`: 400,
		`{` + v + `"limit":1000,"offset":1}`: 400, `{` + v + `"candidates":9}`: 400, `{` + v + `"diversify":{"lambda":1.01}}`: 400, `{` + v + `"diversify":{"lambda":NaN}}`: 400,
		`{` + v + `"boost":{"boosts":[{"decay":{"field":"n","scale":1e-400}}]}}`: 400, `{` + v + `"boost":{"boosts":[{"decay":{"field":"n","origin":5,"scale":1e-300}}]}}`: 200,
		`{` + v + `"boost":{"boosts":[{"decay":{"field":"n","scale":1},"match":{"filter":{"and":[]}}}]}}`: 400, `{` + v + `"boost":{"boosts":[{}]}}`: 400,
		`{` + v + `"boost":{"boosts":[{"decay":{"field":"n","scale":1,"origin":"yesterday"}}]}}`: 400, `{` + v + `"boost":{"boosts":[{"decay":{"field":"n","scale":1,"origin":[]}}]}}`: 400,
		`{` + v + `"boost":{"boosts":[{"value_factor":{"field":"n","factor":1e6,"missing":1e15}}]}}`: 200, `{` + v + `"group_by":{"field":"n","groups":100,"size":100}}`: 400,
		`{` + v + `"facets":[{"field":"n","ranges":[{"from":1,"to":1}]}]}`: 400, `{` + v + `"facets":[{"field":"a\u0000"}]}`: 400, `{` + v + `"facets":[{"field":"__proto__"}]}`: 200,
		`{` + v + `"recommend":{"positive":["r0"]}}`: 400, `{"recommend":{"positive":["none"]}}`: 400, `{"recommend":{"positive":["r0"],"negative":["r0"]}}`: 400,
		`{` + v + `"fusion":{"weights":{"vector":0,"lexical":0}}}`: 400, `{` + v + `"fusion":{"k":0}}`: 400, `{` + v + `"explain":1}`: 400,
	} {
		start := time.Now()
		got := w.call("POST", "/v1/collections/c/search", token, body)
		if got.status != want {
			t.Errorf("search %.120s = %d %.300s, want %d", body, got.status, got.body, want)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("search %.120s took %v", body, took)
		}
	}
}
