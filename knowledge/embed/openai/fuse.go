package openai

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tars-project/tars/knowledge"
)

const (
	// fuseAfter is how many requests in a row, each with its retries, must fail
	// before a server is let alone.
	fuseAfter = 5
	// fusePause is how long it is let alone, before one request tries whether it
	// is back.
	fusePause = 15 * time.Second
)

// fuse stops asking a server that has failed again and again: those who need it are
// told at once, instead of each waiting for its own failure. Safe for concurrent use.
type fuse struct {
	breaker *gobreaker.CircuitBreaker[reply]
	until   atomic.Int64 // nanoseconds of Unix time up to which it is open
}

func newFuse() *fuse {
	f := &fuse{}
	f.breaker = gobreaker.NewCircuitBreaker[reply](gobreaker.Settings{
		MaxRequests:  1,
		Timeout:      fusePause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= fuseAfter },
		IsSuccessful: func(err error) bool { return !isFailure(err) },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) }, // says nothing of the server
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				f.until.Store(time.Now().Add(fusePause).UnixNano())
			}
		},
	})
	return f
}

// isFailure reports that the server did not answer, or not well. A refusal is an
// answer.
func isFailure(err error) bool {
	var passing *passingError
	return errors.As(err, &passing) || errors.Is(err, context.DeadlineExceeded)
}

// do asks, unless the server is let alone.
func (f *fuse) do(ask func() (reply, error)) (reply, error) {
	got, err := f.breaker.Execute(ask)
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		again := time.Until(time.Unix(0, f.until.Load()))
		return reply{}, &knowledge.UnavailableError{
			Reason: "the embedding server has failed many times in a row, and is let alone for a while", RetryAfter: max(time.Second, again),
		}
	}
	return got, err
}
