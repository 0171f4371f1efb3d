package wasm

import (
	"fmt"
	"slices"
	"strings"
)

// ValueType is the type of a value, as encoded in a module.
type ValueType byte

// The value types.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

// String returns the type's name in the text format, such as "i32".
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	default:
		return fmt.Sprintf("type 0x%02x", byte(t))
	}
}

// FuncType is the type of a function.
type FuncType struct{ Params, Results []ValueType }

// Equal reports whether two function types are the same.
func (t FuncType) Equal(u FuncType) bool {
	return slices.Equal(t.Params, u.Params) && slices.Equal(t.Results, u.Results)
}

// String returns the type in the form "(i32, i64) -> (i32)". Lists of more
// than 16 types are cut short.
func (t FuncType) String() string {
	return typeList(t.Params) + " -> " + typeList(t.Results)
}

func typeList(types []ValueType) string {
	const most = 16
	names := make([]string, 0, most+1)
	for i, t := range types {
		if i == most {
			names = append(names, fmt.Sprintf("… %d in all", len(types)))
			break
		}
		names = append(names, t.String())
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// Kind is what an import or an export is, as encoded in a module.
type Kind byte

// The kinds of imports and exports.
const (
	KindFunc   Kind = 0
	KindTable  Kind = 1
	KindMemory Kind = 2
	KindGlobal Kind = 3
	kindTag    Kind = 4 // of the exception handling proposal: always refused
)

// String returns "function", "table", "memory", "global" or "tag".
func (k Kind) String() string {
	switch k {
	case KindFunc:
		return "function"
	case KindTable:
		return "table"
	case KindMemory:
		return "memory"
	case KindGlobal:
		return "global"
	case kindTag:
		return "tag"
	default:
		return fmt.Sprintf("kind %d", byte(k))
	}
}

// Import is a function that a module imports; other things cannot be.
type Import struct {
	Module string // such as "wasi_snapshot_preview1"; on the allow-list
	Name   string
	Type   FuncType
}

// Export is what a module exports.
type Export struct {
	Name string // valid UTF-8, unique in the module, otherwise the guest's own
	Kind Kind
	Type FuncType // of a function; else zero
}

// Memory is the linear memory of a module.
type Memory struct {
	Min    uint32 // pages of 64 KiB
	Max    uint32 // pages; meaningless unless HasMax
	HasMax bool   // false: the module leaves the cap to the host
}

// Table is a table of references.
type Table struct {
	Type   ValueType // FuncRef or ExternRef
	Min    uint32    // entries
	Max    uint32    // entries; meaningless unless HasMax
	HasMax bool      // false: the module is known not to grow the table
}

// Tool is what made a module, by its own account.
type Tool struct {
	Role    string // "language", "processed-by" or "sdk"
	Name    string // such as "Go"; valid UTF-8, at most 256 bytes
	Version string // the same
}

// Inspection describes an accepted module.
type Inspection struct {
	Size           int64     // bytes
	Imports        []Import  // in the module's order
	Exports        []Export  // in the module's order
	Memory         Memory    // index 0, which every accepted module has
	Tables         []Table   // in the module's order
	Functions      int       // functions defined, without imported ones
	Globals        int       // globals defined
	CodeBytes      int64     // size of all function bodies
	DataBytes      int64     // bytes in all data segments
	Features       []Feature // those beyond the first version of WebAssembly that are used, in the order of their constants
	CustomSections []string  // names, in the module's order, with repeats
	Producers      []Tool    // from the producers section, untrusted; at most 16
}

// Export returns the export of that name.
func (i *Inspection) Export(name string) (Export, bool) {
	for _, e := range i.Exports {
		if e.Name == name {
			return e, true
		}
	}
	return Export{}, false
}
