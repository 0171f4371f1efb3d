package wazerovm_test

import (
	"encoding/binary"
	"fmt"
)

// interpreter runs a whole module of the kind that compilers emit, without
// floats, vectors and tables that change, and counts what it costs. It shares
// nothing with the parser, the meter or the engine, and takes the module for
// valid. Imported functions do nothing and return 0.
type interpreter struct {
	types     []refType
	functions []refFunction
	exports   map[string]int
	globals   []uint64
	table     []int
	memory    []byte
	segments  [][]byte
	stack     []uint64
	used      int64
}

type refType struct{ params, results int }

type refFunction struct {
	refType
	imported bool
	declared int         // locals, beside the parameters
	code     []byte      // to its end
	ends     map[int]int // by where a block's code begins: where its end is
	elses    map[int]int // the same: after the else
}

// cursor reads the binary format.
type cursor struct {
	b  []byte
	at int
}

func (c *cursor) byte() byte { c.at++; return c.b[c.at-1] }

func (c *cursor) number() int {
	v, n := binary.Uvarint(c.b[c.at:])
	c.at += n
	return int(v)
}

func (c *cursor) signed() int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		b := c.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if shift < 57 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

func (c *cursor) bytes(n int) []byte { c.at += n; return c.b[c.at-n : c.at] }

func (c *cursor) list(element func(i int)) {
	for i, n := 0, c.number(); i < n; i++ {
		element(i)
	}
}

// constant reads an expression of one constant or global.
func (m *interpreter) constant(c *cursor) uint64 {
	op := c.byte()
	v := uint64(c.signed())
	if op == 0x23 {
		v = m.globals[v]
	}
	c.byte() // end
	return v
}

// newInterpreter reads a module and sets up its memory, table and globals.
func newInterpreter(module []byte) *interpreter {
	m := &interpreter{exports: make(map[string]int)}
	var declared []int
	for c := (&cursor{module, 8}); c.at < len(module); {
		id := c.byte()
		s := &cursor{c.bytes(c.number()), 0}
		switch id {
		case 1:
			s.list(func(int) {
				s.byte()
				p := len(s.bytes(s.number()))
				m.types = append(m.types, refType{p, len(s.bytes(s.number()))})
			})
		case 2:
			s.list(func(int) {
				s.bytes(s.number())
				s.bytes(s.number())
				s.byte()
				m.functions = append(m.functions, refFunction{refType: m.types[s.number()], imported: true})
			})
		case 3:
			s.list(func(int) { declared = append(declared, s.number()) })
		case 4:
			s.list(func(int) {
				s.byte()
				limited := s.byte() == 1
				m.table = make([]int, s.number())
				if limited {
					s.number()
				}
			})
		case 5:
			s.list(func(int) { s.byte(); m.memory = make([]byte, s.number()<<16) })
		case 6:
			s.list(func(int) { s.bytes(2); m.globals = append(m.globals, m.constant(s)) })
		case 7:
			s.list(func(int) { name := string(s.bytes(s.number())); s.byte(); m.exports[name] = s.number() })
		case 9:
			s.list(func(int) {
				s.number()
				at := int(uint32(m.constant(s)))
				s.list(func(i int) { m.table[at+i] = s.number() })
			})
		case 10:
			s.list(func(i int) { m.functions = append(m.functions, m.body(m.types[declared[i]], s.bytes(s.number()))) })
		case 11:
			s.list(func(int) {
				if s.number() == 0 {
					at := uint32(m.constant(s))
					copy(m.memory[at:], s.bytes(s.number()))
					m.segments = append(m.segments, nil)
				} else {
					m.segments = append(m.segments, s.bytes(s.number()))
				}
			})
		}
	}
	return m
}

// body reads a function and finds the ends of its blocks.
func (m *interpreter) body(t refType, b []byte) refFunction {
	f := refFunction{refType: t, ends: make(map[int]int), elses: make(map[int]int)}
	c := &cursor{b, 0}
	c.list(func(int) { f.declared += c.number(); c.byte() })
	f.code = b[c.at:]
	c = &cursor{f.code, 0}
	for open := []int{0}; len(open) > 0; {
		switch op := c.byte(); op {
		case opBlock, opLoop, opIf:
			c.signed()
			open = append(open, c.at)
		case 0x05:
			f.elses[open[len(open)-1]] = c.at
		case 0x0b:
			f.ends[open[len(open)-1]] = c.at
			open = open[:len(open)-1]
		default:
			c.skip(op)
		}
	}
	return f
}

