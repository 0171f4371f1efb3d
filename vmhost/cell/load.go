package cell

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// cpuWatch is how often the CPU time of a load is looked at.
const cpuWatch = 50 * time.Millisecond

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
	unwatch := context.AfterFunc(ctx, func() { s.end(errKilled) }) // also of a write that blocks
	defer unwatch()
	m := wire.Load{Remaining: s.opts.LoadTimeout, Limits: s.src.Limits, Grants: s.src.Grants, Digest: s.src.Digest}
	_ = s.w.Write(wire.OpLoad, 0, 0, m.Append(nil), s.src.Module) // a failed write means a dying cell, seen below

	tick := time.NewTicker(cpuWatch)
	defer tick.Stop()
	for {
		select {
		case err := <-loaded:
			return loadFault(err)
		case <-s.dead:
			return s.loadDeath(ctx)
		case <-tick.C:
			if u, err := s.proc.Usage(); err == nil && u.CPU > s.opts.LoadCPU {
				s.end(errCPU)
			}
		}
	}
}

// errCPU is why the host ended a cell whose load took too much CPU time.
var errCPU = errors.New("load passed its limit on CPU time")

// loadFault gives what a worker said of a load one of the kinds that a load has.
func loadFault(err error) error {
	switch {
	case err == nil, errors.Is(err, vmhost.ErrRefused), errors.Is(err, vmhost.ErrUnavailable):
		return err
	default:
		return fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
}

// loadDeath is the error of a load whose cell died.
func (s *session) loadDeath(ctx context.Context) error {
	exit := s.proc.Wait()
	cause := s.why()
	switch {
	case errors.Is(cause, errCPU):
		return refused("compiling and starting it takes more than %v of CPU time", s.opts.LoadCPU)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: the load took longer than %v by the clock", vmhost.ErrUnavailable, s.opts.LoadTimeout)
	case ctx.Err() != nil:
		return errStopped
	case errors.Is(cause, errStopped):
		return cause
	case exit.OutOfMemory:
		return refused("compiling and starting it takes more memory than the %d bytes that there are for it", s.opts.memory(s.src.Limits.Memory))
	case exit.Signal == 0 && exit.Code != 0:
		s.opts.Logger.Error("engine died of a module", "program", s.src.Digest.String(), "exit", exit.String(), "stderr", exit.Stderr)
		return refused("the engine died of it")
	default:
		return fmt.Errorf("%w: load: %w", vmhost.ErrUnavailable, cause)
	}
}

func refused(format string, args ...any) error {
	return &vmhost.RefusedError{Offset: -1, Detail: fmt.Sprintf(format, args...)}
}
