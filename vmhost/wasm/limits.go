package wasm

// Limits are the caps on a module. A module over one is refused with the need
// and the limit. A zero count allows none of the thing; start from
// [DefaultLimits].
//
// The defaults were set from real modules, most of them with a margin of ten:
// see limits_test.go for what each toolchain needs.
type Limits struct {
	Size           int64  // the module, bytes; default 32 MiB
	Types          int    // function types; default 10,000
	TypeValues     int    // parameters, and results, of one type; default 255
	Functions      int    // functions defined; default 65,536
	Imports        int    // functions imported; default 256
	Exports        int    // default 1,000
	Globals        int    // globals defined; default 10,000
	DataSegments   int    // default 100,000, Go's own limit
	ElemSegments   int    // default 10,000
	CustomSections int    // default 1,000
	CustomBytes    int64  // all custom sections together, bytes; default 16 MiB
	NameBytes      int    // the name of an import, an export or a custom section, bytes; default 1,024
	Locals         int    // of one function with its parameters; default 50,000
	TotalLocals    int    // of all functions: three bytes can declare thousands; default 4,000,000
	LoopLocals     int    // locals × loops of one function, see below; default 500,000
	BodySize       int    // one function, bytes; default 2 MiB
	Nesting        int    // blocks within each other in one function; default 10,000
	BrTable        int    // targets of one br_table, its default included; default 10,000
	Tables         int    // default 16
	TableEntries   uint32 // of all tables together, see below; default 10,000
	MemoryPages    uint32 // the memory's minimum and its declared maximum, pages of 64 KiB; default 4,096 (256 MiB)

	// Imports that are allowed: module, name, exact type. Only functions
	// can be imported. Neither Check nor its callers write to the maps.
	// Default [PluginImports].
	Allowed map[string]map[string]FuncType
	// Required are exports by name, with their kind and exact type. Default
	// [PluginExports].
	Required map[string]ExportNeed
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
		Size:           32 << 20,
		Types:          10_000,
		TypeValues:     255,
		Functions:      65_536,
		Imports:        256,
		Exports:        1_000,
		Globals:        10_000,
		DataSegments:   100_000,
		ElemSegments:   10_000,
		CustomSections: 1_000,
		CustomBytes:    16 << 20,
		NameBytes:      1_024,
		Locals:         50_000,
		TotalLocals:    4_000_000,
		LoopLocals:     500_000,
		BodySize:       2 << 20,
		Nesting:        10_000,
		BrTable:        10_000,
		Tables:         16,
		TableEntries:   10_000,
		MemoryPages:    4_096,
		Allowed:        PluginImports(),
		Required:       PluginExports(),
	}
}
