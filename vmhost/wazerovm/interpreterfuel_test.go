package wazerovm_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wasm"
)

// TestFuelOfLanguages: what the meter counts in plugins that compilers made is
// what an interpreter counts that looks at each instruction, and both give the
// same output.
func TestFuelOfLanguages(t *testing.T) {
	const document = `{"query":{"text":"restore the cluster"},"candidates":[{"index":0,"text":"Restore it, the \u00fcber cluster\n"},{"index":9,"text":"x"}]}`
	for _, language := range []string{"assemblyscript", "c", "rust", "zig"} {
		t.Run(language, func(t *testing.T) {
			module := vmhosttest.Language(t, language)
			instance, account := meteredInstance(t, module)
			reference := newInterpreter(module)
			if _, found := reference.exports["_initialize"]; found {
				reference.export("_initialize")
				callExport(t, instance, account, "_initialize")
			}
			for _, c := range [][2]string{{"echo", "a text"}, {"rank", document}, {"stress", "sort 300"}, {"stress", "hold 100"}, {"stress", "recurse 12"}, {"stress", "dive 30"}} {
				reference.used = 0
				before := account.used(instance)
				want := handleBy(c[0], c[1], func(name string, args ...uint64) uint64 { return reference.export(name, args...) },
					func(at, n uint32) []byte { return reference.memory[at:][:n] })
				got := handleBy(c[0], c[1], func(name string, args ...uint64) uint64 { return callExport(t, instance, account, name, args...) },
					func(at, n uint32) []byte {
						b, _ := instance.Memory().Read(at, n)
						return b
					})
				if got != want {
					t.Errorf("%s %q = %q, the interpreter says %q", c[0], c[1], got, want)
				}
				if used := account.used(instance) - before; used != reference.used || used == 0 {
					t.Errorf("%s %q used %d units of fuel, the interpreter counts %d", c[0], c[1], used, reference.used)
				}
				t.Logf("%s %.20q: %d units", c[0], c[1], reference.used)
			}
		})
	}
}

// meteredInstance returns an instance of a metered plugin whose imports of WASI do
// nothing and return 0.
func meteredInstance(t *testing.T, module []byte) (api.Module, *ledger) {
	t.Helper()
	info, err := wasm.Check(module, wasm.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	runtime := meterRuntime(t)
	wasi := runtime.NewHostModuleBuilder(wasm.WASIModule)
	for _, i := range info.Imports {
		zero := api.GoFunc(func(_ context.Context, stack []uint64) { clear(stack) })
		wasi.NewFunctionBuilder().WithGoFunction(zero, apiTypes(i.Type.Params), apiTypes(i.Type.Results)).Export(i.Name)
	}
	if _, err := wasi.Instantiate(t.Context()); err != nil {
		t.Fatal(err)
	}
	account := newLedger()
	instance, err := runtime.InstantiateWithConfig(withLedger(t.Context(), account), meter(t, module, wasm.DefaultLimits()).Module,
		wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	return instance, account
}

func callExport(t *testing.T, instance api.Module, account *ledger, name string, args ...uint64) uint64 {
	t.Helper()
	results, err := instance.ExportedFunction(name).Call(withLedger(t.Context(), account), args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}

// handleBy makes one call by the canonical ABI.
func handleBy(capability, input string, call func(string, ...uint64) uint64, memory func(at, n uint32) []byte) string {
	var args []uint64
	for _, s := range []string{capability, input} {
		at := call("cabi_realloc", 0, 0, 1, uint64(len(s)))
		copy(memory(uint32(at), uint32(len(s))), s)
		args = append(args, at, uint64(len(s)))
	}
	at := call("handle", args...)
	result := memory(uint32(at), 12)
	le := binary.LittleEndian
	output := string(memory(le.Uint32(result[4:]), le.Uint32(result[8:])))
	call("cabi_post_handle", at)
	return output
}
