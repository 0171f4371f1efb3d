package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// Exports of a plugin's core module.
const (
	exportMemory     = "memory"
	exportInitialize = "_initialize"
	exportRealloc    = "cabi_realloc"
	exportHandle     = "handle"
	exportPost       = "cabi_post_handle"
	exportWarmUp     = "warm_up"
)

// signature is a function that a module must or may export.
type signature struct {
	name            string
	optional        bool
	params, results []api.ValueType
}

// exportedFunctions lists the functions of the plugin world.
func exportedFunctions() []signature {
	var list []signature
	for name, need := range wasm.PluginExports() {
		if need.Kind == wasm.KindFunc {
			list = append(list, signature{name, need.Optional, valueTypes(need.Type.Params), valueTypes(need.Type.Results)})
		}
	}
	return list
}

func valueTypes(types []wasm.ValueType) []api.ValueType {
	list := make([]api.ValueType, len(types))
	for i, t := range types {
		list[i] = api.ValueType(t) // both are the encoding of the binary format
	}
	return list
}

// phase is what a VM is being run for.
type phase int

const (
	phaseInit  phase = iota // _initialize, warm_up
	phaseLower              // cabi_realloc, before handle or inside a host function
	phaseRun                // handle
	phasePost               // cabi_post_handle
)

// vm is a micro-VM: what a call runs on. Before every call it is at its program's
// image, or new. It belongs to the goroutine that runs the guest; host functions
// are called on the same one, so that nobody else touches the guest's memory.
type vm struct {
	program             *program
	cores               []*core
	instance            api.Module // of the core that has the plugin's exports
	memory              *memory    // of the same
	entries             entries
	fuelLeft, stackLeft api.MutableGlobal // nil when the module is not metered
	args                [4]uint64         // arguments and results of calls; nested ones have read theirs before they write
	pages               scanner
	spoilt              bool // the guest did not return: whatever it was about, it is not restored
	callState
}

// core is one core instance of a VM.
type core struct {
	module  api.Module
	memory  *memory             // nil if it uses another's
	globals []api.MutableGlobal // that an image has the values of
}

// entries are the exported functions, looked up once. One that is running must
// not be entered again, so that a host function has an allocator of its own.
type entries struct {
	handle, realloc, reenter, post, warmUp api.Function // the last two are nil where there is none
}

// callState is what belongs to one call: clock, random numbers, log, counts.
type callState struct {
	host    vmhost.HostFunc
	phase   phase
	clock   clock
	random  io.Reader
	log     *vmhost.LogBook
	streams streams

	hostCalls int
	allowed   int64 // fuel
	granted   int64 // of it, see refuel
	cpu       cpuMeter
	deep      bool  // used more stack than a slice, see overflow
	ended     error // why a host function ended the call
}

// begin makes the VM ready for a call.
func (v *vm) begin(req vmhost.Request) {
	limits := v.program.src.Limits
	if !v.program.src.Grants.Log {
		limits.Logs = 0
	}
	log := vmhost.NewLogBook(limits.Logs)
	v.memory.denied = false
	v.callState = callState{
		host:    req.Host,
		allowed: limits.Fuel,
		clock:   newClock(v.program.src.Grants.Clock && !req.Deterministic),
		random:  newRandom(req),
		log:     log,
		streams: streams{log: log},
	}
	v.supply()
}

type vmKey struct{}

// withVM lets host functions find the VM that calls them: they are shared by
// all VMs of a program.
func withVM(ctx context.Context, v *vm) context.Context { return context.WithValue(ctx, vmKey{}, v) }

func vmOf(ctx context.Context) *vm { return ctx.Value(vmKey{}).(*vm) }

// instantiate makes the instance. Nothing of the guest's runs yet.
func (v *vm) instantiate(ctx context.Context) error {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions() // anonymous: many at once; _initialize is called by start
	instance, err := v.program.runtime.InstantiateModule(
		experimental.WithMemoryAllocator(ctx, v.memory), v.program.module, config)
	if err != nil {
		return v.fault(ctx, err)
	}
	v.instance = instance
	globals, err := mutableGlobals(instance, v.program.globals)
	if err != nil {
		return err
	}
	v.cores = []*core{{module: instance, memory: v.memory, globals: globals}}
	v.fuelLeft, _ = instance.ExportedGlobal(wasm.FuelExport).(api.MutableGlobal)
	v.stackLeft, _ = instance.ExportedGlobal(wasm.StackExport).(api.MutableGlobal)
	v.lookUp()
	v.supply()
	return nil
}

// lookUp fetches the exported functions. Each has a stack of its own, which
// grows and does not shrink: after a call that went deep they are fetched again.
func (v *vm) lookUp() {
	v.entries = entries{
		handle:  v.instance.ExportedFunction(exportHandle),
		realloc: v.instance.ExportedFunction(exportRealloc),
		reenter: v.instance.ExportedFunction(exportRealloc),
		post:    v.instance.ExportedFunction(exportPost),
		warmUp:  v.instance.ExportedFunction(exportWarmUp),
	}
}

