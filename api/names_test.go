package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// namesWorld has the collection c with two records of 2 components, one of which is
// public; the alias a and the views v, which shows that one, and w, which shows all.
func namesWorld(t *testing.T, change func(*Services, *Options)) (*world, string) {
	w := newWorld(t, change)
	token := w.tenant("acme")
	w.wantStatus("PUT c", w.call("PUT", "/v1/collections/c", token, `{"dimension":2}`), 201)
	w.wantStatus("records", w.call("POST", "/v1/collections/c/records", token,
		`{"records":[{"id":"open","text":"t","vector":[1,1],"metadata":{"public":true,"author":"x"}},{"id":"closed","vector":[1,1],"metadata":{"public":false}}]}`), 200)
	w.wantStatus("PUT alias a", w.call("PUT", "/v1/aliases/a", token, `{"collection":"c"}`), 201)
	w.wantStatus("PUT view v", w.call("PUT", "/v1/views/v", token, `{"collection":"a","filter":{"field":"public","eq":true},"hidden":["author"],"defaults":{"limit":5}}`), 201)
	w.wantStatus("PUT view w", w.call("PUT", "/v1/views/w", token, `{"collection":"c","filter":{"and":[]}}`), 201)
	return w, token
}

func TestAliases(t *testing.T) {
	w, token := namesWorld(t, nil)
	w.wantStatus("PUT c2", w.call("PUT", "/v1/collections/c2", token, `{"dimension":2}`), 201)
	got := w.call("PUT", "/v1/aliases/a", token, `{"collection":"c2"}`)
	w.wantStatus("move a", got, 200)
	if got.json["alias"] != "a" || got.json["collection"] != "c2" {
		t.Errorf("PUT alias = %s, want a of c2", got.body)
	}
	w.wantStatus("write by the alias", w.call("POST", "/v1/collections/a/records", token, `{"records":[{"id":"n","vector":[1,1]}]}`), 200)
	w.wantStatus("read it", w.call("GET", "/v1/collections/c2/records/n", token, ""), 200)
	if got := w.call("POST", "/v1/query", token, `{"legs":[{"collection":"a","vector":[1,1]}]}`); got.json["matches"].([]any)[0].(map[string]any)["collection"] != "c2" {
		t.Errorf("query by the alias = %s, want it under the name c2", got.body)
	}
	for what, want := range map[string]struct {
		got  reply
		code int
	}{
		"PATCH by an alias":       {w.call("PATCH", "/v1/collections/a", token, `{"ttl_seconds":60}`), 409},
		"DELETE by an alias":      {w.call("DELETE", "/v1/collections/a", token, ""), 409},
		"PUT by an alias":         {w.call("PUT", "/v1/collections/a", token, `{"dimension":2}`), 409},
		"DELETE with an alias":    {w.call("DELETE", "/v1/collections/c2", token, ""), 409},
		"alias of an alias":       {w.call("PUT", "/v1/aliases/b", token, `{"collection":"a"}`), 409},
		"alias of itself":         {w.call("PUT", "/v1/aliases/b", token, `{"collection":"b"}`), 400},
		"alias of a view":         {w.call("PUT", "/v1/aliases/b", token, `{"collection":"v"}`), 409},
		"alias of nothing":        {w.call("PUT", "/v1/aliases/b", token, `{"collection":"none"}`), 404},
		"alias named as a view":   {w.call("PUT", "/v1/aliases/v", token, `{"collection":"c"}`), 409},
		"a bad name":              {w.call("PUT", "/v1/aliases/B", token, `{"collection":"c"}`), 400},
		"a name with a slash":     {w.call("PUT", "/v1/aliases/b%2Fc", token, `{"collection":"c"}`), 400},
		"a bad target":            {w.call("PUT", "/v1/aliases/b", token, `{"collection":"../c"}`), 400},
		"GET nothing":             {w.call("GET", "/v1/aliases/b", token, ""), 404},
		"DELETE nothing":          {w.call("DELETE", "/v1/aliases/b", token, ""), 404},
		"DELETE one with a view":  {w.call("DELETE", "/v1/aliases/a", token, ""), 409},
		"an action without a use": {w.call("POST", "/v1/aliases", token, `{"actions":[{"action":"set","alias":"b"}]}`), 400},
		"delete with a target":    {w.call("POST", "/v1/aliases", token, `{"actions":[{"action":"delete","alias":"b","collection":"c"}]}`), 400},
		"half of it impossible":   {w.call("POST", "/v1/aliases", token, `{"actions":[{"action":"set","alias":"b","collection":"c"},{"action":"delete","alias":"none"}]}`), 404},
		"aliases=keep":            {w.call("DELETE", "/v1/collections/c2?aliases=keep", token, ""), 400},
	} {
		w.wantStatus(what, want.got, want.code)
	}
	if got := w.call("DELETE", "/v1/collections/c2", token, ""); !strings.Contains(got.body, "stand") || !strings.Contains(got.body, " a,") {
		t.Errorf("DELETE with an alias = %s, want it to name a", got.body)
	}
	w.wantStatus("nothing of it was done", w.call("GET", "/v1/aliases/b", token, ""), 404)
	w.wantStatus("swap", w.call("POST", "/v1/aliases", token, `{"actions":[{"action":"set","alias":"b","collection":"c2"},{"action":"set","alias":"a","collection":"c"}]}`), 200)
	list := w.call("GET", "/v1/aliases?limit=1", token, "")
	if l := list.json["aliases"].([]any); len(l) != 1 || l[0].(map[string]any)["alias"] != "a" || list.json["next_cursor"] == nil {
		t.Errorf("list = %s, want a and a cursor", list.body)
	}
	w.wantStatus("DELETE with aliases=drop", w.call("DELETE", "/v1/collections/c2?aliases=drop", token, ""), 204)
	w.wantStatus("GET b", w.call("GET", "/v1/aliases/b", token, ""), 404)
}

