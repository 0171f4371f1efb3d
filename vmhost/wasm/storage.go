package wasm

// Bits of the flags of limits.
const (
	flagMax      = 1 << 0
	flagShared   = 1 << 1
	flag64       = 1 << 2
	flagPageSize = 1 << 3
)

// sizeLimits reads the minimum and maximum of a table or memory. unit names what
// is counted.
func (r *reader) sizeLimits(unit string) (least, most uint32, hasMost bool, err error) {
	start := r.pos
	flags, err := r.byte()
	if err != nil {
		return 0, 0, false, err
	}
	switch {
	case flags > flagMax|flagShared|flag64|flagPageSize:
		err = r.fail(start, "0x%02x are not the flags of limits", flags)
	case flags&flagShared != 0:
		err = r.unsupported(start, noThreads)
	case flags&flag64 != 0:
		err = r.unsupported(start, noMemory64)
	case flags&flagPageSize != 0:
		err = r.unsupported(start, noPageSizes)
	}
	if err != nil {
		return 0, 0, false, err
	}
	if least, err = r.u32(); err != nil {
		return 0, 0, false, err
	}
	if flags&flagMax == 0 {
		return least, 0, false, nil
	}
	if most, err = r.u32(); err != nil {
		return 0, 0, false, err
	}
	if least > most {
		return 0, 0, false, r.fail(start, "the minimum of %d %s is over the maximum of %d", least, unit, most)
	}
	return least, most, true, nil
}

// tableSection reads the tables.
func (w *walker) tableSection(r *reader) error {
	const smallest = 3 // bytes: type, flags, minimum
	n, err := r.count("tables", smallest, w.limits.Tables)
	if err != nil {
		return err
	}
	var total int64
	w.tables = make([]Table, 0, n)
	for range n {
		start := r.pos
		if r.left() > 0 && r.module[r.pos] == 0x40 { // a table with an initial value
			return r.unsupported(start, noFuncRefs)
		}
		var t Table
		if t.Type, err = r.refType(); err != nil {
			return err
		}
		if t.Min, t.Max, t.HasMax, err = r.sizeLimits("entries"); err != nil {
			return err
		}
		total += int64(max(t.Min, t.Max))
		if limit := w.tableEntries(); total > limit {
			return r.over(start, "table entries", total, limit)
		}
		if t.Type != FuncRef || n > 1 {
			w.features |= usesReferenceTypes
		}
		w.tables = append(w.tables, t)
	}
	return nil
}

// tableEntries returns how many entries the tables of this module may have.
// A large program has a table entry for each function, which costs it more
// bytes in the module than memory in the table; so its functions count even
// where they are more than the limit, with the entries that Go leaves free.
func (w *walker) tableEntries() int64 {
	return max(int64(w.limits.TableEntries), int64(len(w.functions))+goTableBase)
}

// memorySection reads the memory.
func (w *walker) memorySection(r *reader) error {
	start := r.pos
	n, err := r.u32()
	if err != nil {
		return err
	}
	if n > 1 {
		return r.unsupported(start, noMultiMemory)
	}
	if n == 0 {
		return nil
	}
	var m Memory
	start = r.pos
	if m.Min, m.Max, m.HasMax, err = r.sizeLimits("pages"); err != nil {
		return err
	}
	limit := int64(w.limits.MemoryPages)
	if int64(m.Min) > limit {
		return r.over(start, "minimum of the memory, pages of 64 KiB", int64(m.Min), limit)
	}
	if m.HasMax && int64(m.Max) > limit {
		return r.over(start, "maximum of the memory, pages of 64 KiB", int64(m.Max), limit)
	}
	w.info.Memory = m
	w.memories = 1
	return nil
}

// Bits of the flags of element and data segments.
const (
	segmentPassive     = 1 << 0 // or declarative, if explicit too
	segmentExplicit    = 1 << 1 // an active one names its table or memory
	segmentExpressions = 1 << 2 // elements are expressions, not indices
)

