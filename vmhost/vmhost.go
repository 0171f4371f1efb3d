// Package vmhost runs untrusted WebAssembly programs: bytes in, bytes out,
// under caps that hold.
//
// A [Driver] is a kind of machine: a jailed process (vmhost/cell, the one that
// production uses), the bare engine inside the calling process
// (vmhost/wazerovm, which runs inside a cell, and in tests), or Go functions
// (vmhost/fakevm, for tests of others). A Driver holds only what differs from
// machine to machine. What is the same for all is written once, in [Host]:
// slots, deadlines, caps on what goes in and comes out, kinds of error.
//
// vmhost knows neither tenants nor vectors nor JSON. Callers name who pays by
// an opaque [Account].
package vmhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Account is who a program belongs to and who pays for its calls. Programs of
// two accounts never share a cell. The value is opaque to vmhost.
type Account string

// Digest is the SHA-256 of a module's bytes.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a module.
func DigestOf(module []byte) Digest { return sha256.Sum256(module) }

// String returns the digest as "sha256:" and 64 hexadecimal digits.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// Tier is how strongly a call was isolated, weakest first.
type Tier int

// The tiers.
const (
	TierInProc  Tier = iota // no outer sandbox: tests only
	TierProcess             // a jailed process of its own
	TierMicroVM             // a hardware virtual machine
)

// String returns "inproc", "process" or "microvm".
func (t Tier) String() string {
	switch t {
	case TierProcess:
		return "process"
	case TierMicroVM:
		return "microvm"
	default:
		return "inproc"
	}
}

// Source is a program to be loaded.
type Source struct {
	Account Account
	Module  []byte // WebAssembly that vmhost/wasm accepted; not modified, must not be modified
	Digest  Digest // of Module
	Limits  Limits
	Grants  Grants
	// AccountMemory is the most memory of all calls of the account together, as
	// in [Request], bytes; 0 means no limit at that level. A program of which not
	// one call fits is refused. A driver whose machines can be held
	// to it by the kernel does that too, by what the latest load says.
	AccountMemory int64
	// Samples are calls that are made at Load, so that what a program makes ready
	// at its first calls is part of its image. At most MaxSamples. A program that
	// does not return from one is refused.
	Samples []Sample
	// Fresh gives every call a new instance, initialised for it alone, where
	// others are put back at an image: for programs that must not start from
	// what another run of their initialisation made.
	Fresh bool
}

// MaxSamples is the most samples of a program.
const MaxSamples = 16

// Sample is a typical call of a program. It sees a fixed clock, random numbers
// that follow from the module, and no host functions.
type Sample struct {
	Capability string
	Input      []byte // a UTF-8 document within the limits
}

// Grants are the host functions that a program may import. A module that
// imports another is refused at Load. The clock is fixed and log output is
// dropped unless granted; random numbers are always fresh.
type Grants struct {
	Search, Embed, Vectors, Log, Clock bool
}

// HostFunc answers one call of a host function ("search", "embed", "vectors").
// in and the result are the function's arguments and result as documented at
// [HostCall]. A *[GuestError] goes back to the guest as the error case of the
// function's result; any other error ends the guest's call with that error.
// It is called by one goroutine at a time for each guest call and must obey
// ctx, which ends with the guest's call.
type HostFunc func(ctx context.Context, call HostCall) ([]byte, error)

// HostCall is a guest's call of a host function. Its fields come from an
// untrusted guest: Text is valid UTF-8 and within the input cap, nothing more.
type HostCall struct {
	Func string // "search", "embed" or "vectors"
	Text string // argument of search (JSON) and embed (text); the result is JSON text for search, little-endian float32s for embed
	// Leg, First and Count are the arguments of vectors; the result is
	// little-endian float32s, row after row.
	Leg, First, Count uint32
}

// Request is one call of a program.
type Request struct {
	Capability string   // what the program is called for, such as "rank"
	Input      []byte   // a UTF-8 document
	Host       HostFunc // answers host functions; nil refuses every call
	Slots      int      // most calls of the account at once; 0 means what the host allows each
	// AccountMemory is the most memory that calls of the account may have
	// reserved at once, bytes; 0 means the node's share.
	AccountMemory int64
	// Weight is the account's share of the slots against others' when calls
	// wait: twice the weight, twice the time. 0 means 1; cut at [MaxWeight].
	Weight int
	// Deterministic fixes the clock and seeds random numbers from Seed.
	Deterministic bool
	Seed          [32]byte
}

// Reply is what one call gave.
type Reply struct {
	Output []byte // the guest's own bytes: valid UTF-8 within the cap, otherwise untrusted
	Logs   []Log
	Usage  Usage
}

// Log is one message of a guest. Text is valid UTF-8, cut at 4 KiB.
type Log struct {
	Level int // 0 debug, 1 info, 2 warning, 3 error; as the guest gave it, clamped
	Text  string
}

// Usage is what one call cost.
type Usage struct {
	Tier  Tier
	Grade string        // isolation really reached, such as "jail+cgroup"; see vmhost/cell
	Queue time.Duration // waited for a slot, for memory and for a cell
	VM    time.Duration // in the VM, instantiation and host calls included
	// Restore is what of VM putting the machine back at its image took; 0 for one
	// that was thrown away.
	Restore time.Duration
	CPU     time.Duration // of the thread that ran the guest, host calls excluded; 0 where it is not measured
	Fuel    int64         // what the guest's instructions cost, by the model of vmhost/wasm
	// PeakMemory is the linear memory at the end of the call, which never
	// shrinks, and the most that the module's tables may have: bytes. What of
	// the stack was used is not known.
	PeakMemory  int64
	HostCalls   int
	HostBytes   int64         // arguments and answers of host calls
	HostTime    time.Duration // in host calls
	LogsDropped int
}

// Driver is a kind of machine that programs run on. Safe for concurrent use.
type Driver interface {
	// Tier and Grade are what a call on this driver will be isolated by.
	Tier() Tier
	Grade() string
	// Load makes a program ready for calls: validates, compiles, tries one
	// instance. It returns an error wrapping [ErrRefused] when the module
	// is at fault, [ErrUnavailable] when the machine is, or ctx's error.
	Load(ctx context.Context, src Source) (Program, error)
	// Close ends all programs and waits for them.
	Close() error
}

// Program is a loaded module. Safe for concurrent use; each call runs in a
// VM that is new or put back at the program's image, so that no other call has left
// a trace in it. A program whose machine comes and
// goes has besides a method Ready(ctx) error, which Host calls before it sets
// the deadline of a call.
type Program interface {
	// Call runs the program's handle function. The deadline of ctx is the
	// wall-clock limit: Host has set it. Errors are those of package
	// vmhost, the error with which req.Host ended the call, or ctx's. Logs
	// and Usage of the reply are filled in also with an error, as far as
	// they are known. req.Host is not called once Call has returned.
	Call(ctx context.Context, req Request) (Reply, error)
	// Close ends the program. Calls under way fail.
	Close() error
}
