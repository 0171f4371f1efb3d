// Package lies is a worker that has been taken over by its guest and lies to
// its host: about who it is talking for, how much, how fast and what. The same
// lies are told over a pipe in memory and, by the command internal/liar, out of
// a real jail. It is for tests and is shipped nowhere.
package lies

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// Echo is the capability of a call that is answered honestly.
const Echo = "echo"

// Worker is the end of the wire that lies.
type Worker struct {
	conn io.ReadWriter
	r    *wire.Reader
	w    *wire.Writer
	gone <-chan struct{}
}

// Serve plays a worker whose seal is closed: hello, set-up, compilation and load as
// they should be, unless the module's text names one of [Loads]; then each call is
// answered by the lie of [Calls] that its capability names. It returns when the
// wire ends, or gone is closed while it plays dead.
func Serve(conn io.ReadWriter, hello wire.Hello, gone <-chan struct{}) error {
	w := &Worker{conn: conn, w: wire.NewWriter(conn), gone: gone}
	w.r = wire.NewReader(conn, func(wire.Op, uint32) int64 { return 1 << 30 })
	if err := w.w.Write(wire.OpHello, 0, 0, hello.Append(nil)); err != nil {
		return err
	}
	calls, loads := Calls(), Loads()
	for {
		v, err := w.r.Next()
		if err != nil {
			return err
		}
		switch v.Op {
		case wire.OpPing:
			_ = w.w.Write(wire.OpPong, 0, v.ID, v.Body)
		case wire.OpQuit:
			return nil
		case wire.OpCompile:
			m, err := wire.DecodeCompile(v.Body)
			if err != nil {
				return err
			}
			name := "wazero-lies/" + strings.Repeat("0f", 32)
			code := "code of " + string(m.Module)
			a := vmhost.Artifact{Name: name, Header: []byte("h"), Module: m.Module}
			w.put(wire.OpArtifact, 0, 0, string(wire.AppendArtifact(nil, a))+code)
		case wire.OpLoad:
			m, err := wire.DecodeLoad(v.Body)
			if err != nil {
				return err
			}
			if lie, ok := loads[string(m.Module)]; ok {
				lie(w)
			} else {
				_ = w.w.Write(wire.OpLoaded, 0, v.ID)
			}
		case wire.OpCall:
			m, err := wire.DecodeCall(v.Body)
			if err != nil {
				return err
			}
			lie, ok := calls[m.Capability]
			if !ok {
				return fmt.Errorf("no lie %q", m.Capability)
			}
			lie(w, v.ID, m)
		}
	}
}

// Call is how a worker answers a call.
type Call = func(w *Worker, id uint32, m wire.Call)

// put writes a value, right or wrong. Nobody is told of errors: the host may
// have ended the cell already.
func (w *Worker) put(op wire.Op, method uint16, id uint32, body string) {
	_ = w.w.Write(op, method, id, []byte(body))
}

// raw writes a frame past all rules: length is what its header says.
func (w *Worker) raw(length uint32, op wire.Op, flags byte, method uint16, id uint32, body string) {
	_, _ = io.WriteString(w.conn, Header(length, op, flags, method, id)+body)
}

// half writes the first frame of a value that goes on.
func (w *Worker) half(op wire.Op, method uint16, id uint32, length int) {
	w.raw(uint32(length), op, More, method, id, strings.Repeat("x", length))
}

// result answers a call as it should be.
func (w *Worker) result(id uint32, output string) {
	w.put(wire.OpResult, 0, id, string(wire.Result{}.Append(nil))+output)
}

func (w *Worker) fault(id uint32, err error) {
	method, body := wire.Fault{Err: err}.Encode()
	w.put(wire.OpError, method, id, string(body))
}

// stall neither reads nor writes, for longer than any test.
func (w *Worker) stall() {
	select {
	case <-w.gone:
	case <-time.After(time.Hour):
	}
}

// More is the flag of a frame whose value goes on.
const More = 1

// Header is the header of a frame, right or wrong.
func Header(length uint32, op wire.Op, flags byte, method uint16, id uint32) string {
	return string([]byte{
		byte(length), byte(length >> 8), byte(length >> 16), byte(length >> 24), byte(op), flags,
		byte(method), byte(method >> 8), byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24),
	})
}

// page is the shortest length of a frame that goes on.
const page = 4 << 10

// hostCall is the body of a host call without text.
var hostCall = strings.Repeat("\x00", 12)

