package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
)

// failingEmbedders fail always with the error of failing.
type failingEmbedders struct{ *failing }

func (f failingEmbedders) Get(context.Context, knowledge.TenantID, string) (knowledge.Embedder, error) {
	return nil, f.get()
}

func (f failingEmbedders) Put(context.Context, knowledge.TenantID, embed.Definition, string) (embed.Definition, bool, error) {
	return embed.Definition{}, false, f.get()
}

func (f failingEmbedders) Entry(context.Context, knowledge.TenantID, string) (embed.Entry, error) {
	return embed.Entry{}, f.get()
}

func (f failingEmbedders) List(context.Context, knowledge.TenantID, string, int) ([]embed.Entry, error) {
	return nil, f.get()
}

func (f failingEmbedders) Delete(context.Context, knowledge.TenantID, embed.Name) error {
	return f.get()
}

// own is the definition of an embedder at a server of this test.
func own(server *embedtest.Server, more string) string {
	return fmt.Sprintf(`{"base_url":%q,"model":"m","api_key":%q%s}`, server.URL+"/v1", server.Key, more)
}

func TestEmbedders(t *testing.T) {
	w := newWorld(t, nil)
	token, server := w.tenant("acme"), embedtest.NewServer(t)
	got := w.call("PUT", "/v1/embedders/mine", token, own(server, `,"query_prefix":"q: ","batch_size":5,"timeout_ms":1500`))
	w.wantStatus("PUT", got, 201)
	again := w.call("GET", "/v1/embedders/mine", token, "")
	w.wantStatus("GET", again, 200)
	for name, want := range map[string]any{
		"id": "mine", "scope": "tenant", "dimension": 8.0, "provider": "openai", "model": "m", "has_key": true, "query_prefix": "q: ",
		"batch_size": 5.0, "timeout_ms": 1500.0,
	} {
		if got.json[name] != want || again.json[name] != want {
			t.Errorf("%s = %v and then %v, want %v", name, got.json[name], again.json[name], want)
		}
	}
	if strings.Contains(got.body+again.body, server.Key) {
		t.Errorf("PUT and GET = %s %s, want them without the key", got.body, again.body)
	}
	list := w.call("GET", "/v1/embedders", token, "")
	if text := list.body; !strings.Contains(text, `"id":"local"`) || strings.Index(text, `"id":"mine"`) < strings.Index(text, `"id":"local"`) || strings.Contains(text, server.Key) {
		t.Errorf("list = %s, want local and mine, without the key", text)
	}
	first := w.call("GET", "/v1/embedders?limit=1", token, "")
	next, _ := first.json["next_cursor"].(string)
	if second := w.call("GET", "/v1/embedders?limit=1&cursor="+next, token, ""); !strings.Contains(second.body, `"mine"`) || strings.Contains(second.body, `"local"`) {
		t.Errorf("second page = %s, want mine alone", second.body)
	}

	w.wantStatus("collection", w.call("PUT", "/v1/collections/notes", token, `{"embedder":"mine"}`), 201)
	w.wantStatus("records", w.call("POST", "/v1/collections/notes/records", token, `{"records":[{"id":"a","text":"bread"},{"id":"b","text":"water"}]}`), 200)
	search := w.call("POST", "/v1/collections/notes/search", token, `{"text":"bread","mode":"vector"}`)
	w.wantStatus("search", search, 200)
	for what, body := range map[string]string{
		"another model":  strings.Replace(own(server, `,"query_prefix":"q: "`), `"m"`, `"other"`, 1),
		"another prefix": own(server, `,"query_prefix":"question: "`),
		"dimensions":     own(server, `,"query_prefix":"q: ","dimensions":3`),
	} {
		got := w.call("PUT", "/v1/embedders/mine", token, body)
		w.wantStatus("PUT of "+what, got, 409)
		if !strings.Contains(got.body, "notes") {
			t.Errorf("PUT of %s = %s, want it to name the collection", what, got.body)
		}
	}
	w.wantStatus("DELETE in use", w.call("DELETE", "/v1/embedders/mine", token, ""), 409)

	server.SetKey("sk-another-key")
	w.wantStatus("records with the old key", w.call("POST", "/v1/collections/notes/records", token, `{"records":[{"id":"c","text":"salt"}]}`), 503)
	w.wantStatus("PUT of a new key", w.call("PUT", "/v1/embedders/mine", token, own(server, `,"query_prefix":"q: "`)), 200)
	w.wantStatus("records with the new key", w.call("POST", "/v1/collections/notes/records", token, `{"records":[{"id":"c","text":"salt"}]}`), 200)

	w.wantStatus("DELETE of the collection", w.call("DELETE", "/v1/collections/notes", token, ""), 204)
	w.wantStatus("DELETE", w.call("DELETE", "/v1/embedders/mine", token, ""), 204)
	w.wantStatus("GET of what is gone", w.call("GET", "/v1/embedders/mine", token, ""), 404)
	if strings.Contains(w.log.String(), server.Key) {
		t.Error("the log has the key, want it nowhere")
	}
}