// initialize runs what the module runs once, before the first call.
func (v *vm) initialize(ctx context.Context) error {
	f := v.instance.ExportedFunction(exportInitialize)
	if f == nil {
		return nil
	}
	v.phase = phaseInit
	_, err := v.call(ctx, f)
	return err
}

// handle gives the guest its two strings, runs it, and takes the result.
func (v *vm) handle(ctx context.Context, capability string, input []byte) ([]byte, error) {
	name, err := v.lower(ctx, stringAlign, []byte(capability))
	if err != nil {
		return nil, err
	}
	document, err := v.lower(ctx, stringAlign, input)
	if err != nil {
		return nil, err
	}
	v.phase = phaseRun
	ret, err := v.call(ctx, v.entries.handle, uint64(name), uint64(len(capability)), uint64(document), uint64(len(input)))
	if err != nil {
		return nil, err
	}
	output, err := liftHandle(v.memory.view(), uint32(ret), &v.program.src.Limits)
	if guest := new(vmhost.GuestError); err != nil && !errors.As(err, &guest) {
		return nil, err
	}
	if v.entries.post != nil {
		v.phase = phasePost
		if _, postErr := v.call(ctx, v.entries.post, ret); postErr != nil {
			return nil, postErr
		}
	}
	return output, err
}

// lower copies b into memory that the guest's allocator gives, and returns
// where.
func (v *vm) lower(ctx context.Context, align uint32, b []byte) (uint32, error) {
	if int64(len(b)) > v.program.src.Limits.Memory {
		return 0, fmt.Errorf("%w: to hand over", v.program.src.Limits.OverBudget(vmhost.BudgetMemory, int64(len(b))))
	}
	before := v.phase
	allocator := v.entries.realloc
	if before == phaseRun { // handle runs, and may be inside the first one
		allocator = v.entries.reenter
	}
	v.phase = phaseLower
	ret, err := v.call(ctx, allocator, 0, 0, uint64(align), uint64(len(b)))
	if err != nil {
		return 0, err
	}
	v.phase = before
	ptr := uint32(ret)
	place, err := v.memory.view().span(ptr, uint32(len(b)))
	if err != nil {
		return 0, v.trap("%s gave %v", exportRealloc, err)
	}
	if ptr%align != 0 {
		return 0, v.trap("%s gave %d, which is no multiple of %d", exportRealloc, ptr, align)
	}
	copy(place, b)
	return ptr, nil
}

// call runs an exported function of at most four parameters and one result.
func (v *vm) call(ctx context.Context, f api.Function, args ...uint64) (uint64, error) {
	copy(v.args[:], args)
	if err := f.CallWithStack(ctx, v.args[:]); err != nil {
		v.spoilt = true
		return 0, v.fault(ctx, err)
	}
	return v.args[0], nil
}

// fault says what an error of the engine means.
func (v *vm) fault(ctx context.Context, err error) error {
	var bug runtime.Error
	switch {
	case v.ended != nil:
		return v.ended
	case errors.Is(context.Cause(ctx), errClosed):
		return errClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case v.memory.err != nil:
		return fmt.Errorf("%w: map linear memory: %w", vmhost.ErrUnavailable, v.memory.err)
	case errors.As(err, &bug):
		return fmt.Errorf("%w: %w", vmhost.ErrCrashed, err)
	default:
		return v.trap("%s", strings.TrimPrefix(firstLine(err.Error()), "wasm error: "))
	}
}

// trap is the error of a guest that stopped, or left the rules. If it was
// refused memory before, then that is what it stopped for, as far as can be
// known: language runtimes answer a refusal with a trap or with proc_exit.
func (v *vm) trap(format string, args ...any) error {
	err := vmhost.ErrTrapped
	if v.memory.denied {
		err = v.program.src.Limits.OverBudget(vmhost.BudgetMemory, v.memory.asked)
	}
	return fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))
}

// end stops the guest from inside a host function: the engine unwinds it, and
// fault returns err.
func (v *vm) end(err error) {
	if v.ended == nil {
		v.ended = err
	}
	panic(v.ended)
}

// reply is what the call has to show, without its output.
func (v *vm) reply() vmhost.Reply {
	v.streams.flush()
	return vmhost.Reply{
		Logs: v.log.Logs(),
		Usage: vmhost.Usage{
			Tier:        vmhost.TierInProc,
			Grade:       "none",
			Fuel:        v.fuel(),
			CPU:         v.cpu.lap(),
			PeakMemory:  v.memory.size + v.program.tables,
			HostCalls:   v.hostCalls,
			LogsDropped: v.log.Dropped(),
		},
	}
}

// close frees the instance and its memory. It is fine on a VM that did not
// start.
func (v *vm) close() {
	if v.instance != nil {
		_ = v.instance.Close(context.Background()) // it has no resource whose close can fail
	}
	v.memory.Free() // also when instantiation failed half way
}

// firstLine returns the first line of a message, bounded: what follows are
// back-traces with names of the guest's choice.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return vmhost.CutText(s, 256)
}
