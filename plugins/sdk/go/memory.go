package tars

import (
	"fmt"
	"unsafe"
)

// maxAlign is the largest alignment in the canonical ABI, in bytes.
const maxAlign = 8

// address is where a block lies in linear memory. On other systems than
// WebAssembly, where tests run, it is the low half of an address and serves as
// a name only: nothing turns an address back into a pointer.
type address uint32

// memory is what the host may hold addresses of. Go's collector does not move
// objects, but it frees those that only the host still knows; so they stay here
// until the plugin takes them over or the host is done. A module runs one
// thing at a time, and so needs no lock.
type memory struct{ blocks map[address][]byte }

// realloc is cabi_realloc: it makes a block of newSize bytes that begins with
// the old one's bytes, and lets go of the old one. A new block has the old
// address 0. It panics if the alignment is none of 1, 2, 4, 8: the host has
// left the ABI, and a trap is the answer to that.
func (m *memory) realloc(old address, oldSize, align, newSize uint32) address {
	if align == 0 || align > maxAlign || align&(align-1) != 0 {
		panic(fmt.Sprintf("tars: cabi_realloc with an alignment of %d", align))
	}
	b := newBlock(newSize)
	if was, ok := m.blocks[old]; ok {
		copy(b, was[:min(uint64(oldSize), uint64(len(was)))])
		delete(m.blocks, old)
	}
	return m.keep(b)
}

// newBlock returns zeroed bytes that are aligned for all the ABI knows. An
// empty block has room too, so that it has an address of its own.
func newBlock(size uint32) []byte {
	words := make([]uint64, uint64(size)/maxAlign+1)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*maxAlign)[:size]
}

// keep holds b for the host and returns where it lies.
func (m *memory) keep(b []byte) address {
	if m.blocks == nil {
		m.blocks = make(map[address][]byte)
	}
	at := address(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	m.blocks[at] = b
	return at
}

// take ends the host's hold on a block and returns its first n bytes. Values
// without bytes may come with any address. It panics if the block is not there
// or is shorter: the host has left the ABI.
func (m *memory) take(at address, n uint64) []byte {
	b, ok := m.blocks[at]
	delete(m.blocks, at)
	if n == 0 {
		return nil
	}
	if !ok || n > uint64(len(b)) {
		panic(fmt.Sprintf("tars: the host handed over %d bytes at %d that were not allocated", n, at))
	}
	return b[:n]
}

// release lets go of all blocks.
func (m *memory) release() { clear(m.blocks) }
