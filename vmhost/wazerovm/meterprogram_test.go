package wazerovm_test

import (
	"math/rand/v2"
	"slices"

	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// node is an instruction of a random program; those of block, loop and if
// are in body and other.
type node struct {
	op      int // as in the binary format; the number behind the prefix 0xfc + 0xfc00
	imm     []int64
	body    []node
	other   []node // of an if; nil without else
	carries bool   // the block takes an i32 and leaves one
	leaves  bool   // the block leaves an i32
}

// Opcodes of random programs.
const (
	opNop, opBlock, opLoop, opIf, opBr, opBrIf, opBrTable, opReturn = 0x01, 0x02, 0x03, 0x04, 0x0c, 0x0d, 0x0e, 0x0f
	opCall, opCallIndirect, opReturnCall, opReturnCallIndirect      = 0x10, 0x11, 0x12, 0x13
	opDrop, opSelect, opGet, opSet, opTee, opGlobalGet, opGlobalSet = 0x1a, 0x1b, 0x20, 0x21, 0x22, 0x23, 0x24
	opLoad, opStore8, opMemorySize, opMemoryGrow, opConst           = 0x28, 0x3a, 0x3f, 0x40, 0x41
	opEqz, opLtU, opGtS, opAdd, opSub, opMul, opDivU, opRemU        = 0x45, 0x49, 0x4a, 0x6a, 0x6b, 0x6c, 0x6e, 0x70
	opAnd, opOr, opXor, opShl, opRefNull                            = 0x71, 0x72, 0x73, 0x74, 0xd0
	opInit, opCopy, opFill, opTableGrow, opTableSize                = 0xfc08, 0xfc0a, 0xfc0b, 0xfc0f, 0xfc10
)

// The shape of random programs.
const (
	programFuncs    = 5
	programParams   = 2
	programLocals   = 9 // declared, beside the parameters; the last are counters of loops
	programCounters = 4
	programGlobals  = 2
	programPages    = 4
	largeSegment    = 3 << 16
	smallSegment    = 300
	typeBinary      = 0 // (i32, i32) -> (i32)
	typeUnary       = 1 // (i32) -> (i32)
)

// program is a random program: functions of two numbers that leave one, each
// of which calls only later ones, so that all of them end.
type program struct{ funcs [][]node }

// generator makes random programs.
type generator struct {
	*rand.Rand
	function int
	labels   []label // open blocks, outermost first; the function is the first
	loops    int     // counters in use
}

// label is what a branch leads to.
type label struct{ loop, value bool }

func newProgram(seed uint64) program {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	var p program
	for i := range programFuncs {
		g.function = i
		g.labels, g.loops = []label{{value: true}}, 0
		body := g.statements(5, 9)
		p.funcs = append(p.funcs, append(body, g.value(3)...))
	}
	return p
}

func constant(v int64) node { return node{op: opConst, imm: []int64{v}} }

func of(op int, imm ...int64) node { return node{op: op, imm: imm} }

// local is a variable that is no counter.
func (g *generator) local() int64 {
	return int64(g.IntN(programParams + programLocals - programCounters))
}

// value returns code that leaves a number.
func (g *generator) value(depth int) []node {
	if depth == 0 || g.IntN(4) == 0 {
		switch g.IntN(4) {
		case 0:
			return []node{of(opGlobalGet, int64(g.IntN(programGlobals)))}
		case 1:
			return []node{constant(int64(int32(g.Uint32())))}
		default:
			return []node{of(opGet, g.local())}
		}
	}
	switch g.IntN(12) {
	case 0:
		return append(g.value(depth-1), of(opEqz))
	case 1:
		return slices.Concat(g.value(depth-1), g.value(depth-1), g.value(depth-1), []node{of(opSelect)})
	case 2:
		return slices.Concat(g.masked(depth-1, 0xffff), []node{of(opLoad)})
	case 3:
		return slices.Concat(g.value(depth-1), []node{of(opTee, g.local())})
	case 4:
		return []node{of([]int{opMemorySize, opTableSize}[g.IntN(2)])}
	case 5: // division, never by zero
		op := []int{opDivU, opRemU}[g.IntN(2)]
		return slices.Concat(g.value(depth-1), g.value(depth-1), []node{constant(1), of(opOr), of(op)})
	case 6:
		return g.valueBlock(depth)
	case 7:
		return g.call(depth)
	default:
		ops := []int{opAdd, opSub, opMul, opAnd, opOr, opXor, opShl, opLtU, opGtS}
		return slices.Concat(g.value(depth-1), g.value(depth-1), []node{of(ops[g.IntN(len(ops))])})
	}
}

// masked returns code that leaves a number of few bits.
func (g *generator) masked(depth int, mask int64) []node {
	return append(g.value(depth), constant(mask), of(opAnd))
}

// valueBlock returns a block that leaves a number.
func (g *generator) valueBlock(depth int) []node {
	if g.IntN(3) == 0 {
		n := node{op: opIf, leaves: true}
		n.body = g.inside(label{value: true}, func() []node { return append(g.statements(depth-1, 2), g.value(depth-1)...) })
		n.other = g.inside(label{value: true}, func() []node { return append(g.statements(depth-1, 2), g.value(depth-1)...) })
		return append(g.value(depth-1), n)
	}
	n := node{op: opBlock, carries: g.IntN(2) == 0, leaves: true}
	n.body = g.inside(label{value: true}, func() []node {
		if n.carries {
			return slices.Concat([]node{of(opSet, g.local())}, g.statements(depth-1, 3), g.value(depth-1))
		}
		return append(g.statements(depth-1, 3), g.value(depth-1)...)
	})
	if n.carries {
		return append(g.value(depth-1), n)
	}
	return []node{n}
}

func (g *generator) inside(l label, f func() []node) []node {
	g.labels = append(g.labels, l)
	defer func() { g.labels = g.labels[:len(g.labels)-1] }()
	return f()
}

// call returns a call of a later function, or a number if there is none.
func (g *generator) call(depth int) []node {
	if g.function == programFuncs-1 {
		return g.value(depth - 1)
	}
	callee := int64(g.function + 1 + g.IntN(programFuncs-1-g.function))
	args := append(g.value(depth-1), g.value(depth-1)...)
	if g.IntN(3) == 0 {
		return append(args, constant(callee), of(opCallIndirect, typeBinary))
	}
	return append(args, of(opCall, callee))
}

// statements returns at most most pieces of code that leave nothing.
func (g *generator) statements(depth, most int) []node {
	var out []node
	if depth <= 0 {
		return nil
	}
	for range g.IntN(most + 1) {
		out = append(out, g.statement(depth)...)
	}
	return out
}

func (g *generator) statement(depth int) []node {
	switch g.IntN(14) {
	case 0:
		return append(g.value(depth), of(opGlobalSet, int64(g.IntN(programGlobals))))
	case 1:
		return slices.Concat(g.masked(1, 0xffff), g.value(depth), []node{of(opStore8)})
	case 2:
		return []node{{op: opBlock, body: g.inside(label{}, func() []node { return g.statements(depth-1, 4) })}}
	case 3, 4:
		return g.loop(depth)
	case 5:
		n := node{op: opIf, body: g.inside(label{}, func() []node { return g.statements(depth-1, 3) })}
		if g.IntN(2) == 0 {
			n.other = append([]node{of(opNop)}, g.inside(label{}, func() []node { return g.statements(depth-1, 3) })...)
		}
		return append(g.value(depth-1), n)
	case 6, 7:
		return g.branch(depth)
	case 8:
		return g.bulk()
	case 9:
		return append(g.call(depth), of(opDrop))
	case 10:
		return g.leave(depth)
	default:
		return append(g.value(depth), of(opSet, g.local()))
	}
}

// loop returns a loop that ends after a few rounds: each way back counts.
func (g *generator) loop(depth int) []node {
	if g.loops == programCounters {
		return nil
	}
	counter := int64(programParams + programLocals - 1 - g.loops)
	g.loops++
	defer func() { g.loops-- }()
	again := []node{of(opGet, counter), constant(1), of(opSub), of(opTee, counter), constant(0), of(opGtS), of(opBrIf, 0)}
	n := node{op: opLoop, body: g.inside(label{loop: true}, func() []node {
		body := g.statements(depth-1, 3)
		if g.IntN(2) == 0 {
			body = slices.Concat(body, again, g.statements(depth-1, 2))
		}
		return append(body, again...)
	})}
	return []node{constant(int64(1 + g.IntN(3))), of(opSet, counter), n}
}

// branch returns a branch out of a block that leaves nothing, if one is open.
func (g *generator) branch(depth int) []node {
	var out []int64
	for i, l := range g.labels {
		if !l.loop && !l.value {
			out = append(out, int64(len(g.labels)-1-i))
		}
	}
	if len(out) == 0 {
		return nil
	}
	to := func() int64 { return out[g.IntN(len(out))] }
	switch g.IntN(4) {
	case 0:
		return append([]node{of(opBr, to())}, g.statements(depth-1, 1)...)
	case 1:
		return append(g.value(depth-1), of(opBrTable, to(), to(), to()))
	default:
		return append(g.value(depth-1), of(opBrIf, to()))
	}
}

// leave returns code that leaves the function on a condition: by a return, a
// branch to the outermost block or a tail call.
func (g *generator) leave(depth int) []node {
	var out []node
	switch inner := int64(len(g.labels)); g.IntN(4) {
	case 0:
		out = append(g.value(depth-1), of(opReturn))
	case 1: // from inside the if, all labels are one further
		out = append(g.value(depth-1), of(opBr, inner))
	case 2:
		if g.function == programFuncs-1 {
			return nil
		}
		out = slices.Concat(g.value(1), g.value(1), []node{of(opReturnCall, int64(g.function+1))})
	default:
		if g.function == programFuncs-1 {
			return nil
		}
		out = slices.Concat(g.value(1), g.value(1), []node{constant(programFuncs - 1), of(opReturnCallIndirect, typeBinary)})
	}
	return append(g.masked(1, 3), of(opEqz), node{op: opIf, body: out})
}

// bulk returns an operation on a range, within the memory, the segment or the
// table.
func (g *generator) bulk() []node {
	switch g.IntN(6) {
	case 0:
		return slices.Concat(g.masked(1, 0xffff), g.value(1), g.masked(1, 0x1ffff), []node{of(opFill)})
	case 1, 2:
		return slices.Concat(g.masked(1, 0xffff), g.masked(1, 0xffff), g.masked(1, 0x1ffff), []node{of(opCopy)})
	case 3:
		return slices.Concat(g.masked(1, 0xffff), g.masked(1, 0xffff), g.masked(1, 0x1ffff), []node{of(opInit, 0)})
	case 4:
		return slices.Concat(g.masked(1, 0xffff), g.masked(1, 0x7f), g.masked(1, 0x7f), []node{of(opInit, 1)})
	default:
		if g.IntN(2) == 0 {
			return slices.Concat(g.masked(1, 1), []node{of(opMemoryGrow), of(opDrop)})
		}
		return slices.Concat([]node{of(opRefNull)}, g.masked(1, 3), []node{of(opTableGrow), of(opDrop)})
	}
}

// encode returns the program as a module that exports its functions' first as
// "run", its memory and its globals.
func (p program) encode() []byte { return p.encodeWith(nil, nil, nil, nil) }

// encodeWith adds types (from number 2 on), functions by their types' numbers,
// their bodies, and exports.
func (p program) encodeWith(addTypes, addFunctions, addBodies, addExports [][]byte) []byte {
	const i32, mutable, end = 0x7f, 1, wt.End
	var types, bodies, functions [][]byte
	types = append(types, wt.FuncType("\x7f\x7f", "\x7f"), wt.FuncType("\x7f", "\x7f"))
	for _, f := range p.funcs {
		functions = append(functions, []byte{typeBinary})
		bodies = append(bodies, wt.BodyWithLocals(programLocals, encodeNodes(f)...))
	}
	types, functions, bodies = append(types, addTypes...), append(functions, addFunctions...), append(bodies, addBodies...)
	exports := append([][]byte{wt.ExportOf("run", 0, 0), wt.ExportOf("memory", 2, 0)}, addExports...)
	var globals, entries [][]byte
	for i := range programGlobals {
		globals = append(globals, []byte{i32, mutable, opConst, byte(i), end})
		exports = append(exports, wt.ExportOf(string(rune('a'+i)), 3, i))
	}
	for i := range p.funcs {
		entries = append(entries, wt.U32(i))
	}
	large, small := segments()
	return wt.Module(
		wt.Section(wt.Type, wt.Vec(types...)), wt.Section(wt.Function, wt.Vec(functions...)),
		wt.Section(wt.Table, wt.Vec([]byte{0x70, 1, programFuncs, 100})),
		wt.Section(wt.Memory, wt.Vec([]byte{1, programPages, programPages + 2})),
		wt.Section(wt.Global, wt.Vec(globals...)), wt.Section(wt.Export, wt.Vec(exports...)),
		wt.Section(wt.Element, wt.Vec(slices.Concat([]byte{0, opConst, 0, end}, wt.Vec(entries...)))),
		wt.Section(wt.DataCount, wt.U32(2)), wt.Section(wt.Code, wt.Vec(bodies...)),
		wt.Section(wt.Data, wt.Vec(append([]byte{1}, wt.Sized(large)...), append([]byte{1}, wt.Sized(small)...))),
	)
}

// segments returns the program's data segments.
func segments() (large, small []byte) {
	large = make([]byte, largeSegment)
	for i := range large {
		large[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return large, large[:smallSegment]
}

func encodeNodes(nodes []node) []byte {
	var out []byte
	for _, n := range nodes {
		out = append(out, n.encode()...)
	}
	return out
}

func (n node) encode() []byte {
	if n.op > 0xff {
		out := []byte{0xfc, byte(n.op)}
		switch n.op {
		case opInit:
			return append(out, byte(n.imm[0]), 0)
		case opCopy:
			return append(out, 0, 0)
		}
		return append(out, 0)
	}
	out := []byte{byte(n.op)}
	switch n.op {
	case opBlock, opLoop, opIf:
		return append(out, n.encodeBlock()...)
	case opBrTable:
		out = append(out, wt.U32(len(n.imm)-1)...)
	case opConst:
		return append(out, wt.S64(n.imm[0])...)
	case opLoad, opStore8:
		return append(out, 0, 0)
	case opMemorySize, opMemoryGrow:
		return append(out, 0)
	case opRefNull:
		return append(out, 0x70)
	}
	for _, i := range n.imm {
		out = append(out, wt.U32(int(i))...)
	}
	if n.op == opCallIndirect || n.op == opReturnCallIndirect {
		out = append(out, 0)
	}
	return out
}

func (n node) encodeBlock() []byte {
	typ := byte(0x40)
	switch {
	case n.carries:
		typ = typeUnary
	case n.leaves:
		typ = 0x7f
	}
	out := append([]byte{typ}, encodeNodes(n.body)...)
	if n.other != nil {
		out = append(append(out, 0x05), encodeNodes(n.other)...)
	}
	return append(out, wt.End)
}
