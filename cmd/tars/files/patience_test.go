package files

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
)

func TestPatiently(t *testing.T) {
	broken := errors.New("connection refused")
	busy := &rest.Problem{Status: 429, RetryAfter: 7 * time.Second}
	for what, c := range map[string]struct {
		answers []error // one after the other; the last one again and again
		want    error
		tries   int
		atLeast time.Duration
		atMost  time.Duration
	}{
		"good":                  {[]error{nil}, nil, 1, 0, 0},
		"busy twice":            {[]error{busy, busy, nil}, nil, 3, 14 * time.Second, 14 * time.Second},
		"unavailable":           {[]error{&rest.Problem{Status: 503}, nil}, nil, 2, 100 * time.Millisecond, time.Second},
		"a long pause is cut":   {[]error{&rest.Problem{Status: 429, RetryAfter: time.Hour}, nil}, nil, 2, mostPause, mostPause},
		"broken once":           {[]error{broken, nil}, nil, 2, time.Millisecond, time.Second},
		"broken for good":       {[]error{broken}, broken, mostTries, time.Second, time.Minute},
		"busy for good":         {[]error{busy}, busy, 1 + int(patience/(7*time.Second)), patience - 7*time.Second, patience},
		"what cannot be better": {[]error{&rest.Problem{Status: 400}}, nil, 1, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			start, tries := time.Now(), 0
			err := patiently(t.Context(), func() error {
				tries++
				return c.answers[min(tries, len(c.answers))-1]
			})
			if c.want == nil {
				c.want = c.answers[len(c.answers)-1]
			}
			took := time.Since(start)
			if !errors.Is(err, c.want) || tries != c.tries || took < c.atLeast || took > c.atMost {
				t.Errorf("%s: patiently = %v after %d tries and %s, want %v after %d and %s to %s", what, err, tries, took, c.want, c.tries, c.atLeast, c.atMost)
			}
		})
	}
}

func TestPatientlyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := patiently(ctx, func() error { return &rest.Problem{Status: 429, RetryAfter: 20 * time.Second} })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("patiently = %v after %s, want the end of its context at once", err, time.Since(start))
		}
	})
}
