// Package wasmbuild assembles small WebAssembly modules, for tests that need an
// exact one: a pointer at the edge of memory, an export of the wrong type. It
// writes what it is told, right or wrong.
package wasmbuild

import (
	"slices"

	"github.com/tars-project/tars/vmhost/wasm"
)

// Module is a core module. Functions are numbered as in the binary format:
// imports first, then Funcs. Its globals are mutable and of type i32.
type Module struct {
	Imports []Import
	Funcs   []Func
	Table   uint32  // entries of a table of functions, all null at first; 0: none
	Memory  *Memory // nil: none
	Globals []int32 // initial values
	Exports []Export
	Data    []Data
	Custom  []Custom // behind everything else
}

// Import is an imported function.
type Import struct {
	Module, Name string
	Type         wasm.FuncType
}

// Func is a function. Body is without the final end.
type Func struct {
	Type   wasm.FuncType
	Locals int // beyond the parameters, of type i32
	Body   []byte
}

// Memory is a linear memory, in pages of 64 KiB.
type Memory struct {
	Min uint32
	Max uint32 // 0: not declared
}

// Export names a function by its number, or a memory.
type Export struct {
	Name  string
	Kind  wasm.Kind
	Index uint32
}

// Data is what memory holds at the start, or, when passive, what memory.init
// takes.
type Data struct {
	At      int32
	Bytes   []byte
	Passive bool
}

// Custom is a custom section.
type Custom struct {
	Name  string
	Bytes []byte
}

// Section numbers of the binary format.
const (
	sectionCustom = 0
	sectionType   = 1
	sectionImport = 2
	sectionFunc   = 3
	sectionTable  = 4
	sectionMemory = 5
	sectionGlobal = 6
	sectionExport = 7
	sectionCode   = 10
	sectionData   = 11
	sectionCount  = 12 // of data segments
)

// Encode returns the module's bytes.
func (m Module) Encode() []byte {
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	out = section(out, sectionType, vector(m.types(), encodeType))
	if len(m.Imports) > 0 {
		index := 0
		out = section(out, sectionImport, vector(m.Imports, func(i Import) []byte {
			b := slices.Concat(name(i.Module), name(i.Name), []byte{byte(wasm.KindFunc)}, unsigned(uint64(index)))
			index++
			return b
		}))
	}
	index := len(m.Imports)
	out = section(out, sectionFunc, vector(m.Funcs, func(Func) []byte {
		b := unsigned(uint64(index))
		index++
		return b
	}))
	if m.Table > 0 {
		const funcref = 0x70
		size := unsigned(uint64(m.Table))
		out = section(out, sectionTable, slices.Concat([]byte{1, funcref, 1}, size, size))
	}
	if m.Memory != nil {
		out = section(out, sectionMemory, vector([]Memory{*m.Memory}, encodeMemory))
	}
	if len(m.Globals) > 0 {
		out = section(out, sectionGlobal, vector(m.Globals, func(value int32) []byte {
			return slices.Concat([]byte{byte(wasm.I32), 1}, I32(value), End())
		}))
	}
	out = section(out, sectionExport, vector(m.Exports, func(e Export) []byte {
		return slices.Concat(name(e.Name), []byte{byte(e.Kind)}, unsigned(uint64(e.Index)))
	}))
	if slices.ContainsFunc(m.Data, func(d Data) bool { return d.Passive }) {
		out = section(out, sectionCount, unsigned(uint64(len(m.Data))))
	}
	out = section(out, sectionCode, vector(m.Funcs, encodeBody))
	if len(m.Data) > 0 {
		out = section(out, sectionData, vector(m.Data, func(d Data) []byte {
			if d.Passive {
				return slices.Concat([]byte{1}, unsigned(uint64(len(d.Bytes))), d.Bytes)
			}
			return slices.Concat([]byte{0}, I32(d.At), End(), unsigned(uint64(len(d.Bytes))), d.Bytes)
		}))
	}
	for _, c := range m.Custom {
		out = section(out, sectionCustom, slices.Concat(name(c.Name), c.Bytes))
	}
	return out
}

// types returns a type for each function: imports, then the module's own.
func (m Module) types() []wasm.FuncType {
	var types []wasm.FuncType
	for _, i := range m.Imports {
		types = append(types, i.Type)
	}
	for _, f := range m.Funcs {
		types = append(types, f.Type)
	}
	return types
}

func encodeType(t wasm.FuncType) []byte {
	one := func(v wasm.ValueType) []byte { return []byte{byte(v)} }
	return slices.Concat([]byte{0x60}, vector(t.Params, one), vector(t.Results, one))
}

func encodeMemory(m Memory) []byte {
	if m.Max == 0 {
		return slices.Concat([]byte{0}, unsigned(uint64(m.Min)))
	}
	return slices.Concat([]byte{1}, unsigned(uint64(m.Min)), unsigned(uint64(m.Max)))
}

func encodeBody(f Func) []byte {
	locals := []byte{0}
	if f.Locals > 0 {
		locals = slices.Concat([]byte{1}, unsigned(uint64(f.Locals)), []byte{byte(wasm.I32)})
	}
	body := slices.Concat(locals, f.Body, End())
	return slices.Concat(unsigned(uint64(len(body))), body)
}

func section(out []byte, id byte, content []byte) []byte {
	return slices.Concat(out, []byte{id}, unsigned(uint64(len(content))), content)
}

func vector[T any](items []T, encode func(T) []byte) []byte {
	out := unsigned(uint64(len(items)))
	for _, item := range items {
		out = append(out, encode(item)...)
	}
	return out
}

func name(s string) []byte { return slices.Concat(unsigned(uint64(len(s))), []byte(s)) }
