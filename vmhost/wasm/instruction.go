package wasm

// noIndex is the type index of a block type that is not a type index.
const noIndex = ^uint32(0)

// blockType is what a block leaves: nothing, one value, or what the function
// type at index says.
type blockType struct {
	value ValueType // zero when the block leaves nothing or index is set
	index uint32    // of a function type that takes parameters or leaves several values; else noIndex
}

// instruction is one decoded instruction. Which fields are set depends on
// imm; the others are left over from instructions before. Indices are as the
// module gives them: the decoder does not know how many things there are.
type instruction struct {
	opInfo
	op     opcode
	offset int // of the opcode's first byte, from the start of the module

	index   uint32    // the first index; the label of br, the default of br_table
	index2  uint32    // the second index: tables of call_indirect, table.init and table.copy (its source)
	at      int       // offset of the first immediate
	block   blockType // of block, loop and if
	value   uint64    // of a constant, by its bits, but v128; the offset of a memory access
	targets []uint32  // labels of br_table without the default; valid until the next instruction is read
}

// instructionReader decodes a sequence of instructions. It bounds what it
// reads by the bytes there are, and targets by maxTargets; whether blocks are
// closed and indices in range is for its user to check.
type instructionReader struct {
	reader
	maxTargets int      // of one br_table, its default included
	targets    []uint32 // reused from br_table to br_table
}

// next decodes the instruction at pos.
func (r *instructionReader) next(in *instruction) error {
	in.offset = r.pos
	b, err := r.byte()
	if err != nil {
		return err
	}
	in.op, in.at = opcode(b), r.pos
	in.opInfo = plainOps[b]
	if in.imm == immNone {
		return nil
	}
	if b >= byte(prefixGC) && b <= byte(prefixAtomic) {
		if err := r.prefixed(in); err != nil {
			return err
		}
	}
	return r.immediates(in)
}

// prefixed decodes the number after a prefix byte.
func (r *instructionReader) prefixed(in *instruction) error {
	switch in.op {
	case prefixGC:
		return r.unsupported(in.offset, noGC)
	case prefixAtomic:
		return r.unsupported(in.offset, noThreads)
	}
	start := r.pos
	sub, err := r.u32()
	if err != nil {
		return err
	}
	// The engine takes the second byte of a vector instruction for its whole
	// number, so a padded one would be read in two ways. No tool writes one.
	if size := r.pos - start; size > 2 || size == 2 && sub < 0x80 {
		return r.fail(start, "padded opcode")
	}
	prefix := in.op
	in.op, in.at = prefix<<16|opcode(sub), r.pos
	switch {
	case prefix == prefixVector && sub > 0xff:
		return r.unsupported(in.offset, noRelaxedSIMD)
	case sub > 0xff:
		in.opInfo = opInfo{}
	case prefix == prefixVector:
		in.opInfo = vectorOps[sub]
	default:
		in.opInfo = miscOps[sub]
	}
	return nil
}

// immediates decodes what follows the opcode.
func (r *instructionReader) immediates(in *instruction) (err error) {
	switch in.imm {
	case undefined:
		return r.fail(in.offset, "%v is not an instruction", in.op)
	case refused:
		return r.unsupported(in.offset, in.refusal)
	case immNone:
	case immLabel, immFunc, immLocal, immGlobal, immTable, immElem, immData:
		in.index, err = r.u32()
	case immIndirect, immTableTable, immElemTable:
		if in.index, err = r.u32(); err == nil {
			in.index2, err = r.u32()
		}
	case immBlock:
		in.block, err = r.blockType()
	case immBrTable:
		err = r.brTable(in)
	case immMemArg:
		err = r.memArg(in)
	case immMemory:
		err = r.memoryIndex()
	case immMemoryTwice:
		if err = r.memoryIndex(); err == nil {
			err = r.memoryIndex()
		}
	case immDataMemory:
		if in.index, err = r.u32(); err == nil {
			err = r.memoryIndex()
		}
	case immSelect:
		err = r.selectType()
	case immRefType:
		_, err = r.refType()
	default:
		err = r.constant(in)
	}
	return err
}

// constant decodes constants and lane numbers.
func (r *instructionReader) constant(in *instruction) (err error) {
	var v int64
	switch in.imm {
	case immI32:
		v, err = r.signed(32)
		in.value = uint64(uint32(v))
	case immI64:
		v, err = r.signed(64)
		in.value = uint64(v)
	case immF32:
		var bits uint32
		bits, err = r.fixed32()
		in.value = uint64(bits)
	case immF64:
		in.value, err = r.fixed64()
	case immV128:
		_, err = r.bytes(16)
	case immLane:
		err = r.lane(int(in.lanes))
	case immShuffle:
		for range 16 {
			if err := r.lane(32); err != nil {
				return err
			}
		}
	case immMemArgLane:
		if err = r.memArg(in); err == nil {
			err = r.lane(int(in.lanes))
		}
	}
	return err
}

// blockType decodes the type of a block.
func (r *instructionReader) blockType() (blockType, error) {
	start := r.pos
	if r.pos < r.end && r.module[r.pos] == 0x40 {
		r.pos++
		return blockType{index: noIndex}, nil
	}
	v, err := r.signed(33)
	if err != nil {
		return blockType{}, err
	}
	if v >= 0 {
		return blockType{index: uint32(v)}, nil
	}
	if size := r.pos - start; size > 1 {
		return blockType{}, r.fail(start, "%d is not a block type", v)
	}
	t, err := r.checkValueType(start, byte(v&0x7f))
	return blockType{value: t, index: noIndex}, err
}

// brTable decodes the labels of a br_table.
func (r *instructionReader) brTable(in *instruction) error {
	n, err := r.count("br_table targets", 1, r.maxTargets-1)
	if err != nil {
		return err
	}
	r.targets = r.targets[:0]
	for range n {
		label, err := r.u32()
		if err != nil {
			return err
		}
		r.targets = append(r.targets, label)
	}
	in.targets = r.targets
	in.index, err = r.u32()
	return err
}

// memArg decodes the alignment and the offset of a memory access.
func (r *instructionReader) memArg(in *instruction) error {
	start := r.pos
	align, err := r.u32()
	if err != nil {
		return err
	}
	const hasMemoryIndex = 0x40
	if align >= hasMemoryIndex && align < 2*hasMemoryIndex {
		return r.unsupported(start, noMultiMemory)
	}
	if align > uint32(in.log2) {
		return r.fail(start, "alignment 2^%d is over the natural alignment of %d bytes", align, 1<<in.log2)
	}
	offset, err := r.u32()
	in.value = uint64(offset)
	return err
}

// memoryIndex decodes the index of a memory, of which there is only the first.
// It is one byte: before multi-memory it was a reserved zero.
func (r *instructionReader) memoryIndex() error {
	b, err := r.byte()
	if err == nil && b != 0 {
		return r.unsupported(r.pos-1, noMultiMemory)
	}
	return err
}

// selectType decodes the types of a select.
func (r *instructionReader) selectType() error {
	start := r.pos
	n, err := r.u32()
	if err != nil {
		return err
	}
	if n != 1 {
		return r.fail(start, "select of %d types: exactly 1 is needed", n)
	}
	_, err = r.valueType()
	return err
}

// lane decodes a lane number below n.
func (r *instructionReader) lane(n int) error {
	lane, err := r.byte()
	if err == nil && int(lane) >= n {
		return r.fail(r.pos-1, "lane %d is out of range: there are %d", lane, n)
	}
	return err
}