// skip skips the immediates of an instruction.
func (c *cursor) skip(op byte) {
	switch {
	case op == opBrTable:
		c.list(func(int) { c.number() })
		c.number()
	case op == opCallIndirect || op >= 0x28 && op <= 0x3e:
		c.number()
		c.number()
	case op == 0x43:
		c.bytes(4)
	case op == 0x44:
		c.bytes(8)
	case op == opConst || op == 0x42:
		c.signed()
	case op >= opBr && op <= opBrIf || op == opCall || op >= opGet && op <= opGlobalSet || op == opMemorySize || op == opMemoryGrow:
		c.number()
	case op == 0xfc:
		switch c.number() {
		case 8, 10:
			c.bytes(2)
		case 9, 11:
			c.byte()
		}
	}
}

func (m *interpreter) pop() uint64 {
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v
}

func (m *interpreter) push(v uint64) { m.stack = append(m.stack, v) }

// export calls an exported function.
func (m *interpreter) export(name string, args ...uint64) uint64 {
	m.stack = append(m.stack[:0], args...)
	m.call(m.exports[name])
	if len(m.stack) == 0 {
		return 0
	}
	return m.pop()
}

func (m *interpreter) call(index int) {
	f := &m.functions[index]
	base := len(m.stack) - f.params
	if f.imported {
		m.stack = append(m.stack[:base], make([]uint64, f.results)...)
		return
	}
	m.used += int64(f.declared / 4)
	locals := append(append([]uint64(nil), m.stack[base:]...), make([]uint64, f.declared)...)
	m.stack = m.stack[:base]
	m.run(f, locals)
	results := m.stack[len(m.stack)-f.results:]
	m.stack = append(m.stack[:base], results...)
}

// refBlock is a block that is open: where a branch to it goes, and what the stack
// then holds.
type refBlock struct {
	target, height, arity int
	loop                  bool
	start                 int
}

// blockArity reads the type of a block.
func (m *interpreter) blockArity(c *cursor) refType {
	switch v := c.signed(); {
	case v == -64:
		return refType{}
	case v < 0:
		return refType{results: 1}
	default:
		return m.types[v]
	}
}

// run runs a function's code.
func (m *interpreter) run(f *refFunction, locals []uint64) {
	c := &cursor{f.code, 0}
	blocks := []refBlock{{target: len(f.code), height: len(m.stack), arity: f.results}}
	branch := func(label int) bool {
		b := blocks[len(blocks)-1-label]
		kept := m.stack[len(m.stack)-b.arity:]
		m.stack = append(m.stack[:b.height], kept...)
		blocks = blocks[:len(blocks)-1-label]
		if b.loop {
			blocks = append(blocks, b)
		}
		c.at = b.target
		return len(blocks) > 0
	}
	for going := true; going; {
		op := c.byte()
		m.used += refPrice(op)
		switch op {
		case opBlock, opLoop, opIf:
			t := m.blockArity(c)
			b := refBlock{target: f.ends[c.at], arity: t.results, loop: op == opLoop, start: c.at}
			if b.loop {
				b.target, b.arity = c.at, t.params
			}
			taken := op != opIf || uint32(m.pop()) != 0
			b.height = len(m.stack) - t.params
			if other, found := f.elses[c.at]; !taken && found {
				c.at = other
			} else if !taken {
				c.at = f.ends[c.at]
				continue
			}
			blocks = append(blocks, b)
		case 0x05: // the first half is over
			c.at = f.ends[blocks[len(blocks)-1].start]
			blocks = blocks[:len(blocks)-1]
		case 0x0b:
			blocks = blocks[:len(blocks)-1]
			going = len(blocks) > 0
		case opBr:
			going = branch(c.number())
		case opBrIf:
			if label := c.number(); uint32(m.pop()) != 0 {
				going = branch(label)
			}
		case opBrTable:
			var labels []int
			c.list(func(int) { labels = append(labels, c.number()) })
			labels = append(labels, c.number())
			going = branch(labels[min(int(uint32(m.pop())), len(labels)-1)])
		case opReturn:
			going = branch(len(blocks) - 1)
		case opCall:
			m.call(c.number())
		case opCallIndirect:
			c.skip(op)
			m.call(m.table[uint32(m.pop())])
		case opGet:
			m.push(locals[c.number()])
		case opSet:
			locals[c.number()] = m.pop()
		case opTee:
			locals[c.number()] = m.stack[len(m.stack)-1]
		default:
			m.simple(op, c)
		}
	}
}

