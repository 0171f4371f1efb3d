package wasm_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/tars-project/tars/vmhost/wasm"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// rich returns a module that has every section and most kinds of immediates.
func rich() []byte {
	const (
		unreachable, block, loop, ifOp, elseOp, end = 0x00, 0x02, 0x03, 0x04, 0x05, 0x0b
		void, i32, misc, vector                     = 0x40, 0x7f, 0xfc, 0xfd
	)
	return wt.Plugin(wt.Parts{
		Types:    [][]byte{wt.FuncType("\x7f\x7f\x7f", ""), wt.FuncType("\x7f", "\x7f\x7f")},
		Imports:  wt.Section(wt.Import, wt.Vec(wt.ImportFunc(wasm.HostModule, "log", 2))),
		Imported: 1,
		Tables:   wt.Section(wt.Table, wt.Vec([]byte{0x70, 1, 2, 8}, []byte{0x6f, 0, 1})),
		Memories: wt.Section(wt.Memory, wt.Vec([]byte{1, 1, 16})),
		Globals: wt.Section(wt.Global, wt.Vec(
			[]byte{i32, 0, 0x41, 7, end},
			[]byte{i32, 1, 0x23, 0, 0x41, 1, 0x6a, end}, // global.get 0 + 1
			[]byte{0x70, 0, 0xd2, 0, end},               // ref.func 0
			slices.Concat([]byte{0x7b, 0, vector, 12}, make([]byte, 16), []byte{end}),
		)),
		Exports: [][]byte{wt.ExportOf("table", 1, 0), wt.ExportOf("global", 3, 0)},
		Elements: wt.Section(wt.Element, wt.Vec(
			[]byte{0, 0x41, 0, end, 2, 1, 2},
			[]byte{1, 0, 1, 1},
			[]byte{2, 0, 0x41, 0, end, 0, 1, 1},
			[]byte{3, 0, 1, 1},
			[]byte{4, 0x41, 0, end, 1, 0xd2, 1, end},
			[]byte{5, 0x70, 1, 0xd0, 0x70, end},
			[]byte{6, 0, 0x41, 0, end, 0x70, 1, 0xd2, 1, end},
			[]byte{7, 0x70, 1, 0xd2, 1, end},
		)),
		DataCount: wt.Section(wt.DataCount, []byte{3}),
		Locals:    4,
		Code: slices.Concat(
			[]byte{block, void, loop, 3, 0x20, 0, 0x0d, 1, 0x0c, 0, end, end},                 // br_if, br
			[]byte{0x20, 0, ifOp, i32, 0x41, 1, elseOp, 0x41, 0xff, 0x80, 0x7f, end, 0x21, 4}, // if else
			[]byte{block, void, 0x20, 1, 0x0e, 2, 0, 1, 0, end},                               // br_table
			[]byte{0x10, 0, 0x11, 0, 0, 0x12, 1, 0x13, 0, 0},                                  // calls
			[]byte{0x1a, 0x1b, 0x1c, 1, i32, 0x22, 5, 0x24, 1, 0x25, 0, 0x26, 0},
			[]byte{0x28, 2, 0x80, 0x80, 0x04, 0x3a, 0, 0, 0x3f, 0, 0x40, 0},
			[]byte{0x42}, wt.S64(-1<<63), []byte{0x43, 0, 0, 0, 0, 0x44, 0, 0, 0, 0, 0, 0, 0, 0},
			[]byte{0xc0, 0xd0, 0x6f, 0xd1, 0xd2, 1, misc, 0},
			[]byte{misc, 8, 2, 0, misc, 9, 2, misc, 10, 0, 0, misc, 11, 0},
			[]byte{misc, 12, 1, 0, misc, 13, 1, misc, 14, 0, 0, misc, 15, 0, misc, 16, 1, misc, 17, 0},
			[]byte{vector, 0, 4, 0, vector, 13}, make([]byte, 16),
			[]byte{vector, 21, 15, vector, 87, 3, 0, 1, vector, 0xd1, 0x01},
			[]byte{unreachable},
		),
		Data: wt.Section(wt.Data, wt.Vec([]byte{0, 0x41, 0, end, 2, 'h', 'i'}, []byte{2, 0, 0x41, 0, end, 0}, []byte{1, 1, 'p'})),
	})
}

func check(module []byte) error {
	_, err := wasm.Check(module, wasm.DefaultLimits())
	return err
}