// Loads are the lies about a load, by the module's text.
func Loads() map[string]func(*Worker) {
	return map[string]func(*Worker){
		// That the module is at fault in a way that modules cannot be.
		"busy":     func(w *Worker) { w.fault(0, vmhost.ErrBusy) },
		"deadline": func(w *Worker) { w.fault(0, vmhost.ErrDeadline) },
		// An end of the load that has begun before another one, and ends after.
		"half-fault": func(w *Worker) {
			w.half(wire.OpError, 2, 0, page)
			w.put(wire.OpLoaded, 0, 0, "")
			w.raw(0, wire.OpError, 0, 2, 0, "")
		},
		"loaded-and-failed": func(w *Worker) {
			w.put(wire.OpLoaded, 0, 0, "")
			w.fault(0, vmhost.ErrTrapped)
		},
		"result-for-load": func(w *Worker) { w.result(0, "") },
		"not-loaded":      func(w *Worker) { w.stall() },
	}
}

// Calls are the lies about a call, by its capability.
func Calls() map[string]Call {
	all := map[string]Call{Echo: func(w *Worker, id uint32, m wire.Call) { w.result(id, string(m.Input)) }}
	for _, more := range []map[string]Call{floods(), stalls(), impostures(), nonsense()} {
		for name, lie := range more {
			all[name] = lie
		}
	}
	return all
}

// floods say too much.
func floods() map[string]Call {
	return map[string]Call{
		"never-ending": func(w *Worker, id uint32, _ wire.Call) {
			for range 1 << 12 {
				w.half(wire.OpResult, 0, id, 16*page)
			}
		},
		"single-bytes": func(w *Worker, id uint32, _ wire.Call) {
			for range 1 << 12 {
				w.half(wire.OpResult, 0, id, 1)
			}
		},
		"log-bytes": func(w *Worker, id uint32, _ wire.Call) {
			for range 1 << 14 {
				w.put(wire.OpLog, 1, id, strings.Repeat("l", page))
			}
		},
		"log-count": func(w *Worker, id uint32, _ wire.Call) {
			for range 1 << 14 {
				w.put(wire.OpLog, 1, id, "")
			}
		},
		"host-calls-at-once": func(w *Worker, id uint32, _ wire.Call) {
			for range 1 << 10 {
				w.put(wire.OpHostCall, wire.FuncSearch, id, hostCall)
			}
		},
		"host-calls-over-budget": func(w *Worker, id uint32, _ wire.Call) {
			for range 1 << 10 {
				w.put(wire.OpHostCall, wire.FuncSearch, id, hostCall)
				if _, err := w.r.Next(); err != nil {
					return
				}
			}
		},
		"pongs": func(w *Worker, _ uint32, _ wire.Call) {
			for n := range uint32(1 << 10) {
				w.put(wire.OpPong, 0, n, "12345678")
			}
		},
		"half-values": func(w *Worker, id uint32, _ wire.Call) {
			for n := range uint32(1 << 10) {
				w.half(wire.OpLog, 1, id+n, page)
			}
		},
		"wide-log":        func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpLog, 1, id, strings.Repeat("l", page+1)) },
		"output-over-cap": func(w *Worker, id uint32, m wire.Call) { w.result(id, string(m.Input)+strings.Repeat("o", 9<<20)) },
	}
}

// stalls take their time, or do not read.
func stalls() map[string]Call {
	return map[string]Call{
		"silent":     func(w *Worker, _ uint32, _ wire.Call) { w.stall() },
		"half-frame": func(w *Worker, id uint32, _ wire.Call) { w.raw(100, wire.OpResult, 0, 0, id, "x"); w.stall() },
		"byte-by-byte": func(w *Worker, id uint32, _ wire.Call) {
			for _, b := range []byte(Header(100, wire.OpResult, 0, 0, id) + strings.Repeat("x", 100)) {
				if _, err := w.conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		},
		"does-not-read": func(w *Worker, id uint32, m wire.Call) {
			// The host's next value for the call does not fit into the socket.
			w.put(wire.OpHostCall, wire.FuncSearch, id, hostCall)
			w.stall()
		},
		"answers-without-reading": func(w *Worker, id uint32, _ wire.Call) {
			w.put(wire.OpHostCall, wire.FuncSearch, id, hostCall)
			time.Sleep(50 * time.Millisecond)
			w.result(id, "early")
			w.stall()
		},
		"fails-without-reading": func(w *Worker, id uint32, _ wire.Call) {
			w.put(wire.OpHostCall, wire.FuncSearch, id, hostCall)
			w.fault(id, vmhost.ErrTrapped)
			w.stall()
		},
		"after-cancel": func(w *Worker, id uint32, _ wire.Call) {
			if v, err := w.r.Next(); err == nil && v.Op == wire.OpCancel {
				w.result(id, "late")
			}
		},
	}
}

// impostures speak for somebody else.
func impostures() map[string]Call {
	return map[string]Call{
		"next-id":       func(w *Worker, id uint32, _ wire.Call) { w.result(id+1, "for another") },
		"far-id":        func(w *Worker, _ uint32, _ wire.Call) { w.result(1<<32-1, "for another") },
		"id-zero":       func(w *Worker, _ uint32, _ wire.Call) { w.result(0, "for nobody") },
		"log-of-other":  func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpLog, 1, id+1, "x") },
		"call-of-other": func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpHostCall, wire.FuncSearch, id+1, hostCall) },
		"result-twice":  func(w *Worker, id uint32, _ wire.Call) { w.result(id, "once"); w.result(id, "twice") },
		"result-after-fault": func(w *Worker, id uint32, _ wire.Call) {
			w.fault(id, vmhost.ErrTrapped)
			w.result(id, "after all")
		},
		"result-over-half-log": func(w *Worker, id uint32, _ wire.Call) {
			w.half(wire.OpLog, 1, id, page)
			w.result(id, "")
		},
		"loaded-again": func(w *Worker, _ uint32, _ wire.Call) { w.put(wire.OpLoaded, 0, 0, "") },
		"hello-again": func(w *Worker, _ uint32, _ wire.Call) {
			w.put(wire.OpHello, 0, 0, string(wire.Hello{Version: wire.Version}.Append(nil)))
		},
		"fails-by-load": func(w *Worker, _ uint32, _ wire.Call) { w.fault(0, vmhost.ErrTrapped) },
		"blames-host":   func(w *Worker, id uint32, _ wire.Call) { w.fault(id, wire.ErrHostFailed) },
		"as-the-host":   func(w *Worker, id uint32, m wire.Call) { w.put(wire.OpCall, 0, id, string(m.Append(nil))) },
		"host-answers":  func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpHostResult, wire.OutcomeResult, id, "x") },
	}
}

