package wazerovm_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/tars-project/tars/vmhost/wasm"
)

// reference interprets a program; ok is false if it takes too long.
func reference(p program, a, b uint32, limit int64) (m *machine, result uint32, ok bool) {
	m = newMachine(p, limit)
	defer func() {
		if r := recover(); r != nil {
			if err, _ := r.(error); !errors.Is(err, errLong) {
				panic(r)
			}
			ok = false
		}
	}()
	return m, m.call(0, a, b), true
}

// checkProgram runs a random program on the engine, metered, and by the
// reference interpreter, and returns what it used and
// whether it was run to its end.
func checkProgram(t *testing.T, seed uint64, a, b uint32) (used int64, ended bool) {
	t.Helper()
	const limit, slice = 3_000_000, 500
	p := newProgram(seed)
	module := p.encode()
	limits := openLimits(nil)
	metered := meter(t, module, limits)
	account := newLedger()
	account.limit, account.slice = limit, slice
	ctx := withLedger(t.Context(), account)
	runtime := meterRuntime(t)
	instance, err := runtime.InstantiateWithConfig(ctx, metered.Module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatalf("program %d: %v", seed, err)
	}
	defer runtime.Close(t.Context()) //nolint:errcheck // closed again with the test
	want, result, ok := reference(p, a, b, 2*limit)
	got, err := instance.ExportedFunction("run").Call(ctx, uint64(a), uint64(b))
	if !ok || want.used > limit {
		if !errors.Is(err, errFuel) {
			t.Errorf("program %d = %v, %v, want it to run out of fuel", seed, got, err)
		}
		return 0, false
	}
	if err != nil {
		if want.used+slice > limit && errors.Is(err, errFuel) {
			return 0, false // the last slice was not granted whole
		}
		t.Fatalf("program %d: %v, want %d", seed, err, result)
	}
	if uint32(got[0]) != result {
		t.Errorf("program %d = %d, want %d", seed, got[0], result)
	}
	if used := account.used(instance); used != want.used {
		t.Errorf("program %d used %d units of fuel, want %d", seed, used, want.used)
	}
	memory, _ := instance.Memory().Read(0, instance.Memory().Size())
	if !bytes.Equal(memory, want.memory) {
		t.Errorf("program %d: the memory differs from the interpreter's", seed)
	}
	for i, v := range want.globals {
		if g := instance.ExportedGlobal(string(rune('a' + i))).Get(); uint32(g) != v {
			t.Errorf("program %d: global %d = %d, want %d", seed, i, g, v)
		}
	}
	if left := instance.ExportedGlobal(wasm.StackExport).Get(); left != testStack {
		t.Errorf("program %d: %d bytes of stack are left, want %d", seed, left, testStack)
	}
	return want.used, true
}

// TestFuelIsExact: a program costs to the unit what an interpreter counts, and
// does the same.
func TestFuelIsExact(t *testing.T) {
	const programs = 400
	var ended, sliced int
	for seed := range uint64(programs) {
		used, ok := checkProgram(t, seed, uint32(seed), uint32(seed*7))
		if ok {
			ended++
		}
		if used > 1000 {
			sliced++
		}
	}
	t.Logf("%d of %d programs run to their end, %d of them in several slices", ended, programs, sliced)
	if ended < programs/2 || sliced < programs/20 {
		t.Errorf("%d of %d programs run to their end, %d in several slices, want %d and %d", ended, programs, sliced, programs/2, programs/20)
	}
}

// FuzzFuel looks for programs that cost something else than an interpreter
// counts.
func FuzzFuel(f *testing.F) {
	f.Add(uint64(1), uint32(2), uint32(3))
	f.Add(uint64(1)<<60, ^uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, seed uint64, a, b uint32) { checkProgram(t, seed, a, b) })
}
