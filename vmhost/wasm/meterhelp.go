package wasm

// bulkChunk is the most bytes that one operation on a range of memory handles
// at a time. Between two chunks the fuel is looked at.
const bulkChunk = 64 << 10

// helperKind is a function that the meter adds to a module that needs it.
type helperKind uint8

const (
	helpRefuel  helperKind = iota // () -> (): asks the host for fuel
	helpBytes                     // (i32) -> (i32): charges a number of bytes
	helpEntries                   // (i32) -> (i32): charges a number of table entries
	helpPages                     // (i32) -> (i32): charges a number of pages
	helpFill                      // (i32, i32, i32) -> (): memory.fill
	helpCopy                      // (i32, i32, i32) -> (): memory.copy
	helpInit                      // (i32, i32, i32) -> (): memory.init of one large segment

	meterHelpers = int(helpInit) // kinds of which there is at most one; of helpInit one for each large segment
)

// helperKey is one helper; segment is that of helpInit.
type helperKey struct {
	kind    helperKind
	segment uint32
}

// helper returns the index of a helper and notes that it is needed.
func (m *meter) helper(kind helperKind, segment uint32) uint32 {
	key := helperKey{kind, segment}
	index, found := m.helperAt[key]
	if !found {
		index = uint32(len(m.w.functions)+meterImports) + uint32(len(m.helpers))
		m.helperAt[key] = index
		m.helpers = append(m.helpers, key)
	}
	return index
}

// bulk rewrites an instruction that is not control: operations whose time
// depends on an operand are charged by it, others stay.
func (m *meter) bulk(b *bodyMeter, in *instruction) {
	if what := lasting(in.op); what != "" {
		m.keeps(what)
	}
	switch in.op {
	case opMemoryFill:
		b.out = appendIndexed(b.out, opCall, m.helper(helpFill, 0))
		return
	case opMemoryCopy:
		b.out = appendIndexed(b.out, opCall, m.helper(helpCopy, 0))
		return
	case opMemoryInit:
		if m.segments[in.index] > bulkChunk {
			b.out = appendIndexed(b.out, opCall, m.helper(helpInit, in.index))
			return
		}
		b.out = appendIndexed(b.out, opCall, m.helper(helpBytes, 0))
	case opMemoryGrow:
		b.out = appendIndexed(b.out, opCall, m.helper(helpPages, 0))
	case opTableInit, opTableCopy, opTableFill, opTableGrow:
		b.out = appendIndexed(b.out, opCall, m.helper(helpEntries, 0))
	}
	b.raw(in)
}

// lasting returns the name of an instruction that changes what is neither in
// memory nor in a global; empty for others.
func lasting(op opcode) string {
	switch op {
	case opTableSet:
		return "table.set"
	case opTableInit:
		return "table.init"
	case opTableCopy:
		return "table.copy"
	case opTableGrow:
		return "table.grow"
	case opTableFill:
		return "table.fill"
	case opDataDrop:
		return "data.drop"
	case opElemDrop:
		return "elem.drop"
	}
	return ""
}

// helperType returns the index of a helper's type.
func (m *meter) helperType(key helperKey) uint32 {
	switch key.kind {
	case helpRefuel:
		return m.added + typeNothing
	case helpBytes, helpEntries, helpPages:
		return m.added + typeNumber
	default:
		return m.added + typeRange
	}
}

// helperBody returns the body of a helper, with its locals.
func (m *meter) helperBody(key helperKey) []byte {
	out := []byte{0} // no locals
	switch key.kind {
	case helpRefuel:
		out = appendIndexed(out, opGlobalGet, m.fuel)
		out = appendIndexed(out, opCall, m.refuel)
		out = appendIndexed(out, opGlobalSet, m.fuel)
	case helpBytes:
		out = m.chargeOperand(out, opI64ShrU, bulkShift)
	case helpEntries:
		out = m.chargeOperand(out, opI64Shl, 0)
	case helpPages:
		out = m.chargeOperand(out, opI64Shl, pageShift)
	default:
		out = m.rangeBody(out, key)
	}
	return append(out, byte(opEnd))
}

// chargeOperand appends the charge of local 0, as an unsigned number shifted
// to units, and leaves the local on the stack.
func (m *meter) chargeOperand(out []byte, shift opcode, by int64) []byte {
	out = appendIndexed(out, opGlobalGet, m.fuel)
	out = appendIndexed(out, opLocalGet, 0)
	out = appendOps(out, opI64ExtendI32U)
	if by > 0 {
		out = appendI64(out, by)
		out = appendOps(out, shift)
	}
	out = appendOps(out, opI64Sub)
	out = appendIndexed(out, opGlobalSet, m.fuel)
	out = appendIndexed(out, opGlobalGet, m.fuel)
	out = appendIfNegative(out)
	out = appendIndexed(out, opCall, m.helper(helpRefuel, 0))
	out = appendOps(out, opEnd)
	return appendIndexed(out, opLocalGet, 0)
}

// Locals of the helpers for ranges of memory.
const (
	rangeTo   = 0 // address
	rangeFrom = 1 // address, offset in the segment, or the byte to fill with
	rangeLen  = 2
)