func TestEmbeddersRefused(t *testing.T) {
	w := newWorld(t, nil)
	token, server := w.tenant("acme"), embedtest.NewServer(t)
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, test := range []struct {
		what, name, body string
		status           int
		says             string
	}{
		{"name of the node's", "local", own(server, ""), 400, "kept for the node"},
		{"name of none", "none", own(server, ""), 400, "kept for the node"},
		{"wrong key", "mine", strings.Replace(own(server, ""), server.Key, "sk-wrong-one", 1), 400, "api_key"},
		{"wrong path", "mine", strings.Replace(own(server, ""), "/v1", "/v2", 1), 400, "base_url"},
		{"another dimension than asked for", "mine", own(server, `,"dimensions":9999`), 503, ""},
		{"nobody listens", "mine", `{"base_url":"http://127.0.0.1:1","model":"m"}`, 503, "could not be reached"},
		{"inside by a name, http", "mine", `{"base_url":"http://localhost` + port + `","model":"m"}`, 400, "https"},
		{"metadata", "mine", `{"base_url":"https://169.254.169.254/latest","model":"m"}`, 400, "not public"},
		{"mapped", "mine", `{"base_url":"https://[::ffff:10.0.0.1]","model":"m"}`, 400, "not public"},
		{"password in the address", "mine", `{"base_url":"https://u:hunter2@example.com","model":"m"}`, 400, "user or password"},
		{"line break in the key", "mine", `{"base_url":"https://example.com","model":"m","api_key":"a\nb"}`, 400, "API key"},
	} {
		got := w.call("PUT", "/v1/embedders/"+test.name, token, test.body)
		w.wantStatus(test.what, got, test.status)
		if !strings.Contains(got.body, test.says) || strings.Contains(got.body, "hunter2") || strings.Contains(got.body, "sk-") {
			t.Errorf("%s = %s, want it to say %q and no secret", test.what, got.body, test.says)
		}
	}
	if got := w.call("GET", "/v1/embedders", token, ""); strings.Contains(got.body, "mine") {
		t.Errorf("list after refusals = %s, want none of them", got.body)
	}
	w.wantStatus("a collection with a foreign embedder", w.call("PUT", "/v1/collections/notes", token, `{"embedder":"mine"}`), 400)
}

// A server that is let alone is said to be, with when to come again.
func TestEmbedderLetAlone(t *testing.T) {
	w := newWorld(t, nil)
	token, server := w.tenant("acme"), embedtest.NewServer(t)
	w.wantStatus("PUT", w.call("PUT", "/v1/embedders/mine", token, own(server, `,"timeout_ms":100`)), 201)
	server.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusBadGateway)
	})
	var got reply
	for range 6 {
		got = w.call("POST", "/v1/embed", token, `{"embedder":"mine","texts":["a"]}`)
		w.wantStatus("embed while the server is broken", got, 503)
	}
	if !strings.Contains(got.body, "let alone") || got.header.Get("Retry-After") == "2" {
		t.Errorf("after five failures = %s, Retry-After %s; want that it is let alone, and for how long", got.body, got.header.Get("Retry-After"))
	}
}