func TestViews(t *testing.T) {
	w, token := namesWorld(t, nil)
	got := w.call("GET", "/v1/views/v", token, "")
	w.wantStatus("GET v", got, 200)
	want := `"filter":{"eq":true,"field":"public"},"hidden":["author"]`
	if !strings.Contains(got.body, want) || got.json["collection"] != "a" {
		t.Errorf("GET v = %s, want %s of a", got.body, want)
	}
	// What a view says comes back as it went in, whatever the filter.
	for _, filter := range []string{
		`{"and":[]}`, `{"or":[{"eq":1,"field":"a"},{"not":{"field":"b","gte":"x"}}]}`, `{"field":"a","in":[]}`, `{"field":"a","in":["x",1,true]}`,
		`{"and":[{"field":"a","gt":-1.5},{"field":"' OR 1=1 --","lt":"\u0001"}]}`,
	} {
		w.wantStatus("PUT x "+filter, w.call("PUT", "/v1/views/x", token, `{"collection":"c","filter":`+filter+`}`), map[bool]int{true: 201, false: 200}[filter == `{"and":[]}`])
		got := w.call("GET", "/v1/views/x", token, "")
		if text, _ := json.Marshal(got.json["filter"]); string(text) != filter {
			t.Errorf("GET x = %s, want the filter %s", text, filter)
		}
	}
	found := w.call("POST", "/v1/collections/v/search", token, `{"vector":[1,1]}`)
	if !strings.Contains(found.body, `"id":"open"`) || strings.Contains(found.body, "closed") || strings.Contains(found.body, "author") {
		t.Errorf("search of v = %s, want open alone, without its author", found.body)
	}
	asked := w.call("POST", "/v1/query", token, `{"legs":[{"collection":"v","vector":[1,1]}]}`)
	if !strings.Contains(asked.body, `"collection":"v"`) || strings.Contains(asked.body, "closed") || strings.Contains(asked.body, "author") {
		t.Errorf("query of v = %s, want open alone under the name v, without its author", asked.body)
	}
	for what, want := range map[string]struct {
		got  reply
		code int
	}{
		"a record that it shows":          {w.call("GET", "/v1/collections/v/records/open", token, ""), 200},
		"one that it does not":            {w.call("GET", "/v1/collections/v/records/closed", token, ""), 404},
		"a filter on what it hides":       {w.call("POST", "/v1/collections/v/search", token, `{"vector":[1,1],"filter":{"not":{"field":"author","eq":"x"}}}`), 400},
		"a leg's filter on it":            {w.call("POST", "/v1/query", token, `{"legs":[{"collection":"v","vector":[1,1],"filter":{"field":"author","gt":"a"}}]}`), 400},
		"a write":                         {w.call("POST", "/v1/collections/v/records", token, `{"records":[{"id":"n","vector":[1,1]}]}`), 403},
		"a delete":                        {w.call("DELETE", "/v1/collections/v/records/open", token, ""), 403},
		"PATCH":                           {w.call("PATCH", "/v1/collections/v", token, `{"ttl_seconds":60}`), 409},
		"DELETE of the view's name":       {w.call("DELETE", "/v1/collections/v", token, ""), 409},
		"DELETE of the collection":        {w.call("DELETE", "/v1/collections/c?aliases=drop", token, ""), 409},
		"view of a view":                  {w.call("PUT", "/v1/views/y", token, `{"collection":"v","filter":{"and":[]}}`), 409},
		"view without a filter":           {w.call("PUT", "/v1/views/y", token, `{"collection":"c"}`), 400},
		"view with an empty filter":       {w.call("PUT", "/v1/views/y", token, `{"collection":"c","filter":{}}`), 400},
		"view of nothing":                 {w.call("PUT", "/v1/views/y", token, `{"collection":"none","filter":{"and":[]}}`), 404},
		"65 hidden":                       {w.call("PUT", "/v1/views/y", token, `{"collection":"c","filter":{"and":[]},"hidden":[`+many(65, `"h%d"`)+`]}`), 400},
		"one hidden twice":                {w.call("PUT", "/v1/views/y", token, `{"collection":"c","filter":{"and":[]},"hidden":["a","a"]}`), 400},
		"257 terms":                       {w.call("PUT", "/v1/views/y", token, `{"collection":"c","filter":{"or":[`+many(257, `{"field":"f%d","eq":1}`)+`]}}`), 400},
		"the most terms of both":          {w.call("POST", "/v1/collections/v/search", token, `{"vector":[1,1],"filter":{"or":[`+many(255, `{"field":"f%d","eq":1}`)+`]}}`), 200},
		"GET of what is no view":          {w.call("GET", "/v1/views/c", token, ""), 404},
		"GET of the view as a collection": {w.call("GET", "/v1/collections/v", token, ""), 200},
		"DELETE":                          {w.call("DELETE", "/v1/views/x", token, ""), 204},
		"DELETE again":                    {w.call("DELETE", "/v1/views/x", token, ""), 404},
	} {
		w.wantStatus(what, want.got, want.code)
	}
}

