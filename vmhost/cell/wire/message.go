package wire

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
)

// Bounds of the small parts of messages, in bytes.
const (
	MaxHello      = 64
	MaxCapability = 256
	MaxFault      = 16 << 10
	// MaxHostResult bounds what a host function gives back.
	MaxHostResult = 16 << 20
	// ResultOverhead is what a Result needs besides its output, and
	// HostCallOverhead a host call besides its text.
	ResultOverhead   = 64
	HostCallOverhead = 64
)

// Hello is what a cell says when its seal is closed, before it has read
// anything of a tenant.
type Hello struct {
	Version     uint32
	Namespaces  bool          // the seal was closed inside namespaces of its own
	LandlockABI uint32        // 0: the kernel has none
	Took        time.Duration // to close the seal
}

// Append appends the encoded message to b.
func (m Hello) Append(b []byte) []byte {
	b = appendU32(b, m.Version)
	b = appendBool(b, m.Namespaces)
	b = appendU32(b, m.LandlockABI)
	return appendI64(b, int64(m.Took))
}

// DecodeHello decodes a Hello.
func DecodeHello(body []byte) (Hello, error) {
	f := fields{b: body}
	m := Hello{Version: f.u32(), Namespaces: f.bool(), LandlockABI: f.u32(), Took: time.Duration(f.i64())}
	return m, f.end("hello")
}

// Setup is the first thing that a cell is told.
type Setup struct {
	Wall    time.Time // the host's clock, to the nanosecond, for machines that have none
	Entropy [32]byte  // fresh randomness, for machines that may be copies of each other
	Memory  int64     // bytes that the cell should keep below, the guests' memory included
	Procs   int32     // threads that may run at once
}

// Append appends the encoded message to b.
func (m Setup) Append(b []byte) []byte {
	b = appendI64(b, m.Wall.UnixNano())
	b = append(b, m.Entropy[:]...)
	b = appendI64(b, m.Memory)
	return appendU32(b, uint32(m.Procs))
}

// DecodeSetup decodes a Setup.
func DecodeSetup(body []byte) (Setup, error) {
	f := fields{b: body}
	m := Setup{Wall: time.Unix(0, f.i64())}
	copy(m.Entropy[:], f.take(len(m.Entropy)))
	m.Memory, m.Procs = f.i64(), int32(f.u32())
	return m, f.end("setup")
}

// Load is a module with what it may do. Whose it is does not enter the cell.
type Load struct {
	Remaining time.Duration // time left for it
	Limits    vmhost.Limits
	Grants    vmhost.Grants
	Digest    vmhost.Digest
	Fresh     bool
	Samples   []vmhost.Sample // at most vmhost.MaxSamples; inputs not copied
	Module    []byte          // not copied
}

// Append appends the encoded message, without the module, to b. The module
// follows as the rest of the body.
func (m Load) Append(b []byte) []byte {
	b = appendI64(b, int64(m.Remaining))
	l := m.Limits
	for _, v := range [...]int64{
		int64(l.Wall), l.Memory, l.Input, l.Output, l.Logs, int64(l.HostCalls),
		l.Fuel, int64(l.CPU), l.HostBytes, int64(l.HostTime), l.Tables, l.Stack,
	} {
		b = appendI64(b, v)
	}
	g := m.Grants
	for _, v := range [...]bool{g.Search, g.Embed, g.Vectors, g.Log, g.Clock} {
		b = appendBool(b, v)
	}
	b = append(b, m.Digest[:]...)
	b = appendBool(b, m.Fresh)
	b = appendU32(b, uint32(len(m.Samples)))
	for _, s := range m.Samples {
		b = appendText(b, s.Capability, MaxCapability)
		b = append(appendU32(b, uint32(len(s.Input))), s.Input...)
	}
	return b
}

// DecodeLoad decodes a Load. Its module is part of body.
func DecodeLoad(body []byte) (Load, error) {
	f := fields{b: body}
	m := Load{Remaining: time.Duration(f.i64())}
	m.Limits = vmhost.Limits{
		Wall: time.Duration(f.i64()), Memory: f.i64(), Input: f.i64(), Output: f.i64(), Logs: f.i64(), HostCalls: int(f.i64()),
		Fuel: f.i64(), CPU: time.Duration(f.i64()), HostBytes: f.i64(), HostTime: time.Duration(f.i64()), Tables: f.i64(), Stack: f.i64(),
	}
	m.Grants = vmhost.Grants{Search: f.bool(), Embed: f.bool(), Vectors: f.bool(), Log: f.bool(), Clock: f.bool()}
	copy(m.Digest[:], f.take(len(m.Digest)))
	m.Fresh = f.bool()
	n := f.u32()
	f.bad = f.bad || n > vmhost.MaxSamples
	for i := uint32(0); i < n && !f.bad; i++ {
		s := vmhost.Sample{Capability: f.text(MaxCapability)}
		s.Input = f.take(int(f.u32()))
		m.Samples = append(m.Samples, s)
	}
	m.Module = f.rest()
	return m, f.end("load")
}

