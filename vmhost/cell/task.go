package cell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// TaskRequest is a piece of work of the binary's own on a tenant's bytes.
type TaskRequest struct {
	Account vmhost.Account // whose bytes they are
	Name    string         // of the task, one of those that Main was given
	Input   []byte         // up to 1 GiB
	Limits  TaskLimits
	// AccountMemory is the most bytes of memory of the account's guests together;
	// 0: no limit at that level.
	AccountMemory int64
}

// TaskLimits are the caps of one task. All are positive.
type TaskLimits struct {
	Memory int64         // real memory of its process, bytes
	CPU    time.Duration // processor time, of all threads
	Wall   time.Duration
	Output int64 // bytes
}

// Reasons for which the host ends a task.
var (
	errTaskCPU    = errors.New("the task passed its limit on CPU time")
	errTaskWall   = errors.New("the task passed its limit on time")
	errTaskMemory = errors.New("the task passed its limit on memory")
)

const (
	taskWatch = 10 * time.Millisecond // how often it is looked at what a task has used
	taskProcs = 2                     // threads of a task that may run at once: it, and the garbage collector
)

// Do has a task done in a cell that is started for it, sealed as those of guests are,
// and killed after. It waits for its turn, the accounts in turn. What it returns was
// made by code that the input may have taken over. The error is a
// *[vmhost.RefusedError], whose text is for the input's owner, when the task refuses
// it, dies of it, or passes a limit, which it names; wraps [vmhost.ErrUnavailable] when
// the machine is at fault, or is ctx's.
func (d *Driver) Do(ctx context.Context, req TaskRequest) ([]byte, error) {
	if l := req.Limits; min(l.Memory, int64(l.CPU), int64(l.Wall), l.Output) <= 0 {
		return nil, fmt.Errorf("task %s: a limit is missing", req.Name)
	}
	slot, err := d.tasks.take(ctx, req.Account)
	if err != nil {
		return nil, err
	}
	defer d.tasks.give(slot)
	if !d.begin() {
		return nil, errClosed
	}
	defer d.work.Done()
	proc, err := d.launcher.Start(ctx, Spec{
		Place: d.opts.MaxCells + d.opts.Compiles + slot, Memory: req.Limits.Memory, Procs: taskProcs, CPU: req.Limits.CPU,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: task cell: %w", vmhost.ErrUnavailable, err)
	}
	// Before it gets the account's first byte, which is in run.
	err = proc.Adopt(Adoption{
		Account: req.Account, AccountMemory: req.AccountMemory, Overhead: req.Limits.Memory, Memory: req.Limits.Memory, CPUs: d.opts.CPUs,
	})
	if err != nil {
		proc.Kill()
		exit := proc.Wait()
		return nil, fmt.Errorf("%w: adopt a task cell: %w (%v)", vmhost.ErrUnavailable, err, exit)
	}
	t := &doing{d: d, proc: proc, req: req}
	return t.run(ctx)
}

// begin reports that the driver is not closed, and makes its end wait for work.Done.
func (d *Driver) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.work.Add(1)
	return true
}

// doing is a task cell at work. Nothing that comes from it is believed.
type doing struct {
	d    *Driver
	proc Process
	req  TaskRequest

	sealed bool // hello came; written by talk, read when that has ended
	output []byte
	used   Usage // memory: the most that was seen
}

// run has the talk and watches over it. When it returns the cell is gone.
func (t *doing) run(outer context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(outer, t.req.Limits.Wall, errTaskWall)
	defer cancel()
	talked := make(chan error, 1)
	var talking sync.WaitGroup
	talking.Go(func() { talked <- t.talk() })
	cause, err := t.watch(ctx, talked)
	t.proc.Kill()
	exit := t.proc.Wait() // which unblocks the talk
	talking.Wait()
	switch {
	case cause == nil && err == nil:
		return t.output, nil
	case outer.Err() != nil:
		return nil, outer.Err()
	case cause == nil && errors.Is(err, wire.ErrProtocol):
		t.d.opts.Logger.Error("a task cell broke the rules", slog.String("account", string(t.req.Account)),
			slog.String("task", t.req.Name), slog.Any("cause", err))
		return nil, refused("what it was read by gave no answer")
	case cause == nil && isFault(err):
		return nil, t.fault(err)
	default:
		return nil, t.death(cause, exit)
	}
}