func TestCheckAccepts(t *testing.T) {
	const end = wt.End
	long := make([]byte, 100_000)
	modules := map[string][]byte{
		"the smallest plugin": wt.Plugin(wt.Parts{}),
		"every section":       rich(),
		"an index padded to five bytes, as linkers leave it": wt.Plugin(wt.Parts{Code: []byte{0x20, 0x80, 0x80, 0x80, 0x80, 0x00}}),
		"custom sections anywhere":                           wt.Plugin(wt.Parts{Tables: wt.CustomSection("a", long), Last: wt.CustomSection("a", long)}),
		"the largest memory":                                 wt.Plugin(wt.Parts{Memories: wt.Section(wt.Memory, wt.Vec([]byte{1, 0x80, 0x20, 0x80, 0x20}))}),
		"the deepest nesting":                                wt.Plugin(wt.Parts{Code: nest(0x02, 4_999)}),
		"the largest br_table":                               wt.Plugin(wt.Parts{Code: brTable(9_999)}),
		"the most locals":                                    wt.Plugin(wt.Parts{Locals: 50_000 - 4}),
		"the most table entries":                             wt.Plugin(wt.Parts{Tables: wt.Section(wt.Table, wt.Vec(slices.Concat([]byte{0x70, 0}, wt.U32(10_000))))}),
		"an optional export": wt.Plugin(wt.Parts{
			Types: [][]byte{wt.FuncType("", "")}, Exports: [][]byte{wt.ExportOf("_start", 0, 0)},
		}),
		"memory.grow in a memory without a maximum": wt.Plugin(wt.Parts{Code: []byte{0x41, 1, 0x40, 0}}),
		"a malformed producers section":             wt.Plugin(wt.Parts{Last: wt.CustomSection("producers", []byte{0xff, 0xff, 0xff})}),
		"a name section":                            wt.Plugin(wt.Parts{Last: wt.CustomSection("name", wt.Section(0, wt.Name("m")), wt.Section(1, wt.Vec([]byte{0, 1, 'f'})), wt.Section(2, wt.Vec([]byte{0, 1, 0, 1, 'x'})), wt.Section(9, []byte{0xff}))}),
		"an end of a constant expression only":      wt.Plugin(wt.Parts{Globals: wt.Section(wt.Global, wt.Vec([]byte{0x7f, 0, 0x41, 0, end}))}),
	}
	for name, module := range modules {
		t.Run(name, func(t *testing.T) {
			if err := check(module); err != nil {
				t.Errorf("Check(%s) = %v, want no error", name, err)
			}
		})
	}
}

func TestInspection(t *testing.T) {
	module := rich()
	got, err := wasm.Check(module, wasm.DefaultLimits())
	if err != nil {
		t.Fatalf("Check(rich) = %v, want no error", err)
	}
	i32 := wasm.I32
	four := wasm.FuncType{Params: []wasm.ValueType{i32, i32, i32, i32}, Results: []wasm.ValueType{i32}}
	want := &wasm.Inspection{
		Size:    int64(len(module)),
		Imports: []wasm.Import{{Module: wasm.HostModule, Name: "log", Type: wasm.FuncType{Params: []wasm.ValueType{i32, i32, i32}}}},
		Exports: []wasm.Export{
			{Name: "memory", Kind: wasm.KindMemory},
			{Name: "handle", Kind: wasm.KindFunc, Type: four},
			{Name: "cabi_realloc", Kind: wasm.KindFunc, Type: four},
			{Name: "table", Kind: wasm.KindTable},
			{Name: "global", Kind: wasm.KindGlobal},
		},
		Memory:    wasm.Memory{Min: 1, Max: 16, HasMax: true},
		Tables:    []wasm.Table{{Type: wasm.FuncRef, Min: 2, Max: 8, HasMax: true}, {Type: wasm.ExternRef, Min: 1}},
		Functions: 2,
		Globals:   4,
		CodeBytes: got.CodeBytes,
		DataBytes: 3,
		Features: []wasm.Feature{
			wasm.BulkMemory, wasm.ExtendedConst, wasm.MultiValue, wasm.ReferenceTypes,
			wasm.SatFloatToInt, wasm.SignExtension, wasm.SIMD, wasm.TailCall,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Check(rich) = %+v, want %+v", got, want)
	}
	if _, found := got.Export("handle"); !found {
		t.Error("Export(handle) = not found, want found")
	}
	if e, found := got.Export("absent"); found {
		t.Errorf("Export(absent) = %v, want not found", e)
	}
}

func TestFeaturesOfAPlainModule(t *testing.T) {
	got, err := wasm.Check(wt.Plugin(wt.Parts{}), wasm.DefaultLimits())
	if err != nil {
		t.Fatalf("Check(plain) = %v, want no error", err)
	}
	if len(got.Features) > 0 {
		t.Errorf("Features = %v, want none", got.Features)
	}
}

// A module's own limits are the caller's choice.
func TestLimitsAreObeyed(t *testing.T) {
	limits := wasm.DefaultLimits()
	limits.Required = nil
	limits.Allowed = map[string]map[string]wasm.FuncType{"env": {"f": {}}}
	limits.MemoryPages = 0
	module := wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType("", ""))), wt.Section(wt.Import, wt.Vec(wt.ImportFunc("env", "f", 0))))
	if _, err := wasm.Check(module, limits); err != nil {
		t.Errorf("Check(import of env) = %v, want no error", err)
	}
	module = wt.Module(wt.Section(wt.Memory, wt.Vec([]byte{0, 1})))
	if _, err := wasm.Check(module, limits); err == nil {
		t.Error("Check(one page) = no error, want one: the limit is 0 pages")
	}
}

