package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// echoEngine is a driver whose programs echo, after they have asked the host.
type echoEngine struct{}

func (echoEngine) Tier() vmhost.Tier { return vmhost.TierInProc }
func (echoEngine) Grade() string     { return "none" }
func (echoEngine) Close() error      { return nil }

func (echoEngine) Load(context.Context, vmhost.Source) (vmhost.Program, error) {
	return echoProgram{}, nil
}

type echoProgram struct{}

func (echoProgram) Close() error { return nil }

func (echoProgram) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	reply := vmhost.Reply{Logs: []vmhost.Log{{Level: 1, Text: req.Capability}}}
	if req.Host == nil {
		reply.Output = req.Input
		return reply, nil
	}
	out, err := req.Host(ctx, vmhost.HostCall{Func: "search", Text: string(req.Input)})
	reply.Output = out
	return reply, err
}

// stream is a connection whose host has sent all that it will.
type stream struct {
	io.Reader
	io.Writer
}

// script writes what a host sends.
type script struct {
	bytes.Buffer
	w *wire.Writer
}

func newScript() *script {
	s := &script{}
	s.w = wire.NewWriter(&s.Buffer)
	return s
}

func (s *script) send(op wire.Op, id uint32, body ...[]byte) *script {
	_ = s.w.Write(op, 0, id, body...) // into memory
	return s
}

// opening is what a host sends to a worker that is to serve.
func opening() *script {
	setup := wire.Setup{Wall: time.Now(), Memory: 1 << 30, Procs: 2}
	load := wire.Load{Remaining: time.Minute, Digest: vmhost.DigestOf([]byte("m"))}
	return newScript().send(wire.OpSetup, 0, setup.Append(nil)).send(wire.OpLoad, 0, load.Append(nil), []byte("m"))
}

// TestServeBreaks: a host that breaks the protocol ends the worker.
func TestServeBreaks(t *testing.T) {
	setup := wire.Setup{Wall: time.Now(), Memory: 1 << 30, Procs: 2}
	stale := setup
	stale.Wall = stale.Wall.Add(-time.Hour)
	call := wire.Call{Remaining: time.Minute}.Append(nil)
	for name, s := range map[string]*script{
		"load before setup":   newScript().send(wire.OpLoad, 0, wire.Load{}.Append(nil)),
		"call before load":    newScript().send(wire.OpSetup, 0, setup.Append(nil)).send(wire.OpCall, 1, call),
		"second setup":        newScript().send(wire.OpSetup, 0, setup.Append(nil)).send(wire.OpSetup, 0, setup.Append(nil)),
		"call of no id":       opening().send(wire.OpCall, 0, call),
		"second load":         opening().send(wire.OpLoad, 0, wire.Load{}.Append(nil)),
		"no limits":           newScript().send(wire.OpSetup, 0, wire.Setup{Wall: time.Now()}.Append(nil)),
		"a clock that is off": newScript().send(wire.OpSetup, 0, stale.Append(nil)),
		"what a cell says":    newScript().send(wire.OpHello, 0),
		"malformed call":      opening().send(wire.OpCall, 1, []byte{1}),
		"cut off":             {Buffer: *bytes.NewBuffer([]byte{1, 2, 3})},
	} {
		err := newServer(stream{&s.Buffer, io.Discard}, echoEngine{}, func(wire.Setup) {}).serve()
		if err == nil {
			t.Errorf("serve(%s) = nil, want an error", name)
		}
	}
	for name, s := range map[string]*script{"nothing": newScript(), "quit": newScript().send(wire.OpQuit, 0)} {
		if err := newServer(stream{&s.Buffer, io.Discard}, echoEngine{}, func(wire.Setup) {}).serve(); err != nil {
			t.Errorf("serve(%s) = %v, want nil", name, err)
		}
	}
}

// heldEngine is a driver whose programs ask the host, and answer what it said when
// they are told to.
type heldEngine struct {
	echoEngine
	goOn chan struct{}
}

func (e heldEngine) Load(context.Context, vmhost.Source) (vmhost.Program, error) { return e, nil }

func (e heldEngine) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	out, err := req.Host(ctx, vmhost.HostCall{Func: "search"})
	<-e.goOn
	return vmhost.Reply{Output: out}, err
}

// TestAnswersAreApart: the memory of a long answer is not used for another one until
// its call is over and its result is sent.
func TestAnswersAreApart(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // a pool then gives what it was given last
	toWorker, fromHost := io.Pipe()
	toHost, fromWorker := io.Pipe()
	engine := heldEngine{goOn: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- newServer(stream{toWorker, fromWorker}, engine, func(wire.Setup) {}).serve() }()
	w := wire.NewWriter(fromHost)
	r := wire.NewReader(toHost, func(wire.Op, uint32) int64 { return 1 << 20 })
	next := func(op wire.Op) wire.Value {
		t.Helper()
		v, err := r.Next()
		if err != nil || v.Op != op {
			t.Fatalf("the worker sent %v, %v, want %v", v.Op, err, op)
		}
		return v
	}
	send := func(op wire.Op, id uint32, body []byte) {
		t.Helper()
		if err := w.Write(op, 0, id, body); err != nil {
			t.Fatalf("Write(%v): %v", op, err)
		}
	}
	if _, err := fromHost.Write(opening().Bytes()); err != nil {
		t.Fatal(err)
	}
	next(wire.OpLoaded)
	call := wire.Call{Remaining: time.Minute, Capability: "rank", HasHost: true}.Append(nil)
	for round := range 20 {
		answers := map[uint32][]byte{}
		for id := uint32(1); id <= 2; id++ {
			answers[id] = bytes.Repeat([]byte{byte(round), byte(id)}, 150<<10)
			send(wire.OpCall, id, call)
			next(wire.OpHostCall)
			send(wire.OpHostResult, id, answers[id])
			send(wire.OpPing, 0, wire.Token(1)) // the answer has been read
			next(wire.OpPong)
		}
		for range answers {
			engine.goOn <- struct{}{}
			v := next(wire.OpResult)
			if m, err := wire.DecodeResult(v.Body); err != nil || !bytes.Equal(m.Output, answers[v.ID]) {
				t.Fatalf("round %d: the result of call %d is not what its host answered (%d bytes, %v)", round, v.ID, len(m.Output), err)
			}
		}
	}
	send(wire.OpQuit, 0, nil)
	if err := <-served; err != nil {
		t.Errorf("serve = %v, want nil after quit", err)
	}
}

