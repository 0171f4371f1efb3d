package wasm_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost/wasm"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// A refusalTest is a module with the section and words of its refusal.
type refusalTest struct {
	name    string
	module  []byte
	section string
	detail  string
}

func runRefusals(t *testing.T, tests []refusalTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := refusal(t, test.module, wasm.DefaultLimits())
			if e.Section != test.section || !strings.Contains(e.Detail, test.detail) {
				t.Errorf("Check(%s) = %q in section %q, want %q in section %q", test.name, e.Detail, e.Section, test.detail, test.section)
			}
		})
	}
}

func TestRefusesOtherFiles(t *testing.T) {
	tar := make([]byte, 1024)
	copy(tar[257:], "ustar")
	runRefusals(t, []refusalTest{
		{"empty", nil, "", "empty"},
		{"one byte", []byte{0}, "", "not WebAssembly"},
		{"half a header", []byte("\x00asm\x01"), "", "ends too early"},
		{"wrong version", []byte("\x00asm\x02\x00\x00\x00"), "", "version 2"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "", "this is a component; core modules are accepted for now"},
		{"zip", []byte("PK\x03\x04rest of it"), "", "zip archive"},
		{"gzip", []byte("\x1f\x8b\x08rest"), "", "gzip"},
		{"zstd", []byte("\x28\xb5\x2f\xfdrest"), "", "zstd"},
		{"bzip2", []byte("BZh91AY"), "", "bzip2"},
		{"xz", []byte("\xfd7zXZ\x00"), "", "xz"},
		{"tar", tar, "", "tar archive"},
		{"ELF", []byte("\x7fELF\x02\x01"), "", "ELF"},
		{"Mach-O", []byte("\xcf\xfa\xed\xfe"), "", "Mach-O"},
		{"Windows", []byte("MZ\x90"), "", "Windows"},
		{"bitcode", []byte("BC\xc0\xde"), "", "bitcode"},
		{"archive of objects", []byte("!<arch>\nx"), "", "object files"},
		{"text", []byte(" \n(module)"), "", "WebAssembly text"},
		{"text with a comment", []byte(";; hello\n(module)"), "", "WebAssembly text"},
		{"JSON", []byte(`{"a":1}`), "", "not WebAssembly"},
		{"header only", []byte(wt.Preamble), "export", `must export a function named "cabi_realloc" of type (i32, i32, i32, i32) -> (i32)`},
	})
}

func TestRefusesSections(t *testing.T) {
	types := wt.Section(wt.Type, wt.Vec())
	runRefusals(t, []refusalTest{
		{"unknown id", wt.Module([]byte{14, 0}), "", "section id 14"},
		{"twice", wt.Module(types, types), "type", "twice"},
		{"out of order", wt.Module(wt.Section(wt.Function, wt.Vec()), types), "type", "before the function section"},
		{"data count after code", wt.Module(wt.Section(wt.Code, wt.Vec()), wt.Section(wt.DataCount, []byte{0})), "data count", "before the code section"},
		{"too long", wt.Module([]byte{1, 9, 0}), "", "declares 9 bytes, but 1 are left"},
		{"2^32-1 long", wt.Module([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}), "", "declares 4294967295"},
		{"length over 32 bits", wt.Module([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x1f}), "", "over 32 bits"},
		{"length in six bytes", wt.Module([]byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}), "", "more than 5 bytes"},
		{"bytes too many in a section", wt.Module(wt.Section(wt.Type, wt.Vec(), []byte{0})), "type", "1 bytes too many"},
		{"trailing byte", append(wt.Plugin(wt.Parts{}), 1), "", "ends too early"},
		{"start function", wt.Module(wt.Section(wt.Start, []byte{0})), "start", "start function"},
		{"functions without code", wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType("", ""))), wt.Section(wt.Function, wt.Vec([]byte{0}))), "code", "1 function declared, but 0 bodies"},
		{"code without functions", wt.Module(wt.Section(wt.Code, wt.Vec(wt.Body()))), "code", "0 functions declared, but 1 body"},
		{"data count without data", wt.Plugin(wt.Parts{DataCount: wt.Section(wt.DataCount, []byte{1})}), "data", "1 data segment declared"},
		{"name section with a lying count", wt.Plugin(wt.Parts{Last: wt.CustomSection("name", wt.Section(1, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}))}), "name", "names: 4294967295"},
		{"name subsection of a wrong size", wt.Plugin(wt.Parts{Last: wt.CustomSection("name", wt.Section(1, wt.Vec(), []byte{0}))}), "name", "1 bytes too many"},
		{"name that is not UTF-8", wt.Plugin(wt.Parts{Last: wt.CustomSection("name", wt.Section(0, wt.Name("\xff")))}), "name", "UTF-8"},
		{"custom section without a name", wt.Plugin(wt.Parts{Last: wt.Section(wt.Custom)}), "custom", "ends too early"},
		{"two name sections", wt.Plugin(wt.Parts{Last: slices.Concat(wt.CustomSection("name"), wt.CustomSection("name"))}), "name", "twice"},
	})
}

