package wasm

import "fmt"

// opcode is an instruction's opcode: one byte, or for the instructions behind
// a prefix byte, the prefix in bits 16 to 23 and the number after it below.
type opcode uint32

// Opcodes that the checks and the meter name.
const (
	opUnreachable        opcode = 0x00
	opBlock              opcode = 0x02
	opLoop               opcode = 0x03
	opIf                 opcode = 0x04
	opElse               opcode = 0x05
	opEnd                opcode = 0x0b
	opBr                 opcode = 0x0c
	opBrIf               opcode = 0x0d
	opBrTable            opcode = 0x0e
	opReturn             opcode = 0x0f
	opCall               opcode = 0x10
	opCallIndirect       opcode = 0x11
	opReturnCall         opcode = 0x12
	opReturnCallIndirect opcode = 0x13
	opLocalGet           opcode = 0x20
	opLocalSet           opcode = 0x21
	opLocalTee           opcode = 0x22
	opGlobalGet          opcode = 0x23
	opGlobalSet          opcode = 0x24
	opTableGet           opcode = 0x25
	opTableSet           opcode = 0x26
	opMemorySize         opcode = 0x3f
	opMemoryGrow         opcode = 0x40
	opI32Const           opcode = 0x41
	opI64Const           opcode = 0x42
	opF32Const           opcode = 0x43
	opF64Const           opcode = 0x44
	opI32GtU             opcode = 0x4b
	opI32LeU             opcode = 0x4d
	opI64LtS             opcode = 0x53
	opI64GtU             opcode = 0x56
	opI32Add             opcode = 0x6a
	opI32Sub             opcode = 0x6b
	opI32Mul             opcode = 0x6c
	opI32DivS            opcode = 0x6d
	opI32RemU            opcode = 0x70
	opI64Add             opcode = 0x7c
	opI64Sub             opcode = 0x7d
	opI64Mul             opcode = 0x7e
	opI64DivS            opcode = 0x7f
	opI64RemU            opcode = 0x82
	opI64Shl             opcode = 0x86
	opI64ShrU            opcode = 0x88
	opF32Sqrt            opcode = 0x91
	opF32Div             opcode = 0x95
	opF64Sqrt            opcode = 0x9f
	opF64Div             opcode = 0xa3
	opI64ExtendI32U      opcode = 0xad
	opRefNull            opcode = 0xd0
	opRefFunc            opcode = 0xd2

	prefixGC     opcode = 0xfb
	prefixMisc   opcode = 0xfc
	prefixVector opcode = 0xfd
	prefixAtomic opcode = 0xfe

	opMemoryInit opcode = prefixMisc<<16 | 8
	opDataDrop   opcode = prefixMisc<<16 | 9
	opMemoryCopy opcode = prefixMisc<<16 | 10
	opMemoryFill opcode = prefixMisc<<16 | 11
	opTableInit  opcode = prefixMisc<<16 | 12
	opElemDrop   opcode = prefixMisc<<16 | 13
	opTableCopy  opcode = prefixMisc<<16 | 14
	opTableGrow  opcode = prefixMisc<<16 | 15
	opTableSize  opcode = prefixMisc<<16 | 16
	opTableFill  opcode = prefixMisc<<16 | 17
	opV128Const  opcode = prefixVector<<16 | 12
)

func (op opcode) String() string {
	if op > 0xff {
		return fmt.Sprintf("opcode 0x%02x %d", uint32(op>>16), uint32(op&0xffff))
	}
	return fmt.Sprintf("opcode 0x%02x", uint32(op))
}

// immediates says what follows an opcode.
type immediates uint8

