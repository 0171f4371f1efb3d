package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
)

func TestConformance(t *testing.T) {
	embedtest.Run(t, func(t *testing.T) knowledge.Embedder {
		c, _ := open(t, newFakeServer(t), nil)
		return c
	})
}

func TestNewAsksForTheDimension(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, nil)
	want := knowledge.EmbedderInfo{ID: "openai", Version: "fake-embedding", Dimension: testDimension}
	if got := c.Info(); got != want {
		t.Errorf("Info() = %+v, want %+v", got, want)
	}
	c, _ = open(t, f, func(c *Config) { c.ID, c.Dimensions = "mine", 3 })
	want = knowledge.EmbedderInfo{ID: "mine", Version: "fake-embedding", Dimension: 3}
	if got := c.Info(); got != want {
		t.Errorf("Info() with 3 dimensions asked for = %+v, want %+v", got, want)
	}
}

func TestVersionTellsPrefixesApart(t *testing.T) {
	f := newFakeServer(t)
	seen := map[string]string{}
	for _, prefixes := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"ab", "c"}, {"a", "bc"}} {
		c, _ := open(t, f, func(c *Config) { c.QueryPrefix, c.DocumentPrefix = prefixes[0], prefixes[1] })
		version := c.Info().Version
		if other, taken := seen[version]; taken {
			t.Errorf("prefixes %q and %s have the same version %q", prefixes, other, version)
		}
		seen[version] = fmt.Sprintf("%q", prefixes)
	}
}

func TestNewRefusesConfig(t *testing.T) {
	f := newFakeServer(t)
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no URL", func(c *Config) { c.BaseURL = "" }, "base URL"},
		{"other scheme", func(c *Config) { c.BaseURL = "file:///etc" }, "base URL"},
		{"password in URL", func(c *Config) { c.BaseURL = "http://u:" + testKey + "@localhost" }, "user or password"},
		{"bad URL", func(c *Config) { c.BaseURL = "http://u:" + testKey + "@local host" }, "base URL"},
		{"query in URL", func(c *Config) { c.BaseURL += "?key=" + testKey }, "query"},
		{"no model", func(c *Config) { c.Model = "" }, "model is required"},
		{"key with line break", func(c *Config) { c.APIKey += "\nX: y" }, "API key"},
		{"dimensions", func(c *Config) { c.Dimensions = 16001 }, "dimensions = 16001"},
		{"batch size", func(c *Config) { c.BatchSize = -1 }, "batch size = -1"},
		{"parallel", func(c *Config) { c.Parallel = 65 }, "parallel = 65"},
		{"timeout", func(c *Config) { c.Timeout = -time.Second }, "timeout = -1s"},
		{"retries", func(c *Config) { c.Retries = 11 }, "retries = 11"},
		{"longest wait", func(c *Config) { c.MaxWait = -1 }, "longest wait"},
		{"two problems", func(c *Config) { c.Model, c.Retries = "", 11 }, "model is required\nretries = 11"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := f.config()
			test.change(&config)
			_, err := New(t.Context(), config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New = %v, want an error with %q", err, test.want)
			}
			checkNoKey(t, err)
		})
	}
	if len(f.requests) > 0 {
		t.Errorf("server got %d requests, want none", len(f.requests))
	}
}

func TestRequestHasWhatWasConfigured(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, func(c *Config) {
		c.BaseURL += "/" // must not give //embeddings
		c.QueryPrefix, c.DocumentPrefix, c.Dimensions, c.BatchSize, c.Parallel = "query: ", "passage: ", 5, 2, 1
	})
	for _, kind := range []knowledge.EmbedKind{knowledge.EmbedDocument, knowledge.EmbedQuery} {
		if _, err := c.Embed(t.Context(), kind, []string{"a", "b", "c"}); err != nil {
			t.Fatalf("Embed = %v, want no error", err)
		}
	}
	var inputs []string
	for i, r := range f.requests[1:] { // the first is the probe
		inputs = append(inputs, strings.Join(r.Input, "|"))
		if r.Model != "fake-embedding" || r.Format != "float" || r.Dimensions != 5 {
			t.Errorf("request %d = %+v, want the model, floats and 5 dimensions", i, r)
		}
		if got, want := f.headers[i+1].Get("Authorization"), "Bearer "+testKey; got != want {
			t.Errorf("request %d: Authorization = %q, want %q", i, got, want)
		}
	}
	want := []string{"passage: a|passage: b", "passage: c", "query: a|query: b", "query: c"}
	if !slices.Equal(inputs, want) {
		t.Errorf("inputs = %q, want %q", inputs, want)
	}
}

func TestNoKeyNoHeader(t *testing.T) {
	f := newFakeServer(t)
	open(t, f, func(c *Config) { c.APIKey = "" })
	if got, sent := f.headers[0]["Authorization"]; sent {
		t.Errorf("Authorization without a key = %q, want none", got)
	}
}

