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
//
// It bounds what a cell makes the host keep. For each call under way, of which
// there are at most Options.CallsPerCell, the host may hold
//
//   - one result and one fault half there: Limits.Output and wire.MaxFault,
//   - one log message half there and the log so far: vmhost.MaxLogText and
//     Limits.Logs,
//   - three host calls, half there, waiting and being answered: Limits.Input
//     each, and the one answer: wire.MaxHostResult,
//
// and besides, for the cell, a frame and the buffers of the wire. Nothing stays
// when a call ends: an id ends with its call, a value that is half there then
// breaks the protocol.
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
	for {
		v, err := s.r.Next()
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
	switch v.Op {
	case wire.OpHello:
		return s.takeHello(v)
	case wire.OpPong:
		return s.takePong()
	case wire.OpLoaded:
		return s.finishLoad(nil)
	case wire.OpError:
		m, err := wire.DecodeFault(v.Method, v.Body)
		if err != nil {
			return err
		}
		if v.ID == 0 {
			return s.finishLoad(m.Err)
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

func (s *session) takeHello(v wire.Value) error {
	h, err := wire.DecodeHello(v.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hailed || v.ID != 0 {
		return wire.Broken("a second hello, or one of call %d", v.ID)
	}
	s.hailed = true
	s.hello <- h
	return nil
}

func (s *session) takePong() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pong == nil {
		return wire.Broken("a pong without a ping")
	}
	s.pong <- struct{}{}
	s.pong = nil
	return nil
}

// finishLoad ends the load with what the worker said of it.
func (s *session) finishLoad(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.loaded == nil:
		return wire.Broken("a second end of the load")
	case s.r.Unfinished(0):
		return wire.Broken("an end of the load inside another value of it")
	}
	s.loaded <- err
	s.loaded = nil
	return nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
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

// takeHostCall has a host function answered. A guest waits for one at a time;
// that its worker has read the answer before the host knows that it was sent is
// no fault, so that one more may wait.
func (s *session) takeHostCall(v wire.Value) error {
	hc, err := wire.DecodeHostCall(v.Method, v.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[v.ID]
	switch {
	case c == nil:
		return wire.Broken("host call of call %d, which is over", v.ID)
	case c.host == nil:
		return wire.Broken("host call of call %d, which has none", v.ID)
	case c.hostCalls >= s.src.Limits.HostCalls:
		return wire.Broken("more than %d host calls of call %d", s.src.Limits.HostCalls, v.ID)
	}
	if c.asks == nil {
		c.asks = make(chan vmhost.HostCall, 1)
		s.work.Add(1)
		c.work.Add(1)
		go s.answerAll(c, c.asks)
	}
	select {
	case c.asks <- hc:
		c.hostCalls++
		return nil
	default:
		return wire.Broken("host calls of call %d that do not wait for their answers", v.ID)
	}
}

// answerAll answers the host calls of a call, one after the other, until the
// call is over.
func (s *session) answerAll(c *call, asks <-chan vmhost.HostCall) {
	defer s.work.Done()
	defer c.work.Done()
	for hc := range asks {
		if c.ctx.Err() == nil {
			s.answer(c, hc)
		}
	}
}

// answer runs a host function and sends what it gives.
func (s *session) answer(c *call, hc vmhost.HostCall) {
	out, err := c.host(c.ctx, hc)
	if err == nil {
		err = checkAnswer(hc, out)
	}
	var guest *vmhost.GuestError
	isGuest := errors.As(err, &guest)
	if err != nil && !isGuest {
		s.mu.Lock()
		c.hostErr = err
		s.mu.Unlock()
	}
	switch {
	case err == nil:
		s.send(c, wire.OpHostResult, wire.OutcomeResult, out)
	case isGuest:
		s.send(c, wire.OpHostResult, wire.OutcomeError, wire.AppendGuestError(nil, guest))
	default:
		s.send(c, wire.OpHostResult, wire.OutcomeFailed)
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

// finish ends a call.
func (s *session) finish(id uint32, o outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	if c == nil {
		return wire.Broken("a second end of call %d", id)
	}
	if s.r.Unfinished(id) {
		return wire.Broken("the end of call %d inside another value of it", id)
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
