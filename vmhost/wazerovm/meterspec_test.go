package wazerovm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost/wasm"
)

// engineFolder returns where the engine's source is in the module cache; its
// tests hold the specification's as modules.
func engineFolder(tb testing.TB) string {
	tb.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero")
	dir, err := list.Output()
	if err != nil {
		tb.Fatalf("go list: %v", err)
	}
	return strings.TrimSpace(string(dir))
}

// openLimits accepts what is not about plugins: any import of a function that
// the engine found, no exports needed.
func openLimits(module wazero.CompiledModule) wasm.Limits {
	limits := wasm.DefaultLimits()
	limits.Required = nil
	limits.Allowed = make(map[string]map[string]wasm.FuncType)
	limits.MemoryPages, limits.TableEntries = 1<<16, math.MaxUint32
	limits.Imports, limits.Locals = 1<<10, 1<<20
	if module == nil {
		return limits
	}
	for _, f := range module.ImportedFunctions() {
		from, name, _ := f.Import()
		if limits.Allowed[from] == nil {
			limits.Allowed[from] = make(map[string]wasm.FuncType)
		}
		limits.Allowed[from][name] = wasm.FuncType{Params: wasmTypes(f.ParamTypes()), Results: wasmTypes(f.ResultTypes())}
	}
	return limits
}

func wasmTypes(types []api.ValueType) []wasm.ValueType {
	list := make([]wasm.ValueType, len(types))
	for i, t := range types {
		list[i] = wasm.ValueType(t)
	}
	return list
}

// TestMeterKeepsValidity: of each module of the specification's tests that the
// parser accepts, the engine thinks the same with and without the meter.
func TestMeterKeepsValidity(t *testing.T) {
	plain, metered := plainRuntime(t, false), meterRuntime(t)
	files, err := filepath.Glob(filepath.Join(engineFolder(t), "internal/integration_test/spectest/*/testdata/*.wasm"))
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %d files, %v, want the specification's tests", len(files), err)
	}
	var valid, invalid int
	for _, file := range files {
		module, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := plain.CompileModule(t.Context(), module)
		limits := openLimits(want)
		if _, err := wasm.Check(module, limits); err != nil {
			continue
		}
		result, err := wasm.Meter(module, wasm.MeterOptions{Limits: limits, Stack: testStack})
		if err == nil {
			if _, checkErr := wasm.Check(result.Module, wasm.MeteredLimits(limits)); checkErr != nil {
				t.Errorf("%s: Check(metered) = %v, want no error", short(file), checkErr)
			}
			var got wazero.CompiledModule
			if got, err = metered.CompileModule(t.Context(), result.Module); err == nil {
				_ = got.Close(t.Context())
			}
		}
		switch {
		case wantErr == nil:
			valid++
			_ = want.Close(t.Context())
			if err != nil {
				t.Errorf("%s: metered: %v, want no error", short(file), err)
			}
		case err == nil:
			t.Errorf("%s: metered: no error, want one: the module is not valid: %v", short(file), wantErr)
		default:
			invalid++
		}
	}
	t.Logf("%d valid modules, %d that are not", valid, invalid)
	const leastValid, leastInvalid = 500, 1000
	if valid < leastValid || invalid < leastInvalid {
		t.Errorf("%d valid and %d invalid modules, want at least %d and %d", valid, invalid, leastValid, leastInvalid)
	}
}

// short returns the last two elements of a path that say which test it is.
func short(file string) string {
	parts := strings.Split(file, string(filepath.Separator))
	return filepath.Join(parts[len(parts)-3], parts[len(parts)-1])
}

// script is one file of the specification's tests.
type script struct {
	Commands []struct {
		Type     string
		Line     int
		Filename string
		Action   struct {
			Type, Field, Module string
			Args                []struct {
				Type  string
				Value json.RawMessage
			}
		}
	}
}

// outcome is what a call gave.
type outcome struct {
	results []uint64
	trap    string
}

// TestMeterKeepsMeaning runs the specification's tests with and without the
// meter: every call gives the same results or the same trap, and leaves the
// same memory and globals.
func TestMeterKeepsMeaning(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(engineFolder(t), "internal/integration_test/spectest/*/testdata/*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %d files, %v, want the specification's tests", len(files), err)
	}
	calls := 0
	for _, file := range files {
		switch set := filepath.Base(filepath.Dir(filepath.Dir(file))); set {
		case "v2", "extended-const", "tail-call": // v2 holds those of v1
			calls += compareScript(t, file)
		}
	}
	t.Logf("%d calls compared", calls)
	const least = 10_000
	if calls < least {
		t.Errorf("%d calls compared, want at least %d", calls, least)
	}
}

// twins are an instance without the meter and one with it.
type twins struct {
	plain, metered         api.Module
	plainHost, meteredHost wazero.Runtime
	ctx                    context.Context
	globals                []wasm.RestoreGlobal
}