const (
	undefined      immediates = iota // no instruction has this opcode
	refused                          // an instruction of a proposal that is not accepted
	immNone                          // nothing
	immBlock                         // block type
	immLabel                         // label
	immBrTable                       // vector of labels, label
	immFunc                          // function index
	immIndirect                      // type index, table index
	immLocal                         // local index
	immGlobal                        // global index
	immTable                         // table index
	immTableTable                    // two table indices
	immElem                          // element segment index
	immElemTable                     // element segment index, table index
	immMemArg                        // alignment, offset
	immMemory                        // memory index
	immMemoryTwice                   // two memory indices
	immData                          // data segment index
	immDataMemory                    // data segment index, memory index
	immI32                           // signed number
	immI64                           // signed number
	immF32                           // 4 bytes
	immF64                           // 8 bytes
	immV128                          // 16 bytes
	immSelect                        // vector of one value type
	immRefType                       // reference type
	immLane                          // lane number
	immShuffle                       // 16 lane numbers
	immMemArgLane                    // alignment, offset, lane number
)

// opInfo is what the decoder must know of an opcode.
type opInfo struct {
	imm     immediates
	log2    uint8      // of the natural alignment of a memory access, in bytes
	lanes   uint8      // of a vector, for an access to one of them
	feature featureSet // the feature that the instruction belongs to, or none
	refusal string     // of a refused instruction: its proposal
}

// opRange gives the same information to the opcodes first to last.
type opRange struct {
	first, last uint16
	opInfo
}

// table spreads ranges over a table of 256 opcodes. Opcodes in no range are
// undefined; where ranges overlap the later one holds.
func table(ranges []opRange) (t [256]opInfo) {
	for _, r := range ranges {
		for op := r.first; op <= r.last; op++ {
			t[op] = r.opInfo
		}
	}
	return t
}

// The tables are written once, before main, and only read after.
var (
	plainOps  = table(plainRanges())
	miscOps   = table(miscRanges())
	vectorOps = table(vectorRanges())
)

