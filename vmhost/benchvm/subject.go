package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// The ways of running a plugin that are compared. Each compiles once, gives
// each call fresh state, and does the same work in a call: capability and input
// lowered by the plugin's own allocator, handle, the output lifted, the plugin
// told that the call is over.
const (
	oursRestored   = "ours_restored"     // the shipped cell: metered, jailed, a VM put back between calls
	oursNew        = "ours_new_instance" // the same with a new instance for each call
	plainWazero    = "wazero"            // the engine alone, with the deadline that it offers
	unboundWazero  = "wazero_unbounded"  // the engine alone, a loop runs for ever
	extismSDK      = "extism"            // go-sdk: a new instance of a compiled plugin, with a time-out
	wasmtimeEpochs = "wasmtime"          // a new store and instance, deadline by epochs
)

// subjects are all of them, in the order in which a round goes through them.
var subjects = []string{oursRestored, oursNew, plainWazero, unboundWazero, extismSDK, wasmtimeEpochs}

// job is a plugin and what it is called with.
type job struct {
	Module     []byte
	Capability string
	Input      []byte
	Memory     int64 // cap of its linear memory, bytes
	Executable string
}

// answer is what one call gave. The fields mean nothing after the runner's next
// call unless they are copied.
type answer struct {
	output []byte
	// inner is the time in the machine: of ours what the cell says, restore or
	// instantiation and the call; of the others until the output was there.
	inner time.Duration
	// restore is the part of inner that putting a VM back took; zero unless the
	// machine tells it.
	restore time.Duration
}

// runner is a compiled plugin. Safe for concurrent use.
type runner interface {
	call(ctx context.Context) (answer, error)
	close() error
}

// limits are the caps of every call.
func (j job) limits() vmhost.Limits {
	return vmhost.Limits{Wall: 10 * time.Second, Memory: j.Memory, Input: 1 << 20, Output: 1 << 20, Logs: 64 << 10, HostCalls: 1000}
}

// open compiles a job for one of the ways.
func open(ctx context.Context, subject string, j job) (runner, error) {
	switch subject {
	case oursRestored, oursNew:
		return openCell(ctx, j, subject == oursNew)
	case plainWazero, unboundWazero:
		return openWazero(ctx, j, subject == plainWazero)
	case extismSDK:
		return openExtism(ctx, j)
	case wasmtimeEpochs:
		return openWasmtime(j)
	default:
		return nil, fmt.Errorf("no way of running plugins is called %q", subject)
	}
}
