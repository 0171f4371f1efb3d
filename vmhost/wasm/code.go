package wasm

import "errors"

// codeSection reads the function bodies.
func (w *walker) codeSection(r *reader) error {
	const smallest = 3 // bytes: size, no locals, end
	start := r.pos
	n, err := r.count("function bodies", smallest, w.limits.Functions)
	if err != nil {
		return err
	}
	if n != w.defined {
		return r.fail(start, "%s declared, but %s given", plural(w.defined, "function"), plural(n, "body"))
	}
	for i := range n {
		if err := w.body(r, w.imported+i); err != nil {
			return inFunction(err, w.imported+i)
		}
	}
	w.bodies = n
	return nil
}

// inFunction adds to an error in which function it is.
func inFunction(err error, index int) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		r := reader{section: e.Section}
		return r.fail(int(e.Offset), "function %d: %s", index, e.Detail)
	}
	return err
}

// body reads the body of the function at an index.
func (w *walker) body(r *reader, index int) error {
	size, err := r.count("bytes of a function", 1, w.limits.BodySize)
	if err != nil {
		return err
	}
	content, err := r.sub(size)
	if err != nil {
		return err
	}
	w.info.CodeBytes += int64(size)
	locals, err := w.locals(&content, int(w.types[w.functions[index]].nParams))
	if err != nil {
		return err
	}
	b := body{
		instructionReader: instructionReader{reader: content, maxTargets: w.limits.BrTable, targets: w.targets},
		w:                 w,
		locals:            locals,
		control:           append(w.control[:0], opBlock), // the function itself
	}
	err = b.walk()
	w.control, w.targets = b.control, b.targets
	return err
}

// locals reads the declarations of locals and returns how many there are,
// parameters included.
func (w *walker) locals(r *reader, params int) (int, error) {
	start := r.pos
	const smallest = 2 // bytes: number, type
	groups, err := r.count("groups of locals", smallest, w.limits.Locals)
	if err != nil {
		return 0, err
	}
	total := int64(params)
	for range groups {
		n, err := r.u32()
		if err != nil {
			return 0, err
		}
		total += int64(n)
		if total > int64(w.limits.Locals) {
			return 0, r.over(start, "locals", total, int64(w.limits.Locals))
		}
		t, err := r.valueType()
		if err != nil {
			return 0, err
		}
		w.noteType(t)
	}
	w.totalLocals += total
	if w.totalLocals > int64(w.limits.TotalLocals) {
		return 0, r.over(start, "locals of all functions", w.totalLocals, int64(w.limits.TotalLocals))
	}
	return int(total), nil
}

// body walks the instructions of one function.
type body struct {
	instructionReader
	w       *walker
	locals  int      // parameters included
	loops   int64    // seen so far, each counted as often as there are loops open with it
	open    int64    // loops open
	control []opcode // the blocks that are open, by the opcode of their part; the function is the first
}

// walk reads the instructions up to the end of the function.
func (b *body) walk() error {
	var in instruction
	for len(b.control) > 0 {
		if err := b.next(&in); err != nil {
			return err
		}
		b.w.features |= in.feature
		if in.imm == immNone {
			if in.op == opElse || in.op == opEnd {
				if err := b.closeBlock(&in); err != nil {
					return err
				}
			}
			continue
		}
		if err := b.check(&in); err != nil {
			return err
		}
	}
	return b.done()
}

// closeBlock ends a block, or the first half of an if.
func (b *body) closeBlock(in *instruction) error {
	top := len(b.control) - 1
	if in.op == opEnd {
		if b.control[top] == opLoop {
			b.open--
		}
		b.control = b.control[:top]
		return nil
	}
	if b.control[top] != opIf {
		return b.fail(in.offset, "else without if")
	}
	b.control[top] = opElse
	return nil
}

// openBlock starts a block.
func (b *body) openBlock(in *instruction) error {
	if in.block.index != noIndex {
		if err := b.inRange(in, "type", in.block.index, len(b.w.types)); err != nil {
			return err
		}
		b.w.features |= usesMultiValue
	}
	b.w.noteType(in.block.value)
	if in.op == opLoop {
		if err := b.openLoop(in); err != nil {
			return err
		}
	}
	if len(b.control) > b.w.limits.Nesting {
		return b.over(in.offset, "blocks within each other", int64(len(b.control)), int64(b.w.limits.Nesting))
	}
	b.control = append(b.control, in.op)
	return nil
}

// openLoop starts a loop. The engine's compiler makes a value of each local
// for each loop, and connects it with those of the loops around it, so that
// locals × loops × depth is what a function costs to compile.
func (b *body) openLoop(in *instruction) error {
	limits := b.w.limits
	b.open++
	b.loops += b.open
	if need := b.loops * int64(b.locals); need > limits.LoopLocals {
		return b.over(in.offset, "locals × loops, nested ones counted by their depth", need, limits.LoopLocals)
	}
	b.w.loopLocals += b.open * int64(b.locals)
	if b.w.loopLocals > limits.TotalLoopLocals {
		return b.over(in.offset, "locals × loops of all functions, nested ones counted by their depth", b.w.loopLocals, limits.TotalLoopLocals)
	}
	return nil
}

