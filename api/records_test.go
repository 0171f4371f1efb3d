package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tars-project/tars/knowledge"
)

// vectorWorld is a server with a tenant that has a collection c of two dimensions.
func vectorWorld(t *testing.T) (*world, string) {
	t.Helper()
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/c", token, `{"dimension":2}`), 201)
	return w, token
}

// with sends JSON with a header.
func (w *world) with(name, value, method, path, token, body string) reply {
	w.t.Helper()
	r := w.request(method, path, token, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(name, value)
	return w.do(r)
}

func TestWriteModesOverREST(t *testing.T) {
	w, token := vectorWorld(t)
	const path = "/v1/collections/c/records"
	w.wantStatus("first", w.call("POST", path, token, `{"records":[{"id":"a","vector":[1,1]}]}`), 200)
	for _, c := range []struct{ body, field string }{
		{`{"mode":"insert_only","records":[{"id":"new","vector":[1,1]},{"id":"a","vector":[1,1]}]}`, "records[1].id"},
		{`{"mode":"update_only","records":[{"id":"none","vector":[1,1]}]}`, "records[0].id"},
		{`{"records":[{"id":"a","vector":[1,1],"if_version":2}]}`, "records[0].if_version"},
		{`{"records":[{"id":"a","vector":[1,1],"if_version":0}]}`, "records[0].if_version"},
	} {
		got := w.call("POST", path, token, c.body)
		w.wantStatus(c.body, got, 409)
		if !strings.Contains(got.body, `"field":"`+c.field+`"`) {
			t.Errorf("%s = %s, want it to name %s", c.body, got.body, c.field)
		}
	}
	got := w.call("POST", path, token, `{"on_error":"skip","records":[{"id":"a","vector":[1,1],"if_version":1},{"id":"b","vector":[1]},{"id":"a","vector":[1,1]},{"id":"c","vector":[1,1],"if_version":5}]}`)
	w.wantStatus("skip", got, 200)
	const want = `{"count":1,"failed":3,"results":[{"id":"a","version":2},{"error":{"code":"invalid","detail":"has 1 components; the collection's dimension is 2","field":"records[1].vector"},"id":"b"},{"error":{"code":"invalid","detail":"is that of records[0] as well; need each id once","field":"records[2].id"},"id":"a"},{"error":{"code":"conflict","detail":"is 5, but the record is not there","field":"records[3].if_version"},"id":"c"}]}`
	if strings.TrimSpace(got.body) != want {
		t.Errorf("skip = %s, want %s", got.body, want)
	}
	w.wantStatus("count", w.call("GET", path+"/b", token, ""), 404)
}

// Vectors in base64 are kept to the bit, and what is none is refused.
func TestPackedVectors(t *testing.T) {
	w, token := vectorWorld(t)
	const path = "/v1/collections/c/records"
	w.wantStatus("f32", w.call("POST", path, token, `{"records":[{"id":"a","vector":"AAAAgAEAAAA="},{"id":"b","vector_f16":"AIABPA=="}]}`), 400) // -0 and a denormal: length zero
	w.wantStatus("f32", w.call("POST", path, token, `{"records":[{"id":"a","vector":"AAAAgAAAgD8="},{"id":"b","vector_f16":"AYABPA=="}]}`), 200)
	a, err := w.store.Record(t.Context(), "acme", "c", "a")
	if err != nil || math.Float32bits(a.Vector[0]) != 1<<31 || a.Vector[1] != 1 {
		t.Errorf("Record(a).Vector = %v, %v, want -0 and 1", a.Vector, err)
	}
	b, err := w.store.Record(t.Context(), "acme", "c", "b")
	if err != nil || b.Vector[0] != float32(-math.Pow(2, -24)) || b.Vector[1] != 1+1.0/1024 {
		t.Errorf("Record(b).Vector = %v, %v, want -2^-24 and 1+2^-10", b.Vector, err)
	}
	for field, member := range map[string]string{
		"vector":        `"vector":"AACAPwAA"`,     // 6 bytes
		"vector ":       `"vector":"AACAPwAAAD9="`, // bits beyond the end
		"vector  ":      `"vector":"AACA-_AAAD8="`, // another alphabet
		"vector_f16":    `"vector_f16":"ADwAOA"`,   // no padding
		"vector[1]":     `"vector":"AACAPwAAwH8="`, // NaN
		"vector_f16[0]": `"vector_f16":"AHwAPA=="`, // infinite
		"vector   ":     `"vector_f16":"ADwAPA==","vector":[1,1]`,
	} {
		got := w.call("POST", path, token, `{"records":[{"id":"x",`+member+`}]}`)
		w.wantStatus(member, got, 400)
		if want := `"field":"records[0].` + strings.TrimSpace(field) + `"`; !strings.Contains(got.body, want) {
			t.Errorf("%s = %s, want it to name %s", member, got.body, want)
		}
	}
}

// One request sent again has its effect once and the same answer, for each
// operation that takes an Idempotency-Key.
func TestIdempotencyKey(t *testing.T) {
	w, token := vectorWorld(t)
	other := w.tenant("acme")
	w.wantStatus("records", w.call("POST", "/v1/collections/c/records", token, `{"records":[{"id":"p","vector":[1,1]},{"id":"d","vector":[1,1]},{"id":"e","vector":[1,1]}]}`), 200)
	for i, c := range []struct{ method, path, body, another string }{
		{"PUT", "/v1/collections/new", `{"dimension":2}`, `{"dimension":3}`},
		{"POST", "/v1/collections/c/records", `{"records":[{"id":"a","vector":[1,1]}]}`, `{"records":[{"id":"a","vector":[1,2]}]}`},
		{"PATCH", "/v1/collections/c/records/p", `{"metadata":{"k":1}}`, `{"metadata":{"k":2}}`},
		{"DELETE", "/v1/collections/c/records/d", ``, ``},
		{"POST", "/v1/collections/c/records/delete", `{"ids":["e"]}`, `{"ids":["e","f"]}`},
		{"DELETE", "/v1/collections/new", ``, ``},
	} {
		what := c.method + " " + c.path
		key := fmt.Sprintf("key %d ~!", i)
		first := w.with("Idempotency-Key", key, c.method, c.path, token, c.body)
		if first.status >= 300 || first.header.Get("Idempotency-Replayed") != "" {
			t.Fatalf("%s = %d %s, want success, not a replay", what, first.status, first.body)
		}
		again := w.with("Idempotency-Key", key, c.method, c.path, token, c.body)
		if again.status != first.status || again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s again = %d %q, replayed %q, want %d %q, replayed", what, again.status, again.body, again.header.Get("Idempotency-Replayed"), first.status, first.body)
		}
		for _, name := range []string{"Content-Type", "ETag"} {
			if again.header.Get(name) != first.header.Get(name) {
				t.Errorf("%s again has %s %q, want %q", what, name, again.header.Get(name), first.header.Get(name))
			}
		}
		if c.another != "" {
			got := w.with("Idempotency-Key", key, c.method, c.path, token, c.another)
			w.wantStatus(what+" with another body", got, 422)
		}
		w.wantStatus(what+" by another key", w.with("Idempotency-Key", key, c.method, c.path, other, c.body), 422)
		if got := w.with("Idempotency-Key", key, c.method, c.path+"?", w.tenant("rival"), c.body); got.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s by another tenant = %s, replayed, want nothing of the first one's", what, got.body)
		}
	}
	got := w.with("Idempotency-Key", "key 1 ~!", "POST", "/v1/collections/new/records", token, `{"records":[{"id":"a","vector":[1,1]}]}`)
	w.wantStatus("the key for another path", got, 422)
	if !strings.Contains(got.body, "idempotency-key-reused") {
		t.Errorf("the key for another path = %s, want idempotency-key-reused", got.body)
	}

	// What failed is not kept, and its key is free.
	w.wantStatus("failing", w.with("Idempotency-Key", "f", "POST", "/v1/collections/c/records", token, `{"records":[{"id":"a","vector":[1,1],"if_version":9}]}`), 409)
	w.wantStatus("mended", w.with("Idempotency-Key", "f", "POST", "/v1/collections/c/records", token, `{"records":[{"id":"a","vector":[1,1],"if_version":1}]}`), 200)

	for _, key := range []string{strings.Repeat("k", 256), "é", "a\ttab", ""} {
		w.wantStatus(fmt.Sprintf("key %.20q", key), w.with("Idempotency-Key", key, "POST", "/v1/collections/c/records", token, `{"records":[{"id":"z","vector":[1,1]}]}`), 400)
	}
	w.wantStatus("GET", w.call("GET", "/v1/collections/c/records/z", token, ""), 404)
	r := w.request("DELETE", "/v1/collections/c", token, nil)
	r.Header["Idempotency-Key"] = []string{"one", "two"}
	w.wantStatus("two keys", w.do(r), 400)
}

