package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge/query"
)

func TestCollectionsAndRecords(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT a collection", w.call("PUT", "/v1/collections/notes", token, `{}`), 201)
	again := w.call("PUT", "/v1/collections/notes", token, `{"embedder":"local","dimension":16}`)
	w.wantStatus("PUT it again", again, 200)
	if again.json["dimension"] != 16.0 {
		t.Errorf("PUT = %v, want dimension 16", again.json)
	}
	w.wantStatus("PUT another definition", w.call("PUT", "/v1/collections/notes", token, `{"metric":"l2"}`), 409)
	w.wantStatus("PUT without dimension", w.call("PUT", "/v1/collections/x", token, `{"embedder":"none"}`), 400)
	w.wantStatus("PUT an unknown embedder", w.call("PUT", "/v1/collections/x", token, `{"embedder":"other"}`), 400)
	w.wantStatus("PUT a wrong dimension", w.call("PUT", "/v1/collections/x", token, `{"embedder":"local","dimension":3}`), 400)

	put := w.call("POST", "/v1/collections/notes/records", token,
		`{"records":[{"id":"a/b #1","text":"base backup","metadata":{"year":2026,"tags":["x",null]},"expires_at":"2999-01-01T00:00:00+01:00"},{"id":"b","text":"archived log"}]}`)
	w.wantStatus("POST records", put, 200)
	if put.json["count"] != 2.0 {
		t.Errorf("POST records = %v, want count 2", put.json)
	}
	id := url.PathEscape("a/b #1")
	got := w.call("GET", "/v1/collections/notes/records/"+id, token, "")
	w.wantStatus("GET a record", got, 200)
	if got.json["text"] != "base backup" || got.json["version"] != 1.0 || got.json["expires_at"] != "2998-12-31T23:00:00Z" {
		t.Errorf("GET a record = %s, want text, version 1 and the time in UTC", got.body)
	}
	found := w.call("POST", "/v1/collections/notes/search", token, `{"text":"backup","limit":1,"filter":{"not":{"field":"year","lt":2020}}}`)
	w.wantStatus("search", found, 200)
	if matches := found.json["matches"].([]any); len(matches) != 1 || matches[0].(map[string]any)["id"] != "a/b #1" {
		t.Errorf("search = %s, want record a/b #1 alone", found.body)
	}
	w.wantStatus("DELETE a record", w.call("DELETE", "/v1/collections/notes/records/"+id, token, ""), 204)
	w.wantStatus("GET it", w.call("GET", "/v1/collections/notes/records/"+id, token, ""), 404)
	w.wantStatus("DELETE the collection", w.call("DELETE", "/v1/collections/notes", token, ""), 204)
	w.wantStatus("GET it", w.call("GET", "/v1/collections/notes", token, ""), 404)
}

