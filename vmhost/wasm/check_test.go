package wasm_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/tars-project/tars/vmhost/wasm"
	t "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// rich returns a module that has every section and most kinds of immediates.
func rich() []byte {
	const (
		unreachable, block, loop, ifOp, elseOp, end = 0x00, 0x02, 0x03, 0x04, 0x05, 0x0b
		void, i32, misc, vector                     = 0x40, 0x7f, 0xfc, 0xfd
	)
	return t.Plugin(t.Parts{
		Types:    [][]byte{t.FuncType("\x7f\x7f\x7f", ""), t.FuncType("\x7f", "\x7f\x7f")},
		Imports:  t.Section(t.Import, t.Vec(t.ImportFunc(wasm.HostModule, "log", 2))),
		Imported: 1,
		Tables:   t.Section(t.Table, t.Vec([]byte{0x70, 1, 2, 8}, []byte{0x6f, 0, 1})),
		Memories: t.Section(t.Memory, t.Vec([]byte{1, 1, 16})),
		Globals: t.Section(t.Global, t.Vec(
			[]byte{i32, 0, 0x41, 7, end},
			[]byte{i32, 1, 0x23, 0, 0x41, 1, 0x6a, end}, // global.get 0 + 1
			[]byte{0x70, 0, 0xd2, 0, end},               // ref.func 0
			slices.Concat([]byte{0x7b, 0, vector, 12}, make([]byte, 16), []byte{end}),
		)),
		Exports: [][]byte{t.ExportOf("table", 1, 0), t.ExportOf("global", 3, 0)},
		Elements: t.Section(t.Element, t.Vec(
			[]byte{0, 0x41, 0, end, 2, 1, 2},
			[]byte{1, 0, 1, 1},
			[]byte{2, 0, 0x41, 0, end, 0, 1, 1},
			[]byte{3, 0, 1, 1},
			[]byte{4, 0x41, 0, end, 1, 0xd2, 1, end},
			[]byte{5, 0x70, 1, 0xd0, 0x70, end},
			[]byte{6, 0, 0x41, 0, end, 0x70, 1, 0xd2, 1, end},
			[]byte{7, 0x70, 1, 0xd2, 1, end},
		)),
		DataCount: t.Section(t.DataCount, []byte{3}),
		Locals:    4,
		Code: slices.Concat(
			[]byte{block, void, loop, 3, 0x20, 0, 0x0d, 1, 0x0c, 0, end, end},                 // br_if, br
			[]byte{0x20, 0, ifOp, i32, 0x41, 1, elseOp, 0x41, 0xff, 0x80, 0x7f, end, 0x21, 4}, // if else
			[]byte{block, void, 0x20, 1, 0x0e, 2, 0, 1, 0, end},                               // br_table
			[]byte{0x10, 0, 0x11, 0, 0, 0x12, 1, 0x13, 0, 0},                                  // calls
			[]byte{0x1a, 0x1b, 0x1c, 1, i32, 0x22, 5, 0x24, 1, 0x25, 0, 0x26, 0},
			[]byte{0x28, 2, 0x80, 0x80, 0x04, 0x3a, 0, 0, 0x3f, 0, 0x40, 0},
			[]byte{0x42}, t.S64(-1<<63), []byte{0x43, 0, 0, 0, 0, 0x44, 0, 0, 0, 0, 0, 0, 0, 0},
			[]byte{0xc0, 0xd0, 0x6f, 0xd1, 0xd2, 1, misc, 0},
			[]byte{misc, 8, 2, 0, misc, 9, 2, misc, 10, 0, 0, misc, 11, 0},
			[]byte{misc, 12, 1, 0, misc, 13, 1, misc, 14, 0, 0, misc, 15, 0, misc, 16, 1, misc, 17, 0},
			[]byte{vector, 0, 4, 0, vector, 13}, make([]byte, 16),
			[]byte{vector, 21, 15, vector, 87, 3, 0, 1, vector, 0xd1, 0x01},
			[]byte{unreachable},
		),
		Data: t.Section(t.Data, t.Vec([]byte{0, 0x41, 0, end, 2, 'h', 'i'}, []byte{2, 0, 0x41, 0, end, 0}, []byte{1, 1, 'p'})),
	})
}

func check(module []byte) error {
	_, err := wasm.Check(module, wasm.DefaultLimits())
	return err
}

func TestCheckAccepts(tt *testing.T) {
	const end = t.End
	long := make([]byte, 100_000)
	modules := map[string][]byte{
		"the smallest plugin": t.Plugin(t.Parts{}),
		"every section":       rich(),
		"an index padded to five bytes, as linkers leave it": t.Plugin(t.Parts{Code: []byte{0x20, 0x80, 0x80, 0x80, 0x80, 0x00}}),
		"custom sections anywhere":                           t.Plugin(t.Parts{Tables: t.CustomSection("a", long), Last: t.CustomSection("a", long)}),
		"the largest memory":                                 t.Plugin(t.Parts{Memories: t.Section(t.Memory, t.Vec([]byte{1, 0x80, 0x20, 0x80, 0x20}))}),
		"the deepest nesting":                                t.Plugin(t.Parts{Code: nest(0x02, 4_999)}),
		"the largest br_table":                               t.Plugin(t.Parts{Code: brTable(9_999)}),
		"the most locals":                                    t.Plugin(t.Parts{Locals: 50_000 - 4}),
		"the most table entries":                             t.Plugin(t.Parts{Tables: t.Section(t.Table, t.Vec(slices.Concat([]byte{0x70, 0}, t.U32(10_000))))}),
		"an optional export": t.Plugin(t.Parts{
			Types: [][]byte{t.FuncType("", "")}, Exports: [][]byte{t.ExportOf("_start", 0, 0)},
		}),
		"memory.grow in a memory without a maximum": t.Plugin(t.Parts{Code: []byte{0x41, 1, 0x40, 0}}),
		"a malformed producers section":             t.Plugin(t.Parts{Last: t.CustomSection("producers", []byte{0xff, 0xff, 0xff})}),
		"a name section":                            t.Plugin(t.Parts{Last: t.CustomSection("name", t.Section(0, t.Name("m")), t.Section(1, t.Vec([]byte{0, 1, 'f'})), t.Section(2, t.Vec([]byte{0, 1, 0, 1, 'x'})), t.Section(9, []byte{0xff}))}),
		"an end of a constant expression only":      t.Plugin(t.Parts{Globals: t.Section(t.Global, t.Vec([]byte{0x7f, 0, 0x41, 0, end}))}),
	}
	for name, module := range modules {
		tt.Run(name, func(tt *testing.T) {
			if err := check(module); err != nil {
				tt.Errorf("Check(%s) = %v, want no error", name, err)
			}
		})
	}
}

