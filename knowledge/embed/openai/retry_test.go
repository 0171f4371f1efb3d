package openai

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

func TestRetries(t *testing.T) {
	const quota = `{"error":{"message":"You exceeded your quota","type":"insufficient_quota","code":"insufficient_quota"}}`
	seconds := func(s ...float64) []time.Duration {
		var waits []time.Duration
		for _, x := range s {
			waits = append(waits, time.Duration(x*float64(time.Second)))
		}
		return waits
	}
	hangUp := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	for _, test := range []struct {
		name   string
		script []http.HandlerFunc
		waits  []time.Duration // with a random number of 0.5: three quarters of the span
		ok     bool
	}{
		{"500, then an answer", []http.HandlerFunc{status(500, "", "oops")}, seconds(0.375), true},
		{"twice 503", []http.HandlerFunc{status(503, "", ""), status(503, "", "")}, seconds(0.375, 0.75), true},
		{"connection lost", []http.HandlerFunc{hangUp}, seconds(0.375), true},
		{"answer cut short", []http.HandlerFunc{ok(`{"data":[{"index":0,"embedding":[1,2`)}, seconds(0.375), true},
		{"429 with seconds", []http.HandlerFunc{status(429, "7", "")}, seconds(7), true},
		{"429 with a date", []http.HandlerFunc{status(429, testNow.Add(9*time.Second).Format(http.TimeFormat), "")}, seconds(9), true},
		{"429 with a past date", []http.HandlerFunc{status(429, testNow.Add(-time.Hour).Format(http.TimeFormat), "")}, seconds(0), true},
		{"429 with too many seconds", []http.HandlerFunc{status(429, "99999999999999999", "")}, seconds(30), true},
		{"429 with nonsense", []http.HandlerFunc{status(429, "soon", "")}, seconds(0.375), true},
		{"503 with seconds", []http.HandlerFunc{status(503, "2", "")}, seconds(2), true},
		{"five times 500", slices.Repeat([]http.HandlerFunc{status(500, "", "")}, 5), seconds(0.375, 0.75, 1.5, 3), false},
		{"quota used up", []http.HandlerFunc{status(429, "1", quota)}, nil, false},
		{"401", []http.HandlerFunc{status(401, "", "")}, nil, false},
		{"404", []http.HandlerFunc{status(404, "", "")}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeServer(t)
			c, waits := open(t, f, nil)
			f.script = test.script
			_, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"})
			if (err == nil) != test.ok {
				t.Errorf("Embed = %v, want success %t", err, test.ok)
			}
			if err != nil && !errors.Is(err, knowledge.ErrUnavailable) {
				t.Errorf("Embed = %v, want ErrUnavailable", err)
			}
			if !slices.Equal(waits.waits, test.waits) {
				t.Errorf("waits = %v, want %v", waits.waits, test.waits)
			}
		})
	}
}

func TestNoWaitBeyondTheDeadline(t *testing.T) {
	f := newFakeServer(t)
	c, waits := open(t, f, nil)
	c.clock.now = time.Now // as the deadline is a real one
	f.script = []http.HandlerFunc{status(429, "20", "")}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Embed(ctx, knowledge.EmbedDocument, []string{"a"})
	if !errors.Is(err, knowledge.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Embed = %v, want ErrUnavailable and not DeadlineExceeded", err)
	}
	if len(waits.waits) > 0 {
		t.Errorf("waits = %v, want none", waits.waits)
	}
}

func TestCancelledDuringTheWait(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, nil)
	f.script = []http.HandlerFunc{status(429, "20", "")}
	ctx, cancel := context.WithCancel(t.Context())
	c.clock.sleep = func(ctx context.Context, d time.Duration) error {
		cancel()
		return sleep(ctx, d)
	}
	if _, err := c.Embed(ctx, knowledge.EmbedDocument, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Embed = %v, want context.Canceled", err)
	}
}

func TestSleepEnds(t *testing.T) {
	if err := sleep(t.Context(), time.Nanosecond); err != nil {
		t.Errorf("sleep(1ns) = %v, want nil", err)
	}
}