// Of many at once one has its effect; the others get its answer or are told that
// it is running.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	w, token := vectorWorld(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			got := w.with("Idempotency-Key", "same", "POST", "/v1/collections/c/records", token, `{"records":[{"id":"a","vector":[1,1]}]}`)
			if running := got.status == 409 && got.json["type"] == "/problems/request-running" && got.header.Get("Retry-After") == "1"; !running {
				w.wantStatus("one of many", got, 200)
			}
		})
	}
	wg.Wait()
	if got, err := w.store.Record(t.Context(), "acme", "c", "a"); err != nil || got.Version != 1 {
		t.Errorf("after 16 requests with one key the version is %d, %v, want 1", got.Version, err)
	}
}

func TestPatchOverREST(t *testing.T) {
	w, token := vectorWorld(t)
	const path = "/v1/collections/c/records/a"
	w.wantStatus("POST", w.call("POST", "/v1/collections/c/records", token, `{"records":[{"id":"a","vector":[1,1],"metadata":{"x":1,"y":{"z":1}},"expires_at":"2999-01-01T00:00:00Z"}]}`), 200)
	if got := w.call("GET", path, token, ""); got.header.Get("ETag") != `"1"` {
		t.Errorf("GET has ETag %s, want \"1\"", got.header.Get("ETag"))
	}
	got := w.with("If-Match", `"1"`, "PATCH", path, token, `{"metadata":{"x":null,"y":{"w":2}},"expires_at":null}`)
	w.wantStatus("PATCH", got, 200)
	if got.header.Get("ETag") != `"2"` || got.json["version"] != 2.0 {
		t.Errorf("PATCH = %s with ETag %s, want version 2", got.body, got.header.Get("ETag"))
	}
	after := w.call("GET", path, token, "")
	if _, expires := after.json["expires_at"]; expires || fmt.Sprint(after.json["metadata"]) != "map[y:map[w:2 z:1]]" {
		t.Errorf("GET after PATCH = %s, want x gone, w added, no expiry", after.body)
	}
	w.wantStatus("If-Match of before", w.with("If-Match", `"1"`, "PATCH", path, token, `{"metadata":{}}`), 412)
	w.wantStatus("if_version of before", w.call("PATCH", path, token, `{"metadata":{},"if_version":1}`), 409)
	w.wantStatus("both", w.with("If-Match", `"2"`, "PATCH", path, token, `{"metadata":{},"if_version":2}`), 400)
	for _, bad := range []string{"2", `W/"2"`, `"0"`, `"2", "3"`, `"99999999999999999999"`, "*"} {
		w.wantStatus("If-Match "+bad, w.with("If-Match", bad, "PATCH", path, token, `{"metadata":{}}`), 400)
	}
	w.wantStatus("unknown", w.call("PATCH", "/v1/collections/c/records/none", token, `{"metadata":{}}`), 404)
	w.wantStatus("now", w.with("If-Match", `"2"`, "PATCH", path, token, `{"metadata":{}}`), 200)
}