func compareScript(t *testing.T, file string) (calls int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s script
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var current *twins
	defer func() { current.close(t) }()
	for _, c := range s.Commands {
		switch c.Type {
		case "module":
			current.close(t)
			current = newTwins(t, filepath.Join(filepath.Dir(file), c.Filename))
		case "action", "assert_return", "assert_trap", "assert_exhaustion":
			if current == nil || c.Action.Type != "invoke" || c.Action.Module != "" {
				continue
			}
			var args []uint64
			for _, a := range c.Action.Args {
				args = append(args, argument(t, a.Type, a.Value)...)
			}
			where := fmt.Sprintf("%s:%d: %s", short(file), c.Line, c.Action.Field)
			if !current.compare(t, where, c.Action.Field, args, c.Type == "assert_exhaustion") {
				return calls
			}
			calls++
		}
	}
	return calls
}

// newTwins instantiates a module; nil if the parser does not accept it or it
// needs more than the functions of the specification's host.
func newTwins(t *testing.T, file string) *twins {
	t.Helper()
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w := &twins{plainHost: plainRuntime(t, false), meteredHost: meterRuntime(t), ctx: withLedger(t.Context(), newLedger())}
	compiled, err := w.plainHost.CompileModule(t.Context(), module)
	if err != nil {
		t.Fatalf("%s: %v", short(file), err)
	}
	limits := openLimits(compiled)
	if _, err := wasm.Check(module, limits); err != nil {
		return nil
	}
	for name := range limits.Allowed {
		if name != "spectest" {
			return nil
		}
	}
	result := meter(t, module, limits)
	w.globals = result.Globals
	for _, host := range []wazero.Runtime{w.plainHost, w.meteredHost} {
		b := host.NewHostModuleBuilder("spectest")
		for name, f := range limits.Allowed["spectest"] {
			b = b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), apiTypes(f.Params), apiTypes(f.Results)).Export(name)
		}
		if _, err := b.Instantiate(t.Context()); err != nil {
			t.Fatalf("%s: %v", short(file), err)
		}
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	if w.plain, err = w.plainHost.InstantiateWithConfig(t.Context(), module, config); err != nil {
		return nil
	}
	if w.metered, err = w.meteredHost.InstantiateWithConfig(w.ctx, result.Module, config); err != nil {
		t.Fatalf("%s: metered: %v, want no error", short(file), err)
	}
	return w
}

func apiTypes(types []wasm.ValueType) []api.ValueType {
	list := make([]api.ValueType, len(types))
	for i, t := range types {
		list[i] = api.ValueType(t)
	}
	return list
}

// close ends both engines early: there are thousands in one test.
func (w *twins) close(t *testing.T) {
	t.Helper()
	if w == nil {
		return
	}
	if err := errors.Join(w.plainHost.Close(t.Context()), w.meteredHost.Close(t.Context())); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// compare calls a function of both; exhausting is a call that uses up the
// stack, which ends both in different ways.
func (w *twins) compare(t *testing.T, where, function string, args []uint64, exhausting bool) bool {
	t.Helper()
	call := func(m api.Module) outcome {
		f := m.ExportedFunction(function)
		if f == nil {
			return outcome{trap: "no such function"}
		}
		results, err := f.Call(w.ctx, slices.Clone(args)...)
		if err != nil {
			text, _, _ := strings.Cut(err.Error(), "\n")
			return outcome{trap: text}
		}
		return outcome{results: results}
	}
	want, got := call(w.plain), call(w.metered)
	switch {
	case exhausting:
		if want.trap == "" || !strings.Contains(got.trap, errOverflow.Error()) {
			t.Errorf("%s = %v, without the meter %v, want both to run out of stack", where, got, want)
		}
		return false // the stack that is left is not put back
	case !slices.Equal(got.results, want.results) || got.trap != want.trap:
		t.Errorf("%s = %v, want as without the meter %v", where, got, want)
		return false
	}
	if m := w.plain.Memory(); len(w.plain.ExportedMemoryDefinitions()) > 0 {
		a, _ := m.Read(0, m.Size())
		b, _ := w.metered.Memory().Read(0, w.metered.Memory().Size())
		if !bytes.Equal(a, b) {
			t.Errorf("%s: the memory differs from that without the meter", where)
			return false
		}
	}
	if want.trap == "" {
		if left := w.metered.ExportedGlobal(wasm.StackExport).Get(); left != testStack {
			t.Errorf("%s: %d bytes of stack are left after the call, want %d", where, left, testStack)
			return false
		}
	} else {
		w.metered.ExportedGlobal(wasm.StackExport).(api.MutableGlobal).Set(testStack)
	}
	return true
}

// argument returns an argument as the engine takes it.
func argument(t *testing.T, kind string, value json.RawMessage) []uint64 {
	t.Helper()
	if kind == "v128" {
		return vectorArgument(t, value)
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		t.Fatalf("argument %s: %v", value, err)
	}
	if text == "null" {
		return []uint64{0}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("argument %s: %v", value, err)
	}
	return []uint64{n}
}

// vectorArgument packs the lanes of a vector. What their numbers are called
// does not matter here: both instances get the same.
func vectorArgument(t *testing.T, value json.RawMessage) []uint64 {
	t.Helper()
	var lanes []string
	if err := json.Unmarshal(value, &lanes); err != nil {
		t.Fatalf("argument %s: %v", value, err)
	}
	var packed [2]uint64
	bits := 128 / len(lanes)
	for i, lane := range lanes {
		n, err := strconv.ParseUint(lane, 10, 64)
		if err != nil {
			n = math.Float64bits(math.NaN())
		}
		at := i * bits
		packed[at/64] |= n << (at % 64)
	}
	return packed[:]
}
