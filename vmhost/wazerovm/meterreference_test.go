package wazerovm_test

import (
	"encoding/binary"
	"errors"
)

// machine is an interpreter of random programs that counts what they cost. It
// shares nothing with the meter: its figures are those that the meter
// promises.
type machine struct {
	program program
	stack   []uint32
	memory  []byte
	globals [programGlobals]uint32
	table   uint32 // entries
	large   []byte
	small   []byte
	used    int64
	limit   int64 // it gives up above
}

var errLong = errors.New("the program is too long to be interpreted")

func newMachine(p program, limit int64) *machine {
	m := &machine{program: p, memory: make([]byte, programPages<<16), table: programFuncs, limit: limit}
	for i := range m.globals {
		m.globals[i] = uint32(i)
	}
	m.large, m.small = segments()
	return m
}

// What a sequence ends with, beside the number of blocks that are left.
const (
	goesOn  = -1
	returns = 1 << 30
)

// call runs a function and returns its result.
func (m *machine) call(function, a, b uint32) uint32 {
	locals := make([]uint32, programParams+programLocals)
	locals[0], locals[1] = a, b
	m.used += programLocals / 4
	before := len(m.stack)
	m.run(m.program.funcs[function], locals)
	result := m.pop()
	m.stack = m.stack[:before]
	return result
}

func (m *machine) pop() uint32 {
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v
}

func (m *machine) push(v uint32) { m.stack = append(m.stack, v) }

// run interprets code up to its end or to a branch out of it.
func (m *machine) run(code []node, locals []uint32) int {
	for i := range code {
		if out := m.step(&code[i], locals); out != goesOn {
			return out
		}
	}
	return goesOn
}

// price is the cost of an instruction without its operand.
func price(op int) int64 {
	switch op {
	case opBlock, opLoop:
		return 0
	case opDivU, opRemU:
		return 8
	case opCall, opReturnCall:
		return 4
	case opCallIndirect, opReturnCallIndirect:
		return 8
	case opTableSize:
		return 2
	case opInit, opCopy, opFill:
		return 8
	case opMemoryGrow, opTableGrow:
		return 256
	}
	return 1
}

func (m *machine) step(n *node, locals []uint32) int {
	m.used += price(n.op)
	if m.used > m.limit {
		panic(errLong)
	}
	switch n.op {
	case opBlock, opLoop, opIf:
		return m.block(n, locals)
	case opBr:
		return int(n.imm[0])
	case opBrIf:
		if m.pop() != 0 {
			return int(n.imm[0])
		}
	case opBrTable:
		last := uint32(len(n.imm) - 1)
		return int(n.imm[min(m.pop(), last)])
	case opReturn:
		return returns
	case opCall, opReturnCall, opCallIndirect, opReturnCallIndirect:
		return m.calls(n)
	case opGet:
		m.push(locals[n.imm[0]])
	case opSet:
		locals[n.imm[0]] = m.pop()
	case opTee:
		locals[n.imm[0]] = m.stack[len(m.stack)-1]
	default:
		m.compute(n)
	}
	return goesOn
}

// block runs a block, a loop or an if.
func (m *machine) block(n *node, locals []uint32) int {
	code := n.body
	if n.op == opIf && m.pop() == 0 {
		code = n.other
	}
	height := len(m.stack)
	if n.carries {
		height--
	}
	for {
		out := m.run(code, locals)
		switch {
		case out == 0 && n.op == opLoop:
			continue
		case out == goesOn || out == 0:
			if n.leaves {
				m.stack[height] = m.stack[len(m.stack)-1]
				height++
			}
			m.stack = m.stack[:height]
			return goesOn
		case out == returns:
			return returns
		default:
			return out - 1
		}
	}
}

// calls runs a call of any kind.
func (m *machine) calls(n *node) int {
	callee := uint32(n.imm[0])
	if n.op == opCallIndirect || n.op == opReturnCallIndirect {
		callee = m.pop()
	}
	b, a := m.pop(), m.pop()
	m.push(m.call(callee, a, b))
	if n.op == opReturnCall || n.op == opReturnCallIndirect {
		return returns
	}
	return goesOn
}

func (m *machine) compute(n *node) {
	switch n.op {
	case opNop:
	case opDrop:
		m.pop()
	case opConst:
		m.push(uint32(n.imm[0]))
	case opGlobalGet:
		m.push(m.globals[n.imm[0]])
	case opGlobalSet:
		m.globals[n.imm[0]] = m.pop()
	case opEqz:
		m.push(truth(m.pop() == 0))
	case opSelect:
		c, b, a := m.pop(), m.pop(), m.pop()
		if c == 0 {
			a = b
		}
		m.push(a)
	case opMemorySize:
		m.push(uint32(len(m.memory) >> 16))
	case opTableSize:
		m.push(m.table)
	case opLoad:
		m.push(binary.LittleEndian.Uint32(m.memory[m.pop():]))
	case opStore8:
		v, at := m.pop(), m.pop()
		m.memory[at] = byte(v)
	case opFill, opCopy, opInit, opMemoryGrow, opTableGrow, opRefNull:
		m.ranges(n)
	default:
		b, a := m.pop(), m.pop()
		m.push(arithmetic(n.op, a, b))
	}
}

// ranges runs what is charged by its operand.
func (m *machine) ranges(n *node) {
	if n.op == opRefNull {
		return // its only use is table.grow, which needs no value here
	}
	count := m.pop()
	switch n.op {
	case opMemoryGrow:
		m.used += int64(count) * 512
		pages := uint32(len(m.memory) >> 16)
		if pages+count > programPages+2 {
			m.push(^uint32(0))
			return
		}
		m.memory = append(m.memory, make([]byte, count<<16)...)
		m.push(pages)
		return
	case opTableGrow:
		m.used += int64(count)
		if m.table+count > 100 {
			m.push(^uint32(0))
			return
		}
		m.push(m.table)
		m.table += count
		return
	}
	m.used += int64(count / 8)
	from, to := m.pop(), m.pop()
	target := m.memory[to:][:count]
	switch {
	case n.op == opCopy:
		copy(target, m.memory[from:][:count])
	case n.op == opInit && n.imm[0] == 0:
		copy(target, m.large[from:][:count])
	case n.op == opInit:
		copy(target, m.small[from:][:count])
	default:
		for i := range target {
			target[i] = byte(from)
		}
	}
}

func truth(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func arithmetic(op int, a, b uint32) uint32 {
	switch op {
	case opAdd:
		return a + b
	case opSub:
		return a - b
	case opMul:
		return a * b
	case opDivU:
		return a / b
	case opRemU:
		return a % b
	case opAnd:
		return a & b
	case opOr:
		return a | b
	case opXor:
		return a ^ b
	case opShl:
		return a << (b & 31)
	case opLtU:
		return truth(a < b)
	default: // opGtS
		return truth(int32(a) > int32(b))
	}
}