// TestServe: a conversation from set-up to the end.
func TestServe(t *testing.T) {
	toWorker, fromHost := io.Pipe()
	toHost, fromWorker := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- newServer(stream{toWorker, fromWorker}, echoEngine{}, func(wire.Setup) {}).serve() }()
	w := wire.NewWriter(fromHost)
	r := wire.NewReader(toHost, func(wire.Op, uint32) int64 { return 1 << 20 })
	want := func(op wire.Op, method uint16, id uint32) wire.Value {
		t.Helper()
		v, err := r.Next()
		if err != nil || v.Op != op || v.Method != method || v.ID != id {
			t.Fatalf("the worker sent %v, method %d, id %d, %v, want %v, %d, %d", v.Op, v.Method, v.ID, err, op, method, id)
		}
		return v
	}
	send := func(op wire.Op, method uint16, id uint32, body ...[]byte) {
		t.Helper()
		if err := w.Write(op, method, id, body...); err != nil {
			t.Fatalf("Write(%v): %v", op, err)
		}
	}
	if _, err := fromHost.Write(opening().Bytes()); err != nil {
		t.Fatal(err)
	}
	want(wire.OpLoaded, 0, 0)
	send(wire.OpPing, 0, 0, wire.Token(7))
	if v := want(wire.OpPong, 0, 0); !bytes.Equal(v.Body, wire.Token(7)) {
		t.Errorf("pong %x, want the ping's token", v.Body)
	}
	call := wire.Call{Remaining: time.Minute, Capability: "rank"}
	send(wire.OpCall, 0, 1, call.Append(nil), []byte("in"))
	if v := want(wire.OpLog, 1, 1); string(v.Body) != "rank" {
		t.Errorf("log %q, want rank", v.Body)
	}
	if m, err := wire.DecodeResult(want(wire.OpResult, 0, 1).Body); err != nil || string(m.Output) != "in" {
		t.Errorf("result %q, %v, want in", m.Output, err)
	}

	call.HasHost = true
	outcomes := []struct {
		outcome uint16
		body    []byte
		want    error
	}{
		{wire.OutcomeResult, []byte("found"), nil},
		{wire.OutcomeError, wire.AppendGuestError(nil, &vmhost.GuestError{Code: "c", Message: "m"}), &vmhost.GuestError{}},
		{wire.OutcomeFailed, nil, wire.ErrHostFailed},
	}
	for i, o := range outcomes {
		id := uint32(i + 2)
		send(wire.OpCall, 0, id, call.Append(nil), []byte("ask"))
		if hc, err := wire.DecodeHostCall(wire.FuncSearch, want(wire.OpHostCall, wire.FuncSearch, id).Body); err != nil || hc.Text != "ask" {
			t.Errorf("host call %+v, %v, want the text ask", hc, err)
		}
		send(wire.OpHostResult, o.outcome, id, o.body)
		want(wire.OpLog, 1, id)
		v, err := r.Next()
		switch {
		case err != nil:
			t.Fatal(err)
		case o.want == nil:
			if v.Op != wire.OpResult {
				t.Errorf("outcome %d gave %v, want a result", o.outcome, v.Op)
			}
		default:
			m, err := wire.DecodeFault(v.Method, v.Body)
			var guest *vmhost.GuestError
			if _, wantGuest := o.want.(*vmhost.GuestError); err != nil || (!errors.As(m.Err, &guest) || !wantGuest) && !errors.Is(m.Err, o.want) {
				t.Errorf("outcome %d gave %v, %v, want %T", o.outcome, m.Err, err, o.want)
			}
		}
	}

	send(wire.OpCall, 0, 9, call.Append(nil), []byte("cancelled"))
	want(wire.OpHostCall, wire.FuncSearch, 9)
	send(wire.OpCancel, 0, 9)
	want(wire.OpLog, 1, 9)
	v, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := wire.DecodeFault(v.Method, v.Body); err != nil || !errors.Is(m.Err, context.Canceled) {
		t.Errorf("a cancelled call gave %v, %v, want context.Canceled", m.Err, err)
	}
	send(wire.OpHostResult, wire.OutcomeResult, 9, []byte("too late")) // taken, and for nobody
	send(wire.OpQuit, 0, 0)
	if err := <-served; err != nil {
		t.Errorf("serve = %v, want nil after quit", err)
	}
}
