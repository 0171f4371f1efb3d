package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
)

const (
	pumps = "---\ntitle: Pumps\n---\n# Care\n\nThe first pump is serviced in spring.\n\n## Rest\n\nThe second was replaced.\n"
	guide = "/v1/collections/files/documents/guide%2Fa%20b%231.md"
)

// documentWorld has a collection with an embedder.
func documentWorld(t *testing.T) (*world, string) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/files", token, `{"embedder":"local"}`), 201)
	return w, token
}

func TestDocuments(t *testing.T) {
	w, token := documentWorld(t)
	const query = "?metadata=%7B%22year%22%3A2026%7D&expires_at=2999-01-01T00:00:00%2B01:00"
	put := w.putDocument(guide+query, token, "text/markdown; charset=UTF-8", pumps)
	w.wantStatus("PUT", put, 201)
	d := put.json["document"].(map[string]any)
	if d["id"] != "guide/a b#1.md" || d["title"] != "Pumps" || d["media_type"] != "text/markdown" || d["size_bytes"] != float64(len(pumps)) ||
		d["version"] != 1.0 || d["expires_at"] != "2998-12-31T23:00:00Z" || put.json["unchanged"] != false || put.header.Get("ETag") != `"1"` {
		t.Errorf("PUT = %s with ETag %s, want what was sent, version 1", put.body, put.header.Get("ETag"))
	}
	again := w.putDocument(guide+query, token, "text/markdown", pumps)
	if w.wantStatus("PUT again", again, 200); again.json["unchanged"] != true || again.json["embedded"] != 0.0 {
		t.Errorf("PUT again = %s, want it unchanged", again.body)
	}
	got := w.call("GET", guide, token, "")
	if w.wantStatus("GET", got, 200); got.header.Get("ETag") != `"1"` || got.json["sha256"] != d["sha256"] {
		t.Errorf("GET = %s, want what PUT said: %s", got.body, put.body)
	}
	source := w.call("GET", guide+"/source", token, "")
	if w.wantStatus("GET the source", source, 200); source.body != pumps {
		t.Errorf("the source is %q, want %q", source.body, pumps)
	}
	for header, want := range map[string]string{
		"Content-Type": "text/markdown", "Content-Disposition": `attachment; filename="a b#1.md"`, "X-Content-Type-Options": "nosniff", "ETag": `"1"`,
		"Content-Security-Policy": "default-src 'none'; sandbox", "Content-Length": fmt.Sprint(len(pumps)),
	} {
		if got := source.header.Get(header); got != want {
			t.Errorf("the source has %s %q, want %q", header, got, want)
		}
	}
	if text := w.call("GET", guide+"/text", token, ""); text.body != pumps || text.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the text is %q of type %s, want %q", text.body, text.header.Get("Content-Type"), pumps)
	}

	// What a search finds leads back to the bytes.
	found := w.call("POST", "/v1/collections/files/search", token, `{"text":"second pump replaced","mode":"lexical","filter":{"and":[{"field":"document","eq":"guide/a b#1.md"},{"field":"year","eq":2026}]}}`)
	w.wantStatus("search", found, 200)
	match := found.json["matches"].([]any)[0].(map[string]any)
	start := strings.Index(match["text"].(string), "second was")
	if start < 0 {
		t.Fatalf("search = %s, want the passage about the second", found.body)
	}
	place := fmt.Sprintf("%s/locate?passage=%v&start=%d&end=%d", guide, match["metadata"].(map[string]any)["passage"], start, start+len("second was"))
	at := w.call("GET", place, token, "")
	w.wantStatus("locate", at, 200)
	begin := strings.Index(pumps, "second was")
	want := map[string]any{"start": float64(begin), "end": float64(begin + len("second was")), "quote": "second was"}
	for _, of := range []string{"text", "source"} {
		if got := at.json[of]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("locate = %s, want %s %v", at.body, of, want)
		}
	}
	w.wantStatus("locate of another version", w.call("GET", place+"&version=7", token, ""), 409)
	w.wantStatus("locate in no passage", w.call("GET", guide+"/locate?passage=99", token, ""), 404)
	w.wantStatus("locate of nothing", w.call("GET", guide+"/locate?start=5&end=5", token, ""), 400)

	w.wantStatus("DELETE", w.call("DELETE", guide, token, ""), 204)
	for _, path := range []string{guide, guide + "/source", guide + "/text", guide + "/locate"} {
		w.wantStatus("GET "+path, w.call("GET", path, token, ""), 404)
	}
	w.wantStatus("DELETE again", w.call("DELETE", guide, token, ""), 404)
	if n := w.call("GET", "/v1/collections/files", token, ""); n.json["records"] != 0.0 {
		t.Errorf("after the deletion the collection is %s, want no records", n.body)
	}
}