// Records may have the names of operations.
func TestRecordsNamedAsOperations(t *testing.T) {
	w, token := vectorWorld(t)
	for _, id := range []string{"delete", "count", "scroll"} {
		w.wantStatus(id, w.call("POST", "/v1/collections/c/records", token, `{"records":[{"id":"`+id+`","vector":[1,1]}]}`), 200)
		w.wantStatus("GET "+id, w.call("GET", "/v1/collections/c/records/"+id, token, ""), 200)
		w.wantStatus("PATCH "+id, w.call("PATCH", "/v1/collections/c/records/"+id, token, `{"metadata":{}}`), 200)
		w.wantStatus("DELETE "+id, w.call("DELETE", "/v1/collections/c/records/"+id, token, ""), 204)
	}
}

func TestDeleteCountScroll(t *testing.T) {
	w, token := vectorWorld(t)
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/d", token, `{"dimension":2}`), 201)
	var records []string
	for i := range 25 {
		records = append(records, fmt.Sprintf(`{"id":"%02d","text":"t%d","vector":[1,%d],"metadata":{"n":%d}}`, i, i, i, i))
	}
	w.wantStatus("POST", w.call("POST", "/v1/collections/c/records", token, `{"records":[`+strings.Join(records, ",")+`]}`), 200)
	const path = "/v1/collections/c/records/"
	if got := w.call("POST", path+"count", token, `{"filter":{"field":"n","lt":10}}`); got.json["count"] != 10.0 || got.json["estimate"] != false {
		t.Errorf("count = %s, want 10, exactly", got.body)
	}
	w.wantStatus("estimate", w.call("POST", path+"count", token, `{"exact":false}`), 200)

	var ids []string
	cursor, pages := "", 0
	for {
		body := `{"filter":{"field":"n","gte":3},"limit":10` + cursor + `}`
		got := w.call("POST", path+"scroll", token, body)
		w.wantStatus("scroll", got, 200)
		for _, r := range got.json["records"].([]any) {
			ids = append(ids, r.(map[string]any)["id"].(string))
		}
		pages++
		next, more := got.json["next_cursor"].(string)
		if !more {
			break
		}
		cursor = `,"cursor":"` + next + `"`
		w.wantStatus("cursor with another filter", w.call("POST", path+"scroll", token, `{"filter":{"field":"n","gte":4}`+cursor+`}`), 400)
		w.wantStatus("cursor without filter", w.call("POST", path+"scroll", token, `{"limit":3`+cursor+`}`), 400)
		w.wantStatus("cursor of another collection", w.call("POST", "/v1/collections/d/records/scroll", token, `{"filter":{"field":"n","gte":3}`+cursor+`}`), 400)
	}
	if len(ids) != 22 || pages != 3 || ids[0] != "03" || ids[21] != "24" {
		t.Errorf("scroll = %q in %d pages, want 03 to 24 in 3", ids, pages)
	}
	for _, forged := range []string{"x", "cmVjb3Jkczph", strings.Repeat("A", 1024), "AA=="} {
		w.wantStatus("forged cursor", w.call("POST", path+"scroll", token, `{"cursor":"`+forged+`"}`), 400)
	}
	one := w.call("POST", path+"scroll", token, `{"limit":1,"include":["vector"]}`).json["records"].([]any)[0].(map[string]any)
	if _, has := one["text"]; has || one["vector"] == nil || one["metadata"] != nil {
		t.Errorf("scroll with vectors alone = %v", one)
	}

	got := w.call("POST", path+"delete", token, `{"filter":{"field":"n","lt":5}}`)
	if w.wantStatus("delete", got, 200); got.json["deleted"] != 5.0 || got.json["more"] != false {
		t.Errorf("delete = %s, want 5 and no more", got.body)
	}
	for _, bad := range []string{`{}`, `{"filter":{}}`, `{"all":false}`, `{"ids":[]}`, `{"ids":["a"],"all":true}`, `{"filter":{"and":[]},"ids":["a"]}`} {
		w.wantStatus("delete "+bad, w.call("POST", path+"delete", token, bad), 400)
	}
	if got := w.call("POST", path+"delete", token, `{"all":true}`); got.json["deleted"] != 20.0 {
		t.Errorf("delete of all = %s, want 20", got.body)
	}
}

