package wasm

import "strconv"

const (
	meterImports = 2    // functions that the meter imports
	meterGlobals = 2    // globals that the meter adds
	meterNesting = 2    // blocks that the meter opens around the guest's
	emptyBlock   = 0x40 // type of a block without results
)

// Types that the meter adds, by their place behind the guest's.
const (
	typeNothing = iota // () -> ()
	typeFuel           // (i64) -> (i64)
	typeNumber         // (i32) -> (i32)
	typeRange          // (i32, i32, i32) -> ()
	meterTypes         // then one for each list of several results
)

// meter rewrites one module.
type meter struct {
	w     *walker
	stack int64 // bytes of all frames

	parts    [sectionDataCount + 1]reader // sections by id; not read yet
	names    reader                       // name section
	segments []int                        // sizes of the data segments
	added    uint32                       // index of the first type that is added
	fuel     uint32                       // global
	left     uint32                       // global: bytes of stack that are left
	refuel   uint32                       // function
	overflow uint32                       // function

	current  uint32            // type of the function being rewritten
	results  map[uint32]uint32 // by a function type of several results: the type without parameters
	lists    []uint32          // the keys of results in the order of their values
	helperAt map[helperKey]uint32
	helpers  []helperKey
	blocks   []surveyBlock  // reused from function to function
	open     []meteredBlock // the same

	mutable      []RestoreGlobal
	unrestorable string
	largest      int64
}

// locate notes where the sections are.
func (m *meter) locate() error {
	w := m.w
	m.added = uint32(len(w.types))
	m.refuel = uint32(w.imported)
	m.overflow = uint32(w.imported) + 1
	m.results = make(map[uint32]uint32)
	m.helperAt = make(map[helperKey]uint32)
	r := reader{module: w.module, pos: preambleSize, end: len(w.module)}
	for r.left() > 0 {
		id, err := r.byte()
		if err != nil {
			return err
		}
		size, err := r.u32()
		if err != nil {
			return err
		}
		content, err := r.sub(int(size))
		if err != nil {
			return err
		}
		if id != sectionCustom {
			s, _ := sectionOf(id)
			content.section = s.name
			m.parts[id] = content
			continue
		}
		name, err := content.name("name of a custom section", w.limits.NameBytes)
		if err != nil {
			return err
		}
		if name == "name" {
			m.names = content
		}
	}
	return m.measureSegments()
}

// measureSegments notes the sizes of the data segments.
func (m *meter) measureSegments() error {
	r := m.parts[sectionData]
	if r.left() == 0 {
		return nil
	}
	n, err := r.u32()
	if err != nil {
		return err
	}
	m.segments = make([]int, 0, n)
	for range n {
		size, err := m.w.skipDataSegment(&r)
		if err != nil {
			return err
		}
		m.segments = append(m.segments, size)
	}
	return nil
}

// remap returns the index that a function has in the metered module.
func (m *meter) remap(function uint32) uint32 {
	if function < m.refuel {
		return function
	}
	return function + meterImports
}

// module returns the metered module. Function bodies come first: what they
// need decides what other sections get.
func (m *meter) module() ([]byte, error) {
	code, err := m.code()
	if err != nil {
		return nil, err
	}
	globals, err := m.globalSection()
	if err != nil {
		return nil, err
	}
	exports, err := m.exportSection()
	if err != nil {
		return nil, err
	}
	elements, err := m.elementSection()
	if err != nil {
		return nil, err
	}
	names, err := m.nameSection()
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(code)+len(m.w.module))
	out = append(out, m.w.module[:preambleSize]...)
	for _, s := range []struct {
		id      byte
		content []byte
	}{
		{sectionType, m.typeSection()},
		{sectionImport, m.importSection()},
		{sectionFunction, m.functionSection()},
		{sectionTable, m.rest(sectionTable)},
		{sectionMemory, m.rest(sectionMemory)},
		{sectionGlobal, globals},
		{sectionExport, exports},
		{sectionElement, elements},
		{sectionDataCount, m.rest(sectionDataCount)},
		{sectionCode, code},
		{sectionData, m.rest(sectionData)},
		{sectionCustom, names},
	} {
		out = appendSection(out, s.id, s.content)
	}
	return out, nil
}