func TestRefusesImportsAndExports(t *testing.T) {
	imports := func(i ...[]byte) []byte {
		return wt.Plugin(wt.Parts{Imports: wt.Section(wt.Import, wt.Vec(i...)), Imported: len(i)})
	}
	exports := func(e ...[]byte) []byte { return wt.Plugin(wt.Parts{Exports: e}) }
	bare := func(sections ...[]byte) []byte { return wt.Module(sections...) }
	memory := wt.Section(wt.Memory, wt.Vec([]byte{0, 1}))
	types := wt.Section(wt.Type, wt.Vec(wt.FuncType("\x7f\x7f\x7f\x7f", "\x7f"), wt.FuncType("\x7f", "\x7f")))
	functions := wt.Section(wt.Function, wt.Vec([]byte{0}, []byte{1}))
	code := wt.Section(wt.Code, wt.Vec(wt.Body(0x41, 0), wt.Body(0x41, 0)))
	runRefusals(t, []refusalTest{
		{"unknown module", imports(wt.ImportFunc("env", "abort", 1)), "import", `no module of that name`},
		{"host of another system", imports(wt.ImportFunc("extism:host/env", "input_length", 1)), "import", `no module of that name`},
		{"WASI before preview 1", imports(wt.ImportFunc("wasi_unstable", "fd_write", 1)), "import", `no module of that name`},
		{"empty module name", imports(wt.ImportFunc("", "", 1)), "import", `no module of that name`},
		{"unknown name", imports(wt.ImportFunc(wasm.HostModule, "exec", 1)), "import", "no function of that name"},
		{"wrong type", imports(wt.ImportFunc(wasm.HostModule, "search", 1)), "import", "with the type () -> (), but has (i32, i32, i32) -> ()"},
		{"type out of range", imports(wt.ImportFunc(wasm.HostModule, "search", 9)), "import", "type index 9 is out of range"},
		{"memory", imports([]byte("\x03env\x06memory\x02\x00\x01")), "import", "imports a memory: only functions"},
		{"table", imports([]byte("\x03env\x05table\x01\x70\x00\x01")), "import", "imports a table: only functions"},
		{"global", imports([]byte("\x03env\x06global\x03\x7f\x00")), "import", "imports a global: only functions"},
		{"tag", imports([]byte("\x03env\x03tag\x04\x00\x00")), "import", "exception handling"},
		{"name that is not UTF-8", imports([]byte("\x03\xff\xff\xff\x01a\x00\x00")), "import", "not valid UTF-8"},
		{"long name", imports(wt.ImportFunc(strings.Repeat("a", 1025), "", 1)), "import", "1025, over the limit of 1024"},
		{"duplicate export", exports(wt.ExportOf("a", 0, 0), wt.ExportOf("a", 0, 1)), "export", `two exports are named "a"`},
		{"reserved name", exports(wt.ExportOf("tars_fuel", 0, 0)), "export", `start with "tars_" are the host's`},
		{"reserved name, hidden", exports(wt.ExportOf("__tars", 0, 0)), "export", `start with "__tars" are the host's`},
		{"function out of range", exports(wt.ExportOf("a", 0, 2)), "export", "function index 2 is out of range: there are 2"},
		{"table out of range", exports(wt.ExportOf("a", 1, 0)), "export", "table index 0 is out of range"},
		{"memory out of range", exports(wt.ExportOf("a", 2, 1)), "export", "memory index 1 is out of range"},
		{"global out of range", exports(wt.ExportOf("a", 3, 0)), "export", "global index 0 is out of range"},
		{"tag exported", exports(wt.ExportOf("a", 4, 0)), "export", "exception handling"},
		{"unknown kind", exports(wt.ExportOf("a", 9, 0)), "export", "not a kind of export"},
		{"optional export of another type", exports(wt.ExportOf("_initialize", 0, 0)), "export", `export "_initialize" has the type (i32, i32, i32, i32) -> (i32), but must have () -> ()`},
		{
			"no handle", bare(types, functions, memory, wt.Section(wt.Export, wt.Vec(wt.ExportOf("cabi_realloc", 0, 0))), code),
			"export", `must export a function named "handle" of type (i32, i32, i32, i32) -> (i32)`,
		},
		{
			"handle of another type", bare(types, functions, memory, wt.Section(wt.Export, wt.Vec(wt.ExportOf("cabi_realloc", 0, 0), wt.ExportOf("handle", 0, 1))), code),
			"export", `export "handle" has the type (i32) -> (i32)`,
		},
		{
			"handle of another kind", bare(types, functions, memory, wt.Section(wt.Export, wt.Vec(wt.ExportOf("cabi_realloc", 0, 0), wt.ExportOf("handle", 2, 0))), code),
			"export", `export "handle" is a memory, but must be a function`,
		},
		{
			"memory not exported", bare(types, functions, memory, wt.Section(wt.Export, wt.Vec(wt.ExportOf("cabi_realloc", 0, 0), wt.ExportOf("handle", 0, 0))), code),
			"export", `must export a memory named "memory"`,
		},
	})
}