// importing sends an import.
func (w *world) importing(path, token, encoding string, body io.Reader) reply {
	w.t.Helper()
	r := w.request("POST", path, token, body)
	r.Header.Set("Content-Type", "application/x-ndjson")
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	return w.do(r)
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text) // writing to a buffer never fails
	_ = z.Close()
	return b.Bytes()
}

func zstandard(t *testing.T, text string) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll([]byte(text), nil)
}

func TestImport(t *testing.T) {
	w, token := vectorWorld(t)
	var lines strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&lines, `{"id":"r%d","vector":[1,%d]}`+"\n", i, i)
		if i == 1200 {
			lines.WriteString("\n  \n{\"id\":\"bad\",\"vector\":[1]}\nnot json\n{\"id\":\"r5\",\"vector\":[2,2]}\r\n")
		}
	}
	lines.WriteString(`{"id":"last","vector":[1,1]}`) // without an end of line
	for encoding, body := range map[string][]byte{"": []byte(lines.String()), "gzip": gzipped(lines.String()), "zstd": zstandard(t, lines.String())} {
		w.wantStatus("DELETE", w.call("POST", "/v1/collections/c/records/delete", token, `{"all":true}`), 200)
		got := w.importing("/v1/collections/c/import?on_error=skip", token, encoding, bytes.NewReader(body))
		w.wantStatus("import "+encoding, got, 200)
		if got.json["written"] != 2502.0 || got.json["failed"] != 2.0 || got.json["lines"] != 2506.0 || got.json["state"] != "finished" {
			t.Errorf("import %s = %s, want 2502 written and 2 failed of 2506 lines", encoding, got.body)
		}
		faults := got.json["faults"].([]any)
		first, second := faults[1].(map[string]any), faults[0].(map[string]any)
		if first["line"] == 1204.0 {
			first, second = second, first
		}
		if len(faults) != 2 || first["line"] != 1205.0 || second["line"] != 1204.0 || second["field"] != "vector" {
			t.Errorf("import %s has faults %v, want those of lines 1204 and 1205", encoding, faults)
		}
		count := w.call("POST", "/v1/collections/c/records/count", token, `{}`)
		r5 := w.call("GET", "/v1/collections/c/records/r5", token, "")
		if count.json["count"] != 2501.0 || r5.json["version"] != 2.0 {
			t.Errorf("import %s: count %s, r5 %s, want 2501 and version 2", encoding, count.body, r5.body)
		}
		x := w.call("GET", "/v1/imports/"+got.json["id"].(string), token, "")
		if x.status != 200 || x.json["written"] != got.json["written"] {
			t.Errorf("GET of the import = %s, want as it was answered", x.body)
		}
		w.wantStatus("resume of a finished one", w.importing("/v1/collections/c/import?resume="+got.json["id"].(string), token, "", bytes.NewReader(body)), 409)
	}

	got := w.importing("/v1/collections/c/import", token, "", strings.NewReader(`{"id":"x1","vector":[1,1]}`+"\n"+`{"id":"x2","vector":[0,0]}`+"\n"))
	w.wantStatus("import that fails", got, 400)
	if !strings.Contains(got.body, `"field":"line 2.vector"`) {
		t.Errorf("import that fails = %s, want it to name line 2", got.body)
	}
	got = w.importing("/v1/collections/c/import?mode=insert_only", token, "", strings.NewReader(`{"id":"r1","vector":[1,1]}`+"\n"))
	w.wantStatus("import of what is there", got, 409)
	if !strings.Contains(got.body, `"field":"line 1.id"`) {
		t.Errorf("import of what is there = %s, want it to name line 1", got.body)
	}

	long := `{"id":"long","text":"` + strings.Repeat("x", maxLine) + `"}` + "\n" + `{"id":"after","vector":[1,1]}`
	got = w.importing("/v1/collections/c/import?on_error=skip", token, "", strings.NewReader(long))
	if w.wantStatus("long line", got, 200); got.json["written"] != 1.0 || got.json["failed"] != 1.0 {
		t.Errorf("a line that is too long = %s, want it skipped", got.body)
	}
	bomb := strings.Repeat("\n", 8<<20)
	w.wantStatus("bomb", w.importing("/v1/collections/c/import", token, "gzip", bytes.NewReader(gzipped(bomb))), 400)
	w.wantStatus("zstd bomb", w.importing("/v1/collections/c/import", token, "zstd", bytes.NewReader(zstandard(t, bomb))), 400)
	w.wantStatus("no gzip", w.importing("/v1/collections/c/import", token, "gzip", strings.NewReader(`{"id":"x","vector":[1,1]}`)), 400)
	w.wantStatus("brotli", w.importing("/v1/collections/c/import", token, "br", strings.NewReader("x")), 415)
	w.wantStatus("unknown collection", w.importing("/v1/collections/none/import", token, "", strings.NewReader("")), 404)
	w.wantStatus("unknown import", w.importing("/v1/collections/c/import?resume="+strings.Repeat("A", 26), token, "", strings.NewReader("")), 404)
	if got := w.importing("/v1/collections/c/import", token, "", strings.NewReader("")); got.status != 200 || got.json["written"] != 0.0 {
		t.Errorf("import of nothing = %s, want nothing written", got.body)
	}
}

