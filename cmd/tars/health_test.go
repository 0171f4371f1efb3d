package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadyURL(t *testing.T) {
	for _, c := range []struct{ listen, want string }{
		{"127.0.0.1:8080", "http://127.0.0.1:8080/readyz"},
		{"0.0.0.0:8080", "http://127.0.0.1:8080/readyz"},
		{":9000", "http://127.0.0.1:9000/readyz"},
		{"[::]:8080", "http://[::1]:8080/readyz"},
		{"[fe80::1]:8080", "http://[fe80::1]:8080/readyz"},
		{"tars:80", "http://tars:80/readyz"},
	} {
		if got, err := readyURL(c.listen); got != c.want || err != nil {
			t.Errorf("readyURL(%q) = %q, %v, want %q", c.listen, got, err, c.want)
		}
	}
	if got, err := readyURL("no port"); err == nil {
		t.Errorf("readyURL(no port) = %q, want an error", got)
	}
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		status int
		want   string // in the error; empty for none
	}{
		{http.StatusOK, ""},
		{http.StatusServiceUnavailable, "503 Service Unavailable: the database is away"},
		{http.StatusNotFound, "404"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				t.Errorf("asked for %s, want /readyz", r.URL.Path)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte("the database is away\n"))
		}))
		health := healthCommand{Listen: s.Listener.Addr().String(), Timeout: time.Minute}
		err := health.Run(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("health of status %d = %v, want %q", c.status, err, c.want)
		}
		s.Close()
		if err := health.Run(t.Context()); err == nil {
			t.Error("health of a server that has ended = nil, want an error")
		}
	}
}

// A server that accepts and never answers is not healthy.
func TestHealthTimeout(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	health := healthCommand{URL: s.URL, Timeout: time.Millisecond}
	if err := health.Run(t.Context()); err == nil {
		t.Error("health of a silent server = nil, want an error")
	}
}
