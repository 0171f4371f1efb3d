// Package wasmtest makes small WebAssembly modules for tests, well-formed ones
// and others: it writes what it is told and checks nothing.
//
// A module is a list of sections, a section is bytes; see [Plugin] for one
// that a host accepts.
package wasmtest

import (
	"encoding/binary"
	"slices"
)

// Section ids.
const (
	Custom    = 0
	Type      = 1
	Import    = 2
	Function  = 3
	Table     = 4
	Memory    = 5
	Global    = 6
	Export    = 7
	Start     = 8
	Element   = 9
	Code      = 10
	Data      = 11
	DataCount = 12
	Tag       = 13
)

// Preamble is the magic and the version of a core module.
const Preamble = "\x00asm\x01\x00\x00\x00"

// End is the opcode that ends a block, a function or a constant expression.
const End = 0x0b

// Module returns a module of sections.
func Module(sections ...[]byte) []byte {
	return append([]byte(Preamble), slices.Concat(sections...)...)
}

// Section returns a section with its size.
func Section(id byte, content ...[]byte) []byte {
	return append([]byte{id}, Sized(content...)...)
}

// Sized returns bytes with their number before them.
func Sized(content ...[]byte) []byte {
	b := slices.Concat(content...)
	return append(U32(len(b)), b...)
}

// Vec returns a vector: the number of elements, then the elements.
func Vec(elements ...[]byte) []byte {
	return append(U32(len(elements)), slices.Concat(elements...)...)
}

// U32 returns an unsigned LEB128 number.
func U32(v int) []byte { return binary.AppendUvarint(nil, uint64(v)) }

// S64 returns a signed LEB128 number.
func S64(v int64) []byte {
	var b []byte
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// Name returns a name with its length.
func Name(s string) []byte { return Sized([]byte(s)) }

// FuncType returns a function type. Each value type is its byte: "\x7f" is i32.
func FuncType(params, results string) []byte {
	return slices.Concat([]byte{0x60}, Name(params), Name(results))
}

// ImportFunc returns the import of a function of a type.
func ImportFunc(module, name string, typ int) []byte {
	return slices.Concat(Name(module), Name(name), []byte{0}, U32(typ))
}

// ExportOf returns an export: kind 0 is a function, 1 a table, 2 a memory, 3 a
// global.
func ExportOf(name string, kind byte, index int) []byte {
	return slices.Concat(Name(name), []byte{kind}, U32(index))
}

// Body returns the body of a function without locals of its own. The end of
// the function is added.
func Body(code ...byte) []byte {
	return Sized([]byte{0}, code, []byte{End})
}

// BodyWithLocals returns the body of a function with n locals of type i32. The
// end of the function is added.
func BodyWithLocals(n int, code ...byte) []byte {
	return Sized([]byte{1}, U32(n), []byte{0x7f}, code, []byte{End})
}

// CustomSection returns a custom section.
func CustomSection(name string, content ...[]byte) []byte {
	return Section(Custom, Name(name), slices.Concat(content...))
}

// Parts are the sections of a plugin that a test may change. A nil part is
// that of [Plugin].
type Parts struct {
	Types     [][]byte // types from number 2 on
	Imports   []byte   // whole section
	Tables    []byte   // whole section
	Memories  []byte   // whole section
	Globals   []byte   // whole section
	Exports   [][]byte // exports besides those that a plugin needs
	Elements  []byte   // whole section
	DataCount []byte   // whole section
	Code      []byte   // code of handle, without its end
	Locals    int      // locals of handle
	Data      []byte   // whole section
	Last      []byte   // sections at the end
	// Imported is the number of functions that Imports imports.
	Imported int
}

// Plugin returns a module with the exports that every plugin needs. handle and
// cabi_realloc, both of type 0, which takes four i32 and returns one, return
// 0; type 1 takes and returns nothing.
func Plugin(p Parts) []byte {
	const fourI32 = "\x7f\x7f\x7f\x7f"
	if p.Memories == nil {
		p.Memories = Section(Memory, Vec([]byte{0, 1}))
	}
	if p.Code == nil {
		p.Code = []byte{0x41, 0} // i32.const 0
	}
	types := append([][]byte{FuncType(fourI32, "\x7f"), FuncType("", "")}, p.Types...)
	exports := append([][]byte{
		ExportOf("memory", 2, 0), ExportOf("handle", 0, p.Imported), ExportOf("cabi_realloc", 0, p.Imported+1),
	}, p.Exports...)
	return Module(
		Section(Type, Vec(types...)), p.Imports,
		Section(Function, Vec([]byte{0}, []byte{0})), p.Tables, p.Memories, p.Globals,
		Section(Export, Vec(exports...)), p.Elements, p.DataCount,
		Section(Code, Vec(BodyWithLocals(p.Locals, p.Code...), Body(0x41, 0))), p.Data, p.Last,
	)
}