// broken gives some bytes, waits for ready, and then breaks off.
type broken struct {
	r     io.Reader
	ready func() bool
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil {
		for !b.ready() {
			time.Sleep(time.Millisecond)
		}
		err = io.ErrClosedPipe
	}
	return n, err
}

// An import whose body broke off goes on after its checkpoint, by its id or by its
// key, with the same body alone.
func TestImportResumes(t *testing.T) {
	w, token := vectorWorld(t)
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, `{"id":"r%d","vector":[1,%d]}`+"\n", i, i)
	}
	whole := text.String()
	twoPieces := func() bool {
		count, err := w.store.CountRecords(t.Context(), "acme", "c", knowledge.Filter{}, true)
		return err != nil || count.Records >= 2000
	}
	r := w.request("POST", "/v1/collections/c/import", token, broken{strings.NewReader(whole[:len(whole)/2]), twoPieces})
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Idempotency-Key", "import-1")
	if _, err := http.DefaultClient.Do(r); err == nil {
		t.Fatal("a request whose body breaks off was answered")
	}
	x := w.waitForImport(t, "import-1")
	if x.State != knowledge.ImportInterrupted || x.Lines < 2000 || x.Lines >= 2600 || x.Written != x.Lines {
		t.Fatalf("the import is %+v, want it interrupted half way", x)
	}
	other := strings.Replace(whole, "r1\"", "R1\"", 1)
	w.wantStatus("another body", w.importing("/v1/collections/c/import?resume="+string(x.ID), token, "", strings.NewReader(other)), 400)
	w.wantStatus("a shorter body", w.importing("/v1/collections/c/import?resume="+string(x.ID), token, "", strings.NewReader(whole[:100])), 400)
	w.wantStatus("of another collection", w.importing("/v1/import?resume="+string(x.ID), token, "", strings.NewReader(whole)), 404)
	w.wantStatus("by another tenant", w.importing("/v1/collections/c/import?resume="+string(x.ID), w.tenant("rival"), "", strings.NewReader(whole)), 404)

	got := w.withKey("import-1", token, whole)
	if w.wantStatus("resumed", got, 200); got.json["written"] != 5000.0 || got.json["lines"] != 5000.0 || got.json["id"] != string(x.ID) {
		t.Errorf("resumed = %s, want all of the same import", got.body)
	}
	if again := w.withKey("import-1", token, whole); again.status != 200 || again.header.Get("Idempotency-Replayed") != "true" || again.body != got.body {
		t.Errorf("sent again = %d %s, want the same answer, replayed", again.status, again.body)
	}
	w.wantStatus("another body", w.withKey("import-1", token, other), 422)
	for _, id := range []string{"r0", "r1200", "r4999"} {
		if r := w.call("GET", "/v1/collections/c/records/"+id, token, ""); r.json["version"] != 1.0 {
			t.Errorf("%s = %s, want version 1: each line is written once", id, r.body)
		}
	}
}