// rest returns what was not read of a section.
func (m *meter) rest(id byte) []byte {
	r := m.parts[id]
	return r.module[r.pos:r.end]
}

// extended returns a section that is a vector, with more elements: n is the
// number that it has, more the number in added.
func (m *meter) extended(id byte, n, more int, added []byte) []byte {
	if n+more == 0 {
		return nil
	}
	r := m.parts[id]
	if r.left() > 0 {
		_, _ = r.u32() // n: read before
	}
	out := appendUnsigned(nil, uint64(n+more))
	out = append(out, r.module[r.pos:r.end]...)
	return append(out, added...)
}

func (m *meter) typeSection() []byte {
	i32, i64 := byte(I32), byte(I64)
	var added []byte
	added = appendFuncType(added, nil, nil)
	added = appendFuncType(added, []byte{i64}, []byte{i64})
	added = appendFuncType(added, []byte{i32}, []byte{i32})
	added = appendFuncType(added, []byte{i32, i32, i32}, nil)
	for _, index := range m.lists {
		added = appendFuncType(added, nil, m.resultTypes(index))
	}
	return m.extended(sectionType, len(m.w.types), meterTypes+len(m.lists), added)
}

// resultTypes returns the results of a type, as the module encodes them.
func (m *meter) resultTypes(index uint32) []byte {
	t := m.w.types[index]
	return m.w.module[t.results:][:t.nResults]
}

// resultBlock returns the type of a block that leaves the results of a
// function of a type, encoded.
func (m *meter) resultBlock(function uint32) []byte {
	switch types := m.resultTypes(function); len(types) {
	case 0:
		return []byte{emptyBlock}
	case 1:
		return types
	}
	index, found := m.results[function]
	if !found {
		index = m.added + meterTypes + uint32(len(m.lists))
		m.results[function] = index
		m.lists = append(m.lists, function)
	}
	return appendSigned(nil, int64(index))
}

func (m *meter) importSection() []byte {
	var added []byte
	for _, i := range []struct {
		name string
		typ  uint32
	}{{RefuelImport, typeFuel}, {OverflowImport, typeNothing}} {
		added = appendName(appendName(added, MeterModule), i.name)
		added = appendUnsigned(append(added, byte(KindFunc)), uint64(m.added+i.typ))
	}
	return m.extended(sectionImport, m.w.imported, meterImports, added)
}

func (m *meter) functionSection() []byte {
	var added []byte
	for _, key := range m.helpers {
		added = appendUnsigned(added, uint64(m.helperType(key)))
	}
	return m.extended(sectionFunction, m.w.defined, len(m.helpers), added)
}

// globalSection returns the globals with the meter's two, and notes those of
// the guest that change.
func (m *meter) globalSection() ([]byte, error) {
	out := appendUnsigned(nil, uint64(len(m.w.globals)+meterGlobals))
	if r := m.parts[sectionGlobal]; r.left() > 0 {
		if _, err := r.u32(); err != nil {
			return nil, err
		}
		for i, g := range m.w.globals {
			head, err := r.bytes(2) // type, mutability
			if err != nil {
				return nil, err
			}
			if out, err = m.constant(append(out, head...), &r); err != nil {
				return nil, err
			}
			if g.mutable {
				m.changes(i, g.value)
			}
		}
	}
	for _, value := range []int64{0, m.stack} { // fuel, bytes of stack
		out = append(out, byte(I64), 1)
		out = append(appendI64(out, value), byte(opEnd))
	}
	return out, nil
}