func TestRefusesStorage(t *testing.T) {
	memory := func(m ...byte) []byte { return wt.Plugin(wt.Parts{Memories: wt.Section(wt.Memory, wt.Vec(m))}) }
	tables := func(all ...[]byte) []byte { return wt.Plugin(wt.Parts{Tables: wt.Section(wt.Table, wt.Vec(all...))}) }
	global := func(g ...byte) []byte { return wt.Plugin(wt.Parts{Globals: wt.Section(wt.Global, wt.Vec(g))}) }
	element := func(e ...byte) []byte {
		return wt.Plugin(wt.Parts{Tables: wt.Section(wt.Table, wt.Vec([]byte{0x70, 0, 1})), Elements: wt.Section(wt.Element, wt.Vec(e))})
	}
	data := func(d ...byte) []byte { return wt.Plugin(wt.Parts{Data: wt.Section(wt.Data, wt.Vec(d))}) }
	funcref := func(n int) []byte { return slices.Concat([]byte{0x70, 0}, wt.U32(n)) }
	big := wt.U32(1<<32 - 1)
	grow := wt.Plugin(wt.Parts{Tables: wt.Section(wt.Table, wt.Vec(funcref(1))), Code: []byte{0xd0, 0x70, 0x41, 1, 0xfc, 15, 0}})
	many := wt.Section(wt.Table, wt.Vec(slices.Repeat([][]byte{funcref(1)}, 17)...))
	runRefusals(t, []refusalTest{
		{"memory of 4 GiB", memory(slices.Concat([]byte{0}, wt.U32(65536))...), "memory", "minimum of the memory, pages of 64 KiB: 65536, over the limit of 4096"},
		{"memory maximum of 4 GiB", memory(slices.Concat([]byte{1, 1}, wt.U32(65536))...), "memory", "maximum of the memory, pages of 64 KiB: 65536, over the limit of 4096"},
		{"memory of 2^32-1 pages", memory(slices.Concat([]byte{0}, big)...), "memory", "4294967295, over the limit"},
		{"memory minimum over maximum", memory(1, 2, 1), "memory", "minimum of 2 pages is over the maximum of 1"},
		{"shared memory", memory(3, 1, 1), "memory", "threads"},
		{"64-bit memory", memory(4, 1), "memory", "memory64"},
		{"memory with a page size", memory(8, 1, 0), "memory", "custom page sizes"},
		{"unknown flags of a memory", memory(16, 1), "memory", "not the flags of limits"},
		{"two memories", wt.Plugin(wt.Parts{Memories: wt.Section(wt.Memory, wt.Vec([]byte{0, 1}, []byte{0, 1}))}), "memory", "multi-memory"},
		{"table of 10,001 entries", tables(funcref(10_001)), "table", "table entries: 10001, over the limit of 10000"},
		{"table of 2^32-1 entries", tables(funcref(1<<32 - 1)), "table", "table entries: 4294967295, over the limit of 10000"},
		{"two tables of 5,001 entries", tables(funcref(5_001), funcref(5_001)), "table", "table entries: 10002, over the limit of 10000"},
		{"table maximum", tables(slices.Concat([]byte{0x70, 1, 0}, big)), "table", "table entries: 4294967295, over the limit of 10000"},
		{"17 tables", wt.Plugin(wt.Parts{Tables: many}), "table", "tables: 17, over the limit of 16"},
		{"table of numbers", tables([]byte{0x7f, 0, 1}), "table", "i32 is not a reference type"},
		{"table of typed references", tables([]byte{0x63, 0, 0, 1}), "table", "typed function references"},
		{"table with an initial value", tables([]byte{0x40, 0, 0x70, 0, 1, 0xd0, 0x70, wt.End}), "table", "typed function references"},
		{"64-bit table", tables([]byte{0x70, 4, 1}), "table", "memory64"},
		{"growing a table without a maximum", grow, "code", "table.grow of table 0, which has no maximum: at most 10000 entries"},
		{"tag section", wt.Module(wt.Section(wt.Tag, wt.Vec([]byte{0, 0}))), "tag", "exception handling"},
		{"global of an unknown type", global(0x01, 0, 0x41, 0, wt.End), "global", "0x01 is not a value type"},
		{"shared global", global(0x7f, 2, 0x41, 0, wt.End), "global", "threads"},
		{"unknown mutability", global(0x7f, 9, 0x41, 0, wt.End), "global", "mutability 0x09"},
		{"global that reads itself", global(0x7f, 0, 0x23, 0, wt.End), "global", "global index 0 is out of range"},
		{"call in a constant expression", global(0x7f, 0, 0x10, 0, wt.End), "global", "cannot stand in a constant expression"},
		{"constant expression without an end", global(0x7f, 0, 0x41, 0), "global", "ends too early"},
		{"br_table in a constant expression", global(0x7f, 0, 0x0e, 9, 0), "global", "over the limit of 0"},
		{"element of an unknown function", element(0, 0x41, 0, wt.End, 1, 9), "element", "function index 9 is out of range"},
		{"element expression of an unknown function", element(5, 0x70, 1, 0xd2, 9, wt.End), "element", "function index 9 is out of range"},
		{"element segment of an unknown table", element(2, 9, 0x41, 0, wt.End, 0, 0), "element", "table index 9 is out of range"},
		{"element segment without a table", wt.Plugin(wt.Parts{Elements: wt.Section(wt.Element, wt.Vec([]byte{0, 0x41, 0, wt.End, 0}))}), "element", "needs a table"},
		{"element segment of unknown flags", element(8, 0, 0), "element", "8 are not the flags"},
		{"element segment of an unknown kind", element(1, 7, 0), "element", "0x07 is not a kind of elements"},
		{"lying count of elements", element(slices.Concat([]byte{1, 0}, big)...), "element", "elements of a segment: 4294967295"},
		{"data segment of unknown flags", data(3, 0), "data", "3 are not the flags"},
		{"data segment of another memory", data(2, 1, 0x41, 0, wt.End, 0), "data", "multi-memory"},
		{"data segment longer than the section", data(1, 9, 'x'), "data", "bytes of a data segment: 9"},
		{"data segment without a memory", wt.Module(wt.Section(wt.Data, wt.Vec([]byte{0, 0x41, 0, wt.End, 0}))), "data", "needs a memory"},
	})
}