func (w *world) withKey(key, token, body string) reply {
	r := w.request("POST", "/v1/collections/c/import", token, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("Idempotency-Key", key)
	return w.do(r)
}

// waitForImport waits until the import with a key has been left by its request.
func (w *world) waitForImport(t *testing.T, key string) knowledge.Import {
	t.Helper()
	asked := knowledge.Import{Collection: "c", Mode: knowledge.Upsert, OnError: knowledge.Fail, Key: key, Principal: w.keyID(t)}
	for {
		x, err := w.store.StartImport(t.Context(), "acme", asked)
		if err == nil {
			x.State = knowledge.ImportInterrupted
			if err := w.store.PutImport(t.Context(), "acme", x); err != nil {
				t.Fatal(err)
			}
			return x
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) keyID(t *testing.T) string {
	t.Helper()
	list, err := w.keys.ListKeys(t.Context(), "acme", "", 1)
	if err != nil || len(list) != 1 {
		t.Fatalf("ListKeys = %v, %v, want one", list, err)
	}
	return list[0].ID
}

// export gets an export as text.
func (w *world) export(path, token, accept string) (string, http.Header) {
	w.t.Helper()
	r := w.request("GET", path, token, nil)
	r.Header.Set("Accept-Encoding", accept)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			w.t.Fatal(err)
		}
	}
	text, err := io.ReadAll(body)
	if err != nil || response.StatusCode != 200 {
		w.t.Fatalf("GET %s = %d %.200s, %v, want 200", path, response.StatusCode, text, err)
	}
	return string(text), response.Header
}

// What a tenant exports and another imports is the same to the byte.
func TestExportRestores(t *testing.T) {
	w, token := vectorWorld(t)
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/texts", token, `{"embedder":"local"}`), 201)
	w.wantStatus("texts", w.call("POST", "/v1/collections/texts/records", token, `{"records":[{"id":"t","text":"<b>naïve</b> \u2028"}]}`), 200)
	const odd = `{"records":[{"id":"é/1","vector":[-0.0,1e-45],"text":"x"},{"id":"b","vector":[1,-1e15],"metadata":{"z":1e-7,"a":9007199254740992,"m":[null,0.1,{"k":"\u0001"}]},"expires_at":"2999-01-02T03:04:05.678901Z"}]}`
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/odd", token, `{"dimension":2,"metric":"l2","index":{"kind":"hnsw","m":8},"fields":[{"name":"z","type":"number"}],"language":"german","recall_target":0.9,
		"defaults":{"limit":7,"mode":"lexical","plugins":[{"name":"p","capability":"rank","config":{"k":1}}]}}`), 201)
	for range 3 {
		w.wantStatus("odd", w.call("POST", "/v1/collections/odd/records", token, odd), 200)
	}
	var lines strings.Builder
	for i := range 2300 {
		fmt.Fprintf(&lines, `{"id":"r%d","vector":[1,%d]}`+"\n", i, i)
	}
	w.wantStatus("import", w.importing("/v1/collections/c/import", token, "", strings.NewReader(lines.String())), 200)

	w.wantStatus("alias", w.call("PUT", "/v1/aliases/now", token, `{"collection":"odd"}`), 201)
	w.wantStatus("view", w.call("PUT", "/v1/views/seen", token, `{"collection":"now","filter":{"not":{"field":"z","in":[]}},"hidden":["m"],"defaults":{"limit":3}}`), 201)

	first, header := w.export("/v1/export", token, "")
	packed, packedHeader := w.export("/v1/export", token, "br, gzip;q=0.5")
	if packedHeader.Get("Content-Encoding") != "gzip" || header.Get("Content-Encoding") != "" || packed != first {
		t.Errorf("exports of %d and %d bytes, encodings %q and %q, want the same, the second in gzip", len(first), len(packed), header.Get("Content-Encoding"), packedHeader.Get("Content-Encoding"))
	}
	if n := strings.Count(first, "\n"); n != 1+3+2300+1+2+2+1 || !strings.HasSuffix(first, "{\"end\":true,\"count\":2303}\n") {
		t.Errorf("the export has %d lines and ends with %.50q", n, first[len(first)-50:])
	}
	if !strings.Contains(first, `"defaults":{"limit":7,"mode":"lexical","plugins":[{`) {
		t.Errorf("the export begins with %.900q, want the collection's defaults in it", first)
	}
	rival := w.tenant("rival")
	got := w.importing("/v1/import", rival, "", strings.NewReader(first))
	if w.wantStatus("restore", got, 200); got.json["written"] != 2303.0 {
		t.Errorf("restore = %s, want 2303 written", got.body)
	}
	if second, _ := w.export("/v1/export", rival, ""); second != first {
		t.Errorf("the restored tenant exports %d bytes, want the same %d bytes", len(second), len(first))
	}
	w.wantStatus("restore over it", w.importing("/v1/import", rival, "", strings.NewReader(first)), 409)

	one, _ := w.export("/v1/collections/odd/export", token, "")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/copy", token, `{"dimension":2,"metric":"l2"}`), 201)
	w.wantStatus("import of an export", w.importing("/v1/collections/copy/import?mode=restore", token, "", strings.NewReader(one)), 200)
	if copied, _ := w.export("/v1/collections/copy/export", token, ""); copied != one {
		t.Errorf("a copy exports %q, want %q", copied, one)
	}
	w.wantStatus("export of none", w.call("GET", "/v1/collections/none/export", token, ""), 404)

	// A stream that was cut, or that was changed, is not taken for whole.
	for what, text := range map[string]string{
		"cut": first[:len(first)-40], "cut between lines": first[:strings.LastIndex(first[:len(first)-1], "\n")+1],
		"a line less": strings.Replace(first, strings.Split(first, "\n")[5]+"\n", "", 1), "no first line": first[strings.Index(first, "\n")+1:],
	} {
		got := w.importing("/v1/import", w.tenant("t"+fmt.Sprint(len(text))), "", strings.NewReader(text))
		w.wantStatus(what, got, 400)
	}
}

// Exports and imports are bounded, of all tenants and of each.
func TestStreamsAreBounded(t *testing.T) {
	w, token := vectorWorld(t)
	take := func(s *slots, tenant knowledge.TenantID) func() {
		release, err := s.take(tenant)
		if err != nil {
			t.Fatalf("take(%s) = %v, want a slot", tenant, err)
		}
		return release
	}
	release := take(w.server.exports, "acme")
	got := w.call("GET", "/v1/collections/c/export", token, "")
	if w.wantStatus("the tenant's second export", got, 429); got.header.Get("Retry-After") == "" {
		t.Error("an export too many has no Retry-After")
	}
	release()
	w.wantStatus("one less", w.call("GET", "/v1/collections/c/export", token, ""), 200)
	for i := range maxExports {
		defer take(w.server.exports, knowledge.TenantID(fmt.Sprint("other", i)))()
	}
	w.wantStatus("an export too many of all", w.call("GET", "/v1/collections/c/export", token, ""), 429)
	for range maxImportsEach {
		defer take(w.server.imports, "acme")()
	}
	w.wantStatus("an import too many", w.importing("/v1/collections/c/import", token, "", strings.NewReader("")), 429)
}

func TestImportLinesRefused(t *testing.T) {
	w, token := vectorWorld(t)
	for _, line := range []string{
		`{}`, `[]`, `null`, `{"vector":[1,1]}`, `{"id":"a","vector":[1,1],"end":true,"count":1}`, `{"end":true}`, `{"count":1}`, `{"end":false,"count":1}`,
		`{"document":{"id":"d"}}`, `{"document":{}}`, `{"document":1}`, `{"document_source":"AAAA"}`, `{"document_text":"A"}`, `{"document_source":""}`,
		`{"document_source":"AAAA","document_text":"AAAA"}`, `{"id":"a","vector":[1,1],"document_source":"AAAA"}`,
		`{"document":{"id":"d","media_type":"text/plain","chunker":"c","passages":1,"source_bytes":99999999,"text_bytes":1}}`,
		`{"document":{"id":"d","media_type":"text/plain","chunker":"c","passages":1,"source_bytes":1,"text_bytes":1}}`,
		`{"document":{"id":"d","media_type":"text/plain","chunker":"c","passages":0,"source_bytes":0,"text_bytes":0}}`,
		`{"end":true,"count":1}`, `{"collection":{"name":"x","dimension":2}}`, `{"tars_export":1}`, `{"id":"a","vector":[1,1]} {}`,
		`{"id":"a","vector":[1,1],"if_version":1}`, `{"id":"a","vector":[1,1],"version":0}`, `{"id":"a","vector":[1,1],"created_at":"x"}`, `{"id":"a","id":"b","vector":[1,1]}`,
	} {
		got := w.importing("/v1/collections/c/import", token, "", strings.NewReader(line+"\n"))
		w.wantStatus(line, got, 400)
	}
	for _, definition := range []string{
		`{}`, `{"name":"x"}`, `{"name":"X","dimension":2}`, `{"name":"x","dimension":2,"index":{"kind":"ivf"}}`, `{"name":"x","dimension":2,"recall_target":7}`,
		`{"name":"x","dimension":2,"fields":[{"name":"f","type":"blob"}]}`, `{"name":"x","dimension":2,"language":"klingon"}`,
	} {
		text := "{\"tars_export\":1}\n{\"collection\":" + definition + "}\n{\"end\":true,\"count\":0}\n"
		w.wantStatus(definition, w.importing("/v1/import", token, "", strings.NewReader(text)), 400)
	}
	list := w.call("GET", "/v1/collections", token, "")
	var names struct{ Collections []struct{ Name string } }
	if err := json.Unmarshal([]byte(list.body), &names); err != nil || len(names.Collections) != 1 {
		t.Errorf("after refused imports there are %v, %v, want c alone", names, err)
	}
}
