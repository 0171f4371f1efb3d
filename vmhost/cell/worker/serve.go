package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// Bounds on what the host sends, which has its own, smaller ones.
const (
	maxValue = 1 << 30 // bytes of a module or an input
	maxCalls = 1024    // at once
)

// server answers one host. Its read loop never waits for a guest.
type server struct {
	r      *wire.Reader
	w      *wire.Writer
	engine vmhost.Driver
	fit    func(wire.Setup) // fits the process to what it is for
	folder string           // of compiled code; empty without one
	tasks  map[string]Task

	ready bool // set up; of the read loop

	mu      sync.Mutex
	loading bool           // a load or a task was asked for; there is one in a cell's life
	program vmhost.Program // nil until loaded
	calls   map[uint32]*call
}

// call is a call under way.
type call struct {
	cancel  context.CancelFunc
	answers chan wire.Value // of host calls; one is asked at a time
	asking  atomic.Bool     // an answer is to come
	answer  []byte          // the last one, which the engine may use until it asks again or its call is over; of its goroutine
}

func newServer(conn io.ReadWriter, engine vmhost.Driver, fit func(wire.Setup)) *server {
	s := &server{w: wire.NewWriter(conn), engine: engine, fit: fit, calls: make(map[uint32]*call)}
	s.r = wire.NewReader(conn, s.bound)
	return s
}

// bound implements [wire.Bound].
func (s *server) bound(op wire.Op, _ uint32) int64 {
	switch op {
	case wire.OpSetup:
		return 256
	case wire.OpLoad, wire.OpCall, wire.OpTask:
		return maxValue
	case wire.OpHostResult: // also for a call that has just ended
		return wire.MaxHostResult
	case wire.OpCancel, wire.OpQuit:
		return 0
	case wire.OpPing:
		return 8
	default:
		return -1
	}
}

// serve obeys the host until it says so, is gone (both nil), or breaks the
// protocol.
func (s *server) serve() error {
	for {
		v, err := s.r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if v.Op == wire.OpQuit {
			return nil
		}
		if err := s.obey(v); err != nil {
			fmt.Fprintln(os.Stderr, "tars cell:", err)
			return err
		}
	}
}

func (s *server) obey(v wire.Value) error {
	switch v.Op {
	case wire.OpSetup:
		m, err := wire.DecodeSetup(v.Body)
		if err != nil {
			return err
		}
		if s.ready {
			return wire.Broken("a second setup")
		}
		if err := checkSetUp(m); err != nil {
			return err
		}
		s.ready = true
		s.fit(m)
		return nil
	case wire.OpLoad:
		m, err := wire.DecodeLoad(v.Body)
		if err != nil {
			return err
		}
		if !s.ready || s.loading {
			return wire.Broken("load before setup, or a second one")
		}
		s.loading = true
		go s.load(v.ID, m)
		return nil
	case wire.OpTask:
		m, err := wire.DecodeTask(v.Body)
		if err != nil {
			return err
		}
		if !s.ready || s.loading {
			return wire.Broken("a task before setup, or beside a load or another task")
		}
		s.loading = true
		go s.task(v.ID, m)
		return nil
	case wire.OpCall:
		m, err := wire.DecodeCall(v.Body)
		if err != nil {
			return err
		}
		return s.start(v.ID, m)
	case wire.OpCancel:
		if c := s.find(v.ID); c != nil { // it may just have ended
			c.cancel()
		}
		return nil
	case wire.OpHostResult:
		if c := s.find(v.ID); c != nil {
			if !c.asking.CompareAndSwap(true, false) {
				return wire.Broken("an answer that nobody asked for")
			}
			select {
			case c.answers <- v:
			default: // the one before came when its guest had gone
			}
		}
		return nil
	case wire.OpPing:
		return s.w.Write(wire.OpPong, 0, v.ID, v.Body)
	default:
		return wire.Broken("%v from the host", v.Op)
	}
}

func (s *server) find(id uint32) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[id]
}

// load loads the module and says how it went. The host, not the context, ends
// a load that takes too long.
func (s *server) load(id uint32, m wire.Load) {
	ctx, cancel := context.WithTimeout(context.Background(), m.Remaining)
	defer cancel()
	program, err := s.make(ctx, m)
	if err != nil {
		s.fail(id, wire.Used{}, err)
		return
	}
	s.mu.Lock()
	s.program = program
	s.mu.Unlock()
	_ = s.w.Write(wire.OpLoaded, 0, id)
	time.AfterFunc(settleAfter, debug.FreeOSMemory) // loading leaves much behind, and most cells then wait
}