// Call is one call of the loaded module.
type Call struct {
	Remaining     time.Duration // time left for it
	HasHost       bool          // host functions are answered
	Deterministic bool
	Seed          [32]byte
	Capability    string
	Input         []byte // not copied
}

// Append appends the encoded message, without the input, to b. The input
// follows as the rest of the body.
func (m Call) Append(b []byte) []byte {
	b = appendI64(b, int64(m.Remaining))
	b = appendBool(b, m.HasHost)
	b = appendBool(b, m.Deterministic)
	b = append(b, m.Seed[:]...)
	return appendText(b, m.Capability, MaxCapability)
}

// DecodeCall decodes a Call. Its input is part of body.
func DecodeCall(body []byte) (Call, error) {
	f := fields{b: body}
	m := Call{Remaining: time.Duration(f.i64()), HasHost: f.bool(), Deterministic: f.bool()}
	copy(m.Seed[:], f.take(len(m.Seed)))
	m.Capability, m.Input = f.text(MaxCapability), f.rest()
	return m, f.end("call")
}

// Used is what a call cost, as the cell tells it: untrusted.
type Used struct {
	VM, Restore time.Duration
	CPU         time.Duration
	Fuel        int64
	PeakMemory  int64
	HostCalls   int64
	LogsDropped int64
}

func (u Used) append(b []byte) []byte {
	b = appendI64(b, int64(u.VM))
	b = appendI64(b, int64(u.Restore))
	b = appendI64(b, int64(u.CPU))
	b = appendI64(b, u.Fuel)
	b = appendI64(b, u.PeakMemory)
	b = appendI64(b, u.HostCalls)
	return appendI64(b, u.LogsDropped)
}

func (f *fields) used() Used {
	return Used{
		VM: time.Duration(f.i64()), Restore: time.Duration(f.i64()), CPU: time.Duration(f.i64()), Fuel: f.i64(),
		PeakMemory: f.i64(), HostCalls: f.i64(), LogsDropped: f.i64(),
	}
}

// Result is what a call gave.
type Result struct {
	Used   Used
	Output []byte // not copied
}

// Append appends the encoded message, without the output, to b. The output
// follows as the rest of the body.
func (m Result) Append(b []byte) []byte { return m.Used.append(b) }

// DecodeResult decodes a Result. Its output is part of body.
func DecodeResult(body []byte) (Result, error) {
	f := fields{b: body}
	m := Result{Used: f.used(), Output: f.rest()}
	return m, f.end("result")
}

// Func numbers the host functions.
type Func = uint16

// The host functions.
const (
	FuncSearch Func = iota + 1
	FuncEmbed
	FuncVectors
)

var funcNames = [...]string{FuncSearch: "search", FuncEmbed: "embed", FuncVectors: "vectors"}

// EncodeHostCall returns the method and the body, to which the text belongs as
// its rest. It reports false for a function that the wire does not know.
func EncodeHostCall(c vmhost.HostCall) (method Func, body []byte, ok bool) {
	for i, name := range funcNames {
		if name != "" && name == c.Func {
			body = appendU32(nil, c.Leg)
			body = appendU32(body, c.First)
			return Func(i), appendU32(body, c.Count), true
		}
	}
	return 0, nil, false
}

// DecodeHostCall decodes a host call. Its text is valid UTF-8.
func DecodeHostCall(method Func, body []byte) (vmhost.HostCall, error) {
	if method == 0 || int(method) >= len(funcNames) {
		return vmhost.HostCall{}, Broken("host function %d", method)
	}
	f := fields{b: body}
	c := vmhost.HostCall{Func: funcNames[method], Leg: f.u32(), First: f.u32(), Count: f.u32()}
	c.Text = f.restText()
	return c, f.end("hostcall")
}

// restText takes what is left as valid UTF-8.
func (f *fields) restText() string {
	b := f.rest()
	f.bad = f.bad || !utf8.Valid(b)
	return string(b)
}

// Outcome says how a host call ended.
type Outcome = uint16

// The outcomes of a host call.
const (
	OutcomeResult Outcome = iota // body: the result
	OutcomeError                 // body: a guest error
	OutcomeFailed                // no body: the host failed and keeps the reason; the call is over
)

// AppendGuestError appends the body of [OutcomeError] to b.
func AppendGuestError(b []byte, e *vmhost.GuestError) []byte {
	return appendText(appendText(b, e.Code, maxCode), e.Message, maxText)
}

// DecodeGuestError decodes the body of [OutcomeError].
func DecodeGuestError(body []byte) (*vmhost.GuestError, error) {
	f := fields{b: body}
	e := &vmhost.GuestError{Code: f.text(maxCode), Message: f.text(maxText)}
	return e, f.end("guest error")
}

// DecodeLog decodes a message of the guest, whose level is the frame's method.
func DecodeLog(method uint16, body []byte) (vmhost.Log, error) {
	f := fields{b: body}
	l := vmhost.Log{Level: int(method), Text: f.restText()}
	if method > 3 || len(body) > vmhost.MaxLogText {
		f.bad = true
	}
	return l, f.end("log")
}

// Token is the body of a ping, which its pong repeats.
func Token(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