// check checks the indices of an instruction.
func (b *body) check(in *instruction) error {
	w := b.w
	switch in.imm {
	case immBlock:
		return b.openBlock(in)
	case immLabel:
		return b.inRange(in, "label", in.index, len(b.control))
	case immBrTable:
		for _, label := range in.targets {
			if err := b.inRange(in, "label", label, len(b.control)); err != nil {
				return err
			}
		}
		return b.inRange(in, "label", in.index, len(b.control))
	case immFunc:
		return b.inRange(in, "function", in.index, len(w.functions))
	case immIndirect:
		if in.index2 > 0 {
			w.features |= usesReferenceTypes
		}
		return b.inRanges(in, "type", len(w.types), "table", len(w.tables))
	case immLocal:
		return b.inRange(in, "local", in.index, b.locals)
	case immGlobal:
		return b.checkGlobal(in)
	default:
		return b.checkStorage(in)
	}
}

// checkGlobal checks the access to a global.
func (b *body) checkGlobal(in *instruction) error {
	if err := b.inRange(in, "global", in.index, len(b.w.globals)); err != nil {
		return err
	}
	if in.op == opGlobalSet && !b.w.globals[in.index].mutable {
		return b.fail(in.offset, "global %d is written, but not mutable", in.index)
	}
	return nil
}

// checkStorage checks the access to memory, tables and segments.
func (b *body) checkStorage(in *instruction) error {
	w := b.w
	switch in.imm {
	case immMemArg, immMemArgLane, immMemory, immMemoryTwice:
		return b.needMemory(in)
	case immTable:
		if err := b.inRange(in, "table", in.index, len(w.tables)); err != nil {
			return err
		}
		if in.op == opTableGrow && !w.tables[in.index].HasMax {
			return b.fail(in.offset, "table.grow of table %d, which has no maximum: at most %d entries in all tables are accepted",
				in.index, w.tableEntries())
		}
	case immTableTable:
		return b.inRanges(in, "table", len(w.tables), "table", len(w.tables))
	case immElem:
		return b.inRange(in, "element segment", in.index, w.elements)
	case immElemTable:
		return b.inRanges(in, "element segment", w.elements, "table", len(w.tables))
	case immData, immDataMemory:
		if w.dataCount < 0 {
			return b.fail(in.offset, "%v needs a data count section", in.op)
		}
		if err := b.inRange(in, "data segment", in.index, w.dataCount); err != nil {
			return err
		}
		if in.imm == immDataMemory {
			return b.needMemory(in)
		}
	}
	return nil
}

// needMemory checks that the module has a memory.
func (b *body) needMemory(in *instruction) error {
	if b.w.memories == 0 {
		return b.fail(in.offset, "%v needs a memory, and there is none", in.op)
	}
	return nil
}

// inRange checks an index of an instruction into a space of n things.
func (b *body) inRange(in *instruction, what string, index uint32, n int) error {
	if int64(index) >= int64(n) {
		return b.fail(in.at, "%s index %d is out of range: there are %d", what, index, n)
	}
	return nil
}

// inRanges checks both indices of an instruction.
func (b *body) inRanges(in *instruction, first string, nFirst int, second string, nSecond int) error {
	if err := b.inRange(in, first, in.index, nFirst); err != nil {
		return err
	}
	return b.inRange(in, second, in.index2, nSecond)
}

// constant reads a constant expression: the value of a global, an element or
// the offset of a segment.
func (w *walker) constant(r *reader) error {
	c := instructionReader{reader: *r, maxTargets: 1}
	var in instruction
	for {
		if err := c.next(&in); err != nil {
			return err
		}
		w.features |= in.feature
		switch in.op {
		case opEnd:
			r.pos = c.pos
			return nil
		case opI32Const, opI64Const, opF32Const, opF64Const, opV128Const, opRefNull:
		case opI32Add, opI32Sub, opI32Mul, opI64Add, opI64Sub, opI64Mul:
			w.features |= usesExtendedConst
		case opRefFunc:
			if int64(in.index) >= int64(len(w.functions)) {
				return c.fail(in.at, "function index %d is out of range: there are %d", in.index, len(w.functions))
			}
		case opGlobalGet:
			if int64(in.index) >= int64(len(w.globals)) {
				return c.fail(in.at, "global index %d is out of range: %d are defined so far", in.index, len(w.globals))
			}
			if w.globals[in.index].mutable {
				return c.fail(in.offset, "a constant expression reads global %d, which is mutable", in.index)
			}
		default:
			return c.fail(in.offset, "%v cannot stand in a constant expression", in.op)
		}
	}
}
