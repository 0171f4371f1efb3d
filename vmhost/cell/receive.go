package cell

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// maxPong is the length of a pong's token.
const maxPong = 8

// bound implements [wire.Bound]: what may come now, and how much of it.
func (s *session) bound(op wire.Op, id uint32) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, limits := s.calls[id], s.src.Limits
	switch {
	case op == wire.OpHello && !s.hailed:
		return wire.MaxHello
	case op == wire.OpPong && s.pong != nil:
		return maxPong
	case op == wire.OpLoaded && id == 0 && s.loaded != nil:
		return 0
	case op == wire.OpError && (c != nil || (id == 0 && s.loaded != nil)):
		return wire.MaxFault
	case c == nil:
		return -1
	case op == wire.OpResult:
		return limits.Output + wire.ResultOverhead
	case op == wire.OpLog:
		return vmhost.MaxLogText
	case op == wire.OpHostCall:
		return limits.Input + wire.HostCallOverhead
	default:
		return -1
	}
}

// read takes what the cell sends, until it ends or breaks a rule. It waits for
// nobody: a result has a buffer, a host function its own goroutine.
func (s *session) read() {
	defer s.work.Done()
	r := wire.NewReader(s.proc.Wire(), s.bound)
	for {
		v, err := r.Next()
		if err == nil {
			err = s.take(v)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, wire.ErrProtocol) && s.alive() {
			s.end(fmt.Errorf("%w: %w", vmhost.ErrCrashed, err))
			return
		}
		// The end of the stream: the process has ended, or must. What it
		// ended by is the cause, which the one who waits for it gives.
		s.proc.Kill()
		return
	}
}

func (s *session) alive() bool {
	select {
	case <-s.dead:
		return false
	default:
		return true
	}
}

// take handles one value that bound let in.
func (s *session) take(v wire.Value) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch v.Op {
	case wire.OpHello:
		if s.hailed {
			return wire.Broken("a second hello")
		}
		h, err := wire.DecodeHello(v.Body)
		if err == nil {
			s.hailed = true
			s.hello <- h
		}
		return err
	case wire.OpPong:
		s.pong <- struct{}{}
		s.pong = nil
		return nil
	case wire.OpLoaded:
		s.loaded <- nil
		s.loaded = nil
		return nil
	case wire.OpError:
		m, err := wire.DecodeFault(v.Method, v.Body)
		if err != nil {
			return err
		}
		if v.ID == 0 {
			s.loaded <- m.Err
			s.loaded = nil
			return nil
		}
		return s.finish(v.ID, outcome{used: m.Used, err: m.Err})
	case wire.OpResult:
		return s.takeResult(v)
	case wire.OpLog:
		return s.takeLog(v)
	case wire.OpHostCall:
		return s.takeHostCall(v)
	default:
		return wire.Broken("%v from a cell", v.Op)
	}
}

func (s *session) takeResult(v wire.Value) error {
	m, err := wire.DecodeResult(v.Body)
	switch {
	case err != nil:
		return err
	case int64(len(m.Output)) > s.src.Limits.Output:
		return wire.Broken("output of %d bytes, the limit is %d", len(m.Output), s.src.Limits.Output)
	case !utf8.Valid(m.Output):
		return wire.Broken("output that is not UTF-8")
	}
	return s.finish(v.ID, outcome{used: m.Used, output: m.Output})
}

func (s *session) takeLog(v wire.Value) error {
	l, err := wire.DecodeLog(v.Method, v.Body)
	if err != nil {
		return err
	}
	c := s.calls[v.ID]
	if c == nil {
		return wire.Broken("log of call %d, which is over", v.ID)
	}
	c.log.Add(l.Level, l.Text)
	if c.log.Dropped() > 0 { // the worker has counted in the same way
		return wire.Broken("more log than call %d may have", v.ID)
	}
	return nil
}

// takeHostCall has a host function answered. A guest waits for one at a time.
func (s *session) takeHostCall(v wire.Value) error {
	hc, err := wire.DecodeHostCall(v.Method, v.Body)
	if err != nil {
		return err
	}
	c := s.calls[v.ID]
	switch {
	case c == nil:
		return wire.Broken("host call of call %d, which is over", v.ID)
	case c.host == nil:
		return wire.Broken("host call of call %d, which has none", v.ID)
	case c.asking:
		return wire.Broken("two host calls at once of call %d", v.ID)
	case c.hostCalls >= s.src.Limits.HostCalls:
		return wire.Broken("more than %d host calls of call %d", s.src.Limits.HostCalls, v.ID)
	}
	c.asking = true
	c.hostCalls++
	s.work.Add(1)
	c.work.Add(1)
	go func() {
		defer s.work.Done()
		defer c.work.Done()
		s.answer(c, hc)
	}()
	return nil
}

// answer runs a host function and sends what it gives.
func (s *session) answer(c *call, hc vmhost.HostCall) {
	out, err := c.host(c.ctx, hc)
	if err == nil {
		err = checkAnswer(hc, out)
	}
	s.mu.Lock()
	c.asking = false
	var guest *vmhost.GuestError
	isGuest := errors.As(err, &guest)
	if err != nil && !isGuest {
		c.hostErr = err
	}
	s.mu.Unlock()
	// Errors of writing mean that the cell is dead, which its reader sees.
	switch {
	case err == nil:
		_ = s.w.Write(wire.OpHostResult, wire.OutcomeResult, c.id, out)
	case isGuest:
		_ = s.w.Write(wire.OpHostResult, wire.OutcomeError, c.id, wire.AppendGuestError(nil, guest))
	default:
		_ = s.w.Write(wire.OpHostResult, wire.OutcomeFailed, c.id)
	}
}

// checkAnswer holds a host function to the rules. What the worker's engine would
// not take is found here, where the reason can be told.
func checkAnswer(hc vmhost.HostCall, out []byte) error {
	switch {
	case len(out) > wire.MaxHostResult:
		return &vmhost.GuestError{Code: "too-large", Message: fmt.Sprintf("the answer has %d bytes, the most is %d", len(out), wire.MaxHostResult)}
	case hc.Func == "search" && !utf8.Valid(out):
		return errors.New("host function search: the answer is not UTF-8")
	case hc.Func != "search" && len(out)%4 != 0:
		return fmt.Errorf("host function %s: %d bytes are no list of float32", hc.Func, len(out))
	default:
		return nil
	}
}

// finish ends a call. The caller holds mu.
func (s *session) finish(id uint32, o outcome) error {
	c := s.calls[id]
	if c == nil {
		return wire.Broken("a second end of call %d", id)
	}
	if errors.Is(o.err, wire.ErrHostFailed) {
		if c.hostErr == nil {
			return wire.Broken("call %d blames a host function that did not fail", id)
		}
		o.err = c.hostErr
	}
	delete(s.calls, id)
	c.outcome = o
	close(c.done)
	return nil
}