func TestDocumentConditions(t *testing.T) {
	w, token := documentWorld(t)
	send := func(method, text string, header ...string) reply {
		t.Helper()
		r := w.request(method, guide, token, strings.NewReader(text))
		r.Header.Set("Content-Type", "text/plain")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return w.do(r)
	}
	w.wantStatus("If-Match where none is", send("PUT", "one", "If-Match", `"1"`), 412)
	w.wantStatus("PUT", send("PUT", "one", "Idempotency-Key", "k"), 201)
	again := send("PUT", "one", "Idempotency-Key", "k")
	if w.wantStatus("PUT with the key again", again, 201); again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("ETag") != `"1"` {
		t.Errorf("PUT with the key again = %s with %v, want the first answer", again.body, again.header)
	}
	w.wantStatus("PUT of another text with the key", send("PUT", "two", "Idempotency-Key", "k"), 422)
	w.wantStatus("PUT over version 1", send("PUT", "two", "If-Match", `"1"`), 200)
	w.wantStatus("PUT over version 1 again", send("PUT", "three", "If-Match", `"1"`), 412)
	w.wantStatus("PUT of the same over version 1", send("PUT", "two", "If-Match", `"1"`), 412)
	w.wantStatus("DELETE of version 1", send("DELETE", "", "If-Match", `"1"`), 412)
	w.wantStatus("DELETE of version 2", send("DELETE", "", "If-Match", `"2"`, "Idempotency-Key", "d"), 204)
	gone := send("DELETE", "", "If-Match", `"2"`, "Idempotency-Key", "d")
	if w.wantStatus("DELETE with the key again", gone, 204); gone.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("DELETE with the key again has the header %v, want it replayed", gone.header)
	}
}

func TestDocumentsRefused(t *testing.T) {
	w, token := documentWorld(t)
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/vectors", token, `{"dimension":2}`), 201)
	none := guide + "x"
	for what, c := range map[string]struct {
		path, mediaType, source string
		status                  int
		says                    string
	}{
		"an empty one":         {none, "text/plain", "", 400, "source: is empty"},
		"white space":          {none, "text/plain", " \n ", 400, ""},
		"another type":         {none, "image/png", "x", 415, "text/markdown"},
		"no type":              {none, "", "x", 415, "application/pdf"},
		"too large":            {none, "text/plain", strings.Repeat("x ", knowledge.MaxSource/2+1), 413, "33554432"},
		"bytes as text":        {none, "text/plain", "\x00\x01\x02", 400, ""},
		"no such collection":   {"/v1/collections/none/documents/a", "text/plain", "x", 404, ""},
		"no embedder":          {"/v1/collections/vectors/documents/a", "text/plain", "x", 400, "has no embedder"},
		"metadata that is not": {none + "?metadata=%5B1%5D", "text/plain", "x", 400, "metadata"},
		"broken metadata":      {none + "?metadata=%7B%22a%22", "text/plain", "x", 400, "metadata"},
		"a reserved key":       {none + "?metadata=%7B%22page%22:1%7D", "text/plain", "x", 400, "metadata.page"},
		"an old expiry":        {none + "?expires_at=0001-01-01T00:00:00Z", "text/plain", "x", 400, "expires_at"},
		"no time":              {none + "?expires_at=tomorrow-morning-at-eight", "text/plain", "x", 400, "expires_at"},
		"a long title":         {none + "?title=" + strings.Repeat("x", 1001), "text/plain", "x", 400, "title"},
		"a long id":            {"/v1/collections/files/documents/" + strings.Repeat("x", 501), "text/plain", "x", 400, "id"},
		"an id with NUL":       {"/v1/collections/files/documents/a%00", "text/plain", "x", 400, "id"},
		"unknown parameter":    {none + "?name=x", "text/plain", "x", 400, ""},
	} {
		got := w.putDocument(c.path, token, c.mediaType, c.source)
		if w.wantStatus(what, got, c.status); !strings.Contains(got.body, c.says) {
			t.Errorf("%s: %s, want it to say %q", what, got.body, c.says)
		}
	}
	r := w.request("PUT", none, token, strings.NewReader("x"))
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Content-Encoding", "gzip")
	w.wantStatus("compressed", w.do(r), 415)
	list := w.call("GET", "/v1/collections/files/documents", token, "")
	if got := w.call("GET", "/v1/collections/files", token, ""); got.json["records"] != 0.0 || len(list.json["documents"].([]any)) != 0 {
		t.Errorf("after the refusals there are %s and %s, want nothing", list.body, got.body)
	}
}