// Ids and texts come back as they went in, whatever is in them.
func TestTextsComeBack(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/c", token, `{"dimension":1,"metric":"l2"}`), 201)
	for _, s := range []string{
		"../../etc/passwd", "a,b;c", "%2F", "%00", "100% +plus&x=y?z#f", "Ω≈ç√∫", "田中さん", "👨‍👩‍👧‍👦", "\u202etest", "' OR 1=1 --", "<script>", "\u2028", "\ufeff", ".", "..", " ",
	} {
		body := fmt.Sprintf(`{"records":[{"id":%s,"text":%s,"vector":[1],"metadata":{%s:%s}}]}`, quote(s), quote(s), quote(s), quote(s))
		w.wantStatus(fmt.Sprintf("POST %q", s), w.call("POST", "/v1/collections/c/records", token, body), 200)
		path := "/v1/collections/c/records/" + strings.ReplaceAll(url.PathEscape(s), ".", "%2E")
		got := w.call("GET", path, token, "")
		if got.json["id"] != s || got.json["text"] != s || got.json["metadata"].(map[string]any)[s] != s {
			t.Errorf("GET %s = %d %s, want the same id, text and metadata as %q", path, got.status, got.body, s)
		}
	}
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func TestPages(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("c%d", i)
		want = append(want, name)
		w.wantStatus("PUT", w.call("PUT", "/v1/collections/"+name, token, `{"dimension":3}`), 201)
	}
	var got []string
	path := "/v1/collections?limit=3"
	for pages := 0; path != ""; pages++ {
		r := w.call("GET", path, token, "")
		w.wantStatus("list", r, 200)
		for _, c := range r.json["collections"].([]any) {
			got = append(got, c.(map[string]any)["name"].(string))
		}
		path = ""
		if next, ok := r.json["next_cursor"].(string); ok {
			path = "/v1/collections?limit=3&cursor=" + next
		}
		if pages > 7 {
			t.Fatal("list does not end")
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of 3 = %v, want %v", got, want)
	}
}

func TestPlugins(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	first := w.uploadGood(token)
	w.wantStatus("upload", first, 201)
	w.wantStatus("upload again", w.uploadGood(token), 200)
	w.wantStatus("GET by number", w.call("GET", "/v1/plugins/cited/versions/1", token, ""), 200)
	w.wantStatus("GET by digest", w.call("GET", "/v1/plugins/cited/versions/"+first.json["digest"].(string), token, ""), 200)
	w.wantStatus("GET by alias, not set", w.call("GET", "/v1/plugins/cited/versions/live", token, ""), 404)
	w.wantStatus("alias of an unknown version", w.call("PUT", "/v1/plugins/cited/aliases/live", token, `{"version":9}`), 404)
	w.wantStatus("alias of digits", w.call("PUT", "/v1/plugins/cited/aliases/12", token, `{"version":1}`), 400)
	w.wantStatus("alias", w.call("PUT", "/v1/plugins/cited/aliases/live", token, `{"version":1}`), 200)
	plugin := w.call("GET", "/v1/plugins/cited", token, "")
	if plugin.json["aliases"].(map[string]any)["live"] != 1.0 {
		t.Errorf("GET plugin = %s, want live at 1", plugin.body)
	}
	versions := w.call("GET", "/v1/plugins/cited/versions", token, "")
	if list := versions.json["versions"].([]any); len(list) != 1 {
		t.Errorf("GET versions = %s, want one", versions.body)
	}
	w.wantStatus("versions of an unknown plugin", w.call("GET", "/v1/plugins/none/versions", token, ""), 404)
	w.wantStatus("list", w.call("GET", "/v1/plugins", token, ""), 200)

	called := w.call("POST", "/v1/plugins/cited/invoke", token, `{"capability":"rank","input":{"a":[1,"<é>",null]}}`)
	w.wantStatus("invoke", called, 200)
	if got := fmt.Sprint(called.json["output"]); got != "map[a:[1 <é> <nil>]]" {
		t.Errorf("invoke = %s, want the input back", got)
	}
}

func TestQuery(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/notes", token, `{}`), 201)
	w.wantStatus("records", w.call("POST", "/v1/collections/notes/records", token, `{"records":[{"id":"a","text":"the base backup of a cluster"},{"id":"b","text":"other words"}]}`), 200)
	w.wantStatus("upload", w.uploadGood(token), 201)
	w.wantStatus("alias", w.call("PUT", "/v1/plugins/cited/aliases/live", token, `{"version":1}`), 200)
	got := w.call("POST", "/v1/query", token, `{"text":"backup","legs":[{"collection":"notes"}],"plugins":[{"name":"cited","capability":"rank"},{"name":"cited","capability":"synthesize","config":{"a":1}}]}`)
	w.wantStatus("query", got, 200)
	results := got.json["results"].([]any)
	if len(results) != 1 {
		t.Fatalf("query = %s, want one result", got.body)
	}
	citation := results[0].(map[string]any)["citations"].([]any)[0].(map[string]any)
	if citation["id"] != "a" || citation["verified"] != true || citation["quote"] != "the base backup of a cluster" {
		t.Errorf("citation = %v, want verified words of record a", citation)
	}
	if n := len(got.json["receipts"].([]any)); n != 2 {
		t.Errorf("query has %d receipts, want 2", n)
	}
	receipt := got.json["receipts"].([]any)[0].(map[string]any)
	for name, want := range map[string]float64{"vm_us": 1000, "cpu_us": 900, "fuel": 5, "peak_memory_bytes": 6, "host_calls": 7, "host_bytes": 8, "host_us": 9} {
		if receipt[name] != want {
			t.Errorf("receipt has %s %v, want %v", name, receipt[name], want)
		}
	}
	w.plugins.invoke = func(context.Context) ([]byte, error) {
		return nil, &query.PluginError{Plugin: "cited", Reason: "fuel", Budget: &query.BudgetUse{Name: "fuel", Used: 2, Allowed: 1, Unit: "fuel"}}
	}
	spent := w.call("POST", "/v1/query", token, `{"text":"backup","legs":[{"collection":"notes"}],"plugins":[{"name":"cited","capability":"synthesize"}]}`)
	missing := spent.json["missing"].([]any)[0].(map[string]any)
	if want := (map[string]any{"name": "fuel", "used": 2.0, "allowed": 1.0, "unit": "fuel"}); !reflect.DeepEqual(missing["budget"], any(want)) {
		t.Errorf("missing = %v, want the budget %v", missing, want)
	}
	w.plugins.invoke = nil
	w.plugins.lie = " not"
	lied := w.call("POST", "/v1/query", token, `{"text":"backup","legs":[{"collection":"notes"}],"plugins":[{"name":"cited","capability":"synthesize"}]}`)
	result := lied.json["results"].([]any)[0].(map[string]any)
	if citation := result["citations"].([]any)[0].(map[string]any); citation["verified"] != false || result["grounded"] != false {
		t.Errorf("result with a false quote = %v, want it neither verified nor grounded", result)
	}
	w.wantStatus("query of an unknown collection", w.call("POST", "/v1/query", token, `{"text":"x","legs":[{"collection":"none"}]}`), 404)
}

func TestAdmin(t *testing.T) {
	w := newWorld(t, nil)
	w.wantStatus("create", w.call("POST", "/v1/admin/tenants", adminKey, `{"id":"acme","name":"Acme","policy":{"max_plugins":1,"plugin_wall_ms":1500,"memory_bytes":1073741824,"plugin_weight":3}}`), 201)
	w.wantStatus("create again", w.call("POST", "/v1/admin/tenants", adminKey, `{"id":"acme"}`), 409)
	got := w.call("GET", "/v1/admin/tenants/acme", adminKey, "")
	if policy := got.json["policy"].(map[string]any); policy["plugin_wall_ms"] != 1500.0 || policy["max_plugins"] != 1.0 || policy["memory_bytes"] != 1073741824.0 || policy["plugin_weight"] != 3.0 || len(policy) != 4 {
		t.Errorf("GET tenant = %s, want the four limits and no other", got.body)
	}
	w.wantStatus("unknown tenant", w.call("GET", "/v1/admin/tenants/none", adminKey, ""), 404)
	w.wantStatus("list", w.call("GET", "/v1/admin/tenants", adminKey, ""), 200)

	issued := w.call("POST", "/v1/admin/tenants/acme/keys", adminKey, `{"name":"k","scopes":["read"]}`)
	w.wantStatus("issue", issued, 201)
	token, id := issued.json["token"].(string), issued.json["key"].(map[string]any)["id"].(string)
	w.wantStatus("use", w.call("GET", "/v1/collections", token, ""), 200)
	w.wantStatus("use beyond its scope", w.call("PUT", "/v1/collections/c", token, `{}`), 403)
	w.wantStatus("a key that has expired already", w.call("POST", "/v1/admin/tenants/acme/keys", adminKey, `{"expires_at":"2001-01-01T00:00:00Z"}`), 400)
	list := w.call("GET", "/v1/admin/tenants/acme/keys", adminKey, "")
	if strings.Contains(list.body, token) || !strings.Contains(list.body, id) {
		t.Errorf("list of keys = %s, want %s without its token", list.body, id)
	}
	w.wantStatus("revoke", w.call("DELETE", "/v1/admin/tenants/acme/keys/"+id, adminKey, ""), 204)
	w.wantStatus("revoke again", w.call("DELETE", "/v1/admin/tenants/acme/keys/"+id, adminKey, ""), 204)
	w.wantStatus("use after", w.call("GET", "/v1/collections", token, ""), 401)
	if strings.Contains(w.log.String(), token) || strings.Contains(w.log.String(), adminKey) {
		t.Error("the log has a token, want none")
	}
}

func TestServicePages(t *testing.T) {
	w := newWorld(t, nil)
	for path, want := range map[string]string{
		"/livez": `"alive"`, "/readyz": `"ready"`, "/openapi.yaml": "openapi: 3.0.3", "/docs": "swagger-ui-bundle.js", "/docs/": "swagger-ui-bundle.js",
		"/docs/swagger-ui.css": "swagger",
	} {
		got := w.call("GET", path, "", "")
		if got.status != 200 || !strings.Contains(got.body, want) {
			t.Errorf("GET %s = %d, want 200 with %q", path, got.status, want)
		}
		for _, remote := range []string{"cdn.", "unpkg", "googleapis"} {
			if path == "/docs" && strings.Contains(got.body, remote) {
				t.Errorf("GET %s names %q, want nothing from the network", path, remote)
			}
		}
	}
	w.wantStatus("GET /docs/other", w.call("GET", "/docs/other.js", "", ""), 404)
	if got := w.do(w.request("HEAD", "/livez", "", http.NoBody)); got.status != 200 || got.body != "" {
		t.Errorf("HEAD /livez = %d %q, want 200 without a body", got.status, got.body)
	}
}
