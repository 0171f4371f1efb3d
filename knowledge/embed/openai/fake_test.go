package openai

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testKey       = "sk-test-0123456789"
	testDimension = 8
)

// vectorOf is the fake model: another direction for each text.
func vectorOf(text string, dimension int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(text))
	random := rand.New(rand.NewPCG(h.Sum64(), 1))
	vector := make([]float32, dimension)
	for i := range vector {
		vector[i] = float32(random.NormFloat64())
	}
	return vector
}

type item struct {
	Object    string    `json:"object"`
	Index     int       `json:"index"`
	Embedding []float32 `json:"embedding"`
}

// fakeServer answers as OpenAI does, unless its script has another answer for
// the request: the first entry is for the first request after the probe.
type fakeServer struct {
	*httptest.Server
	mu       sync.Mutex
	started  bool // the script applies
	script   []http.HandlerFunc
	refuse   func(texts []string) bool // answers with status 400
	hold     func()                    // called for each request before it is answered
	requests []request
	headers  []http.Header
}

func newFakeServer(t *testing.T) *fakeServer {
	f := &fakeServer{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/embeddings", f.serve)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) serve(w http.ResponseWriter, r *http.Request) {
	var asked request
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	var scripted http.HandlerFunc
	if f.started && len(f.script) > 0 {
		scripted, f.script = f.script[0], f.script[1:]
	}
	f.started = true
	f.requests, f.headers = append(f.requests, asked), append(f.headers, r.Header.Clone())
	refuse, hold := f.refuse, f.hold
	f.mu.Unlock()
	if hold != nil {
		hold()
	}
	switch {
	case scripted != nil:
		scripted(w, r)
	case refuse != nil && refuse(asked.Input):
		status(http.StatusBadRequest, "", `{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}`)(w, r)
	default:
		answer(w, asked)
	}
}

// answer sends the right vectors, last one first: order is by index only.
func answer(w http.ResponseWriter, asked request) {
	dimension := asked.Dimensions
	if dimension == 0 {
		dimension = testDimension
	}
	var items []item
	for i, text := range asked.Input {
		items = append(items, item{"embedding", i, vectorOf(text, dimension)})
	}
	slices.Reverse(items)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"object": "list", "data": items, "model": asked.Model, "usage": map[string]int{"prompt_tokens": 1, "total_tokens": 1},
	})
}

// status answers with a status, a Retry-After header if it is not empty, and a
// body.
func status(code int, retryAfter, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func ok(body string) http.HandlerFunc { return status(http.StatusOK, "", body) }

// fakeClock notes the waits that it is asked for and does not wait.
type fakeClock struct {
	mu    sync.Mutex
	waits []time.Duration
}

var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (f *fakeClock) clock() clock {
	return clock{
		now:    func() time.Time { return testNow },
		random: func() float64 { return 0.5 },
		sleep: func(ctx context.Context, d time.Duration) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.waits = append(f.waits, d)
			return ctx.Err()
		},
	}
}

func (f *fakeServer) config() Config {
	return Config{BaseURL: f.URL + "/v1", APIKey: testKey, Model: "fake-embedding"}
}

// open returns a client of f that does not wait, and the waits it would have
// made.
func open(t *testing.T, f *fakeServer, change func(*Config)) (*Client, *fakeClock) {
	t.Helper()
	config := f.config()
	if change != nil {
		change(&config)
	}
	waits := &fakeClock{}
	c, err := newClient(t.Context(), config, waits.clock())
	if err != nil {
		t.Fatalf("New = %v, want no error", err)
	}
	t.Cleanup(c.Close)
	return c, waits
}

func checkNoKey(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), testKey) {
		t.Errorf("error %q holds the API key", err)
	}
}