// plainRanges are the instructions of one byte.
func plainRanges() []opRange {
	return []opRange{
		{0x00, 0x01, opInfo{imm: immNone}},                                 // unreachable, nop
		{0x02, 0x04, opInfo{imm: immBlock}},                                // block, loop, if
		{0x05, 0x05, opInfo{imm: immNone}},                                 // else
		{0x06, 0x07, opInfo{imm: refused, refusal: noLegacyEH}},            // try, catch
		{0x08, 0x08, opInfo{imm: refused, refusal: noExceptions}},          // throw
		{0x09, 0x09, opInfo{imm: refused, refusal: noLegacyEH}},            // rethrow
		{0x0a, 0x0a, opInfo{imm: refused, refusal: noExceptions}},          // throw_ref
		{0x0b, 0x0b, opInfo{imm: immNone}},                                 // end
		{0x0c, 0x0d, opInfo{imm: immLabel}},                                // br, br_if
		{0x0e, 0x0e, opInfo{imm: immBrTable}},                              // br_table
		{0x0f, 0x0f, opInfo{imm: immNone}},                                 // return
		{0x10, 0x10, opInfo{imm: immFunc}},                                 // call
		{0x11, 0x11, opInfo{imm: immIndirect}},                             // call_indirect
		{0x12, 0x12, opInfo{imm: immFunc, feature: usesTailCall}},          // return_call
		{0x13, 0x13, opInfo{imm: immIndirect, feature: usesTailCall}},      // return_call_indirect
		{0x14, 0x15, opInfo{imm: refused, refusal: noFuncRefs}},            // call_ref, return_call_ref
		{0x18, 0x19, opInfo{imm: refused, refusal: noLegacyEH}},            // delegate, catch_all
		{0x1a, 0x1b, opInfo{imm: immNone}},                                 // drop, select
		{0x1c, 0x1c, opInfo{imm: immSelect, feature: usesReferenceTypes}},  // select t
		{0x1f, 0x1f, opInfo{imm: refused, refusal: noExceptions}},          // try_table
		{0x20, 0x22, opInfo{imm: immLocal}},                                // local.get, .set, .tee
		{0x23, 0x24, opInfo{imm: immGlobal}},                               // global.get, .set
		{0x25, 0x26, opInfo{imm: immTable, feature: usesReferenceTypes}},   // table.get, .set
		{0x28, 0x28, opInfo{imm: immMemArg, log2: 2}},                      // i32.load
		{0x29, 0x29, opInfo{imm: immMemArg, log2: 3}},                      // i64.load
		{0x2a, 0x2a, opInfo{imm: immMemArg, log2: 2}},                      // f32.load
		{0x2b, 0x2b, opInfo{imm: immMemArg, log2: 3}},                      // f64.load
		{0x2c, 0x2d, opInfo{imm: immMemArg, log2: 0}},                      // i32.load8_s, _u
		{0x2e, 0x2f, opInfo{imm: immMemArg, log2: 1}},                      // i32.load16_s, _u
		{0x30, 0x31, opInfo{imm: immMemArg, log2: 0}},                      // i64.load8_s, _u
		{0x32, 0x33, opInfo{imm: immMemArg, log2: 1}},                      // i64.load16_s, _u
		{0x34, 0x35, opInfo{imm: immMemArg, log2: 2}},                      // i64.load32_s, _u
		{0x36, 0x36, opInfo{imm: immMemArg, log2: 2}},                      // i32.store
		{0x37, 0x37, opInfo{imm: immMemArg, log2: 3}},                      // i64.store
		{0x38, 0x38, opInfo{imm: immMemArg, log2: 2}},                      // f32.store
		{0x39, 0x39, opInfo{imm: immMemArg, log2: 3}},                      // f64.store
		{0x3a, 0x3a, opInfo{imm: immMemArg, log2: 0}},                      // i32.store8
		{0x3b, 0x3b, opInfo{imm: immMemArg, log2: 1}},                      // i32.store16
		{0x3c, 0x3c, opInfo{imm: immMemArg, log2: 0}},                      // i64.store8
		{0x3d, 0x3d, opInfo{imm: immMemArg, log2: 1}},                      // i64.store16
		{0x3e, 0x3e, opInfo{imm: immMemArg, log2: 2}},                      // i64.store32
		{0x3f, 0x40, opInfo{imm: immMemory}},                               // memory.size, .grow
		{0x41, 0x41, opInfo{imm: immI32}},                                  // i32.const
		{0x42, 0x42, opInfo{imm: immI64}},                                  // i64.const
		{0x43, 0x43, opInfo{imm: immF32}},                                  // f32.const
		{0x44, 0x44, opInfo{imm: immF64}},                                  // f64.const
		{0x45, 0xbf, opInfo{imm: immNone}},                                 // comparison, arithmetic, conversion
		{0xc0, 0xc4, opInfo{imm: immNone, feature: usesSignExtension}},     // i32.extend8_s … i64.extend32_s
		{0xd0, 0xd0, opInfo{imm: immRefType, feature: usesReferenceTypes}}, // ref.null
		{0xd1, 0xd1, opInfo{imm: immNone, feature: usesReferenceTypes}},    // ref.is_null
		{0xd2, 0xd2, opInfo{imm: immFunc, feature: usesReferenceTypes}},    // ref.func
		{0xd3, 0xd3, opInfo{imm: refused, refusal: noGC}},                  // ref.eq
		{0xd4, 0xd6, opInfo{imm: refused, refusal: noFuncRefs}},            // ref.as_non_null, br_on_null, br_on_non_null
		{0xe0, 0xe6, opInfo{imm: refused, refusal: noStackSwitch}},         // cont.new … switch
	}
}

