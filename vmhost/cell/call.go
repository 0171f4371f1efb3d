package cell

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// call is a call under way in a session. Its fields are guarded by the
// session's mutex unless they never change.
type call struct {
	id   uint32
	ctx  context.Context // of host functions; ends with the call
	host vmhost.HostFunc
	done chan struct{} // closed with outcome, when the cell has said how the call went

	outcome   outcome
	log       *vmhost.LogBook
	asking    bool  // a host function runs
	hostErr   error // why one failed and ended the call
	hostCalls int
	work      sync.WaitGroup // host functions
}

// outcome is what a cell said that a call gave.
type outcome struct {
	used   wire.Used
	output []byte
	err    error
}

// begin registers a call.
func (s *session) begin(ctx context.Context, req vmhost.Request) (*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return nil, errKilled // the cell has not seen the call: it may be tried again
	}
	s.lastID++
	if s.lastID == 0 || s.calls[s.lastID] != nil { // 0 is the load; ids come round after four billion calls
		s.lastID++
	}
	c := &call{id: s.lastID, ctx: ctx, host: req.Host, done: make(chan struct{}), log: vmhost.NewLogBook(s.src.Limits.Logs)}
	s.calls[c.id] = c
	return c, nil
}

// call runs one call in the cell. ctx must have a deadline. Errors are those of
// vmhost, ctx's when it was cancelled, [errKilled] when the cell was killed
// because of another call, or the host function's.
func (s *session) call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	start := time.Now()
	hostCtx, cancel := context.WithCancel(ctx)
	c, err := s.begin(hostCtx, req)
	if err != nil {
		cancel()
		return vmhost.Reply{}, err
	}
	defer s.forget(c, cancel)
	deadline, _ := ctx.Deadline()
	m := wire.Call{
		Remaining: max(time.Until(deadline), 0), HasHost: req.Host != nil,
		Deterministic: req.Deterministic, Seed: req.Seed, Capability: req.Capability,
	}
	// Watches also the write, which blocks while the worker does not read.
	expired := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(expired)
		s.expire(c)
	})
	// A failed write means that the cell is dying, which await sees.
	_ = s.w.Write(wire.OpCall, 0, c.id, m.Append(nil), req.Input)
	o, err := s.await(c)
	if !unwatch() {
		<-expired
	}
	if err != nil {
		return s.reply(c, wire.Used{}, start), verdict(ctx, err)
	}
	reply := s.reply(c, o.used, start)
	if o.err != nil {
		return reply, answered(ctx, o.err)
	}
	reply.Output = o.output
	return reply, nil
}

// forget ends what still belongs to a call: what the cell sends for it from
// here on breaks the protocol.
func (s *session) forget(c *call, cancel context.CancelFunc) {
	s.mu.Lock()
	delete(s.calls, c.id)
	s.mu.Unlock()
	cancel()
	c.work.Wait()
}

// await waits for the end of a call or of the cell.
func (s *session) await(c *call) (outcome, error) {
	select {
	case <-c.done:
		return c.outcome, nil
	case <-s.dead:
		select {
		case <-c.done: // both at once: the answer is good
			return c.outcome, nil
		default:
			return outcome{}, s.why()
		}
	}
}

// expire tells the worker that a call is no longer wanted, and kills the cell
// if it goes on for longer than the grace.
func (s *session) expire(c *call) {
	var cancelled sync.WaitGroup
	defer cancelled.Wait()
	cancelled.Go(func() { _ = s.w.Write(wire.OpCancel, 0, c.id) }) // blocks, at worst, until the kill
	before, errBefore := s.proc.Usage()
	timer := time.NewTimer(s.opts.Grace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.dead:
		return
	case <-c.done:
		return
	}
	after, err := s.proc.Usage()
	if err == nil && errBefore == nil && after.CPU-before.CPU >= s.opts.Grace/2 {
		s.end(errSpun) // not a machine that had no time for it
		return
	}
	s.end(errKilled)
}

// verdict is the error of a call whose cell died under it.
func verdict(ctx context.Context, cause error) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	return cause
}

// answered is the error of a call that the cell ended with one.
func answered(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ended(ctxErr)
		}
		return fmt.Errorf("%w: %w", vmhost.ErrDeadline, err) // the worker's clock was first
	case errors.Is(err, vmhost.ErrDeadline) && errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	default:
		return err
	}
}

// ended is the error of a call whose context ended.
func ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return vmhost.ErrDeadline
	}
	return err
}

// reply is what is known of a call, with what the cell says held to what is
// possible.
func (s *session) reply(c *call, u wire.Used, start time.Time) vmhost.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	limits := s.src.Limits
	vm := min(max(u.VM, 0), time.Since(start))
	return vmhost.Reply{
		Logs: c.log.Logs(),
		Usage: vmhost.Usage{
			Tier:        vmhost.TierProcess,
			Grade:       s.proc.Grade().String(),
			VM:          vm,
			CPU:         min(max(u.CPU, 0), vm),
			Restore:     min(max(u.Restore, 0), vm),
			Fuel:        max(u.Fuel, 0),
			PeakMemory:  min(max(u.PeakMemory, 0), limits.Memory+limits.Tables),
			HostCalls:   max(c.hostCalls, int(min(u.HostCalls, int64(limits.HostCalls)))),
			LogsDropped: int(min(max(u.LogsDropped, 0), 1<<31-1)),
		},
	}
}