// settleAfter is how long after its load a cell gives back the memory that it took.
// Before, it would take its first callers' time.
const settleAfter = 500 * time.Millisecond

// make makes the program of a load.
func (s *server) make(ctx context.Context, m wire.Load) (vmhost.Program, error) {
	src := vmhost.Source{
		Module: m.Module, Digest: m.Digest, Limits: m.Limits, Grants: m.Grants, Samples: m.Samples, Fresh: m.Fresh,
	}
	if len(m.Header) > 0 {
		return loadCompiled(ctx, s.engine, src, m.Header, s.folder)
	}
	if err := checkDigest(m.Module, m.Digest); err != nil {
		return nil, err
	}
	return s.engine.Load(ctx, src)
}

// checkDigest finds a host that mixes up its modules.
func checkDigest(module []byte, want vmhost.Digest) error {
	if got := vmhost.DigestOf(module); got != want {
		return fmt.Errorf("%w: the module's digest is %v, not %v", vmhost.ErrUnavailable, got, want)
	}
	return nil
}

// start begins a call.
func (s *server) start(id uint32, m wire.Call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.program == nil {
		return wire.Broken("call before the program is loaded")
	}
	if id == 0 || s.calls[id] != nil || len(s.calls) >= maxCalls {
		return wire.Broken("call %d twice, or of no id, or beside %d others", id, len(s.calls))
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.Remaining)
	c := &call{cancel: cancel, answers: make(chan wire.Value, 1)}
	s.calls[id] = c
	go s.run(ctx, id, c, m)
	return nil
}

// run calls the guest and sends what it gave. Errors of writing are not looked
// at: the host is gone, and the read loop sees it.
func (s *server) run(ctx context.Context, id uint32, c *call, m wire.Call) {
	defer c.cancel()
	defer func() { s.r.Recycle(c.answer) }() // when the result, which may be in it, is written
	req := vmhost.Request{Capability: m.Capability, Input: m.Input, Deterministic: m.Deterministic, Seed: m.Seed}
	if m.HasHost {
		req.Host = func(ctx context.Context, hc vmhost.HostCall) ([]byte, error) { return s.askHost(ctx, id, c, hc) }
	}
	reply, err := s.program.Call(ctx, req)

	// From here on no answer belongs to the call, and the host may use
	// the id again as soon as it has the result.
	s.mu.Lock()
	delete(s.calls, id)
	s.mu.Unlock()
	for _, l := range reply.Logs {
		_ = s.w.Queue(wire.OpLog, uint16(l.Level), id, []byte(l.Text))
	}
	used := wire.Used{
		VM: reply.Usage.VM, Restore: reply.Usage.Restore, CPU: reply.Usage.CPU,
		Fuel: reply.Usage.Fuel, PeakMemory: reply.Usage.PeakMemory,
		HostCalls: int64(reply.Usage.HostCalls), LogsDropped: int64(reply.Usage.LogsDropped),
	}
	if err != nil {
		s.fail(id, used, err)
		return
	}
	_ = s.w.Write(wire.OpResult, 0, id, wire.Result{Used: used}.Append(nil), reply.Output)
}

func (s *server) fail(id uint32, used wire.Used, err error) {
	method, body := wire.Fault{Used: used, Err: err}.Encode()
	_ = s.w.Write(wire.OpError, method, id, body)
}

// askHost has a host function answered by the host.
func (s *server) askHost(ctx context.Context, id uint32, c *call, hc vmhost.HostCall) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	method, body, ok := wire.EncodeHostCall(hc)
	if !ok {
		return nil, fmt.Errorf("%w: host function %q", vmhost.ErrTrapped, hc.Func)
	}
	s.r.Recycle(c.answer)
	c.answer = nil
	c.asking.Store(true)
	if err := s.w.Write(wire.OpHostCall, method, id, body, []byte(hc.Text)); err != nil {
		return nil, fmt.Errorf("ask the host: %w", err)
	}
	select {
	case v := <-c.answers:
		switch v.Method {
		case wire.OutcomeResult:
			c.answer = v.Body
			return v.Body, nil
		case wire.OutcomeError:
			guest, err := wire.DecodeGuestError(v.Body)
			if err != nil {
				return nil, err
			}
			return nil, guest
		default:
			return nil, wire.ErrHostFailed
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
