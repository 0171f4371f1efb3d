package embedtest

import (
	"encoding/json"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// ServerDimension is how long the vectors of a [Server] are, unless it is asked for
// others.
const ServerDimension = 8

// Server is an embedding server that answers POST /v1/embeddings as OpenAI does, with
// 3 tokens for each text. It refuses a text with "refuse" in it, and any key but Key.
// Safe for concurrent use.
type Server struct {
	*httptest.Server
	Key string // as it was at first

	mu       sync.Mutex
	key      string
	requests int
	answer   http.HandlerFunc
}

// NewServer starts a server on this machine, which ends with the test.
func NewServer(t *testing.T) *Server {
	s := &Server{Key: "sk-of-a-test-0123456789"}
	s.key = s.Key
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/embeddings", s.serve)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// SetKey changes the key that is good.
func (s *Server) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.Key = key, key
}

// Answer has other answers given to all requests that follow; nil ends that.
func (s *Server) Answer(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// Requests is how many came so far.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	answer, key := s.answer, s.key
	s.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+key {
		refuse(w, http.StatusUnauthorized, "invalid_api_key "+r.Header.Get("Authorization"))
		return
	}
	var asked struct {
		Input      []string
		Dimensions int
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Dimensions > 100 {
		refuse(w, http.StatusInternalServerError, "cannot")
		return
	}
	if asked.Dimensions == 0 {
		asked.Dimensions = ServerDimension
	}
	var data []map[string]any
	for i, text := range asked.Input {
		if strings.Contains(text, "refuse") {
			refuse(w, http.StatusBadRequest, "too long")
			return
		}
		data = append(data, map[string]any{"index": i, "embedding": vectorOf(text, asked.Dimensions)})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data, "usage": map[string]int{"prompt_tokens": 3 * len(data)}})
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": message}})
}

// vectorOf gives each text a direction of its own.
func vectorOf(text string, dimension int) []float32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	random := rand.New(rand.NewPCG(h.Sum64(), 1))
	vector := make([]float32, dimension)
	for i := range vector {
		vector[i] = float32(random.NormFloat64())
	}
	return vector
}
