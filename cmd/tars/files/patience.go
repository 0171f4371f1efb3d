package files

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
)

const (
	// mostTries is how often a request is sent whose connection broke.
	mostTries = 6
	// mostPause bounds the pause between two tries.
	mostPause = 30 * time.Second
	// patience is how long a server may put off a request.
	patience = 10 * time.Minute
)

// patiently sends a request, by do, again while it may succeed later: when the server
// asks to wait, for as long as it says, and a few times when it cannot be reached.
func patiently(ctx context.Context, do func() error) error {
	waited := time.Duration(0)
	for broken := 0; ; {
		err := do()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		var pause time.Duration
		var p *rest.Problem
		switch asked := errors.As(err, &p); {
		case asked && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable):
			pause = max(p.RetryAfter, 100*time.Millisecond)
		case asked:
			return err
		default:
			if broken++; broken == mostTries {
				return err
			}
			pause = time.Duration(broken*broken) * 200 * time.Millisecond
		}
		if pause = min(pause, mostPause); waited+pause > patience {
			return err
		}
		waited += pause
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
