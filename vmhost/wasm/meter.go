package wasm

import (
	"fmt"
	"math"
)

// MeterVersion names the cost model and the shape of the code that [Meter]
// adds. Whatever depends on either, such as a compiled artifact or a bill,
// carries it; a change to either changes it.
const MeterVersion = "tars-meter/2"

// What a metered module imports from the host and exports to it.
const (
	MeterModule = "tars:meter/v1"

	// RefuelImport is called when the fuel is below zero. It gets the fuel,
	// a negative number, and returns the fuel to go on with; a host that
	// grants n more returns the argument + n, which should be positive. A
	// host that grants none ends the call instead of returning.
	RefuelImport = "refuel" // (i64) -> (i64)
	// OverflowImport is called when the stack that is left falls below zero.
	// A host that grants n bytes more adds them to the global [StackExport]
	// and returns; a host that grants none ends the call instead of returning.
	OverflowImport = "overflow" // () -> ()

	// FuelExport is the global that holds the fuel that is left, a mutable
	// i64, at first 0. The code of a call may take it below zero between two
	// checks, so a host that settles a call must look at it.
	FuelExport = "tars_fuel"
	// StackExport is the global that holds the bytes of stack that are left,
	// a mutable i64, at first [MeterOptions.Stack]. It is back at what it was
	// when an exported function returns, and wrong after a trap.
	StackExport = "tars_stack"
	// globalExport, with the global's index, names the guest's own mutable
	// globals.
	globalExport = "tars_global_"
)

// MeterOptions are what a module is metered with.
type MeterOptions struct {
	// Limits are those that the module was checked with.
	Limits Limits
	// Stack is how many bytes the frames of a guest's functions may take
	// together, by the estimate that the package comment describes, before
	// [OverflowImport] is called; 1 to 2^31-1.
	Stack int64
}

// Metered is a module with the meter built in.
type Metered struct {
	Module  []byte // checked with [MeteredLimits] it is accepted if the source was valid
	Version string // [MeterVersion]
	// Globals are the guest's mutable globals, exported so that a host can
	// put them back; empty when the module is not restorable.
	Globals []RestoreGlobal
	// Unrestorable says why the memory and the globals are not all the state that
	// an instance has, such as "table.set"; empty when they are, so that an
	// instance can be restored.
	Unrestorable string
	// LargestFrame is the largest stack frame of a function, bytes.
	LargestFrame int64
	// TableEntries are those that the module's tables may come to have
	// together.
	TableEntries int64
}

// RestoreGlobal is a mutable global of the guest.
type RestoreGlobal struct {
	Export string    // the name that it is exported by
	Type   ValueType // I32, I64, F32 or F64
}

// maxStack keeps frames and sums of them far from the ends of an i64.
const maxStack = math.MaxInt32

// Meter builds the meter into a module. It checks the module as [Check] does
// and refuses it for the same reasons; it refuses besides functions that take
// operands that are not there. Time is linear in the module's size; the
// result is at most about ten times as large, twice for what compilers emit.
// Safe for concurrent use.
func Meter(module []byte, options MeterOptions) (*Metered, error) {
	if options.Stack < 1 || options.Stack > maxStack {
		return nil, fmt.Errorf("meter: a stack of %d bytes: need 1 to %d", options.Stack, int64(maxStack))
	}
	limits := options.Limits
	limits.HostExports = false
	w, err := walk(module, limits)
	if err != nil {
		return nil, err
	}
	m := &meter{w: w, stack: options.Stack, fuel: uint32(len(w.globals)), left: uint32(len(w.globals)) + 1}
	if err := m.locate(); err != nil {
		return nil, err
	}
	out, err := m.module()
	if err != nil {
		return nil, err
	}
	metered := &Metered{Module: out, Version: MeterVersion, Unrestorable: m.unrestorable, LargestFrame: m.largest}
	for _, t := range w.tables {
		metered.TableEntries += int64(max(t.Min, t.Max))
	}
	if m.unrestorable == "" {
		metered.Globals = m.mutable
	}
	return metered, nil
}

// MeteredLimits returns the limits for checking what [Meter] made of a module
// that is within limits: the meter's imports and exports are allowed, and
// what the meter adds has room. What costs the engine time out of proportion
// was bounded in the source, and the meter does not add to it: its local is
// never live from one block to the next.
func MeteredLimits(limits Limits) Limits {
	const growth = 16 // times, of code, at the very most
	l := limits
	l.Allowed = make(map[string]map[string]FuncType, len(limits.Allowed)+1)
	for name, functions := range limits.Allowed {
		l.Allowed[name] = functions
	}
	l.Allowed[MeterModule] = MeterImports()
	l.HostExports = true
	l.Size = saturate(l.Size, growth)
	l.BodySize = int(min(saturate(int64(l.BodySize), growth), math.MaxInt32))
	l.Types = 2*l.Types + meterTypes
	l.Functions += meterHelpers + int(limits.Size/bulkChunk)
	l.Imports += meterImports
	l.Exports += meterGlobals + l.Globals
	l.Globals += meterGlobals
	l.Locals++
	l.TotalLocals += l.Functions
	l.Nesting += meterNesting
	l.LoopLocals, l.TotalLoopLocals = math.MaxInt64, math.MaxInt64
	return l
}

// MeterImports returns the functions that a metered module imports from
// [MeterModule].
func MeterImports() map[string]FuncType {
	return map[string]FuncType{RefuelImport: sig("I", "I"), OverflowImport: {}}
}

// saturate returns n × factor, or the largest number there is.
func saturate(n, factor int64) int64 {
	if n > math.MaxInt64/factor {
		return math.MaxInt64
	}
	return n * factor
}
