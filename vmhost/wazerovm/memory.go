package wazerovm

import (
	"fmt"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// memory is the linear memory of one VM: a private mapping of the whole cap,
// of which the guest sees the part that it has grown to. The kernel gives pages
// as they are written, so that the unused part of the cap costs address space
// and nothing else, growing copies nothing, and none of it is on Go's heap.
//
// It is not safe for concurrent use: it belongs to the goroutine that runs the
// guest. It is also the allocator of the one memory that its VM has.
type memory struct {
	limit  int64  // most bytes
	region []byte // limit bytes once allocated; nil before and after
	size   int64  // bytes that the guest has grown to; stays after Free
	denied bool   // the guest asked for more than limit
	asked  int64  // how much it then wanted in all, at the last time
	err    error  // why the region could not be mapped
}

// Allocate implements [experimental.MemoryAllocator]. What the module declares
// is no guide: the cap is ours.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory {
	if m.region != nil {
		m.err = fmt.Errorf("a VM has one memory")
		return &memory{}
	}
	m.region, m.err = unix.Mmap(-1, 0, int(m.limit),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	return m
}

// Reallocate implements [experimental.LinearMemory]. The engine calls it for
// the first size and for every memory.grow that the module's own maximum lets
// through; nil makes memory.grow return -1.
func (m *memory) Reallocate(size uint64) []byte {
	if m.region == nil {
		return nil
	}
	if size > uint64(m.limit) {
		m.denied, m.asked = true, int64(size)
		return nil
	}
	m.size = int64(size)
	return m.region[:size:size]
}

// Free implements [experimental.LinearMemory].
func (m *memory) Free() {
	if m.region == nil {
		return
	}
	if err := unix.Munmap(m.region); err != nil {
		m.err = fmt.Errorf("unmap linear memory: %w", err)
	}
	m.region = nil
}

// view is the guest's memory as it is now. It must not be kept: the next call
// into the guest may grow the memory or free it.
func (m *memory) view() view {
	if m.region == nil {
		return nil
	}
	return m.region[:m.size]
}