func TestRefusesCode(t *testing.T) {
	code := func(c ...byte) []byte { return wt.Plugin(wt.Parts{Code: c}) }
	noMemory := wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType("", ""))), wt.Section(wt.Function, wt.Vec([]byte{0})), wt.Section(wt.Code, wt.Vec(wt.Body(0x3f, 0))))
	body := func(b ...byte) []byte {
		return wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType("", ""))), wt.Section(wt.Function, wt.Vec([]byte{0})), wt.Section(wt.Code, wt.Vec(wt.Sized(b))))
	}
	immutable := wt.Plugin(wt.Parts{Globals: wt.Section(wt.Global, wt.Vec([]byte{0x7f, 0, 0x41, 0, wt.End})), Code: []byte{0x41, 0, 0x24, 0}})
	// A module of 38 bytes that stops the engine: the type of the function
	// that is called is out of range.
	called := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x03\x02\x00\x05\x0a\x09\x02\x04\x00\x10\x01\x0b\x02\x00\x0b")
	runRefusals(t, []refusalTest{
		{"called function of an unknown type", called, "function", "type index 5 is out of range: there are 1"},
		{"unknown opcode", code(0xff), "code", "function 0: opcode 0xff is not an instruction"},
		{"unknown opcode after 0xfc", code(0xfc, 18), "code", "opcode 0xfc 18 is not an instruction"},
		{"unknown opcode after 0xfd", code(0xfd, 0x9a, 0x01), "code", "opcode 0xfd 154 is not an instruction"},
		{"padded opcode", code(0xfd, 0x8c, 0x00), "code", "padded opcode"},
		{"no end", body(0, 0x01), "code", "ends too early"},
		{"bytes after the end", body(0, wt.End, wt.End), "code", "1 bytes too many"},
		{"else without if", code(0x02, 0x40, 0x05, wt.End), "code", "else without if"},
		{"two elses", code(0x41, 0, 0x04, 0x40, 0x05, 0x05, wt.End), "code", "else without if"},
		{"block type out of range", code(0x02, 9, wt.End), "code", "type index 9 is out of range"},
		{"negative block type", code(0x02, 0x80, 0x7f, wt.End), "code", "not a block type"},
		{"label", code(0x0c, 1), "code", "label index 1 is out of range: there are 1"},
		{"label of br_table", code(0x0e, 1, 1, 0), "code", "label index 1 is out of range"},
		{"default of br_table", code(0x0e, 1, 0, 1), "code", "label index 1 is out of range"},
		{"lying count of br_table", code(0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f), "code", "br_table targets: 4294967295"},
		{"function", code(0x10, 2), "code", "function index 2 is out of range: there are 2"},
		{"tail-called function", code(0x12, 2), "code", "function index 2 is out of range"},
		{"reference to a function", code(0xd2, 2), "code", "function index 2 is out of range"},
		{"table of call_indirect", code(0x11, 0, 0), "code", "table index 0 is out of range"},
		{"type of call_indirect", code(0x11, 9, 0), "code", "type index 9 is out of range"},
		{"local", code(0x20, 4), "code", "local index 4 is out of range: there are 4"},
		{"global", code(0x23, 0), "code", "global index 0 is out of range"},
		{"immutable global", immutable, "code", "global 0 is written, but not mutable"},
		{"table", code(0x25, 0), "code", "table index 0 is out of range"},
		{"table.init", code(0xfc, 12, 0, 0), "code", "element segment index 0 is out of range"},
		{"elem.drop", code(0xfc, 13, 0), "code", "element segment index 0 is out of range"},
		{"table.copy", code(0xfc, 14, 0, 0), "code", "table index 0 is out of range"},
		{"data.drop without a data count", code(0xfc, 9, 0), "code", "needs a data count section"},
		{"data.drop", wt.Plugin(wt.Parts{DataCount: wt.Section(wt.DataCount, []byte{0}), Code: []byte{0xfc, 9, 0}}), "code", "data segment index 0 is out of range"},
		{"memory.size without a memory", noMemory, "code", "needs a memory"},
		{"alignment", code(0x41, 0, 0x28, 3, 0), "code", "alignment 2^3 is over the natural alignment of 4 bytes"},
		{"memory index of a load", code(0x41, 0, 0x28, 0x42, 1, 0), "code", "multi-memory"},
		{"memory index of memory.size", code(0x3f, 1), "code", "multi-memory"},
		{"select of two types", code(0x1c, 2, 0x7f, 0x7f), "code", "select of 2 types"},
		{"lane", code(0xfd, 21, 16), "code", "lane 16 is out of range: there are 16"},
		{"lane of a shuffle", shuffle(0xfd, 13, 32), "code", "lane 32 is out of range: there are 32"},
		{"lane of a load", code(0xfd, 87, 0, 0, 2), "code", "lane 2 is out of range: there are 2"},
		{"number over 32 bits", code(0x41, 0xff, 0xff, 0xff, 0xff, 0x4f), "code", "number over 32 bits"},
		{"number over 64 bits", code(0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02), "code", "number over 64 bits"},
		{"local of an unknown type", body(1, 1, 0x01, wt.End), "code", "0x01 is not a value type"},
		{"local of a GC type", body(1, 1, 0x6b, wt.End), "code", "garbage collection"},
		{"size of a body", wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType("", ""))), wt.Section(wt.Function, wt.Vec([]byte{0})), wt.Section(wt.Code, []byte{1, 0x7f, 0, wt.End})), "code", "bytes of a function: 127"},
	})
}

