package wasm

// frame is what the meter must know of a function before it rewrites it.
type frame struct {
	bytes int64 // of its stack frame, an estimate from above
	calls bool  // it calls functions, so that other frames may lie on top
}

// The estimate of a frame. The engine's compiler keeps values in registers
// and gives each value that does not stay there a slot of its own, which no
// other value ever uses. So what counts is not how many values there are at
// one time, but how many different ones the function makes that may have to
// leave their register: values of locals, which live long; operands that wait
// for others, above all across a call; what the compiler keeps on its own
// account. Measured frames were smaller than the estimate for every shape
// that the tests try, and smaller by far for ordinary code.
const (
	frameBase     = 128 // bytes: return address, frame pointer, saved registers
	slotSize      = 8   // bytes of a value
	vectorSlot    = 16  // bytes of a value where there are vectors
	slotsPerCall  = 2   // the memory's address and size, read anew after each call
	shallow       = 4   // operands that are sure to find a register
	leafFrame     = 512 // bytes of a frame that is not counted if nothing can lie on top of it
	maxFrameBytes = 1 << 30
)

// surveyBlock is a block that is open.
type surveyBlock struct {
	op              opcode
	base            int // height of the stack below the block's parameters
	params, results int
	sets            int64 // writes of locals before the block
	dead            bool  // the block was opened in code that is never reached
}

// survey walks a function to find out about its frame.
type survey struct {
	instructionReader
	w      *walker
	blocks []surveyBlock
	locals int64

	height  int   // operands on the stack
	kept    int   // of these, how many are counted in slots
	dead    bool  // the code here is never reached
	sets    int64 // writes of locals so far
	slots   int64
	widest  int // parameters and results of the calls with the most
	vectors bool
	calls   bool
}

// survey returns the frame of a function of a type whose code r reads; params
// and declared are its locals.
func (m *meter) survey(r instructionReader, t funcType, locals int64, vectors bool) (frame, error) {
	s := survey{instructionReader: r, w: m.w, locals: locals, vectors: vectors, slots: locals, blocks: m.blocks[:0]}
	s.widest = int(t.nParams) + int(t.nResults)
	s.blocks = append(s.blocks, surveyBlock{op: opBlock, results: int(t.nResults)})
	var in instruction
	for len(s.blocks) > 0 {
		if err := s.next(&in); err != nil {
			return frame{}, err
		}
		if err := s.step(&in); err != nil {
			return frame{}, err
		}
	}
	m.blocks = s.blocks
	slot := int64(slotSize)
	if s.vectors {
		slot = vectorSlot
	}
	bytes := frameBase + slot*(s.slots+int64(s.widest))
	return frame{bytes: min(bytes, maxFrameBytes), calls: s.calls}, nil
}

// step follows one instruction.
func (s *survey) step(in *instruction) error {
	switch in.op {
	case opBlock, opLoop, opIf:
		return s.open(in)
	case opElse:
		return s.close(in, true)
	case opEnd:
		return s.close(in, false)
	}
	if s.dead {
		return nil
	}
	switch in.op {
	case opUnreachable, opBr, opReturn:
		s.dead = true
		return nil
	case opBrTable:
		s.dead = true
		return s.take(in, 1)
	case opBrIf:
		return s.take(in, 1)
	case opCall, opReturnCall:
		return s.call(in, s.w.types[s.w.functions[in.index]], 0)
	case opCallIndirect, opReturnCallIndirect:
		return s.call(in, s.w.types[in.index], 1)
	case opLocalSet, opLocalTee:
		s.sets++
		s.slots++
	}
	if in.op>>16 == prefixVector {
		s.vectors = true
	}
	e := effect(in.op)
	if err := s.take(in, int(e.takes)); err != nil {
		return err
	}
	switch in.imm {
	case immMemory, immMemoryTwice, immDataMemory, immTable, immTableTable, immElemTable:
		s.across()
	}
	s.give(int(e.leaves))
	return nil
}

// take takes operands from the stack.
func (s *survey) take(in *instruction, n int) error {
	have := s.height - s.blocks[len(s.blocks)-1].base
	if n > have {
		return s.fail(in.offset, "%v takes %s, but %d are there", in.op, plural(n, "operand"), have)
	}
	s.height -= n
	s.kept = min(s.kept, s.height)
	return nil
}

// give puts operands on the stack.
func (s *survey) give(n int) {
	s.height += n
	if s.height > shallow {
		s.slots += int64(min(n, s.height-shallow))
	}
}

// across counts the operands that must outlast a call.
func (s *survey) across() {
	s.slots += int64(s.height-s.kept) + slotsPerCall
	s.kept = s.height
}

// call follows a call of a function of a type; extra operands come on top of
// its parameters.
func (s *survey) call(in *instruction, t funcType, extra int) error {
	s.calls = true
	s.widest = max(s.widest, int(t.nParams)+int(t.nResults))
	if err := s.take(in, int(t.nParams)+extra); err != nil {
		return err
	}
	s.across()
	if in.op == opReturnCall || in.op == opReturnCallIndirect {
		s.dead = true
		return nil
	}
	s.give(int(t.nResults))
	return nil
}

// open opens a block.
func (s *survey) open(in *instruction) error {
	b := surveyBlock{op: in.op, sets: s.sets, dead: s.dead}
	b.params, b.results = s.w.arity(in.block)
	if !s.dead {
		if in.op == opIf {
			if err := s.take(in, 1); err != nil {
				return err
			}
		}
		if err := s.take(in, b.params); err != nil {
			return err
		}
		b.base = s.height
		s.height += b.params
	}
	s.slots += int64(b.params)
	s.blocks = append(s.blocks, b)
	return nil
}

// close ends a block, or the first half of an if. Where ways join, the
// compiler makes a new value of each local that was written on one of them.
func (s *survey) close(in *instruction, half bool) error {
	top := len(s.blocks) - 1
	b := &s.blocks[top]
	if !s.dead && s.height != b.base+b.results {
		return s.fail(in.offset, "a block leaves %s, but %d are there", plural(b.results, "operand"), s.height-b.base)
	}
	s.dead = b.dead
	s.kept = min(s.kept, b.base)
	if half {
		s.height = b.base + b.params
		b.op = opElse
		return nil
	}
	s.slots += min(s.locals, s.sets-b.sets)
	s.height = b.base
	s.blocks = s.blocks[:top]
	if !s.dead {
		s.give(b.results)
		s.slots += int64(b.results)
	}
	return nil
}

// arity returns the number of parameters and results of a block.
func (w *walker) arity(b blockType) (params, results int) {
	switch {
	case b.index != noIndex:
		t := w.types[b.index]
		return int(t.nParams), int(t.nResults)
	case b.value != 0:
		return 0, 1
	}
	return 0, 0
}