func TestEmbed(t *testing.T) {
	w := newWorld(t, nil)
	token, server := w.tenant("acme"), embedtest.NewServer(t)
	w.wantStatus("PUT", w.call("PUT", "/v1/embedders/mine", token, own(server, "")), 201)
	got := w.call("POST", "/v1/embed", token, `{"texts":["one two","three"]}`)
	w.wantStatus("embed", got, 200)
	var answer struct {
		Embedder struct {
			ID, Version string
			Dimension   int
		}
		Vectors [][]float32
		Usage   struct{ Texts, Bytes, Tokens int }
	}
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
		t.Fatal(err)
	}
	want, _ := hashing{}.Embed(t.Context(), knowledge.EmbedDocument, []string{"one two", "three"})
	if fmt.Sprint(answer.Vectors) != fmt.Sprint(want) || answer.Embedder.ID != "local" || answer.Usage.Texts != 2 || answer.Usage.Bytes != 12 {
		t.Errorf("embed = %s, want the vectors %v of local", got.body, want)
	}
	plain := w.call("POST", "/v1/embed", token, `{"embedder":"mine","kind":"query","texts":["one"]}`)
	packed := w.call("POST", "/v1/embed", token, `{"embedder":"mine","kind":"query","encoding":"base64","texts":["one"]}`)
	w.wantStatus("embed by one's own", plain, 200)
	w.wantStatus("embed packed", packed, 200)
	numbers := plain.json["vectors"].([]any)[0].([]any)
	data, err := base64.StdEncoding.DecodeString(packed.json["vectors"].([]any)[0].(string))
	if err != nil || len(data) != 4*len(numbers) {
		t.Fatalf("packed vector has %d bytes, %v, want %d", len(data), err, 4*len(numbers))
	}
	for i, n := range numbers {
		if x := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])); x != float32(n.(float64)) {
			t.Errorf("component %d = %g packed and %g plain, want the same", i, x, n)
		}
	}
	if tokens := plain.json["usage"].(map[string]any)["tokens"]; tokens != 3.0 {
		t.Errorf("tokens = %v, want the 3 that the server counted", tokens)
	}
	for _, test := range []struct{ what, body, field string }{
		{"white space", `{"texts":["a"," "]}`, "texts[1]"},
		{"NUL", `{"texts":["a\u0000"]}`, "texts[0]"},
		{"no texts", `{"texts":[]}`, "texts"},
		{"too many", `{"texts":[` + strings.TrimSuffix(strings.Repeat(`"a",`, 1001), ",") + `]}`, "texts"},
		{"too long", `{"texts":["` + strings.Repeat("a", 1<<20+1) + `"]}`, "texts[0]"},
		{"unknown", `{"embedder":"other","texts":["a"]}`, "embedder"},
		{"none", `{"embedder":"none","texts":["a"]}`, "embedder"},
		{"refused by the model", `{"embedder":"mine","texts":["a","refuse me"]}`, "texts[1]"},
	} {
		got := w.call("POST", "/v1/embed", token, test.body)
		w.wantStatus(test.what, got, 400)
		if errs, _ := got.json["errors"].([]any); len(errs) != 1 || errs[0].(map[string]any)["field"] != test.field {
			t.Errorf("%s = %s, want an error about %s", test.what, got.body, test.field)
		}
	}
	w.wantStatus("body of 8 MiB and more", w.call("POST", "/v1/embed", token, `{"texts":["`+strings.Repeat(" ", 8<<20)+`"]}`), 413)
}

