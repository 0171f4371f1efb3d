package wasm

// The cost model. One unit is about a simple instruction: some tenths of a
// nanosecond. Costs follow from the module alone, so that the same call costs
// the same everywhere; what costs more than a handful of simple instructions
// on the slower machines is weighted, so that a slice of fuel is a bounded
// time, whatever the guest does with it.
const (
	costMarker   = 0 // block, loop, else, end: they make no code
	costSimple   = 1
	costDivision = 8   // division, remainder and square root
	costCall     = 4   // of a known function; what it does is its own cost
	costIndirect = 8   // of a function in a table, whose type is checked
	costTable    = 2   // table.get, table.set, table.size
	costBulk     = 8   // operations on ranges, besides their operand, and data.drop, elem.drop
	costGrow     = 256 // memory.grow, table.grow, besides their operand: they leave the guest's code

	// A function entered pays a unit for each so many locals that it
	// declares, because they are set to zero.
	localsPerUnit = 4

	// Operands of operations on ranges: a unit for 8 bytes, for one entry of
	// a table, and for the 512th part of a page that memory grows by.
	bulkShift = 3 // bytes to units
	pageShift = 9 // pages to units
)

// cost returns the cost of an instruction, without that of its operand.
func cost(op opcode) int64 {
	switch op >> 16 {
	case 0:
		return plainCost(op)
	case prefixMisc:
		return miscCost(op)
	default:
		return vectorCost(op & 0xffff)
	}
}

func plainCost(op opcode) int64 {
	switch {
	case op == opBlock, op == opLoop, op == opElse, op == opEnd:
		return costMarker
	case op == opCall, op == opReturnCall:
		return costCall
	case op == opCallIndirect, op == opReturnCallIndirect:
		return costIndirect
	case op == opTableGet, op == opTableSet:
		return costTable
	case op == opMemoryGrow:
		return costGrow
	case op >= opI32DivS && op <= opI32RemU, op >= opI64DivS && op <= opI64RemU,
		op == opF32Sqrt, op == opF32Div, op == opF64Sqrt, op == opF64Div:
		return costDivision
	}
	return costSimple
}

func miscCost(op opcode) int64 {
	switch op {
	case opTableGrow:
		return costGrow
	case opTableSize:
		return costTable
	case opMemoryInit, opDataDrop, opMemoryCopy, opMemoryFill, opTableInit, opElemDrop, opTableCopy, opTableFill:
		return costBulk
	}
	return costSimple
}

// vectorCost takes the number behind the prefix.
func vectorCost(op opcode) int64 {
	switch op {
	case 227, 231, 239, 243: // f32x4.sqrt, .div, f64x2.sqrt, .div
		return 2 * costDivision
	}
	return costSimple
}