// Batches go out two at a time, of two calls together, and no more.
func TestParallelIsTheBound(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, func(c *Config) { c.BatchSize, c.Parallel = 1, 2 })
	var running, most, served atomic.Int32
	together := make(chan struct{})
	f.hold = func() {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		if served.Add(1) == 2 {
			close(together)
		}
		<-together // the first request is answered once there is a second
	}
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if _, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a", "b", "c", "d"}); err != nil {
				t.Errorf("Embed = %v, want no error", err)
			}
		})
	}
	calls.Wait()
	if most.Load() != 2 || served.Load() != 8 {
		t.Errorf("%d requests, at most %d at once, want 8 and 2", served.Load(), most.Load())
	}
}

// The refused text is found by halving; a batch that is only too large passes
// in halves.
func TestRefusedInput(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, nil)
	texts := make([]string, 20)
	for i := range texts {
		texts[i] = fmt.Sprint("text ", i)
	}

	f.refuse = func(texts []string) bool { return slices.Contains(texts, "text 13") }
	_, err := c.Embed(t.Context(), knowledge.EmbedDocument, texts)
	var invalid *knowledge.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "texts[13]" {
		t.Errorf("Embed with a refused text 13 = %v, want an InvalidError about texts[13]", err)
	}
	if errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Embed with a refused text = %v, which is ErrUnavailable, want it not to be", err)
	}

	f.refuse = func(texts []string) bool { return len(texts) > 3 }
	vectors, err := c.Embed(t.Context(), knowledge.EmbedDocument, texts)
	if err != nil {
		t.Fatalf("Embed of a batch that is too large = %v, want no error", err)
	}
	for i, vector := range vectors {
		if want := vectorOf(texts[i], testDimension); !slices.Equal(vector, want) {
			t.Errorf("vector %d = %v, want %v", i, vector, want)
		}
	}
}

func TestCancelledWhileTheServerIsSilent(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, nil)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	f.script = []http.HandlerFunc{func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done() // the client must hang up
		close(left)
	}}
	_, err := c.Embed(ctx, knowledge.EmbedDocument, []string{"a"})
	if !errors.Is(err, context.Canceled) || errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Embed cancelled while waiting = %v, want context.Canceled alone", err)
	}
	<-left
}

func TestTimeoutIsTriedAgain(t *testing.T) {
	f := newFakeServer(t)
	c, waits := open(t, f, nil)
	c.config.Timeout = 20 * time.Millisecond
	f.script = []http.HandlerFunc{func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
	note := c.clock.sleep
	c.clock.sleep = func(ctx context.Context, d time.Duration) error {
		c.config.Timeout = time.Minute // the second attempt must not fail on a slow machine
		return note(ctx, d)
	}
	if _, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"}); err != nil {
		t.Errorf("Embed after a timeout = %v, want no error", err)
	}
	if len(waits.waits) != 1 {
		t.Errorf("%d waits, want 1", len(waits.waits))
	}
}

func TestServerThatIsGone(t *testing.T) {
	f := newFakeServer(t)
	c, waits := open(t, f, nil)
	config := f.config()
	f.Close()
	_, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"})
	if !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Embed without a server = %v, want ErrUnavailable", err)
	}
	if len(waits.waits) != 4 {
		t.Errorf("%d waits, want 4", len(waits.waits))
	}
	checkNoKey(t, err)
	config.Retries = -1
	if _, err = New(t.Context(), config); !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("New without a server = %v, want ErrUnavailable", err)
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := newFakeServer(t)
	for _, test := range []struct {
		name string
		to   func(*fakeServer) string
		code int
		ok   bool
	}{
		{"same host", func(f *fakeServer) string { return f.URL + "/v1/embeddings" }, http.StatusTemporaryRedirect, true},
		{"same host by GET", func(f *fakeServer) string { return f.URL + "/v1/embeddings" }, http.StatusSeeOther, false},
		{"other host", func(*fakeServer) string { return elsewhere.URL + "/v1/embeddings" }, http.StatusPermanentRedirect, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeServer(t)
			c, waits := open(t, f, nil)
			f.script = []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, test.to(f), test.code)
			}}
			_, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"})
			if (err == nil) != test.ok {
				t.Errorf("Embed = %v, want success %t", err, test.ok)
			}
			if err != nil && !errors.Is(err, knowledge.ErrUnavailable) {
				t.Errorf("Embed = %v, want ErrUnavailable", err)
			}
			if len(waits.waits) > 0 {
				t.Errorf("%d waits, want none", len(waits.waits))
			}
		})
	}
	if len(elsewhere.requests) > 0 {
		t.Errorf("other host got %d requests, want none", len(elsewhere.requests))
	}
}