// Another tenant's embedder is one that is not there.
func TestForeignEmbedder(t *testing.T) {
	w := newWorld(t, nil)
	owner, other, server := w.tenant("owner"), w.tenant("other"), embedtest.NewServer(t)
	w.wantStatus("PUT", w.call("PUT", "/v1/embedders/mine", owner, own(server, "")), 201)
	before := server.Requests()
	for _, c := range []struct{ method, foreign, unknown, body string }{
		{"GET", "/v1/embedders/mine", "/v1/embedders/nobodys", ""},
		{"DELETE", "/v1/embedders/mine", "/v1/embedders/nobodys", ""},
		{"POST", "/v1/embed", "/v1/embed", `{"embedder":"%s","texts":["a"]}`},
		{"PUT", "/v1/collections/notes", "/v1/collections/notes", `{"embedder":"%s"}`},
	} {
		ask := func(path, name string) reply {
			return w.call(c.method, path, other, strings.Replace(c.body, "%s", name, 1))
		}
		foreign, unknown := ask(c.foreign, "mine"), ask(c.unknown, "nobodys")
		got, want := strings.ReplaceAll(foreign.body, foreign.header.Get("X-Request-ID"), ""), strings.ReplaceAll(unknown.body, unknown.header.Get("X-Request-ID"), "")
		if foreign.status < 400 || foreign.status != unknown.status || got != want {
			t.Errorf("%s %s = %d %s, want an error as for what nobody has: %d %s", c.method, c.foreign, foreign.status, got, unknown.status, want)
		}
	}
	if after := server.Requests(); after != before {
		t.Errorf("the owner's server was asked %d times for another tenant, want never", after-before)
	}
	if list := w.call("GET", "/v1/embedders", other, ""); strings.Contains(list.body, "mine") {
		t.Errorf("list of another tenant = %s, want nothing of the owner's", list.body)
	}
}

// A key that is limited to views learns nothing of the tenant's servers.
func TestLimitedKeysHaveNoEmbedders(t *testing.T) {
	w, _ := namesWorld(t, nil)
	_, token, err := w.keys.IssueKey(t.Context(), "acme", "limited", nil, noTime, "v")
	if err != nil {
		t.Fatal(err)
	}
	w.wantStatus("list", w.call("GET", "/v1/embedders", token, ""), 403)
	w.wantStatus("GET", w.call("GET", "/v1/embedders/local", token, ""), 403)
	w.wantStatus("PUT", w.call("PUT", "/v1/embedders/mine", token, `{"base_url":"https://example.com","model":"m"}`), 403)
	w.wantStatus("DELETE", w.call("DELETE", "/v1/embedders/mine", token, ""), 403)
}

// What embedders do is counted for the operator.
func TestEmbedMetrics(t *testing.T) {
	m := NewMetrics()
	m.RegisterEmbedders(func() []embed.Used {
		return []embed.Used{{Provider: "openai", Scope: "tenant", Calls: 9, Failures: 2, Usage: embed.Usage{Texts: 3, Bytes: 4, Tokens: 5}}}
	}, func() embed.CacheStats { return embed.CacheStats{Hits: 6, Misses: 8, Entries: 1, Bytes: 10} })
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			got[f.GetName()] += metric.String()
		}
	}
	for name, wants := range map[string][]string{
		"tars_embed_calls_total": {"value:7", "value:2", `"failed"`}, "tars_embed_texts_total": {"value:3", `"tenant"`, `"openai"`},
		"tars_embed_bytes_total": {"value:4"}, "tars_embed_tokens_total": {"value:5"},
		"tars_embed_query_cache_lookups_total": {"value:6", "value:8", `"hit"`}, "tars_embed_query_cache_bytes": {"value:10"},
		"tars_embed_query_cache_vectors": {"value:1"},
	} {
		for _, want := range wants {
			if !strings.Contains(got[name], want) {
				t.Errorf("%s = %q, want %s", name, got[name], want)
			}
		}
	}
}
