package wazerovm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

const (
	// fuelSlice is what a guest is granted at a time: about a millisecond of
	// work. At the end of each the guest is in Go's hands for a moment, so that
	// a deadline is kept and the garbage collector gets its turn.
	fuelSlice = 1_000_000
	// tableEntry is what the engine keeps of a table for an entry, in bytes.
	tableEntry = 8
	// stackSlice is how much of its stack a call may use unseen. The engine's
	// stacks grow and never shrink, so that those of a call that used more are
	// given up after it.
	stackSlice = 256 << 10
)

// metered builds the meter into the module of src. The host has checked it with
// the caps of the node; here, inside the cell, it is checked again.
func metered(src vmhost.Source) (*wasm.Metered, error) {
	limits := wasm.DefaultLimits()
	limits.Size = max(limits.Size, int64(len(src.Module)))
	limits.MemoryPages = uint32(src.Limits.Memory / pageSize)
	m, err := wasm.Meter(src.Module, wasm.MeterOptions{Limits: limits, Stack: min(stackSlice, src.Limits.Stack)})
	var bad *wasm.Error
	if errors.As(err, &bad) {
		return nil, &vmhost.RefusedError{Section: bad.Section, Offset: bad.Offset, Detail: bad.Detail}
	}
	if err != nil {
		return nil, refuse("%s", err)
	}
	if need := m.TableEntries * tableEntry; need > src.Limits.Tables {
		return nil, refuse("the tables may need %d bytes, at most %d are allowed", need, src.Limits.Tables)
	}
	return m, nil
}

// meterFunctions are what the meter in a guest calls.
func meterFunctions() map[string]hostFunction {
	return map[string]hostFunction{wasm.RefuelImport: refuel, wasm.OverflowImport: overflow}
}

// refuel grants the next slice, or ends the guest whose time, processor time or
// fuel is over. What the guest's code was charged before it asked counts: of a
// limit of n it is ended when it owes more than n, to the unit.
func refuel(ctx context.Context, v *vm, stack []uint64) {
	v.endIfDone(ctx)
	limits := &v.program.src.Limits
	// A guest has one processor: a limit that is not below the wall clock's says
	// nothing, and must not be told in its place.
	if used := v.cpu.lap(); used > limits.CPU && limits.CPU < limits.Wall {
		v.end(limits.OverBudget(vmhost.BudgetCPU, used.Microseconds()))
	}
	left := int64(stack[0]) // below zero
	grant := min(max(fuelSlice, fuelSlice-left), v.allowed-v.granted)
	if left+grant < 0 {
		v.end(limits.OverBudget(vmhost.BudgetFuel, v.granted-left))
	}
	v.granted += grant
	stack[0] = uint64(left + grant)
}

// overflow grants the rest of the stack, once, or ends a guest that used it up.
func overflow(_ context.Context, v *vm, _ []uint64) {
	if !v.deep {
		v.deep = true
		stack := v.program.src.Limits.Stack
		left := int64(v.stackLeft.Get()) + stack - min(stackSlice, stack)
		v.stackLeft.Set(uint64(left))
		if left >= 0 {
			return
		}
	}
	v.end(fmt.Errorf("%w: stack overflow", vmhost.ErrTrapped))
}

// supply gives the guest what a call begins with.
func (v *vm) supply() {
	if v.fuelLeft == nil {
		return // not instantiated yet, or not metered: a test's
	}
	v.granted = min(fuelSlice, v.allowed)
	v.fuelLeft.Set(uint64(v.granted))
	v.stackLeft.Set(uint64(min(stackSlice, v.program.src.Limits.Stack)))
}

// fuel is what the guest has used so far.
func (v *vm) fuel() int64 {
	if v.fuelLeft == nil {
		return 0
	}
	return v.granted - int64(v.fuelLeft.Get())
}
