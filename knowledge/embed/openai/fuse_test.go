package openai

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// roundTrip is a server without a network, so that time can be the test's.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answered(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

const oneVector = `{"data":[{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":4}}`

// A server that fails is let alone, tried once after the pause, and used again when it
// is back.
func TestFuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests, healthy := 0, false
		c, err := New(t.Context(), Config{BaseURL: "https://example.com", Model: "m", Known: 2, Retries: -1, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			requests++
			if healthy {
				return answered(http.StatusOK, oneVector), nil
			}
			return nil, errors.New("connection refused")
		})})
		if err != nil {
			t.Fatal(err)
		}
		embed := func() error {
			_, err := c.Embed(t.Context(), knowledge.EmbedQuery, []string{"a"})
			return err
		}
		for i := range fuseAfter {
			if err := embed(); !errors.Is(err, knowledge.ErrUnavailable) {
				t.Fatalf("Embed %d = %v, want ErrUnavailable", i, err)
			}
		}
		letAlone := func(want time.Duration) {
			t.Helper()
			before := requests
			var lack *knowledge.UnavailableError
			if err := embed(); !errors.As(err, &lack) || lack.RetryAfter != want || requests != before {
				t.Errorf("Embed = %v with %d requests, want none, and to come again after %s", err, requests-before, want)
			}
		}
		letAlone(fusePause)
		time.Sleep(fusePause / 3)
		letAlone(fusePause * 2 / 3)
		time.Sleep(fusePause)
		before := requests
		if err := embed(); !errors.Is(err, knowledge.ErrUnavailable) || requests != before+1 {
			t.Errorf("Embed after the pause = %v with %d requests, want one try, which fails", err, requests-before)
		}
		letAlone(fusePause)
		healthy = true
		time.Sleep(fusePause + time.Second)
		for range 3 {
			if err := embed(); err != nil {
				t.Errorf("Embed after the server is back = %v, want no error", err)
			}
		}
	})
}

// What says nothing of the server does not count: callers who leave, and texts that it
// refuses.
func TestFuseHolds(t *testing.T) {
	for what, answer := range map[string]roundTrip{
		"refusals": func(*http.Request) (*http.Response, error) { return answered(http.StatusBadRequest, ""), nil },
		"bad keys": func(*http.Request) (*http.Response, error) { return answered(http.StatusUnauthorized, ""), nil },
		"callers who leave": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(t.Context(), Config{BaseURL: "https://example.com", Model: "m", Known: 2, Retries: -1, Transport: answer})
				if err != nil {
					t.Fatal(err)
				}
				for range 3 * fuseAfter {
					ctx, cancel := context.WithCancel(t.Context())
					if what == "callers who leave" {
						time.AfterFunc(time.Millisecond, cancel)
					}
					_, err := c.Embed(ctx, knowledge.EmbedQuery, []string{"a"})
					cancel()
					var lack *knowledge.UnavailableError
					if err == nil || errors.As(err, &lack) && lack.RetryAfter > 0 {
						t.Fatalf("Embed = %v, want the failure itself", err)
					}
				}
			})
		})
	}
}

// A server that hangs is a failure also for a caller whose own time ends first.
func TestFuseOfHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(t.Context(), Config{BaseURL: "https://example.com", Model: "m", Known: 2, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for range fuseAfter + 1 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, last = c.Embed(ctx, knowledge.EmbedQuery, []string{"a"})
			cancel()
		}
		var lack *knowledge.UnavailableError
		if !errors.As(last, &lack) || lack.RetryAfter == 0 {
			t.Errorf("Embed after %d that took too long = %v, want that the server is let alone", fuseAfter, last)
		}
	})
}