// miscRanges are the instructions behind the prefix 0xfc.
func miscRanges() []opRange {
	return []opRange{
		{0, 7, opInfo{imm: immNone, feature: usesSatFloatToInt}},       // i32.trunc_sat_f32_s …
		{8, 8, opInfo{imm: immDataMemory, feature: usesBulkMemory}},    // memory.init
		{9, 9, opInfo{imm: immData, feature: usesBulkMemory}},          // data.drop
		{10, 10, opInfo{imm: immMemoryTwice, feature: usesBulkMemory}}, // memory.copy
		{11, 11, opInfo{imm: immMemory, feature: usesBulkMemory}},      // memory.fill
		{12, 12, opInfo{imm: immElemTable, feature: usesBulkMemory}},   // table.init
		{13, 13, opInfo{imm: immElem, feature: usesBulkMemory}},        // elem.drop
		{14, 14, opInfo{imm: immTableTable, feature: usesBulkMemory}},  // table.copy
		{15, 17, opInfo{imm: immTable, feature: usesReferenceTypes}},   // table.grow, .size, .fill
		{19, 22, opInfo{imm: refused, refusal: noWide}},                // i64.add128 … i64.mul_wide_u
	}
}

// vectorRanges are the instructions behind the prefix 0xfd. All those from 256
// on belong to relaxed SIMD.
func vectorRanges() []opRange {
	vector := func(imm immediates, log2, lanes uint8) opInfo {
		return opInfo{imm: imm, log2: log2, lanes: lanes, feature: usesSIMD}
	}
	gap := opInfo{}
	return []opRange{
		{0, 0, vector(immMemArg, 4, 0)},   // v128.load
		{1, 6, vector(immMemArg, 3, 0)},   // v128.load8x8_s …
		{7, 7, vector(immMemArg, 0, 0)},   // v128.load8_splat
		{8, 8, vector(immMemArg, 1, 0)},   // v128.load16_splat
		{9, 9, vector(immMemArg, 2, 0)},   // v128.load32_splat
		{10, 10, vector(immMemArg, 3, 0)}, // v128.load64_splat
		{11, 11, vector(immMemArg, 4, 0)}, // v128.store
		{12, 12, vector(immV128, 0, 0)},   // v128.const
		{13, 13, vector(immShuffle, 0, 0)},
		{14, 20, vector(immNone, 0, 0)},        // swizzle, splat
		{21, 23, vector(immLane, 0, 16)},       // i8x16.extract_lane_s, _u, .replace_lane
		{24, 26, vector(immLane, 0, 8)},        // i16x8
		{27, 28, vector(immLane, 0, 4)},        // i32x4
		{29, 30, vector(immLane, 0, 2)},        // i64x2
		{31, 32, vector(immLane, 0, 4)},        // f32x4
		{33, 34, vector(immLane, 0, 2)},        // f64x2
		{35, 83, vector(immNone, 0, 0)},        // comparison, bitwise logic
		{84, 84, vector(immMemArgLane, 0, 16)}, // v128.load8_lane
		{85, 85, vector(immMemArgLane, 1, 8)},  // v128.load16_lane
		{86, 86, vector(immMemArgLane, 2, 4)},  // v128.load32_lane
		{87, 87, vector(immMemArgLane, 3, 2)},  // v128.load64_lane
		{88, 88, vector(immMemArgLane, 0, 16)}, // v128.store8_lane
		{89, 89, vector(immMemArgLane, 1, 8)},  // v128.store16_lane
		{90, 90, vector(immMemArgLane, 2, 4)},  // v128.store32_lane
		{91, 91, vector(immMemArgLane, 3, 2)},  // v128.store64_lane
		{92, 92, vector(immMemArg, 2, 0)},      // v128.load32_zero
		{93, 93, vector(immMemArg, 3, 0)},      // v128.load64_zero
		{94, 255, vector(immNone, 0, 0)},       // arithmetic, conversion, but for the gaps:
		{154, 154, gap},
		{162, 162, gap},
		{165, 166, gap},
		{175, 176, gap},
		{178, 180, gap},
		{187, 187, gap},
		{194, 194, gap},
		{197, 198, gap},
		{207, 208, gap},
		{210, 212, gap},
		{226, 226, gap},
		{238, 238, gap},
	}
}
