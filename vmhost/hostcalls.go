package vmhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"
)

var errCallOver = errors.New("host function called after the end of the guest's call")

// hostCalls stands between a driver and the function that answers a guest's
// host calls: it lets in one call at a time, as many, as large and as long as the
// budgets allow, and none after the end, whatever the machine under the driver
// asks for.
type hostCalls struct {
	limits *Limits
	grants Grants
	answer HostFunc

	mu    sync.Mutex // held while answer runs
	over  bool
	count int // calls that were let in
	bytes int64
	time  time.Duration
	err   error        // what ended the guest's call
	spent *BudgetError // the budget that a call was last refused for
}

// serve is the [HostFunc] that a driver gets.
func (c *hostCalls) serve(ctx context.Context, call HostCall) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admit(call); err != nil {
		return nil, err
	}
	c.count++
	c.bytes += int64(len(call.Text))
	b, err := c.ask(ctx, call)
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

// errHostTime is the cause of the end of a host call that used up the budget of
// time.
var errHostTime = errors.New("the time for host calls is used up")

// ask has a call answered within what is left of the budgets. An answer that is
// too large was made for nothing, and counts.
func (c *hostCalls) ask(parent context.Context, call HostCall) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(parent, c.limits.HostTime-c.time, errHostTime)
	defer cancel()
	start := time.Now()
	b, err := c.answer(ctx, call)
	c.time += time.Since(start)
	c.bytes += int64(len(b))
	switch {
	case err != nil && parent.Err() == nil && errors.Is(context.Cause(ctx), errHostTime):
		c.time = max(c.time, c.limits.HostTime)
		return nil, c.refuse(BudgetHostTime, c.time.Microseconds(), c.limits.HostTime.Microseconds())
	case err != nil:
		return nil, err
	case c.bytes > c.limits.HostBytes:
		return nil, c.refuse(BudgetHostBytes, c.bytes, c.limits.HostBytes)
	default:
		return b, nil
	}
}

// refuse notes that a budget is used up, and returns what the guest hears.
func (c *hostCalls) refuse(b Budget, used, allowed int64) *GuestError {
	c.spent = &BudgetError{Budget: b, Used: used, Allowed: allowed}
	return &GuestError{Code: CodeOverBudget, Message: c.spent.Error()}
}

func (c *hostCalls) admit(call HostCall) error {
	text := int64(len(call.Text))
	switch {
	case c.over:
		return errCallOver
	case c.err != nil:
		return c.err // the guest's call has ended
	case c.count >= c.limits.HostCalls:
		return c.refuse(BudgetHostCalls, int64(c.count)+1, int64(c.limits.HostCalls))
	case c.answer == nil:
		return &GuestError{Code: CodeUnavailable, Message: "nothing answers host functions in this call"}
	case text > c.limits.Input:
		return &GuestError{Code: CodeInvalid, Message: fmt.Sprintf("%d bytes, at most %d", text, c.limits.Input)}
	case !utf8.ValidString(call.Text):
		return &GuestError{Code: CodeInvalid, Message: "not UTF-8"}
	case !c.grants.allow(call.Func):
		return &GuestError{Code: CodeInvalid, Message: "no such function, or it is not granted"}
	case c.bytes+text > c.limits.HostBytes:
		return c.refuse(BudgetHostBytes, c.bytes+text, c.limits.HostBytes)
	case c.time >= c.limits.HostTime:
		return c.refuse(BudgetHostTime, c.time.Microseconds(), c.limits.HostTime.Microseconds())
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

// overBudget adds the budget to the error of a guest that hands on what a host
// function told it: that one is used up. A machine refuses calls over their
// number itself, so that is looked up here; that a guest says so without having
// used any up changes nothing. It is for after finish.
func (c *hostCalls) overBudget(err error) error {
	var guest *GuestError
	if !errors.As(err, &guest) || guest.Code != CodeOverBudget {
		return err
	}
	if c.spent == nil && c.limits.HostCalls > 0 && c.count >= c.limits.HostCalls {
		c.spent = &BudgetError{Budget: BudgetHostCalls, Used: int64(c.count) + 1, Allowed: int64(c.limits.HostCalls)}
	}
	if c.spent == nil {
		return err
	}
	return fmt.Errorf("%w: %w", c.spent, guest)
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