// refPrice is what an instruction costs without its operand.
func refPrice(op byte) int64 {
	switch {
	case op == opBlock, op == opLoop, op == 0x05, op == 0x0b:
		return 0
	case op == opCall:
		return 4
	case op == opCallIndirect, op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82:
		return 8
	case op == opMemoryGrow:
		return 256
	case op == 0xfc:
		return 8 // of operations on ranges; no others are run here
	}
	return 1
}

// simple runs an instruction that is not control.
func (m *interpreter) simple(op byte, c *cursor) {
	switch {
	case op == opNop:
	case op == opDrop:
		m.pop()
	case op == opSelect:
		cond, b, a := m.pop(), m.pop(), m.pop()
		if uint32(cond) == 0 {
			a = b
		}
		m.push(a)
	case op == opGlobalGet:
		m.push(m.globals[c.number()])
	case op == opGlobalSet:
		m.globals[c.number()] = m.pop()
	case op >= 0x28 && op <= 0x35:
		m.load(op, c)
	case op >= 0x36 && op <= 0x3e:
		c.number()
		offset, v := c.number(), m.pop()
		at := int(uint32(m.pop())) + offset
		size := map[byte]int{0x36: 4, 0x37: 8, 0x38: 4, 0x39: 8, 0x3a: 1, 0x3b: 2, 0x3c: 1, 0x3d: 2, 0x3e: 4}[op]
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		copy(m.memory[at:at+size], b[:size])
	case op == opMemorySize:
		c.byte()
		m.push(uint64(len(m.memory) >> 16))
	case op == opMemoryGrow:
		c.byte()
		pages := m.pop()
		m.used += int64(pages) * 512
		m.push(uint64(len(m.memory) >> 16))
		m.memory = append(m.memory, make([]byte, pages<<16)...)
	case op == opConst:
		m.push(uint64(uint32(c.signed())))
	case op == 0x42:
		m.push(uint64(c.signed()))
	case op == 0xfc:
		m.rangeOf(c)
	default:
		m.arithmetic(op)
	}
}

func (m *interpreter) load(op byte, c *cursor) {
	c.number()
	offset := c.number()
	b := m.memory[int(uint32(m.pop()))+offset:]
	le := binary.LittleEndian
	switch op {
	case 0x28, 0x2a, 0x35:
		m.push(uint64(le.Uint32(b)))
	case 0x29, 0x2b:
		m.push(le.Uint64(b))
	case 0x2c:
		m.push(uint64(uint32(int8(b[0]))))
	case 0x2d, 0x31:
		m.push(uint64(b[0]))
	case 0x2e:
		m.push(uint64(uint32(int16(le.Uint16(b)))))
	case 0x2f, 0x33:
		m.push(uint64(le.Uint16(b)))
	case 0x30:
		m.push(uint64(int8(b[0])))
	case 0x32:
		m.push(uint64(int16(le.Uint16(b))))
	default: // 0x34
		m.push(uint64(int32(le.Uint32(b))))
	}
}

// rangeOf runs memory.copy, .fill and .init.
func (m *interpreter) rangeOf(c *cursor) {
	op := c.number()
	index := int(c.byte())
	if op != 11 {
		c.byte()
	}
	n, from, to := int(uint32(m.pop())), m.pop(), int(uint32(m.pop()))
	m.used += int64(n / 8)
	target := m.memory[to : to+n]
	switch op {
	case 8:
		copy(target, m.segments[index][uint32(from):])
	case 10:
		copy(target, m.memory[uint32(from):])
	case 11:
		for i := range target {
			target[i] = byte(from)
		}
	default:
		panic(fmt.Sprintf("operation %d on a range is not interpreted", op))
	}
}