// shuffle returns a plugin whose code is an instruction with 16 bytes of
// which only the first is not zero.
func shuffle(prefix, op, first byte) []byte {
	return wt.Plugin(wt.Parts{Code: append([]byte{prefix, op, first}, make([]byte, 15)...)})
}

func TestRefusesProposals(t *testing.T) {
	code := func(c ...byte) []byte { return wt.Plugin(wt.Parts{Code: c}) }
	types := func(b ...byte) []byte { return wt.Module(wt.Section(wt.Type, wt.Vec(b))) }
	runRefusals(t, []refusalTest{
		{"atomics", code(0xfe, 0x1e, 2, 0), "code", "threads"},
		{"GC types", types(0x5f, 1, 0x7f, 0), "type", "garbage collection"},
		{"recursive types", types(0x4e, 1, 0x60, 0, 0), "type", "garbage collection"},
		{"anyref", types(0x60, 1, 0x6e, 0), "type", "garbage collection"},
		{"exnref", types(0x60, 1, 0x69, 0), "type", "exception handling"},
		{"GC instructions", code(0xfb, 0, 0), "code", "garbage collection"},
		{"ref.eq", code(0xd3), "code", "garbage collection"},
		{"legacy try", code(0x06, 0x40), "code", "legacy exception handling"},
		{"legacy catch", code(0x07, 0), "code", "legacy exception handling"},
		{"legacy rethrow", code(0x09, 0), "code", "legacy exception handling"},
		{"legacy delegate", code(0x18, 0), "code", "legacy exception handling"},
		{"try_table", code(0x1f, 0x40, 0), "code", "exception handling"},
		{"throw", code(0x08, 0), "code", "exception handling"},
		{"throw_ref", code(0x0a), "code", "exception handling"},
		{"continuation types", types(0x5d, 0, 0), "type", "stack switching"},
		{"continuations", code(0xe0, 0), "code", "stack switching"},
		{"call_ref", code(0x14, 0), "code", "typed function references"},
		{"return_call_ref", code(0x15, 0), "code", "typed function references"},
		{"ref.as_non_null", code(0xd4), "code", "typed function references"},
		{"br_on_null", code(0xd5, 0), "code", "typed function references"},
		{"typed reference", types(0x60, 1, 0x64, 0, 0), "type", "typed function references"},
		{"relaxed SIMD", code(0xfd, 0x80, 0x02), "code", "relaxed SIMD"},
		{"wide arithmetic", code(0xfc, 22), "code", "wide arithmetic"},
	})
}