// elementSection reads the element segments.
func (w *walker) elementSection(r *reader) error {
	const smallest = 3 // bytes: flags, kind, no elements
	n, err := r.count("element segments", smallest, w.limits.ElemSegments)
	if err != nil {
		return err
	}
	for range n {
		if err := w.elementSegment(r); err != nil {
			return err
		}
	}
	w.elements = n
	return nil
}

func (w *walker) elementSegment(r *reader) error {
	start := r.pos
	flags, err := r.u32()
	if err != nil {
		return err
	}
	if flags > segmentPassive|segmentExplicit|segmentExpressions {
		return r.fail(start, "%d are not the flags of an element segment", flags)
	}
	if flags != 0 {
		w.features |= usesBulkMemory
	}
	if flags&segmentPassive == 0 { // active
		if err := w.activeElements(r, flags); err != nil {
			return err
		}
	}
	if flags&(segmentPassive|segmentExplicit) != 0 {
		if err := w.elementType(r, flags); err != nil {
			return err
		}
	}
	n, err := r.count("elements of a segment", 1, r.left())
	if err != nil {
		return err
	}
	for range n {
		if flags&segmentExpressions != 0 {
			err = w.constant(r)
		} else {
			_, err = r.index("function", len(w.functions))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// activeElements reads the table and the offset of an active element segment.
func (w *walker) activeElements(r *reader, flags uint32) (err error) {
	if flags&segmentExplicit != 0 {
		_, err = r.index("table", len(w.tables))
	} else if len(w.tables) == 0 {
		err = r.fail(r.pos, "an active segment needs a table, and there is none")
	}
	if err != nil {
		return err
	}
	return w.constant(r)
}

// elementType reads what the elements of a segment are.
func (w *walker) elementType(r *reader, flags uint32) error {
	if flags&segmentExpressions != 0 {
		_, err := r.refType()
		return err
	}
	kind, err := r.byte()
	if err == nil && kind != 0 {
		return r.fail(r.pos-1, "0x%02x is not a kind of elements: 0 is needed", kind)
	}
	return err
}

// dataCountSection reads the number of data segments.
func (w *walker) dataCountSection(r *reader) error {
	start := r.pos
	n, err := r.u32()
	if err != nil {
		return err
	}
	if int64(n) > int64(w.limits.DataSegments) {
		return r.over(start, "data segments", int64(n), int64(w.limits.DataSegments))
	}
	w.dataCount = int(n)
	w.features |= usesBulkMemory
	return nil
}

// dataSection reads the data segments.
func (w *walker) dataSection(r *reader) error {
	const smallest = 2 // bytes: flags, no data
	n, err := r.count("data segments", smallest, w.limits.DataSegments)
	if err != nil {
		return err
	}
	for range n {
		if err := w.dataSegment(r); err != nil {
			return err
		}
	}
	w.segments = n
	return nil
}

func (w *walker) dataSegment(r *reader) error {
	n, err := w.skipDataSegment(r)
	w.info.DataBytes += int64(n)
	return err
}

// skipDataSegment checks a data segment and returns the size of its data.
func (w *walker) skipDataSegment(r *reader) (int, error) {
	start := r.pos
	flags, err := r.u32()
	if err != nil {
		return 0, err
	}
	switch flags {
	case segmentPassive:
		w.features |= usesBulkMemory
	case segmentExplicit:
		index, err := r.u32()
		if err != nil {
			return 0, err
		}
		if index > 0 {
			return 0, r.unsupported(start, noMultiMemory)
		}
		fallthrough
	case 0:
		if w.memories == 0 {
			return 0, r.fail(start, "an active segment needs a memory, and there is none")
		}
		if err := w.constant(r); err != nil {
			return 0, err
		}
	default:
		return 0, r.fail(start, "%d are not the flags of a data segment", flags)
	}
	n, err := r.count("bytes of a data segment", 1, r.left())
	if err != nil {
		return 0, err
	}
	_, err = r.bytes(n)
	return n, err
}