// nonsense is no language.
func nonsense() map[string]Call {
	lie := int64(-1) << 62
	return map[string]Call{
		"huge-frame":    func(w *Worker, id uint32, _ wire.Call) { w.raw(1<<32-1, wire.OpResult, 0, 0, id, "") },
		"unknown-op":    func(w *Worker, id uint32, _ wire.Call) { w.raw(0, 255, 0, 0, id, "") },
		"unknown-flag":  func(w *Worker, id uint32, _ wire.Call) { w.raw(0, wire.OpResult, 0x80, 0, id, "") },
		"method-of-log": func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpLog, 1<<16-1, id, "x") },
		"method-of-call": func(w *Worker, id uint32, _ wire.Call) {
			w.put(wire.OpHostCall, 1<<16-1, id, hostCall)
		},
		"method-of-fault": func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpError, 1<<16-1, id, "x") },
		"short-result":    func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpResult, 0, id, "x") },
		"result-no-text":  func(w *Worker, id uint32, _ wire.Call) { w.result(id, "\xff\xfe") },
		"log-no-text":     func(w *Worker, id uint32, _ wire.Call) { w.put(wire.OpLog, 1, id, "\xff") },
		"search-no-text": func(w *Worker, id uint32, _ wire.Call) {
			w.put(wire.OpHostCall, wire.FuncSearch, id, hostCall+"\xc3")
		},
		"usage": func(w *Worker, id uint32, m wire.Call) {
			used := wire.Used{VM: time.Duration(lie), Fuel: -lie, PeakMemory: -lie, HostCalls: -lie, LogsDropped: lie}
			w.put(wire.OpResult, 0, id, string(wire.Result{Used: used}.Append(nil))+string(m.Input))
		},
		"half-header": func(w *Worker, id uint32, _ wire.Call) {
			_, _ = io.WriteString(w.conn, Header(0, wire.OpResult, 0, 0, id)[:7])
			if c, ok := w.conn.(io.Closer); ok {
				_ = c.Close()
			}
		},
	}
}

// Stalls reports whether a lie leaves its call to its deadline.
func Stalls(lie string) bool { return stalls()[lie] != nil }

// Fates are what the host makes of each lie about a call: the kinds of error of
// which the call has one. nil is a call that succeeds.
func Fates() map[string][]error {
	late := []error{vmhost.ErrDeadline}
	fates := map[string][]error{
		Echo: {nil}, "usage": {nil},
		"silent": late, "half-frame": late, "byte-by-byte": late, "does-not-read": late,
		// Answered, and the deadline only ends what the host still had to say.
		"answers-without-reading": {nil, vmhost.ErrDeadline}, "fails-without-reading": {vmhost.ErrTrapped, vmhost.ErrDeadline},
		"after-cancel": {nil, vmhost.ErrDeadline},
		"result-twice": {nil}, "result-after-fault": {vmhost.ErrTrapped}, // the first counts
	}
	for name := range Calls() {
		if fates[name] == nil {
			fates[name] = []error{vmhost.ErrCrashed}
		}
	}
	return fates
}
