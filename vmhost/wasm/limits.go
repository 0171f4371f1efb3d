package wasm

// Limits are the caps on a module. A module over one is refused with the need
// and the limit. A zero count allows none of the thing; start from
// [DefaultLimits].
//
// The defaults were set from real modules, with a margin of at least four. The
// largest needs seen, in Go programs of up to 14 MB, C, C++, Rust, Zig, SQLite
// and CPython: 11,448 functions, 43 imports, 1,056 locals, a body of 106 KB, 550
// blocks within each other, a br_table of 1,145 targets, 12,831 table entries.
type Limits struct {
	Size            int64 // the module, bytes; default 32 MiB
	Types           int   // function types; default 10,000
	TypeValues      int   // parameters, and results, of one type; default 255
	Functions       int   // functions defined; default 65,536
	Imports         int   // functions imported; default 256
	Exports         int   // default 1,000
	Globals         int   // globals defined; default 10,000
	DataSegments    int   // default 100,000, Go's own limit
	ElemSegments    int   // default 10,000
	CustomSections  int   // default 1,000
	CustomBytes     int64 // all custom sections together, bytes; default 16 MiB
	NameBytes       int   // the name of an import, an export or a custom section, bytes; default 1,024
	Locals          int   // of one function with its parameters; default 50,000
	TotalLocals     int   // of all functions: three bytes can declare thousands; default 1,000,000
	LoopLocals      int64 // locals × loops of one function, a loop within n others counted n+1 times; default 500,000
	TotalLoopLocals int64 // the same of all functions; default 2,000,000
	BodySize        int   // one function, bytes; default 1 MiB
	Nesting         int   // blocks within each other in one function; default 5,000
	BrTable         int   // targets of one br_table, its default included; default 10,000
	Tables          int   // default 16
	// TableEntries are those of all tables together, maximum or else minimum;
	// default 10,000. One for each function and 4,096 besides are always
	// accepted. A table without a maximum must not be grown.
	TableEntries uint32
	MemoryPages  uint32 // the memory's minimum and its declared maximum, pages of 64 KiB; default 4,096 (256 MiB)

	// Allowed are the functions that may be imported: module, name, exact
	// type. Other things than functions cannot be imported. Default
	// [PluginImports].
	Allowed map[string]map[string]FuncType
	// Required are exports by name, with their kind and exact type. Default
	// [PluginExports].
	Required map[string]ExportNeed
	// HostExports allows exports with the names that are kept for the host,
	// for modules that [Meter] made; default false.
	HostExports bool
}

// ExportNeed is what the host expects of an export.
type ExportNeed struct {
	Kind Kind
	Type FuncType // of a function; else ignored
	// Optional: the export may be missing, but if it is there it must be of
	// this kind and type.
	Optional bool
}

// goTableBase is the index of the first function in the table of a Go program:
// cmd/link reserves the entries below, so that small numbers are not mistaken
// for functions.
const goTableBase = 4096

// DefaultLimits returns the caps for a plugin. The maps are the caller's own.
func DefaultLimits() Limits {
	return Limits{
		Size:            32 << 20,
		Types:           10_000,
		TypeValues:      255,
		Functions:       65_536,
		Imports:         256,
		Exports:         1_000,
		Globals:         10_000,
		DataSegments:    100_000,
		ElemSegments:    10_000,
		CustomSections:  1_000,
		CustomBytes:     16 << 20,
		NameBytes:       1_024,
		Locals:          50_000,
		TotalLocals:     1_000_000,
		LoopLocals:      500_000,
		TotalLoopLocals: 2_000_000,
		BodySize:        1 << 20,
		Nesting:         5_000,
		BrTable:         10_000,
		Tables:          16,
		TableEntries:    10_000,
		MemoryPages:     4_096,
		Allowed:         PluginImports(),
		Required:        PluginExports(),
	}
}
