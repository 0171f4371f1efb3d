package vmhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"
)

// maxCapability is the most bytes of a capability's name.
const maxCapability = 64

// Guest is a loaded program. Safe for concurrent use; each call runs in a VM
// in which no other call has left a trace.
type Guest struct {
	host    *Host
	program Program
	src     Source // without Module
	expect  *expectation
	closing sync.Once
}

// Digest returns the digest of the guest's module.
func (g *Guest) Digest() Digest { return g.src.Digest }

// Limits returns the caps of a call of this guest.
func (g *Guest) Limits() Limits { return g.src.Limits }

// Call runs the guest once: it waits for a slot, sets the deadline, asks the
// driver and checks what comes back. Logs and Usage of the reply are filled in
// also with an error, as far as they are known; Output is not.
//
// The error is ctx's error if ctx ended, whoever noticed first, together with
// [ErrBusy] if its deadline passed in the queue. Else it is exactly one of
// [ErrInput], [ErrBusy], [ErrDeadline] (the guest's own wall-clock limit),
// [ErrCPU], [ErrFuel], [ErrTrapped], [ErrMemory], [ErrOutput], [ErrCrashed],
// [ErrUnavailable], [ErrQuarantined], [ErrRefused] (it would never fit into the
// account's memory), a *[GuestError], or the error that req.Host ended the call with. Where it is about
// a budget it has a [*BudgetError]. A guest that hands on the error
// [CodeOverBudget] of a host function gives a *GuestError that is an
// [ErrHostBudget] too.
func (g *Guest) Call(ctx context.Context, req Request) (Reply, error) {
	if err := g.checkInput(req); err != nil {
		return Reply{}, err
	}
	bounded, end, err := g.host.begin(ctx)
	if err != nil {
		return Reply{}, err
	}
	defer end()
	slot, queued, err := g.host.slots.acquire(bounded, need{
		account: g.src.Account, most: req.Slots, weight: req.Weight, accountMemory: req.AccountMemory,
		memory: g.src.Limits.Reservation(), expect: g.expect.duration(), wait: g.host.opts.QueueWait,
	})
	if err != nil {
		if errors.Is(context.Cause(bounded), errHostClosed) && ctx.Err() == nil {
			err = errHostClosed
		}
		return Reply{Usage: Usage{Queue: queued}}, err
	}
	defer g.host.slots.release(slot)
	if program, ok := g.program.(readier); ok {
		start := time.Now()
		err := g.ready(ctx, bounded, program)
		queued += time.Since(start)
		if err != nil {
			return Reply{Usage: Usage{Queue: queued}}, err
		}
	}
	reply, err := g.run(ctx, bounded, req)
	reply.Usage.Queue += queued
	return reply, err
}

// readier is a [Program] whose machine comes and goes. Ready makes one ready
// for a call; its errors are those of Call.
type readier interface {
	Ready(ctx context.Context) error
}

// ready waits for the program's machine before the guest's clock starts: what
// starting it takes, above all compiling, is not the guest's time.
func (g *Guest) ready(caller, bounded context.Context, program readier) error {
	err := program.Ready(bounded)
	switch {
	case err == nil:
		return nil
	case caller.Err() != nil:
		return caller.Err()
	case errors.Is(context.Cause(bounded), errHostClosed):
		return errHostClosed
	default:
		return g.kindOf(err, Usage{})
	}
}

func (g *Guest) checkInput(req Request) error {
	switch n := int64(len(req.Input)); {
	case n > g.src.Limits.Input:
		return &BudgetError{Budget: BudgetInput, Used: n, Allowed: g.src.Limits.Input}
	case !utf8.Valid(req.Input):
		return fmt.Errorf("%w: not UTF-8", ErrInput)
	case req.Capability == "" || len(req.Capability) > maxCapability || !utf8.ValidString(req.Capability):
		return fmt.Errorf("%w: the capability is no name of 1 to %d bytes", ErrInput, maxCapability)
	}
	return nil
}

// run makes the call within its slot. caller is the context of whoever calls,
// and bounded the same with the host's own end.
func (g *Guest) run(caller, bounded context.Context, req Request) (Reply, error) {
	ctx, cancel := context.WithTimeoutCause(bounded, g.src.Limits.Wall, ErrDeadline)
	defer cancel()
	calls := &hostCalls{limits: &g.src.Limits, grants: g.src.Grants, answer: req.Host}
	req.Host = calls.serve
	start := time.Now()
	raw, err := g.program.Call(ctx, req)
	took := time.Since(start)
	g.expect.saw(took)
	failure := endOf(caller, ctx, g.src.Limits.Wall, took)
	cancel()
	hostErr := calls.finish()
	g.reportLate(took)

	reply := g.bound(raw)
	reply.Usage.HostCalls, reply.Usage.HostBytes, reply.Usage.HostTime = calls.count, calls.bytes, calls.time
	switch {
	case failure != nil:
		return reply, failure
	case hostErr != nil:
		return reply, hostErr
	case errors.Is(err, ErrDeadline) && endsBefore(caller, start.Add(g.src.Limits.Wall)):
		return reply, context.DeadlineExceeded // the machine's clock was ahead of the caller's
	case err != nil:
		return reply, g.kindOf(calls.overBudget(err), reply.Usage)
	}
	if used := reply.Usage.Fuel; used > g.src.Limits.Fuel { // on its last way to the end, where nothing compares
		return reply, g.src.Limits.OverBudget(BudgetFuel, used)
	}
	return g.checkOutput(reply, raw.Output)
}

