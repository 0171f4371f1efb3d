package extismize

import "encoding/binary"

// Locals of the glue: seven of type i32, one of type i64.
const (
	localLength = iota
	localInput
	localAt
	localResult
	localName
	localOutput
	localOutputLength
	localOffset // i64
)

// assembler writes the glue.
type assembler struct {
	r *rewriter
	b []byte
}

func (a *assembler) op(ops ...byte)          { a.b = append(a.b, ops...) }
func (a *assembler) index(op byte, i uint32) { a.b = binary.AppendUvarint(append(a.b, op), uint64(i)) }
func (a *assembler) get(local uint32)        { a.index(0x20, local) }
func (a *assembler) set(local uint32)        { a.index(0x21, local) }
func (a *assembler) export(name string)      { a.index(opCall, a.r.exported[name]) }
func (a *assembler) memory(op, offset byte)  { a.op(op, 0, offset) }
func (a *assembler) extend(local uint32)     { a.get(local); a.op(0xad) } // i64.extend_i32_u
func (a *assembler) address(base uint32)     { a.get(base); a.get(localAt); a.op(0x6a) }
func (a *assembler) kernelOffset()           { a.get(localOffset); a.extend(localAt); a.op(0x7c) }
func (a *assembler) step(n int32)            { a.get(localAt); a.constant(n); a.op(0x6a); a.set(localAt) }

// constant is i32.const of a number from 0 to 2^31-1.
func (a *assembler) constant(n int32) {
	a.op(0x41)
	for {
		low := byte(n & 0x7f)
		if n >>= 7; n == 0 && low&0x40 == 0 {
			a.op(low)
			return
		}
		a.op(low | 0x80)
	}
}

// kernel calls a function of Extism by name.
func (a *assembler) kernel(name string) {
	for i, f := range kernel {
		if f.name == name {
			a.index(opCall, a.r.imported+uint32(i))
		}
	}
}

// while runs body as long as at most length-n bytes are done.
func (a *assembler) while(length uint32, n int32, body func()) {
	a.op(0x02, 0x40, 0x03, 0x40) // block, loop
	a.get(localAt)
	a.constant(n)
	a.op(0x6a)
	a.get(length)
	a.op(0x4b, 0x0d, 1) // i32.gt_u, br_if out
	body()
	a.step(n)
	a.op(0x0c, 0, opEnd, opEnd) // br, end, end
}

// glue returns the body of the function that Extism calls.
func (r *rewriter) glue(capability string) []byte {
	a := &assembler{r: r}
	a.op(2, 7, i32, 1, i64) // locals
	allocate := func(size func()) {
		a.constant(0)
		a.constant(0)
		a.constant(1)
		size()
		a.export("cabi_realloc")
	}
	allocate(func() { a.constant(int32(len(capability))) })
	a.set(localName)
	for i, c := range []byte(capability) {
		a.get(localName)
		a.constant(int32(c))
		a.memory(0x3a, byte(i)) // i32.store8
	}
	a.kernel("input_length")
	a.op(0xa7) // i32.wrap_i64
	a.set(localLength)
	allocate(func() { a.get(localLength) })
	a.set(localInput)
	a.while(localLength, 8, func() {
		a.address(localInput)
		a.extend(localAt)
		a.kernel("input_load_u64")
		a.memory(0x37, 0) // i64.store
	})
	a.while(localLength, 1, func() {
		a.address(localInput)
		a.extend(localAt)
		a.kernel("input_load_u8")
		a.memory(0x3a, 0)
	})
	a.get(localName)
	a.constant(int32(len(capability)))
	a.get(localInput)
	a.get(localLength)
	a.export("handle")
	a.set(localResult)
	a.get(localResult)
	a.memory(0x2d, 0)          // i32.load8_u
	a.op(0x04, 0x40)           // if it is an error
	a.op(0x41, 1, 0x0f, opEnd) // return 1
	for local, at := range map[uint32]byte{localOutput: 4, localOutputLength: 8} {
		a.get(localResult)
		a.memory(0x28, at) // i32.load
		a.set(local)
	}
	a.extend(localOutputLength)
	a.kernel("alloc")
	a.set(localOffset)
	a.constant(0)
	a.set(localAt)
	a.while(localOutputLength, 8, func() {
		a.kernelOffset()
		a.address(localOutput)
		a.memory(0x29, 0) // i64.load
		a.kernel("store_u64")
	})
	a.while(localOutputLength, 1, func() {
		a.kernelOffset()
		a.address(localOutput)
		a.memory(0x2d, 0)
		a.kernel("store_u8")
	})
	a.get(localOffset)
	a.extend(localOutputLength)
	a.kernel("output_set")
	if _, ok := r.exported["cabi_post_handle"]; ok {
		a.get(localResult)
		a.export("cabi_post_handle")
	}
	a.constant(0)
	a.op(opEnd)
	return a.b
}