func TestListDocuments(t *testing.T) {
	w, token := documentWorld(t)
	long := strings.Repeat("x", knowledge.MaxDocumentID-2)
	for _, id := range []string{"a/1", "a/2", "a/" + long, "b", ".", ".."} {
		path := "/v1/collections/files/documents/" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		w.wantStatus("PUT "+id, w.putDocument(path, token, "text/plain", "text of "+id), 201)
	}
	var ids []string
	for cursor, pages := "", 0; ; pages++ {
		got := w.call("GET", "/v1/collections/files/documents?limit=1&prefix=a/"+cursor, token, "")
		w.wantStatus("list", got, 200)
		for _, d := range got.json["documents"].([]any) {
			ids = append(ids, d.(map[string]any)["id"].(string))
		}
		next, more := got.json["next_cursor"].(string)
		if !more || pages > 5 {
			break
		}
		cursor = "&cursor=" + next
	}
	if want := []string{"a/1", "a/2", "a/" + long}; strings.Join(ids, " ") != strings.Join(want, " ") {
		t.Errorf("documents below a/ = %.60q, want %.60q", ids, want)
	}
	w.wantStatus("list with a cursor of another list", w.call("GET", "/v1/collections/files/documents?cursor=YWxpYXNlczph", token, ""), 400)
}

