package wasm

import (
	"maps"
	"math"
	"slices"
)

// Check walks a module and describes it, or refuses it with an *[Error]. It
// keeps no part of module and does not change it. It allocates at most 16 times
// the module's size, and 512 KiB; time is linear in the size. Safe for concurrent use, as
// long as nobody changes the maps of limits.
func Check(module []byte, limits Limits) (*Inspection, error) {
	w, err := walk(module, limits)
	if err != nil {
		return nil, err
	}
	return &w.info, nil
}

// walk reads a module and keeps what its parts must agree with.
func walk(module []byte, limits Limits) (*walker, error) {
	if size := int64(len(module)); size > limits.Size {
		r := reader{}
		return nil, r.over(-1, "the module's size, bytes", size, limits.Size)
	}
	if err := preamble(module); err != nil {
		return nil, err
	}
	w := &walker{
		limits:    limits,
		reader:    reader{module: module, pos: preambleSize, end: len(module)},
		made:      make(map[uint32]FuncType),
		dataCount: -1,
		exportsAt: -1,
		info:      Inspection{Size: int64(len(module))},
	}
	if err := w.sections(); err != nil {
		return nil, err
	}
	if err := w.complete(); err != nil {
		return nil, err
	}
	w.info.Tables = w.tables
	w.info.Globals = len(w.globals)
	w.info.Functions = w.defined
	w.info.Features = w.features.list()
	return w, nil
}

// walker reads the sections of a module one after the other and keeps what the
// later ones must agree with.
type walker struct {
	reader
	limits Limits
	info   Inspection

	types     []funcType
	made      map[uint32]FuncType // types that imports and exports share, by index
	functions []uint32            // type index of each function, imported ones first
	imported  int                 // functions imported
	defined   int                 // functions that the function section defines
	bodies    int                 // function bodies in the code section
	tables    []Table
	memories  int
	globals   []globalType
	elements  int // element segments
	dataCount int // as the data count section says; -1 without one
	segments  int // data segments
	exportsAt int // offset of the export section; -1 without one
	named     bool
	features  featureSet

	customBytes int64
	totalLocals int64
	loopLocals  int64
	control     []opcode // the blocks that are open, reused from function to function
	targets     []uint32 // of a br_table, reused from function to function
}

// funcType is a function type as a place in the module, because the modules'
// own bytes are the most compact form of it.
type funcType struct {
	params, results   uint32 // offsets of the first type
	nParams, nResults uint16
}

// globalType is the type of a global.
type globalType struct {
	value   ValueType
	mutable bool
}

// Section ids.
const (
	sectionCustom    = 0
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
	sectionTag       = 13
)

// section is how a section is read.
type section struct {
	id    byte
	name  string
	order int // sections other than custom ones come in this order, each once
	read  func(*walker, *reader) error
}

// sectionOf returns the section of an id.
func sectionOf(id byte) (section, bool) {
	known := [...]section{
		{sectionCustom, "custom", 0, (*walker).custom},
		{sectionType, "type", 1, (*walker).typeSection},
		{sectionImport, "import", 2, (*walker).importSection},
		{sectionFunction, "function", 3, (*walker).functionSection},
		{sectionTable, "table", 4, (*walker).tableSection},
		{sectionMemory, "memory", 5, (*walker).memorySection},
		{sectionTag, "tag", 6, (*walker).tagSection},
		{sectionGlobal, "global", 7, (*walker).globalSection},
		{sectionExport, "export", 8, (*walker).exportSection},
		{sectionStart, "start", 9, (*walker).startSection},
		{sectionElement, "element", 10, (*walker).elementSection},
		{sectionDataCount, "data count", 11, (*walker).dataCountSection},
		{sectionCode, "code", 12, (*walker).codeSection},
		{sectionData, "data", 13, (*walker).dataSection},
	}
	for _, s := range known {
		if s.id == id {
			return s, true
		}
	}
	return section{}, false
}

// sections reads all sections.
func (w *walker) sections() error {
	last := section{}
	for w.left() > 0 {
		start := w.pos
		id, err := w.byte()
		if err != nil {
			return err
		}
		s, known := sectionOf(id)
		if !known {
			return w.fail(start, "section id %d is not known", id)
		}
		size, err := w.u32()
		if err != nil {
			return err
		}
		if int64(size) > int64(w.left()) {
			return w.fail(start, "the %s section declares %d bytes, but %d are left in the module", s.name, size, w.left())
		}
		content, err := w.sub(int(size))
		if err != nil {
			return err
		}
		content.section = s.name
		if id != sectionCustom {
			if s.order == last.order {
				return content.fail(start, "the section appears twice")
			}
			if s.order < last.order {
				return content.fail(start, "the section must come before the %s section", last.name)
			}
			last = s
		}
		if err := s.read(w, &content); err != nil {
			return err
		}
		if err := content.done(); err != nil {
			return err
		}
	}
	return nil
}

// complete checks what can only be known at the end.
func (w *walker) complete() error {
	if w.bodies != w.defined {
		return &Error{"code", -1, plural(w.defined, "function") + " declared, but " + plural(w.bodies, "body") + " given"}
	}
	if w.dataCount >= 0 && w.segments != w.dataCount {
		return &Error{"data", -1, plural(w.dataCount, "data segment") + " declared by the data count section, but " + plural(w.segments, "segment") + " given"}
	}
	return w.requiredExports()
}

// requiredExports checks the exports against those that the host needs.
func (w *walker) requiredExports() error {
	exports := make(map[string]Export, len(w.info.Exports))
	for _, e := range w.info.Exports {
		exports[e.Name] = e
	}
	r := reader{section: "export"}
	for _, name := range slices.Sorted(maps.Keys(w.limits.Required)) {
		need := w.limits.Required[name]
		got, found := exports[name]
		switch {
		case !found && need.Optional:
		case !found:
			return r.fail(w.exportsAt, "the module must export a %v named %q%s", need.Kind, name, typed(need))
		case got.Kind != need.Kind:
			return r.fail(w.exportsAt, "export %q is a %v, but must be a %v%s", name, got.Kind, need.Kind, typed(need))
		case need.Kind == KindFunc && !got.Type.Equal(need.Type):
			return r.fail(w.exportsAt, "export %q has the type %v, but must have %v", name, got.Type, need.Type)
		}
	}
	return nil
}

// typed returns the type that an export needs, for an error.
func typed(need ExportNeed) string {
	if need.Kind != KindFunc {
		return ""
	}
	return " of type " + need.Type.String()
}

// funcType returns the type at an index, which must be in range. Each is made
// once: a few bytes of a module can name a type of hundreds of values.
func (w *walker) funcType(index uint32) FuncType {
	if t, found := w.made[index]; found {
		return t
	}
	t := w.types[index]
	made := FuncType{w.valueTypes(t.params, t.nParams), w.valueTypes(t.results, t.nResults)}
	w.made[index] = made
	return made
}

// valueTypes returns the n value types at offset, which were read before.
func (w *walker) valueTypes(offset uint32, n uint16) []ValueType {
	if n == 0 {
		return nil
	}
	types := make([]ValueType, n)
	for i := range types {
		types[i] = ValueType(w.module[int(offset)+i])
	}
	return types
}

// maxTypeValues is what nParams and nResults can hold.
const maxTypeValues = math.MaxUint16
