package wasm_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost/wasm"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

func meterOptions() wasm.MeterOptions {
	return wasm.MeterOptions{Limits: wasm.DefaultLimits(), Stack: 1 << 20}
}

// meterAny meters a module that may or may not be good, and checks what can be
// said of both.
func meterAny(tb testing.TB, module []byte) {
	tb.Helper()
	options := meterOptions()
	_, checkErr := wasm.Check(module, options.Limits)
	metered, err := wasm.Meter(module, options)
	var refused *wasm.Error
	switch {
	case err != nil && !errors.As(err, &refused):
		tb.Fatalf("Meter = %T, want *wasm.Error", err)
	case err != nil:
		return
	case checkErr != nil:
		tb.Fatalf("Meter = no error, want %v", checkErr)
	}
	found, err := wasm.Check(metered.Module, wasm.MeteredLimits(options.Limits))
	if err != nil {
		tb.Fatalf("Check(metered) = %v, want no error", err)
	}
	if most := 16*len(module) + 2048; len(metered.Module) > most {
		tb.Errorf("Meter = %d bytes for %d, want at most %d", len(metered.Module), len(module), most)
	}
	for _, g := range metered.Globals {
		if e, ok := found.Export(g.Export); !ok || e.Kind != wasm.KindGlobal {
			tb.Errorf("Export(%q) = %v, want a global", g.Export, e)
		}
	}
}

func FuzzMeter(f *testing.F) {
	f.Add(rich())
	f.Add(wt.Plugin(wt.Parts{}))
	f.Add(wt.Plugin(wt.Parts{Code: nest(0x02, 20)}))
	f.Add(wt.Plugin(wt.Parts{Code: nest(0x04, 20)}))
	f.Add(wt.Plugin(wt.Parts{Code: []byte{0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 11, 0, 0x20, 3, 0x0d, 0, 0x41, 0, 0x10, 0}}))
	f.Fuzz(func(t *testing.T, module []byte) { meterAny(t, module) })
}

func TestMeterOfDamagedModules(t *testing.T) {
	module := wt.Plugin(wt.Parts{
		Tables:   wt.Section(wt.Table, wt.Vec([]byte{0x70, 1, 2, 8})),
		Globals:  wt.Section(wt.Global, wt.Vec([]byte{0x7f, 1, 0x41, 7, wt.End})),
		Elements: wt.Section(wt.Element, wt.Vec([]byte{0, 0x41, 0, wt.End, 2, 0, 1})),
		Code:     []byte{0x02, 0x40, 0x20, 0, 0x0d, 0, 0x03, 0x40, 0x20, 1, 0x04, 0x40, 0x0f, 0x05, 0x01, 0x0b, 0x0c, 0, 0x0b, 0x0b, 0x41, 0},
	})
	meterAny(t, module)
	for bit := range 8 * len(module) {
		module[bit/8] ^= 1 << (bit % 8)
		meterAny(t, module)
		module[bit/8] ^= 1 << (bit % 8)
	}
}

// Code of the text "local.get 0" and so on; handle has the locals 0 to 3.
func TestMeterRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		code []byte
		want string
	}{
		"an operand that is missing":   {[]byte{0x1a, 0x41, 0}, "takes 1 operand, but 0 are there"},
		"an operand of another block":  {[]byte{0x41, 0, 0x02, 0x40, 0x1a, 0x0b}, "takes 1 operand, but 0 are there"},
		"operands that are left over":  {[]byte{0x41, 0, 0x41, 0}, "leaves 1 operand, but 2 are there"},
		"a block that leaves too few":  {[]byte{0x02, 0x7f, 0x0b}, "leaves 1 operand, but 0 are there"},
		"a call without its arguments": {[]byte{0x41, 0, 0x10, 0}, "takes 4 operands, but 1 are there"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wasm.Meter(wt.Plugin(wt.Parts{Code: test.code}), meterOptions())
			var refused *wasm.Error
			if !errors.As(err, &refused) || refused.Section != "code" || !strings.Contains(refused.Detail, test.want) {
				t.Errorf("Meter = %v, want a refusal: %s", err, test.want)
			}
		})
	}
	options := meterOptions()
	for _, stack := range []int64{0, -1, math.MaxInt32 + 1} {
		options.Stack = stack
		if _, err := wasm.Meter(wt.Plugin(wt.Parts{}), options); err == nil {
			t.Errorf("Meter with a stack of %d = no error, want one", stack)
		}
	}
	taken := wt.Plugin(wt.Parts{
		Globals: wt.Section(wt.Global, wt.Vec([]byte{0x7f, 1, 0x41, 7, wt.End})),
		Exports: [][]byte{wt.ExportOf(wasm.FuelExport, 3, 0)},
	})
	options = meterOptions()
	options.Limits.HostExports = true
	if _, err := wasm.Meter(taken, options); err == nil {
		t.Error("Meter of a module that exports the meter's name = no error, want one")
	}
}

