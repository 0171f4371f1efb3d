package wasm

import "slices"

// meteredBlock is a block that is open in the code being rewritten.
type meteredBlock struct {
	op       opcode
	live     bool // the block is reached
	joined   bool // a branch leads to its end, or the first half of the if does
	complete bool // an if that has its else
}

// bodyMeter rewrites the code of one function.
//
// Code is charged by stretches that are run as a whole: from where ways part
// or join to where they do next. The charge stands at the start of a stretch.
// Most only subtract. The fuel is compared with zero where without it a guest
// could go on for ever or for long: when a function is entered, at the head of
// a loop, when a function that calls others is left (so that the way back out
// of a deep recursion is no gap), and in operations on ranges. Between two
// comparisons lies at most one way through one function without a loop.
//
// Keeping the fuel in a local between calls was tried: it takes a Go plugin
// from 1.33 to about 1.22 times its time without the meter and an empty loop
// from 1.9 to 1.5 times, but makes loops that load and store slower, loses
// the count of a guest that traps, and lives across every loop, which is what
// compiling costs most for.
type bodyMeter struct {
	instructionReader
	m      *meter
	frame  frame
	framed bool   // the frame is counted
	temp   uint32 // local that the meter adds, an i64

	out    []byte
	blocks []meteredBlock
	live   bool // the code here is reached
	start  int  // of the stretch, in out
	cost   int64
	check  bool // the stretch compares the fuel with zero
}

// rewrite appends the metered code to out, the last end included.
func (b *bodyMeter) rewrite(declared int64) error {
	if b.framed {
		b.enter()
	}
	b.live = true
	b.begin(true)
	b.cost = declared / localsPerUnit
	b.blocks = append(b.blocks, meteredBlock{op: opBlock, live: true})
	var in instruction
	for len(b.blocks) > 0 {
		if err := b.next(&in); err != nil {
			return err
		}
		if err := b.step(&in); err != nil {
			return err
		}
	}
	if b.framed {
		b.leave()
	}
	return nil
}

// enter appends what takes the frame from the stack that is left, and opens
// the block whose end is the one way out of the function.
func (b *bodyMeter) enter() {
	left := b.m.left
	b.out = appendIndexed(b.out, opGlobalGet, left)
	b.out = appendI64(b.out, b.frame.bytes)
	b.out = appendOps(b.out, opI64Sub)
	b.out = appendIndexed(b.out, opLocalTee, b.temp)
	b.out = appendIndexed(b.out, opGlobalSet, left)
	b.out = appendIndexed(b.out, opLocalGet, b.temp)
	b.out = appendIfNegative(b.out)
	b.out = appendIndexed(b.out, opCall, b.m.overflow)
	b.out = appendOps(b.out, opEnd)
	b.out = append(b.out, byte(opBlock))
	b.out = append(b.out, b.m.resultBlock(b.m.current)...)
}

// leave appends what gives the frame back, and the function's end.
func (b *bodyMeter) leave() {
	b.giveBack()
	b.out = appendIndexed(b.out, opGlobalGet, b.m.fuel)
	b.out = appendIfNegative(b.out)
	b.out = appendIndexed(b.out, opCall, b.m.helper(helpRefuel, 0))
	b.out = appendOps(b.out, opEnd, opEnd)
}

// giveBack appends what gives the frame back.
func (b *bodyMeter) giveBack() {
	b.out = appendIndexed(b.out, opGlobalGet, b.m.left)
	b.out = appendI64(b.out, b.frame.bytes)
	b.out = appendOps(b.out, opI64Add)
	b.out = appendIndexed(b.out, opGlobalSet, b.m.left)
}

// appendIfNegative appends the start of what is done if the i64 on the stack
// is below zero.
func appendIfNegative(out []byte) []byte {
	out = appendI64(out, 0)
	out = appendOps(out, opI64LtS, opIf)
	return append(out, emptyBlock)
}

// begin starts a stretch.
func (b *bodyMeter) begin(check bool) { b.start, b.cost, b.check = len(b.out), 0, check }

// flush ends a stretch: it puts the charge before the code that it is for.
func (b *bodyMeter) flush() {
	if b.cost == 0 {
		return
	}
	var buffer [48]byte
	b.out = slices.Insert(b.out, b.start, b.charge(buffer[:0])...)
	b.cost = 0
}