// watch waits for the end of the talk, and returns its error, or the cause for which
// the cell must end before.
func (t *doing) watch(ctx context.Context, talked <-chan error) (cause, err error) {
	tick := time.NewTicker(taskWatch)
	defer tick.Stop()
	for {
		select {
		case err := <-talked:
			return nil, err
		case <-ctx.Done():
			return context.Cause(ctx), nil
		case <-tick.C:
		}
		if now, err := t.proc.Usage(); err == nil { // otherwise it has ended
			t.used.CPU, t.used.Memory = now.CPU, max(t.used.Memory, now.Memory)
		}
		switch {
		case t.used.CPU > t.req.Limits.CPU:
			return errTaskCPU, nil
		case t.used.Memory > t.req.Limits.Memory:
			return errTaskMemory, nil
		}
	}
}

// talk is the whole conversation with the cell. It ends when the cell does.
func (t *doing) talk() error {
	conn := t.proc.Wire()
	r := wire.NewReader(conn, t.bound)
	if err := t.d.greeted(t.proc, r); err != nil {
		return err
	}
	t.sealed = true
	w := wire.NewWriter(conn)
	if err := w.Write(wire.OpSetup, 0, 0, setupFor(t.req.Limits.Memory, taskProcs).Append(nil)); err != nil {
		return err
	}
	m := wire.Task{Remaining: t.req.Limits.Wall, Output: t.req.Limits.Output, Name: t.req.Name}
	if err := w.Write(wire.OpTask, 0, 0, m.Append(nil), t.req.Input); err != nil {
		return err
	}
	v, err := r.Next()
	if err != nil {
		return err
	}
	if v.Op == wire.OpError {
		fault, err := wire.DecodeFault(v.Method, v.Body)
		if err != nil {
			return err
		}
		return &toldError{fault.Err}
	}
	t.output = v.Body
	return nil
}

// bound implements [wire.Bound]: hello once, then one answer.
func (t *doing) bound(op wire.Op, id uint32) int64 {
	switch {
	case id != 0:
		return -1
	case !t.sealed && op == wire.OpHello:
		return wire.MaxHello
	case t.sealed && op == wire.OpError:
		return wire.MaxFault
	case t.sealed && op == wire.OpDone:
		return t.req.Limits.Output
	default:
		return -1
	}
}

// fault is the error of what the cell told. A lying one says nothing that it might not
// have said of its input.
func (t *doing) fault(err error) error {
	var told *toldError
	_ = errors.As(err, &told)
	var no *vmhost.RefusedError
	switch {
	case errors.As(told.err, &no):
		return no
	case errors.Is(told.err, vmhost.ErrOutput):
		return refused("it gives more than the %d bytes that are allowed", t.req.Limits.Output)
	case errors.Is(told.err, vmhost.ErrUnavailable) && !errors.Is(told.err, vmhost.ErrCrashed):
		return told.err
	}
	t.d.opts.Logger.Warn("a task failed", slog.String("account", string(t.req.Account)), slog.String("task", t.req.Name), slog.Any("cause", told.err))
	return refused("it cannot be read")
}

// death is the error of a task whose cell was ended for the cause, or ended by itself
// when that is nil.
func (t *doing) death(cause error, exit Exit) error {
	l, cpu := t.req.Limits, t.used.CPU.Round(time.Millisecond)
	switch {
	case errors.Is(cause, errTaskCPU):
		return refused("reading it used %v of CPU time, %v are allowed", max(cpu, l.CPU), l.CPU)
	case errors.Is(cause, errTaskMemory), exit.OutOfMemory:
		return refused("reading it used more than the %d bytes of memory that are allowed", l.Memory)
	case errors.Is(cause, errTaskWall):
		return refused("reading it took longer than %v", l.Wall)
	case t.sealed:
		t.d.opts.Logger.Warn("a task cell died", slog.String("account", string(t.req.Account)), slog.String("task", t.req.Name), slog.String("exit", exit.String()), slog.String("stderr", exit.Stderr))
		return refused("what it was read by died of it")
	default:
		return fmt.Errorf("%w: the task cell died: %v: %q", vmhost.ErrUnavailable, exit, exit.Stderr)
	}
}