// What is exported restores to the bit, documents of more than one line too.
func TestDocumentsAreExported(t *testing.T) {
	w, token := documentWorld(t)
	w.wantStatus("PUT", w.putDocument(guide+"?metadata=%7B%22n%22:0.1%7D", token, "text/markdown", pumps), 201)
	w.wantStatus("PUT", w.putDocument(guide, token, "text/markdown", pumps+"\nMore.\n"), 200)
	large := strings.Repeat("\n", 5<<20) + "The end.\n" // of one passage, and more lines than one
	w.wantStatus("PUT a large one", w.putDocument("/v1/collections/files/documents/large", token, "text/plain", large), 201)
	first, _ := w.export("/v1/export", token, "")
	if n := strings.Count(first, `"document_source"`); n != 3 {
		t.Fatalf("the export has %d lines with sources, want three", n)
	}
	rival := w.tenant("rival")
	restored := w.importing("/v1/import", rival, "", strings.NewReader(first))
	w.wantStatus("restore", restored, 200)
	if second, _ := w.export("/v1/export", rival, ""); second != first {
		t.Errorf("the restored tenant exports %d bytes, want the same %d bytes", len(second), len(first))
	}
	if source := w.call("GET", "/v1/collections/files/documents/large/source", rival, ""); source.body != large {
		t.Errorf("the restored source has %d bytes, want %d", len(source.body), len(large))
	}

	one, _ := w.export("/v1/collections/files/export", token, "")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/copy", token, `{"embedder":"local"}`), 201)
	w.wantStatus("import of an export", w.importing("/v1/collections/copy/import?mode=restore", token, "", strings.NewReader(one)), 200)
	if copied, _ := w.export("/v1/collections/copy/export", token, ""); copied != one {
		t.Errorf("a copy exports %d bytes, want the same %d bytes", len(copied), len(one))
	}
	skipped := w.importing("/v1/collections/copy/import?mode=restore&on_error=skip", token, "", strings.NewReader(one))
	if w.wantStatus("the same again", skipped, 200); skipped.json["written"] != 0.0 || skipped.json["failed"] != restored.json["written"] {
		t.Errorf("the same again = %.300s, want none of %v written", skipped.body, restored.json["written"])
	}

	// A document that is not whole is not taken for one.
	lines := strings.SplitAfter(first, "\n")
	sourceLine := 0
	for i, line := range lines {
		if strings.HasPrefix(line, `{"document_source"`) {
			sourceLine = i
		}
	}
	for what, text := range map[string]string{
		"a part less":          strings.Join(append(append([]string{}, lines[:sourceLine]...), lines[sourceLine+1:]...), ""),
		"a part twice":         strings.Join(append(append([]string{}, lines[:sourceLine+1]...), lines[sourceLine:]...), ""),
		"a part alone":         lines[0] + lines[1] + lines[sourceLine] + lines[len(lines)-2],
		"a text that is none":  strings.Replace(first, `{"document_text":"`, `{"document_text":"AAAA`, 1),
		"one before all":       lines[0] + `{"document":{"id":"a","media_type":"text/plain","chunker":"c","passages":1,"source_bytes":0,"text_bytes":0}}` + "\n",
		"one without an id":    strings.Replace(first, `{"document":{"id":"guide`, `{"document":{"title":"guide`, 1),
		"one with more pieces": strings.Replace(first, `"passages":`, `"passages":-`, 1),
	} {
		got := w.importing("/v1/import", w.tenant(fmt.Sprintf("t%d", len(what)*7919%997)+strings.ReplaceAll(what, " ", "-")), "", strings.NewReader(text))
		w.wantStatus(what, got, 400)
	}
}

// A server takes so many documents at once, and says so for the others.
func TestDocumentsAreBounded(t *testing.T) {
	w, token := documentWorld(t)
	for range maxDocumentsEach {
		release, err := w.server.documents.take("acme")
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	got := w.putDocument(guide, token, "text/plain", "x")
	if w.wantStatus("a document too many", got, http.StatusTooManyRequests); got.header.Get("Retry-After") == "" {
		t.Error("a document too many has no Retry-After")
	}
}

// waiting is a service of documents that waits for the end of its context.
type waiting struct{ entered, left chan error }

func (w waiting) Prepare(ctx context.Context, _ knowledge.TenantID, _ knowledge.CollectionName, _ ingest.NewDocument) (ingest.PreparedDocument, error) {
	w.entered <- nil
	<-ctx.Done()
	w.left <- ctx.Err()
	return ingest.PreparedDocument{}, ctx.Err()
}

// A client that goes away while its document is read ends the work on it.
func TestDocumentClientGone(t *testing.T) {
	service := waiting{make(chan error, 1), make(chan error, 1)}
	w := newWorld(t, func(s *Services, _ *Options) { s.Documents = service })
	token := w.tenant("acme")
	ctx, cancel := context.WithCancel(t.Context())
	r := w.request("PUT", guide, token, strings.NewReader(pumps)).WithContext(ctx)
	r.Header.Set("Content-Type", "text/markdown")
	go func() {
		<-service.entered
		cancel()
	}()
	if response, err := http.DefaultClient.Do(r); err == nil {
		_ = response.Body.Close()
		t.Errorf("a request that was given up was answered with %d, want none", response.StatusCode)
	}
	if err := <-service.left; !errors.Is(err, context.Canceled) {
		t.Errorf("the work ended with %v, want canceled", err)
	}
}
