package cell

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// loadWatch is how often the CPU time of a load is looked at.
const loadWatch = 50 * time.Millisecond

// load has the worker compile the session's module and try one instance, within
// the limits of a load. A module that passes the limit on CPU time or memory,
// or on which the engine dies, is refused.
func (s *session) load(ctx context.Context) error {
	loaded := make(chan error, 1)
	s.mu.Lock()
	s.loaded = loaded
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.opts.LoadTimeout)
	defer cancel()
	unwatch := context.AfterFunc(ctx, func() { s.end(errSlow) }) // also of a write that blocks
	defer unwatch()
	m := wire.Load{
		Remaining: s.opts.LoadTimeout, Limits: s.src.Limits, Grants: s.src.Grants, Digest: s.src.Digest,
		Fresh: s.src.Fresh, Samples: s.src.Samples,
	}
	_ = s.w.Write(wire.OpLoad, 0, 0, m.Append(nil), s.src.Module) // a failed write means a dying cell, seen below

	tick := time.NewTicker(loadWatch)
	defer tick.Stop()
	var used time.Duration
	for {
		select {
		case err := <-loaded:
			return loadFault(err)
		case <-s.dead:
			return s.loadDeath(ctx, used)
		case <-tick.C:
			if u, err := s.proc.Usage(); err == nil {
				used = u.CPU
			}
			if used > s.opts.LoadCPU {
				s.end(errCPU)
			}
		}
	}
}

// Reasons for which the host ends a cell during a load.
var (
	errCPU  = errors.New("the load passed its limit on CPU time")
	errSlow = errors.New("the load passed its limit on time, or is not wanted any more")
)

// loadFault gives what a worker said of a load one of the kinds that a load has.
func loadFault(err error) error {
	switch {
	case err == nil, errors.Is(err, vmhost.ErrRefused), errors.Is(err, vmhost.ErrUnavailable):
		return err
	default:
		return fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
}

// loadDeath is the error of a load whose cell died after it had used so much CPU
// time.
func (s *session) loadDeath(ctx context.Context, used time.Duration) error {
	exit := s.proc.Wait()
	cause := s.why()
	switch {
	case errors.Is(cause, errCPU):
		return refused("compiling and starting it takes more than %v of CPU time", s.opts.LoadCPU)
	case errors.Is(cause, errSlow) && errors.Is(ctx.Err(), context.DeadlineExceeded) && used > s.opts.LoadCPU/4:
		return refused("compiling and starting it takes longer than %v (after %v of CPU time)", s.opts.LoadTimeout, used.Round(time.Millisecond))
	case errors.Is(cause, errSlow) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: the load took longer than %v by the clock", vmhost.ErrUnavailable, s.opts.LoadTimeout)
	case errors.Is(cause, errSlow), errors.Is(cause, errStopped):
		return errStopped
	case exit.OutOfMemory:
		return refused("compiling and starting it takes more memory than the %d bytes that there are for it", s.opts.memory(s.src.Limits.Memory))
	case exit.Signal == 0 && exit.Code != 0:
		return refused("the engine died of it")
	default:
		return fmt.Errorf("%w: load: %w", vmhost.ErrUnavailable, cause)
	}
}

func refused(format string, args ...any) error {
	return &vmhost.RefusedError{Offset: -1, Detail: fmt.Sprintf(format, args...)}
}
