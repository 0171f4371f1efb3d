package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes over a connection of its own and returns the first answer.
func (w *world) raw(text string) (*http.Response, string) {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // so that a server that says nothing fails the test
	sent := make(chan struct{})
	go func() { // the server may answer, and close, before it has read all
		defer close(sent)
		_, _ = io.WriteString(c, text)
	}()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		w.t.Fatalf("answer to %.60q: %v", text, err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	_ = c.Close()
	<-sent
	return response, string(body)
}

// What net/http refuses by itself is a problem too.
func TestErrorsBeforeAnyHandler(t *testing.T) {
	w := newWorld(t, nil)
	headers := strings.Builder{}
	for i := range 1000 {
		fmt.Fprintf(&headers, "X-%d: %s\r\n", i, strings.Repeat("y", 100))
	}
	for what, c := range map[string]struct {
		text string
		want int
	}{
		"no HTTP":              {"hello\r\n\r\n", 400},
		"TLS":                  {"\x16\x03\x01\x00\xa5\r\n\r\n", 400},
		"no host":              {"GET /livez HTTP/1.1\r\n\r\n", 400},
		"two hosts":            {"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		"bad header":           {"GET /livez HTTP/1.1\r\nHost: a\r\nbad header: x\r\n\r\n", 400},
		"bad Content-Length":   {"POST /v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
		"two Content-Lengths":  {"POST /v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
		"header over 64 KiB":   {"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431},
		"1,000 headers":        {"GET /livez HTTP/1.1\r\nHost: a\r\n" + headers.String() + "\r\n", 431},
		"URL of 1 MiB":         {"GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: a\r\n\r\n", 431},
		"unknown HTTP version": {"GET /livez HTTP/3.0\r\nHost: a\r\n\r\n", 505},
	} {
		response, body := w.raw(c.text)
		var p problem
		err := json.Unmarshal([]byte(body), &p)
		if response.StatusCode != c.want || response.Header.Get("Content-Type") != problemType ||
			err != nil || p.Status != c.want || p.RequestID == "" || p.RequestID != response.Header.Get("X-Request-ID") {
			t.Errorf("%s: %d %s %q, want %d and a problem with the request's id", what, response.StatusCode, response.Header.Get("Content-Type"), body, c.want)
		}
	}
}

// Bodies that break off or lie about their size are the client's mistake.
func TestBrokenBodies(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	head := "PUT /v1/collections/c HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token + "\r\n"
	for what, c := range map[string]struct {
		text string
		want int
	}{
		"chunk sizes that are none": {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400},
		"chunk shorter than said":   {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n", 400},
		"both lengths":              {head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 201},
		"too long by its length":    {head + "Content-Length: 99999999\r\n\r\n{", 413},
	} {
		response, body := w.raw(c.text)
		if response.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", what, response.StatusCode, body, c.want)
		}
	}
}

// A body that does not come is waited for as long as the operation allows, and
// not at all without a key.
func TestSlowBodies(t *testing.T) {
	w := newWorld(t, nil)
	token := w.tenant("acme")
	w.server.operations["putCollection"].read = 50 * time.Millisecond
	head := "PUT /v1/collections/c HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n"
	response, body := w.raw(head + "Authorization: Bearer " + token + "\r\n\r\n")
	if response.StatusCode == http.StatusContinue {
		// ReadResponse returns the interim answer; the final one is
		// looked at below, over a connection that did not ask for it.
		response, body = w.raw(strings.Replace(head, "Expect: 100-continue\r\n", "", 1) + "Authorization: Bearer " + token + "\r\n\r\n{")
	}
	if response.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, "/problems/request-timeout") {
		t.Errorf("slow body: %d %s, want 408", response.StatusCode, body)
	}
	response, body = w.raw(head + "\r\n")
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("slow body without a key: %d %s, want 401 at once and no 100", response.StatusCode, body)
	}
}

// The first byte of the body is not read before the key is known to be good.
func TestAuthenticationComesBeforeTheBody(t *testing.T) {
	w := newWorld(t, nil)
	read := make(chan struct{}, 1)
	r := w.request("POST", "/v1/plugins/cited/versions", "wrong", nil)
	r.Body, r.ContentLength = io.NopCloser(readerFunc(func([]byte) (int, error) {
		read <- struct{}{}
		return 0, io.EOF
	})), 20<<20
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	recorder := &recorder{header: http.Header{}}
	w.server.ServeHTTP(recorder, r)
	if recorder.status != http.StatusUnauthorized || len(read) != 0 {
		t.Errorf("upload with a wrong key = %d with %d reads of the body, want 401 with none", recorder.status, len(read))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// recorder is a ResponseWriter without deadlines.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

func TestMetrics(t *testing.T) {
	w := newWorld(t, nil)
	w.wantStatus("livez", w.call("GET", "/livez", "", ""), 200)
	w.wantStatus("none", w.call("GET", "/nowhere", "", ""), 404)
	w.wantStatus("list", w.call("GET", "/v1/collections", "", ""), 401)
	recorder := &bodyRecorder{recorder: recorder{header: http.Header{}}}
	w.server.metrics.Handler().ServeHTTP(recorder, w.request("GET", "/metrics", "", nil))
	for _, want := range []string{
		`tars_http_requests_total{operation="getLivez",status="200"} 1`, `tars_http_requests_total{operation="none",status="404"} 1`,
		`tars_http_requests_total{operation="listCollections",status="401"} 1`, `tars_http_request_seconds_count{operation="getLivez",status="200"} 1`,
		"tars_http_requests_in_flight 0", "go_goroutines",
	} {
		if !strings.Contains(recorder.text.String(), want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	w.wantStatus("metrics on the API's own port", w.call("GET", "/metrics", "", ""), 404)
}

type bodyRecorder struct {
	recorder
	text strings.Builder
}

func (b *bodyRecorder) Write(p []byte) (int, error) { return b.text.Write(p) }