// Counts and sizes beyond the limits, most of them from modules that are small.
func TestRefusesBombs(t *testing.T) {
	one := wt.FuncType("", "")
	locals := func(n int) []byte {
		return wt.Module(wt.Section(wt.Type, wt.Vec(one)), wt.Section(wt.Function, wt.Vec([]byte{0})), wt.Section(wt.Code, wt.Vec(wt.BodyWithLocals(n))))
	}
	all := func(n int) []byte {
		return wt.Module(wt.Section(wt.Type, wt.Vec(one)), wt.Section(wt.Function, wt.Vec(slices.Repeat([][]byte{{0}}, n)...)),
			wt.Section(wt.Code, wt.Vec(slices.Repeat([][]byte{wt.BodyWithLocals(50_000)}, n)...)))
	}
	loops := func(n, locals int) []byte {
		return wt.Plugin(wt.Parts{Locals: locals, Code: append(bytes.Repeat([]byte{0x03, 0x40, wt.End}, n), 0x41, 0)})
	}
	manyLoops := wt.Module(wt.Section(wt.Type, wt.Vec(one)), wt.Section(wt.Function, wt.Vec(slices.Repeat([][]byte{{0}}, 5)...)),
		wt.Section(wt.Code, wt.Vec(slices.Repeat([][]byte{wt.BodyWithLocals(1000, bytes.Repeat([]byte{0x03, 0x40, wt.End}, 500)...)}, 5)...)))
	exports := make([][]byte, 1001)
	for i := range exports {
		exports[i] = wt.ExportOf(string(rune('a'+i%26))+strings.Repeat("x", i/26), 0, 0)
	}
	customs := bytes.Repeat(wt.CustomSection("c"), 1001)
	runRefusals(t, []refusalTest{
		{"nesting 10k", wt.Plugin(wt.Parts{Code: nest(0x02, 10_000)}), "code", "blocks within each other: 5001, over the limit of 5000"},
		{"nesting 200k", wt.Plugin(wt.Parts{Code: nest(0x03, 200_000)}), "code", "over the limit"},
		{"nesting 200k ifs", wt.Plugin(wt.Parts{Code: nest(0x04, 200_000)}), "code", "over the limit"},
		{"nesting 2M", wt.Plugin(wt.Parts{Code: nest(0x02, 2_000_000)}), "code", "over the limit"},
		{"br_table 50k", wt.Plugin(wt.Parts{Code: brTable(50_000)}), "code", "br_table targets: 50000, over the limit"},
		{"br_table 200k", wt.Plugin(wt.Parts{Code: brTable(200_000)}), "code", "br_table targets: 200000, over the limit"},
		{"locals 50,001", locals(50_001), "code", "locals: 50001, over the limit of 50000"},
		{"locals 2^32-1", locals(1<<32 - 1), "code", "locals: 4294967295, over the limit of 50000"},
		{"locals of all functions", all(100), "code", "locals of all functions: 1050000, over the limit of 1000000"},
		{"1,000 locals in 4,000 loops", loops(4_000, 1_000), "code", "locals × loops, nested ones counted by their depth: 500996, over the limit of 500000"},
		{"200 locals in 2,500 nested loops", wt.Plugin(wt.Parts{Locals: 200, Code: nest(0x03, 2_500)}), "code", "locals × loops"},
		{"loops of all functions", manyLoops, "code", "locals × loops of all functions"},
		{"body of 2 MiB", wt.Plugin(wt.Parts{Code: bytes.Repeat([]byte{0x01}, 2<<20)}), "code", "bytes of a function: 2097156, over the limit of 1048576"},
		{"1M types", wt.Module(wt.Section(wt.Type, wt.Vec(slices.Repeat([][]byte{one}, 1_000_000)...))), "type", "types: 1000000, over the limit of 10000"},
		{"1M functions", wt.Module(wt.Section(wt.Type, wt.Vec(one)), wt.Section(wt.Function, wt.U32(1_000_000), make([]byte, 1_000_000))), "function", "functions: 1000000, over the limit of 65536"},
		{"1M globals", wt.Module(wt.Section(wt.Global, wt.Vec(slices.Repeat([][]byte{{0x7f, 0, 0x41, 0, wt.End}}, 1_000_000)...))), "global", "globals: 1000000, over the limit of 10000"},
		{"1M exports", wt.Module(wt.Section(wt.Export, wt.U32(1_000_000), make([]byte, 3_000_000))), "export", "exports: 1000000, over the limit of 1000"},
		{"1,001 exports", wt.Plugin(wt.Parts{Exports: exports}), "export", "exports: 1004, over the limit of 1000"},
		{"1M imports", wt.Module(wt.Section(wt.Import, wt.U32(1_000_000), make([]byte, 4_000_000))), "import", "imports: 1000000, over the limit of 256"},
		{"1M data segments", wt.Module(wt.Section(wt.Data, wt.Vec(slices.Repeat([][]byte{{1, 0}}, 1_000_000)...))), "data", "data segments: 1000000, over the limit of 100000"},
		{"1M data segments declared", wt.Module(wt.Section(wt.DataCount, wt.U32(1_000_000))), "data count", "data segments: 1000000, over the limit of 100000"},
		{"1M element segments", wt.Module(wt.Section(wt.Element, wt.Vec(slices.Repeat([][]byte{{1, 0, 0}}, 1_000_000)...))), "element", "element segments: 1000000, over the limit of 10000"},
		{"256 parameters", wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType(strings.Repeat("\x7f", 256), "")))), "type", "parameters of a type: 256, over the limit of 255"},
		{"256 results", wt.Module(wt.Section(wt.Type, wt.Vec(wt.FuncType("", strings.Repeat("\x7f", 256))))), "type", "results of a type: 256, over the limit of 255"},
		{"1,001 custom sections", wt.Plugin(wt.Parts{Last: customs}), "custom", "custom sections: 1001, over the limit of 1000"},
		{"17 MiB of custom sections", wt.Plugin(wt.Parts{Last: wt.CustomSection("c", make([]byte, 17<<20))}), "custom", "custom sections, bytes: 17825794, over the limit of 16777216"},
		{"size", make([]byte, 33<<20), "", "the module's size, bytes: 34603008, over the limit of 33554432"},
	})
}

// A custom section of 100 MB is refused by its own limit where the module's
// size alone would let it pass.
func TestRefusesLargeCustomSection(t *testing.T) {
	limits := wasm.DefaultLimits()
	limits.Size = 256 << 20
	e := refusal(t, wt.Plugin(wt.Parts{Last: wt.CustomSection("c", make([]byte, 100<<20))}), limits)
	if e.Section != "custom" || !strings.Contains(e.Detail, "over the limit of 16777216") {
		t.Errorf("Check(100 MB custom section) = %v, want the limit of custom sections", e)
	}
}