// charge appends the charge of the stretch.
func (b *bodyMeter) charge(out []byte) []byte {
	out = appendIndexed(out, opGlobalGet, b.m.fuel)
	out = appendI64(out, b.cost)
	out = appendOps(out, opI64Sub)
	if b.check {
		out = appendIndexed(out, opLocalTee, b.temp)
	}
	out = appendIndexed(out, opGlobalSet, b.m.fuel)
	if b.check {
		out = appendIndexed(out, opLocalGet, b.temp)
		out = appendIfNegative(out)
		out = appendIndexed(out, opCall, b.m.helper(helpRefuel, 0))
		out = appendOps(out, opEnd)
	}
	return out
}

// raw appends an instruction as it stands.
func (b *bodyMeter) raw(in *instruction) { b.out = append(b.out, b.module[in.offset:b.pos]...) }

// step rewrites one instruction.
func (b *bodyMeter) step(in *instruction) error {
	if b.live {
		b.cost += cost(in.op)
	}
	switch in.op {
	case opBlock, opLoop, opIf:
		b.open(in)
	case opElse:
		b.half(in)
	case opEnd:
		b.close(in)
	case opBr, opBrIf:
		b.branch(in.index)
		b.raw(in)
		b.part(in.op == opBrIf)
	case opBrTable:
		for _, label := range in.targets {
			b.branch(label)
		}
		b.branch(in.index)
		b.raw(in)
		b.part(false)
	case opUnreachable:
		b.raw(in)
		b.part(false)
	case opReturn:
		b.returns(in)
	case opReturnCall, opReturnCallIndirect:
		b.tailCall(in)
	case opCall, opRefFunc:
		b.out = appendIndexed(b.out, in.op, b.m.remap(in.index))
	default:
		b.m.bulk(b, in)
	}
	return nil
}

// branch notes that a branch leads to a label.
func (b *bodyMeter) branch(label uint32) {
	if target := &b.blocks[len(b.blocks)-1-int(label)]; b.live && target.op != opLoop {
		target.joined = true
	}
}

// part ends a stretch where ways part; on says whether one goes straight on.
func (b *bodyMeter) part(on bool) {
	b.flush()
	b.live = b.live && on
	b.begin(false)
}

// returns rewrites a return: out of a frame that is counted, all ways lead
// over the end of the outermost block.
func (b *bodyMeter) returns(in *instruction) {
	if b.framed {
		b.out = appendIndexed(b.out, opBr, uint32(len(b.blocks)-1))
	} else {
		b.raw(in)
	}
	b.part(false)
}

// tailCall rewrites a tail call. One that passes all it has in registers the
// engine really makes a jump: the frame is given back before. Others it may
// turn into calls, with the frame below, so here they become calls.
func (b *bodyMeter) tailCall(in *instruction) {
	m := b.m
	direct := in.op == opReturnCall
	t := in.index
	if direct {
		t = m.w.functions[in.index]
	}
	jump := m.inRegisters(m.w.types[t]) && (!direct || int(in.index) >= m.w.imported)
	if jump {
		b.giveBack()
	}
	switch {
	case direct && jump:
		b.out = appendIndexed(b.out, opReturnCall, m.remap(in.index))
	case direct:
		b.out = appendIndexed(b.out, opCall, m.remap(in.index))
	case jump:
		b.raw(in)
	default:
		b.out = appendIndexed(b.out, opCallIndirect, in.index)
		b.out = appendUnsigned(b.out, uint64(in.index2))
	}
	if !jump {
		b.out = appendIndexed(b.out, opBr, uint32(len(b.blocks)-1))
	}
	b.part(false)
}

// open starts a block.
func (b *bodyMeter) open(in *instruction) {
	if in.op == opLoop {
		b.flush()
	}
	b.raw(in)
	if in.op == opIf {
		b.flush()
	}
	if in.op != opBlock {
		b.begin(in.op == opLoop)
	}
	b.blocks = append(b.blocks, meteredBlock{op: in.op, live: b.live})
}

// half ends the first half of an if.
func (b *bodyMeter) half(in *instruction) {
	b.flush()
	b.raw(in)
	block := &b.blocks[len(b.blocks)-1]
	block.complete = true
	block.joined = block.joined || b.live
	b.live = block.live
	b.begin(false)
}

// close ends a block. Where no other way joins, the stretch goes on.
func (b *bodyMeter) close(in *instruction) {
	top := len(b.blocks) - 1
	block := b.blocks[top]
	b.blocks = b.blocks[:top]
	if block.op == opIf && !block.complete {
		block.joined = block.live // when the condition is false
	}
	joins := block.joined || top == 0
	if joins {
		b.flush()
		b.live = b.live || block.joined
	}
	b.raw(in)
	if joins {
		b.begin(false)
	}
}
