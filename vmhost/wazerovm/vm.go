package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

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
	phaseInit  phase = iota // _initialize
	phaseLower              // cabi_realloc, before handle or inside a host function
	phaseRun                // handle
	phasePost               // cabi_post_handle
)

// vm is one call's machine: instance, memory, clock, random numbers, log.
// Nothing in it outlives the call. It belongs to the goroutine that runs the
// guest: host functions are called on the same one.
type vm struct {
	program  *program
	host     vmhost.HostFunc
	instance api.Module
	memory   *memory
	phase    phase
	clock    clock
	random   io.Reader
	log      *vmhost.LogBook
	streams  streams

	hostCalls int
	granted   int64 // fuel, see refuel
	cpu       cpuMeter
	ended     error // why a host function ended the call
}

func newVM(p *program, req vmhost.Request) *vm {
	limits := p.src.Limits
	if !p.src.Grants.Log {
		limits.Logs = 0
	}
	log := vmhost.NewLogBook(limits.Logs)
	return &vm{
		program: p,
		host:    req.Host,
		memory:  &memory{limit: limits.Memory},
		clock:   newClock(p.src.Grants.Clock && !req.Deterministic),
		random:  newRandom(req),
		log:     log,
		streams: streams{log: log},
	}
}

type vmKey struct{}

// withVM lets host functions find the VM that calls them: they are shared by
// all VMs of a program.
func withVM(ctx context.Context, v *vm) context.Context { return context.WithValue(ctx, vmKey{}, v) }

func vmOf(ctx context.Context) *vm { return ctx.Value(vmKey{}).(*vm) }

// start makes the instance and initialises it.
func (v *vm) start(ctx context.Context) error {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions() // anonymous: many at once; _initialize is called below
	instance, err := v.program.runtime.InstantiateModule(
		experimental.WithMemoryAllocator(ctx, v.memory), v.program.module, config)
	if err != nil {
		return v.fault(ctx, err)
	}
	v.instance = instance
	v.phase = phaseInit
	_, err = v.call(ctx, exportInitialize)
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
	ret, err := v.call(ctx, exportHandle, uint64(name), uint64(len(capability)), uint64(document), uint64(len(input)))
	if err != nil {
		return nil, err
	}
	output, err := liftHandle(v.memory.view(), uint32(ret), &v.program.src.Limits)
	if guest := new(vmhost.GuestError); err != nil && !errors.As(err, &guest) {
		return nil, err
	}
	v.phase = phasePost
	if _, postErr := v.call(ctx, exportPost, ret); postErr != nil {
		return nil, postErr
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
	v.phase = phaseLower
	ret, err := v.call(ctx, exportRealloc, 0, 0, uint64(align), uint64(len(b)))
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

// call runs an exported function of at most one result. A function that is not
// exported is one that need not be: nothing happens. Functions are fetched for
// each call, since one that is running must not be entered again.
func (v *vm) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	f := v.instance.ExportedFunction(name)
	if f == nil {
		return 0, nil
	}
	results, err := f.Call(ctx, args...)
	if err != nil {
		return 0, v.fault(ctx, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
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
	err := error(vmhost.ErrTrapped)
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
func (v *vm) reply(took time.Duration) vmhost.Reply {
	v.streams.flush()
	return vmhost.Reply{
		Logs: v.log.Logs(),
		Usage: vmhost.Usage{
			Tier:        vmhost.TierInProc,
			Grade:       "none",
			VM:          took,
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