func TestMeterSaysWhatCanBeRestored(t *testing.T) {
	table := wt.Section(wt.Table, wt.Vec([]byte{0x70, 1, 2, 8}))
	elements := wt.Section(wt.Element, wt.Vec([]byte{1, 0, 1, 1}))
	null := []byte{0xd0, 0x70}
	zero := []byte{0x41, 0}
	for want, code := range map[string][]byte{
		"":           zero,
		"table.set":  slices.Concat(zero, null, []byte{0x26, 0}, zero),
		"table.init": slices.Concat(zero, zero, zero, []byte{0xfc, 12, 0, 0}, zero),
		"table.copy": slices.Concat(zero, zero, zero, []byte{0xfc, 14, 0, 0}, zero),
		"table.grow": slices.Concat(null, zero, []byte{0xfc, 15, 0}),
		"table.fill": slices.Concat(zero, null, zero, []byte{0xfc, 17, 0}, zero),
		"elem.drop":  slices.Concat([]byte{0xfc, 13, 0}, zero),
		"data.drop":  slices.Concat([]byte{0xfc, 9, 0}, zero),
	} {
		got, err := wasm.Meter(wt.Plugin(wt.Parts{
			Tables: table, Elements: elements, Code: code,
			Globals: wt.Section(wt.Global, wt.Vec(
				[]byte{0x7f, 1, 0x41, 7, wt.End}, []byte{0x7f, 0, 0x41, 7, wt.End}, []byte{0x7e, 1, 0x42, 7, wt.End},
			)),
			DataCount: wt.Section(wt.DataCount, []byte{1}), Data: wt.Section(wt.Data, wt.Vec([]byte{1, 1, 'p'})),
		}), meterOptions())
		if err != nil {
			t.Errorf("%s: Meter = %v, want no error", want, err)
			continue
		}
		globals := []wasm.RestoreGlobal{{Export: "tars_global_0", Type: wasm.I32}, {Export: "tars_global_2", Type: wasm.I64}}
		if want != "" {
			globals = nil
		}
		if got.Unrestorable != want || !slices.Equal(got.Globals, globals) {
			t.Errorf("Meter = Unrestorable %q, Globals %v, want %q, %v", got.Unrestorable, got.Globals, want, globals)
		}
	}
	got, err := wasm.Meter(wt.Plugin(wt.Parts{Globals: wt.Section(wt.Global, wt.Vec([]byte{0x70, 1, 0xd0, 0x70, wt.End}))}), meterOptions())
	if err != nil || got.Unrestorable == "" {
		t.Errorf("Meter of a module with a mutable reference = %+v, %v, want it not restorable", got, err)
	}
}

// The name section keeps the names of the module and of functions, with their
// new numbers; local names and other custom sections go.
func TestMeterKeepsFunctionNames(t *testing.T) {
	names := wt.CustomSection("name",
		wt.Section(0, wt.Name("mine")),
		wt.Section(1, wt.Vec(slices.Concat([]byte{0}, wt.Name("logs")), slices.Concat([]byte{1}, wt.Name("handles")), slices.Concat([]byte{9}, wt.Name("nobody")))),
		wt.Section(2, wt.Vec(slices.Concat([]byte{1}, wt.Vec(slices.Concat([]byte{0}, wt.Name("capability")))))))
	metered, err := wasm.Meter(wt.Plugin(wt.Parts{
		Types:    [][]byte{wt.FuncType("\x7f\x7f\x7f", "")},
		Imports:  wt.Section(wt.Import, wt.Vec(wt.ImportFunc(wasm.HostModule, "log", 2))),
		Imported: 1,
		Last:     slices.Concat(names, wt.CustomSection("producers", []byte{0})),
	}), meterOptions())
	if err != nil {
		t.Fatal(err)
	}
	want := wt.CustomSection("name",
		wt.Section(0, wt.Name("mine")),
		wt.Section(1, wt.Vec(slices.Concat([]byte{0}, wt.Name("logs")), slices.Concat([]byte{3}, wt.Name("handles")))))
	if !bytes.HasSuffix(metered.Module, want) {
		t.Errorf("Meter = %q at the end, want %q", metered.Module[max(0, len(metered.Module)-2*len(want)):], want)
	}
	if bytes.Contains(metered.Module, []byte("producers")) {
		t.Error("Meter keeps the producers section, want it dropped")
	}
}

// Metering allocates no more than a multiple of the module's size, whatever
// the module's shape.
func TestMeterMemoryIsBounded(t *testing.T) {
	cond := func(n int) []byte { return append(bytes.Repeat([]byte{0x41, 0, 0x0d, 0}, n), 0x41, 0) }
	for name, module := range map[string][]byte{
		"branches":   wt.Plugin(wt.Parts{Code: cond(100_000)}),
		"blocks":     wt.Plugin(wt.Parts{Code: nest(0x02, 4_999)}),
		"ifs":        wt.Plugin(wt.Parts{Code: nest(0x04, 4_999)}),
		"br_table":   wt.Plugin(wt.Parts{Code: brTable(9_999)}),
		"locals":     wt.Plugin(wt.Parts{Locals: 49_000}),
		"Go program": mustGoPlugin(t),
	} {
		var err error
		used := allocated(func() { _, err = wasm.Meter(module, meterOptions()) })
		if err != nil {
			t.Errorf("%s: Meter = %v, want no error", name, err)
		}
		if most := 64*int64(len(module)) + 512<<10; used > most {
			t.Errorf("%s: Meter allocates %d bytes for a module of %d, want at most %d", name, used, len(module), most)
		}
		meterAny(t, module)
	}
}
