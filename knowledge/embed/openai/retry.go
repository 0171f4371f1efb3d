package openai

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/outbound"
)

// firstWait is the longest pause before the second attempt; it doubles for
// each further one.
const firstWait = 500 * time.Millisecond

// clock is the time as the retries see it; tests have one that never waits.
type clock struct {
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error // ctx's error if it ends first
	random func() float64                             // in [0, 1)
}

func systemClock() clock { return clock{now: time.Now, sleep: sleep, random: rand.Float64} }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// askPatiently returns the vectors of inputs, one batch, after as many attempts
// as it takes and the configuration allows. It holds a slot all the while, so
// that a server that asks for patience gets fewer requests.
func (c *Client) askPatiently(ctx context.Context, inputs []string) (reply, error) {
	select {
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case c.slots <- struct{}{}:
	}
	defer func() { <-c.slots }()
	for attempt := 0; ; attempt++ {
		got, err := c.ask(ctx, inputs)
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return reply{}, ctx.Err()
		}
		var passing *passingError
		if !errors.As(err, &passing) || attempt >= c.config.Retries {
			return reply{}, c.unavailable(attempt+1, err)
		}
		wait := c.wait(attempt, passing.retryAfter)
		if deadline, ok := ctx.Deadline(); ok && c.clock.now().Add(wait).After(deadline) {
			return reply{}, c.unavailable(attempt+1, err) // tell now rather than wait in vain
		}
		if err := c.clock.sleep(ctx, wait); err != nil {
			return reply{}, err
		}
	}
}

// unavailable tells the client which status came, if one did, and the log the rest.
func (c *Client) unavailable(attempts int, err error) error {
	reason := "the embedding server could not be reached, or its answer was none"
	if errors.Is(err, outbound.ErrRefused) {
		reason = "the embedding server has an address that is not public, and that the operator does not allow"
	}
	if status := new(StatusError); errors.As(err, &status) {
		reason = fmt.Sprintf("the embedding server answered with status %d", status.Status)
	}
	return fmt.Errorf("%w: attempt %d: %w", knowledge.Unavailable(reason), attempts, err)
}

// wait returns the pause after a failed attempt, the first being 0: what the
// server asked for, or else a random half to whole of a span that doubles, so
// that clients which failed together do not come back together.
func (c *Client) wait(attempt int, retryAfter string) time.Duration {
	wait, asked := parseRetryAfter(retryAfter, c.clock.now())
	if !asked {
		span := min(firstWait<<attempt, c.config.MaxWait)
		wait = span/2 + time.Duration(c.clock.random()*float64(span/2))
	}
	return min(wait, c.config.MaxWait)
}

// parseRetryAfter reads a Retry-After header: seconds or an HTTP date. A date
// in the past is no wait at all. Not ok when it is absent or neither.
func parseRetryAfter(value string, now time.Time) (wait time.Duration, ok bool) {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		const most = 24 * 60 * 60 // keeps the product from overflowing; MaxWait cuts it further
		return time.Duration(min(seconds, most)) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now)), true
	}
	return 0, false
}
