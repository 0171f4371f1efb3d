package wasmbuild

import (
	"encoding/binary"
	"slices"

	"github.com/tars-project/tars/vmhost/wasm"
)

// Where things lie in the memory of a [Plugin].
const (
	ResultAt  = 1024 // free, for a result
	ScratchAt = 2048 // free
	HeapAt    = 4096 // what cabi_realloc gives, upwards
)

// Plugin is a module that speaks the plugin ABI, to which a test adds what it
// is about. Function numbers: imports from 0 on, then cabi_realloc, handle,
// cabi_post_handle, _initialize, and Funcs. Global 0 is the heap's end.
type Plugin struct {
	Imports []Import // see HostImport and WASIImport
	// Handle is the body of handle; its parameters are locals 0 to 3:
	// capability, its length, input, its length. Locals 4 to 9 are free.
	Handle []byte
	// Realloc is the body of cabi_realloc, with locals 0 to 3 old address,
	// old size, alignment, new size. Locals 4 to 9 are free. Nil means one
	// that never frees and does not grow the memory.
	Realloc    []byte
	Post       []byte // the body of cabi_post_handle
	Initialize []byte // the body of _initialize
	Funcs      []Func
	Globals    []int32 // from number 1 on
	Table      uint32  // entries of a table of functions; 0: none
	Data       []Data
	Pages      uint32 // of memory; 0 means 16
	MaxPages   uint32 // 0: none declared
	Custom     []Custom
}

// Module returns the plugin as a module, to be spoilt further.
func (p Plugin) Module() Module {
	const freeLocals = 6
	realloc := p.Realloc
	if realloc == nil {
		realloc = bump()
	}
	i32s := func(n int) []wasm.ValueType { return slices.Repeat([]wasm.ValueType{wasm.I32}, n) }
	first := uint32(len(p.Imports))
	pages := p.Pages
	if pages == 0 {
		pages = 16
	}
	return Module{
		Imports: p.Imports,
		Funcs: append([]Func{
			{Type: wasm.FuncType{Params: i32s(4), Results: i32s(1)}, Locals: freeLocals, Body: realloc},
			{Type: wasm.FuncType{Params: i32s(4), Results: i32s(1)}, Locals: freeLocals, Body: p.Handle},
			{Type: wasm.FuncType{Params: i32s(1)}, Body: p.Post},
			{Body: p.Initialize},
		}, p.Funcs...),
		Table:   p.Table,
		Memory:  &Memory{Min: pages, Max: p.MaxPages},
		Globals: append([]int32{HeapAt}, p.Globals...),
		Exports: []Export{
			{"memory", wasm.KindMemory, 0},
			{"cabi_realloc", wasm.KindFunc, first},
			{"handle", wasm.KindFunc, first + 1},
			{"cabi_post_handle", wasm.KindFunc, first + 2},
			{"_initialize", wasm.KindFunc, first + 3},
		},
		Data:   p.Data,
		Custom: p.Custom,
	}
}

// Encode returns the plugin's bytes.
func (p Plugin) Encode() []byte { return p.Module().Encode() }

// HostImport is the import of a host function, such as "search".
func HostImport(name string) Import {
	return Import{wasm.HostModule, name, wasm.PluginImports()[wasm.HostModule][name]}
}

// WASIImport is the import of a function of WASI preview 1.
func WASIImport(name string) Import {
	return Import{wasm.WASIModule, name, wasm.PluginImports()[wasm.WASIModule][name]}
}

// bump is a cabi_realloc that hands out the memory from HeapAt on.
func bump() []byte {
	return Code(
		GlobalGet(0), Get(2), Add(), I32(1), Sub(), // end + align - 1
		I32(0), Get(2), Sub(), And(), // down to the alignment
		Tee(4), Get(3), Add(), GlobalSet(0),
		Get(4),
	)
}

// ReturnOK is the end of a body that puts the ok case of a result to ResultAt
// and returns it; ptr and length leave one value each.
func ReturnOK(ptr, length []byte) []byte {
	return Code(
		I32(ResultAt), I32(0), Store8(0),
		I32(ResultAt), ptr, Store(4),
		I32(ResultAt), length, Store(8),
		I32(ResultAt),
	)
}

// OK is the ok case of a result in memory.
func OK(ptr, count uint32) []byte { return words(0, ptr, count, 0, 0) }

// Error is the error case of a result in memory.
func Error(code, codeLen, message, messageLen uint32) []byte {
	return words(1, code, codeLen, message, messageLen)
}

func words(list ...uint32) []byte {
	var out []byte
	for _, w := range list {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out
}
