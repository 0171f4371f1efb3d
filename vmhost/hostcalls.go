package vmhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

var errCallOver = errors.New("host function called after the end of the guest's call")

// hostCalls stands between a driver and the function that answers a guest's
// host calls: it lets in one call at a time, as many as the budget allows, and
// none after the end, whatever the machine under the driver asks for.
type hostCalls struct {
	limits Limits
	grants Grants
	answer HostFunc

	mu    sync.Mutex // held while answer runs
	over  bool
	count int   // calls that were let in
	err   error // what ended the guest's call
}

// serve is the [HostFunc] that a driver gets.
func (c *hostCalls) serve(ctx context.Context, call HostCall) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admit(call); err != nil {
		return nil, err
	}
	c.count++
	b, err := c.answer(ctx, call)
	if err == nil {
		return b, nil
	}
	var refusal *GuestError
	if errors.As(err, &refusal) {
		return nil, refusal
	}
	err = fmt.Errorf("host function %s: %w", call.Func, err)
	if c.err == nil {
		c.err = err
	}
	return nil, err
}

func (c *hostCalls) admit(call HostCall) error {
	switch {
	case c.over:
		return errCallOver
	case c.err != nil:
		return c.err // the guest's call has ended
	case c.count >= c.limits.HostCalls:
		return &GuestError{Code: CodeOverBudget, Message: fmt.Sprintf("at most %d calls of host functions", c.limits.HostCalls)}
	case c.answer == nil:
		return &GuestError{Code: CodeUnavailable, Message: "nothing answers host functions in this call"}
	case int64(len(call.Text)) > c.limits.Input:
		return &GuestError{Code: CodeInvalid, Message: fmt.Sprintf("%d bytes, at most %d", len(call.Text), c.limits.Input)}
	case !utf8.ValidString(call.Text):
		return &GuestError{Code: CodeInvalid, Message: "not UTF-8"}
	case !c.grants.allow(call.Func):
		return &GuestError{Code: CodeInvalid, Message: "no such function, or it is not granted"}
	default:
		return nil
	}
}

// finish waits for a call that is being answered, lets in no more, and returns
// the error that ended the guest's call.
func (c *hostCalls) finish() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.err
}

// allow reports whether a host function other than log is granted.
func (g Grants) allow(function string) bool {
	switch function {
	case "search":
		return g.Search
	case "embed":
		return g.Embed
	case "vectors":
		return g.Vectors
	default:
		return false
	}
}
