// Package fakevm is a driver whose programs are Go functions, for tests of what
// lies above package vmhost. It keeps the contract of [vmhost.Driver], and
// passes the driver's tests as far as Go functions can: what they do to memory
// and to the stack is not bounded.
package fakevm

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// Func is a program. It gets a fresh [Call] each time and must obey ctx. The
// error may be a *[vmhost.GuestError] or wrap what a call can give: ErrTrapped,
// ErrMemory, ErrOutput, ErrCrashed or ErrUnavailable of package vmhost, or be a
// *[vmhost.BudgetError]. Another one, and a panic, counts as ErrTrapped.
type Func func(ctx context.Context, call *Call) (output []byte, err error)

// Driver runs functions. Make it with [New]. Safe for concurrent use.
type Driver struct {
	functions map[string]Func

	mu       sync.Mutex
	closed   bool
	programs map[*program]struct{}
}

var _ vmhost.Driver = (*Driver)(nil)

// New returns a driver for functions by name; [Module] makes the module that
// stands for one. The map must not change any more.
func New(functions map[string]Func) *Driver {
	return &Driver{functions: functions, programs: make(map[*program]struct{})}
}

// Tier implements [vmhost.Driver].
func (d *Driver) Tier() vmhost.Tier { return vmhost.TierInProc }

// Grade implements [vmhost.Driver].
func (d *Driver) Grade() string { return "fake" }

var errClosed = fmt.Errorf("%w: the program is closed", vmhost.ErrUnavailable)

// Load implements [vmhost.Driver].
func (d *Driver) Load(ctx context.Context, src vmhost.Source) (vmhost.Program, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, err := nameOf(src.Module)
	if err != nil {
		return nil, err
	}
	f, ok := d.functions[name]
	if !ok {
		return nil, &vmhost.RefusedError{Offset: -1, Detail: fmt.Sprintf("no function %q", name)}
	}
	src.Module = nil
	p := &program{driver: d, src: src, f: f, calls: make(map[*Call]context.CancelCauseFunc)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	d.programs[p] = struct{}{}
	return p, nil
}

// Close implements [vmhost.Driver].
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	programs := make([]*program, 0, len(d.programs))
	for p := range d.programs {
		programs = append(programs, p)
	}
	d.mu.Unlock()
	for _, p := range programs {
		_ = p.Close() // never fails
	}
	return nil
}

// program is a loaded function.
type program struct {
	driver *Driver
	src    vmhost.Source
	f      Func

	mu     sync.Mutex
	closed bool
	calls  map[*Call]context.CancelCauseFunc
	idle   sync.WaitGroup
}

var _ vmhost.Program = (*program)(nil)

// Call implements [vmhost.Program].
func (p *program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	start := time.Now()
	call := newCall(p.src, req)
	ctx, end, err := p.begin(ctx, call)
	if err != nil {
		return vmhost.Reply{}, err
	}
	defer end()
	output, err := p.run(ctx, call)
	reply := vmhost.Reply{Logs: call.log.Logs(), Usage: vmhost.Usage{
		Tier:        vmhost.TierInProc,
		Grade:       "fake",
		VM:          time.Since(start),
		HostCalls:   call.hostCalls,
		LogsDropped: call.log.Dropped(),
	}}
	switch {
	case call.ended != nil:
		return reply, call.ended
	case errors.Is(context.Cause(ctx), errClosed):
		return reply, errClosed
	case ctx.Err() != nil:
		return reply, ctx.Err()
	case err != nil:
		return reply, err
	}
	reply.Output = append([]byte(nil), output...)
	return reply, nil
}

// begin counts a call among those that Close ends and waits for.
func (p *program) begin(ctx context.Context, call *Call) (context.Context, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p.calls[call] = cancel
	p.idle.Add(1)
	return ctx, func() {
		cancel(nil)
		p.mu.Lock()
		delete(p.calls, call)
		p.mu.Unlock()
		p.idle.Done()
	}, nil
}

// run calls the function and gives its errors the kinds of a guest's.
func (p *program) run(ctx context.Context, call *Call) (output []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", vmhost.ErrTrapped, r, debug.Stack())
		}
	}()
	output, err = p.f(ctx, call)
	var refusal *vmhost.GuestError
	if err == nil || errors.As(err, &refusal) {
		return output, err
	}
	for _, kind := range []error{vmhost.ErrTrapped, vmhost.ErrMemory, vmhost.ErrOutput, vmhost.ErrFuel, vmhost.ErrCPU, vmhost.ErrCrashed, vmhost.ErrUnavailable} {
		if errors.Is(err, kind) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %s", vmhost.ErrTrapped, err.Error()) // not wrapped: it is the guest's own
}

// Close implements [vmhost.Program].
func (p *program) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, cancel := range p.calls {
		cancel(errClosed)
	}
	p.mu.Unlock()
	p.idle.Wait()
	p.driver.mu.Lock()
	delete(p.driver.programs, p)
	p.driver.mu.Unlock()
	return nil
}