// changes notes a mutable global.
func (m *meter) changes(index int, t ValueType) {
	switch t {
	case I32, I64, F32, F64:
		m.mutable = append(m.mutable, RestoreGlobal{globalExport + strconv.Itoa(index), t})
	default:
		m.keeps("a mutable global of type " + t.String())
	}
}

// keeps notes state that cannot be put back. The first is told.
func (m *meter) keeps(what string) {
	if m.unrestorable == "" {
		m.unrestorable = what
	}
}

// exportSection returns the exports with those that the host needs.
func (m *meter) exportSection() ([]byte, error) {
	more := m.mutable
	if m.unrestorable != "" {
		more = nil
	}
	out := appendUnsigned(nil, uint64(len(m.w.info.Exports)+meterGlobals+len(more)))
	if r := m.parts[sectionExport]; r.left() > 0 {
		if _, err := r.u32(); err != nil {
			return nil, err
		}
		for range m.w.info.Exports {
			start := r.pos
			if err := r.skipName(); err != nil {
				return nil, err
			}
			kind, err := r.byte()
			if err != nil {
				return nil, err
			}
			out = append(out, r.module[start:r.pos]...)
			index, err := r.u32()
			if err != nil {
				return nil, err
			}
			if Kind(kind) == KindFunc {
				index = m.remap(index)
			}
			out = appendUnsigned(out, uint64(index))
		}
	}
	export := func(name string, index uint32) {
		out = append(appendName(out, name), byte(KindGlobal))
		out = appendUnsigned(out, uint64(index))
	}
	export(FuelExport, m.fuel)
	export(StackExport, m.left)
	if len(more) > 0 {
		for i, at := 0, 0; i < len(m.w.globals); i++ {
			if m.w.globals[i].mutable {
				export(more[at].Export, uint32(i))
				at++
			}
		}
	}
	return out, nil
}

// elementSection returns the element segments.
func (m *meter) elementSection() ([]byte, error) {
	r := m.parts[sectionElement]
	if r.left() == 0 {
		return nil, nil
	}
	n, err := r.u32()
	if err != nil {
		return nil, err
	}
	out := appendUnsigned(nil, uint64(n))
	for range n {
		if out, err = m.elementSegment(out, &r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m *meter) elementSegment(out []byte, r *reader) ([]byte, error) {
	start := r.pos
	flags, err := r.u32()
	if err != nil {
		return nil, err
	}
	if flags&segmentPassive == 0 && flags&segmentExplicit != 0 {
		if _, err := r.u32(); err != nil { // table
			return nil, err
		}
	}
	out = append(out, r.module[start:r.pos]...)
	if flags&segmentPassive == 0 {
		if out, err = m.constant(out, r); err != nil {
			return nil, err
		}
	}
	if flags&(segmentPassive|segmentExplicit) != 0 {
		kind, err := r.byte()
		if err != nil {
			return nil, err
		}
		out = append(out, kind)
	}
	n, err := r.u32()
	if err != nil {
		return nil, err
	}
	out = appendUnsigned(out, uint64(n))
	for range n {
		if flags&segmentExpressions != 0 {
			if out, err = m.constant(out, r); err != nil {
				return nil, err
			}
			continue
		}
		index, err := r.u32()
		if err != nil {
			return nil, err
		}
		out = appendUnsigned(out, uint64(m.remap(index)))
	}
	return out, nil
}

// constant appends a constant expression.
func (m *meter) constant(out []byte, r *reader) ([]byte, error) {
	c := instructionReader{reader: *r, maxTargets: 1}
	var in instruction
	for {
		if err := c.next(&in); err != nil {
			return nil, err
		}
		if in.op == opRefFunc {
			out = appendIndexed(out, opRefFunc, m.remap(in.index))
			continue
		}
		out = append(out, c.module[in.offset:c.pos]...)
		if in.op == opEnd {
			r.pos = c.pos
			return out, nil
		}
	}
}