// DefaultLimits gives each caller maps of its own.
func TestDefaultLimitsAreSeparate(t *testing.T) {
	a, b := wasm.DefaultLimits(), wasm.DefaultLimits()
	clear(a.Allowed[wasm.WASIModule])
	clear(a.Required)
	const preview1 = 45 // functions of WASI preview 1, and sock_accept
	if n := len(b.Allowed[wasm.WASIModule]); n != preview1+1 {
		t.Errorf("Allowed[WASI] has %d functions, want %d", n, preview1+1)
	}
	if len(b.Required) == 0 {
		t.Error("Required is empty, want it untouched")
	}
}

func TestErrorText(t *testing.T) {
	tests := map[string]wasm.Error{
		"code section, offset 7: wrong": {Section: "code", Offset: 7, Detail: "wrong"},
		"code section: wrong":           {Section: "code", Offset: -1, Detail: "wrong"},
		"offset 7: wrong":               {Offset: 7, Detail: "wrong"},
		"wrong":                         {Offset: -1, Detail: "wrong"},
	}
	for want, e := range tests {
		if got := e.Error(); got != want {
			t.Errorf("Error(%#v) = %q, want %q", e, got, want)
		}
	}
}

func TestFuncTypeString(t *testing.T) {
	tests := []struct {
		typ  wasm.FuncType
		want string
	}{
		{wasm.FuncType{}, "() -> ()"},
		{wasm.FuncType{Params: []wasm.ValueType{wasm.I32, wasm.F64}, Results: []wasm.ValueType{wasm.ExternRef}}, "(i32, f64) -> (externref)"},
	}
	for _, test := range tests {
		if got := test.typ.String(); got != test.want {
			t.Errorf("String(%#v) = %q, want %q", test.typ, got, test.want)
		}
	}
}

// refusal returns the *Error that Check gives for a module.
func refusal(t *testing.T, module []byte, limits wasm.Limits) *wasm.Error {
	t.Helper()
	i, err := wasm.Check(module, limits)
	if err == nil {
		t.Fatalf("Check = %+v, want a refusal", i)
	}
	var e *wasm.Error
	if !errors.As(err, &e) {
		t.Fatalf("Check = %T, want *wasm.Error", err)
	}
	if e.Offset < -1 || e.Offset > int64(len(module)) {
		t.Errorf("Check = offset %d, want one within the %d bytes", e.Offset, len(module))
	}
	if e.Detail == "" {
		t.Error("Check = no detail, want one")
	}
	return e
}

// nest returns n blocks within each other.
func nest(op byte, n int) []byte {
	code := make([]byte, 0, 3*n+2)
	for range n {
		if op == 0x04 {
			code = append(code, 0x41, 0)
		}
		code = append(code, op, 0x40)
	}
	for range n {
		code = append(code, wt.End)
	}
	return append(code, 0x41, 0)
}

// brTable returns a br_table of n targets and its default.
func brTable(n int) []byte {
	return slices.Concat([]byte{0x41, 0, 0x0e}, wt.U32(n), make([]byte, n+1))
}