// endsBefore reports whether ctx has a deadline before a moment.
func endsBefore(ctx context.Context, moment time.Time) bool {
	deadline, ok := ctx.Deadline()
	return ok && deadline.Before(moment)
}

// endOf returns why a call's context ended, nil if it did not: what its caller
// did comes before what the host did.
func endOf(caller, ctx context.Context, wall, took time.Duration) error {
	cause := context.Cause(ctx)
	switch {
	case caller.Err() != nil:
		return caller.Err()
	case errors.Is(cause, ErrDeadline):
		return overWall(wall, took)
	default:
		return cause
	}
}

// overWall is the error of a call that passed its wall-clock limit.
func overWall(wall, took time.Duration) error {
	return &BudgetError{Budget: BudgetWall, Used: max(took, wall).Microseconds(), Allowed: wall.Microseconds()}
}

// kindOf gives an error of a driver one of our kinds. Of what a machine says of a
// budget only that it was used up is believed, and of how much was used no more
// than what else is known of the call allows.
func (g *Guest) kindOf(err error, usage Usage) error {
	var (
		guest  *GuestError
		budget *BudgetError
	)
	switch {
	case errors.As(err, &guest):
		cut := &GuestError{Code: CutText(guest.Code, MaxErrorCode), Message: CutText(guest.Message, MaxErrorMessage)}
		if errors.As(err, &budget) {
			return fmt.Errorf("%w: %w", budget, cut) // the host's own account
		}
		return cut
	case errors.As(err, &budget) && budget.Budget.InVM():
		used := budget.Used
		if budget.Budget == BudgetCPU {
			used = min(used, usage.VM.Microseconds())
		}
		return g.src.Limits.OverBudget(budget.Budget, used)
	case errors.As(err, &budget):
		return fmt.Errorf("%w: it says %s", ErrCrashed, budget.Error()) // of what is the host's to say
	case errors.Is(err, ErrMemory):
		return g.src.Limits.OverBudget(BudgetMemory, usage.PeakMemory)
	case errors.Is(err, ErrDeadline): // the machine's clock was first
		return overWall(g.src.Limits.Wall, usage.VM)
	}
	for _, kind := range []error{ErrTrapped, ErrOutput, ErrCrashed, ErrUnavailable, ErrBusy, ErrQuarantined} {
		if errors.Is(err, kind) {
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrCrashed, err.Error()) // not wrapped: what is in it is no kind of ours
}

// bound takes over the log and the usage of a reply, within the limits.
func (g *Guest) bound(raw Reply) Reply {
	limit := g.src.Limits.Logs
	if !g.src.Grants.Log {
		limit = 0
	}
	book := NewLogBook(limit)
	for _, l := range raw.Logs {
		book.Add(l.Level, l.Text)
	}
	usage := raw.Usage
	usage.CPU = min(max(usage.CPU, 0), usage.VM)
	usage.LogsDropped = max(usage.LogsDropped, 0) + book.Dropped()
	return Reply{Logs: book.Logs(), Usage: usage}
}

func (g *Guest) checkOutput(reply Reply, output []byte) (Reply, error) {
	if n := int64(len(output)); n > g.src.Limits.Output {
		return reply, g.src.Limits.OverBudget(BudgetOutput, n)
	}
	if !utf8.Valid(output) {
		return reply, fmt.Errorf("%w: not UTF-8", ErrOutput)
	}
	reply.Output = output
	return reply, nil
}

// reportLate logs a driver that held a slot long after the guest's deadline:
// the caller has its answer by then, and only the operator can do something.
func (g *Guest) reportLate(took time.Duration) {
	const tolerance = time.Second
	if took > g.src.Limits.Wall+tolerance {
		g.host.opts.Logger.Warn("a call ended late",
			slog.String("digest", g.src.Digest.String()), slog.String("account", string(g.src.Account)),
			slog.Duration("limit", g.src.Limits.Wall), slog.Duration("took", took))
	}
}

// Close unloads the program. Calls under way fail.
func (g *Guest) Close() error {
	var err error
	g.closing.Do(func() {
		err = g.program.Close()
		g.host.mu.Lock()
		g.host.guests--
		g.host.mu.Unlock()
	})
	if err != nil {
		return fmt.Errorf("close %v: %w", g.src.Digest, err)
	}
	return nil
}
