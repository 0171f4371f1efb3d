package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve returns a request to a server whose handler is h.
func serve(t *testing.T, h http.HandlerFunc) Request {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return Request{
		Addr: strings.TrimPrefix(s.URL, "http://"), Method: http.MethodPost, Path: "/x", Token: "t",
		Body: []byte(`{"a":1}`), Status: http.StatusOK, Want: []byte("good"),
	}
}

// TestClosed: each request arrives whole, and each answer is counted once.
func TestClosed(t *testing.T) {
	var served atomic.Int64
	r := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"a":1}` || r.Header.Get("Authorization") != "Bearer t" || r.URL.Path != "/x" || r.Method != http.MethodPost {
			t.Errorf("the server got %s %s %q %v", r.Method, r.URL, body, r.Header)
		}
		served.Add(1)
		io.WriteString(w, "a good answer")
	})
	result, err := Closed(t.Context(), r, 4, 50*time.Millisecond)
	if err != nil || result.Errors != 0 || int64(len(result.Latencies)) != served.Load() || served.Load() == 0 {
		t.Errorf("Closed = %d answers, %d errors (%v), %v, want the %d that were served", len(result.Latencies), result.Errors, result.First, err, served.Load())
	}
}

// TestWrongAnswers: another status, another body, and an answer that breaks off
// are errors, and the load goes on after each.
func TestWrongAnswers(t *testing.T) {
	var n atomic.Int64
	r := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusTeapot)
		case 1:
			io.WriteString(w, "bad")
		case 2:
			panic(http.ErrAbortHandler)
		default:
			io.WriteString(w, "good")
		}
	})
	result, err := Open(t.Context(), r, 1, 1e6, 4*time.Millisecond) // 4,000 requests, and an end before they are all sent
	if err != nil || result.Errors == 0 || len(result.Latencies) == 0 || result.First == nil {
		t.Fatalf("Open = %d answers, %d errors (%v), %v, want some of each", len(result.Latencies), result.Errors, result.First, err)
	}
	if sum := len(result.Latencies) + result.Errors + result.Late; sum != 4000 {
		t.Errorf("answers, errors and late requests are %d together, want 4,000", sum)
	}
}

// TestOpenCountsTheWait: a request that was due while the server was busy counts
// from then.
func TestOpenCountsTheWait(t *testing.T) {
	const work = 20 * time.Millisecond
	r := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(work)
		io.WriteString(w, "good")
	})
	result, err := Open(t.Context(), r, 1, 1000, 100*time.Millisecond)
	if err != nil || len(result.Latencies) < 2 {
		t.Fatalf("Open = %d answers, %v, want at least 2", len(result.Latencies), err)
	}
	if last := result.Latencies[len(result.Latencies)-1]; last < 2*work-2*time.Millisecond {
		t.Errorf("the longest latency is %v, want the wait of a request behind another in it", last)
	}
}