// rangeBody appends an operation on a range of memory in chunks. One that
// would leave the memory or the segment is done whole, so that it traps before
// anything is written.
func (m *meter) rangeBody(out []byte, key helperKey) []byte {
	out = append(out, byte(opBlock), emptyBlock)
	out = appendIndexed(out, opLocalGet, rangeLen)
	out = appendChunkSize(out)
	out = appendOps(out, opI32LeU)
	out = appendIndexed(out, opBrIf, 0)
	out = appendOutside(out, rangeTo, appendMemoryBytes(nil))
	switch key.kind {
	case helpCopy:
		out = appendOutside(out, rangeFrom, appendMemoryBytes(nil))
		out = m.copyBackwards(out)
	case helpInit:
		out = appendOutside(out, rangeFrom, appendI64(nil, int64(m.segments[key.segment])))
	}
	out = append(out, byte(opLoop), emptyBlock)
	out = m.chunk(out, key)
	out = appendAdvance(out, rangeTo, opI32Add)
	if key.kind != helpFill {
		out = appendAdvance(out, rangeFrom, opI32Add)
	}
	out = appendAdvance(out, rangeLen, opI32Sub)
	out = appendWhileLarge(out)
	out = appendOps(out, opEnd, opEnd)

	out = appendIndexed(out, opLocalGet, rangeTo)
	out = appendIndexed(out, opLocalGet, rangeFrom)
	out = appendIndexed(out, opLocalGet, rangeLen)
	out = appendIndexed(out, opCall, m.helper(helpBytes, 0))
	return appendRangeOp(out, key)
}

// appendMemoryBytes appends the size of the memory in bytes, an i64.
func appendMemoryBytes(out []byte) []byte {
	const pageBits = 16
	out = append(out, byte(opMemorySize), 0)
	out = appendOps(out, opI64ExtendI32U)
	out = appendI64(out, pageBits)
	return appendOps(out, opI64Shl)
}

// appendOutside appends a branch to label 0 if the range from a local on ends
// past a limit, an i64.
func appendOutside(out []byte, from uint32, limit []byte) []byte {
	out = appendIndexed(out, opLocalGet, from)
	out = appendOps(out, opI64ExtendI32U)
	out = appendIndexed(out, opLocalGet, rangeLen)
	out = appendOps(out, opI64ExtendI32U, opI64Add)
	out = append(out, limit...)
	out = appendOps(out, opI64GtU)
	return appendIndexed(out, opBrIf, 0)
}

// copyBackwards appends the chunks of a copy to a higher address, from the
// end on, so that where the ranges overlap nothing is read that was written.
// What is left, less than a chunk or one, is at the start of both ranges.
func (m *meter) copyBackwards(out []byte) []byte {
	out = appendIndexed(out, opLocalGet, rangeTo)
	out = appendIndexed(out, opLocalGet, rangeFrom)
	out = appendOps(out, opI32GtU)
	out = append(out, byte(opIf), emptyBlock, byte(opLoop), emptyBlock)
	out = appendAdvance(out, rangeLen, opI32Sub)
	for _, address := range []uint32{rangeTo, rangeFrom} {
		out = appendIndexed(out, opLocalGet, address)
		out = appendIndexed(out, opLocalGet, rangeLen)
		out = appendOps(out, opI32Add)
	}
	out = appendChunkSize(out)
	out = appendIndexed(out, opCall, m.helper(helpBytes, 0))
	out = appendRangeOp(out, helperKey{kind: helpCopy})
	out = appendWhileLarge(out)
	out = appendOps(out, opEnd)
	out = appendIndexed(out, opBr, 1)
	return appendOps(out, opEnd)
}

// chunk appends the operation on the first chunk of the range.
func (m *meter) chunk(out []byte, key helperKey) []byte {
	out = appendIndexed(out, opLocalGet, rangeTo)
	out = appendIndexed(out, opLocalGet, rangeFrom)
	out = appendChunkSize(out)
	out = appendIndexed(out, opCall, m.helper(helpBytes, 0))
	return appendRangeOp(out, key)
}

// appendChunkSize appends the size of a chunk, an i32.
func appendChunkSize(out []byte) []byte {
	return appendSigned(append(out, byte(opI32Const)), bulkChunk)
}

// appendAdvance appends what moves a local by a chunk.
func appendAdvance(out []byte, local uint32, op opcode) []byte {
	out = appendIndexed(out, opLocalGet, local)
	out = appendChunkSize(out)
	out = appendOps(out, op)
	return appendIndexed(out, opLocalSet, local)
}

// appendWhileLarge appends a branch to label 0 while more than a chunk is left.
func appendWhileLarge(out []byte) []byte {
	out = appendIndexed(out, opLocalGet, rangeLen)
	out = appendChunkSize(out)
	out = appendOps(out, opI32GtU)
	return appendIndexed(out, opBrIf, 0)
}

// appendRangeOp appends the operation that a helper stands for.
func appendRangeOp(out []byte, key helperKey) []byte {
	out = append(out, byte(prefixMisc))
	switch key.kind {
	case helpFill:
		return append(out, byte(opMemoryFill&0xff), 0)
	case helpCopy:
		return append(out, byte(opMemoryCopy&0xff), 0, 0)
	default:
		out = append(out, byte(opMemoryInit&0xff))
		return append(appendUnsigned(out, uint64(key.segment)), 0)
	}
}
