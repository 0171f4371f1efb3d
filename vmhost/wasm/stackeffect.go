package wasm

// stackEffect is how many operands an instruction takes and leaves. Those of
// control instructions and calls depend on their immediates and are not here.
type stackEffect struct{ takes, leaves uint8 }

// The effects of most instructions.
var (
	noEffect  = stackEffect{0, 0}
	gives     = stackEffect{0, 1} // constants, local.get
	consumes  = stackEffect{1, 0} // drop, local.set
	converts  = stackEffect{1, 1} // conversions, loads
	combines  = stackEffect{2, 1} // arithmetic, comparison
	stores    = stackEffect{2, 0} // stores
	selects   = stackEffect{3, 1} // select
	ranges    = stackEffect{3, 0} // operations on ranges
	effectsOf = [...][256]stackEffect{
		effectTable(plainEffects()), effectTable(miscEffects()), effectTable(vectorEffects()),
	}
)

// effect returns the effect of an instruction that is not control or a call.
func effect(op opcode) stackEffect {
	switch op >> 16 {
	case 0:
		return effectsOf[0][op]
	case prefixMisc:
		return effectsOf[1][op&0xff]
	default:
		return effectsOf[2][op&0xff]
	}
}

// effectRange gives the same effect to the opcodes first to last.
type effectRange struct {
	first, last uint16
	stackEffect
}

// effectTable spreads ranges over a table; where they overlap the later holds.
func effectTable(list []effectRange) (t [256]stackEffect) {
	for _, r := range list {
		for op := r.first; op <= r.last; op++ {
			t[op] = r.stackEffect
		}
	}
	return t
}

func plainEffects() []effectRange {
	return []effectRange{
		{0x00, 0x01, noEffect}, // unreachable, nop
		{0x1a, 0x1a, consumes}, // drop
		{0x1b, 0x1c, selects},  // select
		{0x20, 0x20, gives},    // local.get
		{0x21, 0x21, consumes}, // local.set
		{0x22, 0x22, converts}, // local.tee
		{0x23, 0x23, gives},    // global.get
		{0x24, 0x24, consumes}, // global.set
		{0x25, 0x25, converts}, // table.get
		{0x26, 0x26, stores},   // table.set
		{0x28, 0x35, converts}, // loads
		{0x36, 0x3e, stores},   // stores
		{0x3f, 0x3f, gives},    // memory.size
		{0x40, 0x40, converts}, // memory.grow
		{0x41, 0x44, gives},    // constants
		{0x45, 0x45, converts}, // i32.eqz
		{0x46, 0x4f, combines}, // i32 comparisons
		{0x50, 0x50, converts}, // i64.eqz
		{0x51, 0x66, combines}, // i64, f32, f64 comparisons
		{0x67, 0x69, converts}, // i32.clz, ctz, popcnt
		{0x6a, 0x78, combines}, // i32 arithmetic
		{0x79, 0x7b, converts}, // i64.clz, ctz, popcnt
		{0x7c, 0x8a, combines}, // i64 arithmetic
		{0x8b, 0x91, converts}, // f32.abs … sqrt
		{0x92, 0x98, combines}, // f32 arithmetic
		{0x99, 0x9f, converts}, // f64.abs … sqrt
		{0xa0, 0xa6, combines}, // f64 arithmetic
		{0xa7, 0xc4, converts}, // conversions
		{0xd0, 0xd0, gives},    // ref.null
		{0xd1, 0xd1, converts}, // ref.is_null
		{0xd2, 0xd2, gives},    // ref.func
	}
}

func miscEffects() []effectRange {
	return []effectRange{
		{0, 7, converts}, // saturating conversions
		{8, 8, ranges},   // memory.init
		{9, 9, noEffect}, // data.drop
		{10, 12, ranges}, // memory.copy, .fill, table.init
		{13, 13, noEffect},
		{14, 14, ranges},   // table.copy
		{15, 15, combines}, // table.grow
		{16, 16, gives},    // table.size
		{17, 17, ranges},   // table.fill
	}
}

func vectorEffects() []effectRange {
	return []effectRange{
		{0, 10, converts}, // loads
		{11, 11, stores},
		{12, 12, gives},    // v128.const
		{13, 14, combines}, // shuffle, swizzle
		{15, 22, converts}, // splats, i8x16.extract_lane
		{23, 23, combines}, // i8x16.replace_lane
		{24, 25, converts}, // i16x8.extract_lane
		{26, 26, combines}, // i16x8.replace_lane
		{27, 27, converts},
		{28, 28, combines}, // i32x4.extract_lane, .replace_lane
		{29, 29, converts},
		{30, 30, combines}, // i64x2
		{31, 31, converts},
		{32, 32, combines}, // f32x4
		{33, 33, converts},
		{34, 34, combines},  // f64x2
		{35, 76, combines},  // comparisons
		{77, 77, converts},  // v128.not
		{78, 81, combines},  // and, andnot, or, xor
		{82, 82, selects},   // bitselect
		{83, 83, converts},  // any_true
		{84, 87, combines},  // load_lane
		{88, 91, stores},    // store_lane
		{92, 100, converts}, // load_zero, demote, promote, i8x16.abs … bitmask
		{101, 102, combines},
		{103, 106, converts}, // f32x4 rounding
		{107, 115, combines},
		{116, 117, converts}, // f64x2.ceil, floor
		{118, 121, combines},
		{122, 122, converts}, // f64x2.trunc
		{123, 123, combines},
		{124, 129, converts}, // extadd_pairwise, i16x8.abs, neg
		{130, 130, combines},
		{131, 132, converts}, // i16x8.all_true, bitmask
		{133, 134, combines},
		{135, 138, converts}, // i16x8.extend
		{139, 147, combines},
		{148, 148, converts}, // f64x2.nearest
		{149, 159, combines},
		{160, 164, converts}, // i32x4.abs, neg, all_true, bitmask
		{167, 170, converts}, // i32x4.extend
		{171, 191, combines},
		{192, 196, converts}, // i64x2.abs, neg, all_true, bitmask
		{199, 202, converts}, // i64x2.extend
		{203, 223, combines},
		{224, 227, converts}, // f32x4.abs, neg, sqrt
		{228, 235, combines},
		{236, 239, converts}, // f64x2.abs, neg, sqrt
		{240, 247, combines},
		{248, 255, converts}, // conversions
	}
}