// many joins n things of a format by commas.
func many(n int, format string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, ",")
}

func TestPatchCollection(t *testing.T) {
	w, token := namesWorld(t, nil)
	patch := func(body, ifMatch string) reply {
		t.Helper()
		r := w.request("PATCH", "/v1/collections/c", token, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if ifMatch != "" {
			r.Header.Set("If-Match", ifMatch)
		}
		return w.do(r)
	}
	got := patch(`{"ttl_seconds":60,"recall_target":0.9,"index":{"kind":"hnsw","m":20},"defaults":{"limit":3,"plugins":[{"name":"p","capability":"rank","config":{"a":[1]}}]}}`, `"1"`)
	w.wantStatus("PATCH", got, 200)
	if got.header.Get("ETag") != `"2"` || got.json["ttl_seconds"] != 60.0 || !strings.Contains(got.body, `"m":20`) || !strings.Contains(got.body, `"config":{"a":[1]}`) {
		t.Errorf("PATCH = %s with ETag %s, want what was given and the ETag 2", got.body, got.header.Get("ETag"))
	}
	if get := w.call("GET", "/v1/collections/c", token, ""); get.header.Get("ETag") != `"2"` || get.body != got.body {
		t.Errorf("GET = %s, want the same as PATCH: %s", get.body, got.body)
	}
	w.wantStatus("PATCH of the version before", patch(`{"ttl_seconds":61}`, `"1"`), 412)
	got = patch(`{"ttl_seconds":null,"index":{"m":null},"defaults":{"limit":null}}`, `"2"`)
	w.wantStatus("PATCH back", got, 200)
	if got.json["ttl_seconds"] != nil || !strings.Contains(got.body, `"m":16`) || !strings.Contains(got.body, `"kind":"hnsw"`) || strings.Contains(got.body, `"limit"`) || !strings.Contains(got.body, `"name":"p"`) {
		t.Errorf("PATCH back = %s, want no TTL and limit, m 16, kind and plugins as they were", got.body)
	}
	w.wantStatus("PATCH the index to none", patch(`{"index":{"kind":"none"}}`, ""), 200)
	w.wantStatus("PATCH fields", patch(`{"fields":[{"name":"public","type":"boolean"}]}`, ""), 200)
	if got := w.call("GET", "/v1/collections/c", token, ""); !strings.Contains(got.body, `"state":"filling"`) || !strings.Contains(got.body, "being filled") {
		t.Errorf("GET = %s, want the field filling, and a note of it", got.body)
	}
	for body, code := range map[string]int{
		`{"dimension":3}`: 409, `{"metric":"l2"}`: 409, `{"precision":"float16"}`: 409, `{"embedder":"local"}`: 409, `{"language":"german"}`: 409,
		`{"dimension":2,"metric":"cosine","precision":"float32","embedder":"none","language":"english"}`: 200,
		`{}`: 400, `[]`: 400, `null`: 400, `{"name":"x"}`: 400, `{"dimension":null}`: 400, `{"ttl_seconds":0}`: 400, `{"ttl_seconds":9e99}`: 400, `{"language":"klingon"}`: 400,
		`{"recall_target":0.1}`: 400, `{"index":{"m":101}}`: 400, `{"index":{"kind":"none","m":3}}`: 400, `{"index":null}`: 200, `{"defaults":null}`: 200,
		`{"fields":[{"name":"a","type":"keyword"},{"name":"a","type":"number"}]}`: 400, `{"fields":[{"name":"\u0000","type":"keyword"}]}`: 400,
		`{"fields":[` + many(9, `{"name":"k%d","type":"keyword"}`) + `]}`:                                                                          400,
		`{"fields":[` + many(10_000, `{"name":"k%d","type":"keyword"}`) + `]}`:                                                                     400,
		`{"defaults":{"plugins":[{"name":"p","capability":"rank","config":{"a":"` + strings.Repeat("x", 1<<19) + `"}}]}}`:                          400,
		`{"defaults":{"plugins":[` + many(9, `{"name":"p%d","capability":"rank"}`) + `]}}`:                                                         400,
		`{"defaults":{"plugins":[{"name":"p","capability":"rank","config":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40) + `}]}}`: 400,
		`{"defaults":{"limit":201}}`: 400, `{"fields":null}`: 200,
	} {
		w.wantStatus("PATCH "+body[:min(len(body), 80)], patch(body, ""), code)
	}
	w.wantStatus("PATCH with 1 MB of defaults", patch(`{"defaults":{"plugins":[{"name":"p","capability":"rank","config":{"a":"`+strings.Repeat("x", 1<<20)+`"}}]}}`, ""), 413)
	for _, tag := range []string{"2", `"x"`, `"-1"`, `W/"2"`, `""`, `"99999999999999999999"`, `"0"`} {
		w.wantStatus("PATCH with If-Match "+tag, patch(`{"ttl_seconds":5}`, tag), 400)
	}
}

func TestDefinitionsComeBack(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	const all = `{"dimension":5000,"metric":"ip","precision":"float16","index":{"kind":"auto","m":20,"ef_construction":90,"quantization":"binary"},` +
		`"fields":[{"name":"a","type":"keywords"},{"name":"b","type":"datetime"}],"language":"german","ttl_seconds":100,"recall_target":0.75,` +
		`"defaults":{"limit":7,"mode":"hybrid","plugins":[]}}`
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/c", token, all), 201)
	w.wantStatus("PUT again", w.call("PUT", "/v1/collections/c", token, all), 200)
	got := w.call("GET", "/v1/collections/c", token, "")
	for _, want := range []string{
		`"precision":"float16"`, `"kind":"auto"`, `"quantization":"binary"`, `{"name":"a","state":"ready","type":"keywords"}`, `"language":"german"`,
		`"ttl_seconds":100`, `"recall_target":0.75`, `"limit":7`, `"mode":"hybrid"`, `"plugins":[]`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("GET = %s, want %s in it", got.body, want)
		}
	}
	large := w.call("PUT", "/v1/collections/large", token, `{"dimension":4001}`)
	w.wantStatus("PUT of 4001 dimensions", large, 201)
	if !strings.Contains(large.body, `"kind":"none"`) || !strings.Contains(large.body, "exact search only; with quantization binary") {
		t.Errorf("PUT of 4001 dimensions = %s, want kind none and a note of what that means", large.body)
	}
	refused := w.call("PUT", "/v1/collections/larger", token, `{"dimension":4001,"index":{"kind":"hnsw"}}`)
	w.wantStatus("PUT of 4001 dimensions with hnsw", refused, 400)
	if !strings.Contains(refused.body, "quantization binary") {
		t.Errorf("PUT of 4001 dimensions with hnsw = %s, want it to say what there is", refused.body)
	}
	got = w.call("POST", "/v1/estimate", token, `{"rows":1000000,"dimension":384,"text_bytes":400,"index":{"kind":"hnsw"}}`)
	w.wantStatus("estimate", got, 200)
	if got.json["method"] != "hnsw" || got.json["vector_index_bytes"].(float64) < 384*2*1e6 {
		t.Errorf("estimate = %s, want that of hnsw", got.body)
	}
	w.wantStatus("estimate of what cannot be", w.call("POST", "/v1/estimate", token, `{"rows":1,"dimension":4001,"index":{"kind":"hnsw"}}`), 400)
}

// limiting makes every tenant's key one that is limited to views, whatever its
// scopes: so that what a scope forbids is tried on the next lock too.
type limiting struct {
	authenticator
	views []knowledge.CollectionName
}

func (l limiting) Authenticate(ctx context.Context, token string) (tenancy.Principal, error) {
	p, err := l.authenticator.Authenticate(ctx, token)
	if p.Tenant != "" {
		p.Views = l.views
	}
	return p, err
}

// Each operation of openapi.yaml that takes a collection's name answers a key that
// is limited to views exactly as if every other name were that of nothing.
func TestLimitedKeysSeeTheirViewsAlone(t *testing.T) {
	for what, scopes := range map[string][]tenancy.Scope{"a key that reads": nil, "a key of all scopes": tenancy.TenantScopes()} {
		t.Run(what, func(t *testing.T) {
			var keys *limiting
			w, owner := namesWorld(t, func(s *Services, _ *Options) {
				keys = &limiting{authenticator: s.Keys}
				s.Keys = keys
			})
			_ = owner
			var token string
			if scopes == nil {
				var err error
				if _, token, err = w.keys.IssueKey(t.Context(), "acme", "limited", nil, noTime, "v"); err != nil {
					t.Fatal(err)
				}
			} else {
				token = w.tenant("acme", scopes...)
			}
			keys.views = []knowledge.CollectionName{"v", "c"} // c is none, and gives nothing
			tried := 0
			for path, item := range w.spec.Paths.Map() {
				for method, o := range item.Operations() {
					inPath := strings.Contains(path, "{collection}")
					if !inPath && !namesCollection(o) {
						continue
					}
					tried++
					known := false
					for _, body := range bodiesOf(o) {
						var first string
						for _, name := range []string{"none", "c", "a", "w"} {
							got := w.asked(method, path, name, token, o, body)
							text := fmt.Sprint(got.status, strings.ReplaceAll(got.body, got.header.Get("X-Request-ID"), ""))
							if first == "" {
								first = text
							}
							if o.OperationID == "queryBatch" { // each query has a problem of its own
								answered := strings.Contains(got.body, `"answer"`)
								known = known || !answered && strings.Contains(got.body, `"status":404`)
								if text != first || answered {
									t.Errorf("%s %s for %s = %s, want problems as for a name of nothing: %s", method, path, name, text, first)
								}
								continue
							}
							if text != first || got.status < 400 {
								t.Errorf("%s %s for %s = %s, want an error as for a name of nothing: %s", method, path, name, text, first)
							}
							known = known || got.status == 404 || got.status == 403
						}
					}
					if !known {
						t.Errorf("%s %s: no example reaches the place where names are looked up", method, path)
					}
				}
			}
			if tried < 8 {
				t.Errorf("tried %d operations, want at least 8", tried)
			}
			for _, good := range []struct{ method, path, body string }{
				{"GET", "/v1/collections/v", ""},
				{"GET", "/v1/collections/v/records/open", ""},
				{"POST", "/v1/collections/v/search", `{"vector":[1,1]}`},
				{"POST", "/v1/query", `{"legs":[{"collection":"v","vector":[1,1]}]}`},
			} {
				w.wantStatus(good.method+" "+good.path+" of one's own view", w.call(good.method, good.path, token, good.body), 200)
			}
			for path, want := range map[string]string{"/v1/collections": `"name":"v"`, "/v1/aliases": `{"aliases":[]}`, "/v1/views": `{"views":[]}`} {
				got := w.call("GET", path, token, "")
				if !strings.Contains(got.body, want) || strings.Contains(got.body, `"c"`) || strings.Contains(got.body, `"w"`) || strings.Contains(got.body, `"a"`) {
					t.Errorf("GET %s = %s, want %s and no other name", path, got.body, want)
				}
			}
			for _, name := range []string{"a", "v", "w", "none"} {
				w.wantStatus("GET alias "+name, w.call("GET", "/v1/aliases/"+name, token, ""), 404)
				w.wantStatus("GET view "+name, w.call("GET", "/v1/views/"+name, token, ""), 404)
			}
		})
	}
}

// namesCollection reports that a member of an operation's body, at any depth, is a
// collection's name.
func namesCollection(o *openapi3.Operation) bool {
	if o.RequestBody == nil {
		return false
	}
	seen := map[*openapi3.Schema]bool{}
	var has func(s *openapi3.Schema) bool
	has = func(s *openapi3.Schema) bool {
		if s == nil || seen[s] {
			return false
		}
		seen[s] = true
		for name, p := range s.Properties {
			if name == "collection" || has(p.Value) {
				return true
			}
		}
		return s.Items != nil && has(s.Items.Value) || slices.ContainsFunc(s.OneOf, func(r *openapi3.SchemaRef) bool { return has(r.Value) })
	}
	for _, media := range o.RequestBody.Value.Content {
		if has(media.Schema.Value) {
			return true
		}
	}
	return false
}

// bodiesOf are the examples of an operation's body, one that is empty for none.
func bodiesOf(o *openapi3.Operation) []any {
	if o.RequestBody != nil {
		for _, media := range o.RequestBody.Value.Content {
			if all := examplesOf(media); len(all) > 0 {
				return all
			}
		}
	}
	return []any{nil}
}

// asked makes a request of an example with a collection's name in all places.
func (w *world) asked(method, path, name, token string, o *openapi3.Operation, body any) reply {
	w.t.Helper()
	path = strings.NewReplacer("{collection}", name, "{id}", "open", "{alias}", "new", "{view}", "new").Replace(path)
	text, isText := body.(string)
	if body != nil && !isText {
		encoded, err := json.Marshal(renamed(plain(body), name))
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(encoded)
	}
	r := w.request(method, path, token, strings.NewReader(text))
	if body == nil {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json")
	if o.RequestBody != nil {
		for media := range o.RequestBody.Value.Content {
			r.Header.Set("Content-Type", media)
		}
	}
	return w.do(r)
}

// renamed puts a name for each member "collection".
func renamed(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if _, isText := inner.(string); key == "collection" && isText {
				v[key] = name
			} else {
				v[key] = renamed(inner, name)
			}
		}
	case []any:
		for i, inner := range v {
			v[i] = renamed(inner, name)
		}
	}
	return v
}

// What a key is limited to is written on it, and what it may not have refused.
func TestKeysLimitedToViews(t *testing.T) {
	w := newWorld(t, nil)
	w.tenant("acme")
	issue := func(body string) reply { return w.call("POST", "/v1/admin/tenants/acme/keys", adminKey, body) }
	got := issue(`{"views":["b","a"]}`)
	w.wantStatus("key of views", got, 201)
	if !strings.Contains(got.body, `"views":["a","b"]`) || !strings.Contains(got.body, `"scopes":["read"]`) {
		t.Errorf("key of views = %s, want the views a and b and the scope read", got.body)
	}
	if list := w.call("GET", "/v1/admin/tenants/acme/keys", adminKey, ""); strings.Count(list.body, `"views"`) != 1 {
		t.Errorf("keys = %s, want views on the one that has them", list.body)
	}
	w.wantStatus("key of views that invokes", issue(`{"views":["a"],"scopes":["read","invoke"]}`), 201)
	for _, bad := range []string{
		`{"views":[]}`, `{"views":["a","a"]}`, `{"views":["A"]}`, `{"views":[""]}`, `{"views":"a"}`, `{"views":null}`, `{"views":["a"],"scopes":["write"]}`,
		`{"views":["a"],"scopes":["read","plugins"]}`, `{"views":[` + many(65, `"v%d"`) + `]}`,
	} {
		w.wantStatus("key "+bad[:min(len(bad), 60)], issue(bad), 400)
	}
}