func TestInspection(tt *testing.T) {
	module := rich()
	got, err := wasm.Check(module, wasm.DefaultLimits())
	if err != nil {
		tt.Fatalf("Check(rich) = %v, want no error", err)
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
		tt.Errorf("Check(rich) = %+v, want %+v", got, want)
	}
	if _, found := got.Export("handle"); !found {
		tt.Error("Export(handle) = not found, want found")
	}
	if e, found := got.Export("absent"); found {
		tt.Errorf("Export(absent) = %v, want not found", e)
	}
}

func TestFeaturesOfAPlainModule(tt *testing.T) {
	got, err := wasm.Check(t.Plugin(t.Parts{}), wasm.DefaultLimits())
	if err != nil {
		tt.Fatalf("Check(plain) = %v, want no error", err)
	}
	if len(got.Features) > 0 {
		tt.Errorf("Features = %v, want none", got.Features)
	}
}

// A module's own limits are the caller's choice.
func TestLimitsAreObeyed(tt *testing.T) {
	limits := wasm.DefaultLimits()
	limits.Required = nil
	limits.Allowed = map[string]map[string]wasm.FuncType{"env": {"f": {}}}
	limits.MemoryPages = 0
	module := t.Module(t.Section(t.Type, t.Vec(t.FuncType("", ""))), t.Section(t.Import, t.Vec(t.ImportFunc("env", "f", 0))))
	if _, err := wasm.Check(module, limits); err != nil {
		tt.Errorf("Check(import of env) = %v, want no error", err)
	}
	module = t.Module(t.Section(t.Memory, t.Vec([]byte{0, 1})))
	if _, err := wasm.Check(module, limits); err == nil {
		tt.Error("Check(one page) = no error, want one: the limit is 0 pages")
	}
}

// DefaultLimits gives each caller maps of its own.
func TestDefaultLimitsAreSeparate(tt *testing.T) {
	a, b := wasm.DefaultLimits(), wasm.DefaultLimits()
	clear(a.Allowed[wasm.WASIModule])
	clear(a.Required)
	const preview1 = 45 // functions of WASI preview 1, and sock_accept
	if n := len(b.Allowed[wasm.WASIModule]); n != preview1+1 {
		tt.Errorf("Allowed[WASI] has %d functions, want %d", n, preview1+1)
	}
	if len(b.Required) == 0 {
		tt.Error("Required is empty, want it untouched")
	}
}

func TestErrorText(tt *testing.T) {
	tests := map[string]wasm.Error{
		"code section, offset 7: wrong": {Section: "code", Offset: 7, Detail: "wrong"},
		"code section: wrong":           {Section: "code", Offset: -1, Detail: "wrong"},
		"offset 7: wrong":               {Offset: 7, Detail: "wrong"},
		"wrong":                         {Offset: -1, Detail: "wrong"},
	}
	for want, e := range tests {
		if got := e.Error(); got != want {
			tt.Errorf("Error(%#v) = %q, want %q", e, got, want)
		}
	}
}

func TestFuncTypeString(tt *testing.T) {
	tests := []struct {
		t    wasm.FuncType
		want string
	}{
		{wasm.FuncType{}, "() -> ()"},
		{wasm.FuncType{Params: []wasm.ValueType{wasm.I32, wasm.F64}, Results: []wasm.ValueType{wasm.ExternRef}}, "(i32, f64) -> (externref)"},
	}
	for _, test := range tests {
		if got := test.t.String(); got != test.want {
			tt.Errorf("String(%#v) = %q, want %q", test.t, got, test.want)
		}
	}
}

// refusal returns the *Error that Check gives for a module.
func refusal(tt *testing.T, module []byte, limits wasm.Limits) *wasm.Error {
	tt.Helper()
	i, err := wasm.Check(module, limits)
	if err == nil {
		tt.Fatalf("Check = %+v, want a refusal", i)
	}
	var e *wasm.Error
	if !errors.As(err, &e) {
		tt.Fatalf("Check = %T, want *wasm.Error", err)
	}
	if e.Offset < -1 || e.Offset > int64(len(module)) {
		tt.Errorf("Check = offset %d, want one within the %d bytes", e.Offset, len(module))
	}
	if e.Detail == "" {
		tt.Error("Check = no detail, want one")
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
		code = append(code, t.End)
	}
	return append(code, 0x41, 0)
}

// brTable returns a br_table of n targets and its default.
func brTable(n int) []byte {
	return slices.Concat([]byte{0x41, 0, 0x0e}, t.U32(n), make([]byte, n+1))
}
