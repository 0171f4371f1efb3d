package wazerovm

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// memory is a linear memory of a VM: a private mapping of the whole cap, of
// which the guest sees the part that it has grown to. The kernel gives pages as
// they are written, so that the unused part of the cap costs address space and
// nothing else, growing copies nothing, and none of it is on Go's heap. Once
// settled, its lower part is a private copy of an image.
//
// It is not safe for concurrent use: it belongs to the goroutine that runs the
// guest. It is also the allocator of the one memory that its instance has.
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
		m.err = fmt.Errorf("an instance has one memory")
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

// settle makes the memory a private copy of an image of its size.
func (m *memory) settle(f *frozen) error {
	if m.region == nil || m.size != int64(len(f.view)) {
		return fmt.Errorf("memory of %d bytes for an image of %d", m.size, len(f.view))
	}
	return mapImage(m.region[:m.size], f.fd)
}

// residentBytes is how many bytes of written pages a memory keeps over a restore.
// Kept ones are copied over, which is cheaper than to drop them and take faults
// again, as long as the next call writes to the same. Idle VMs give them up.
const residentBytes = 2 << 20

var errGrew = errors.New("the memory grew")

// restore puts the memory back at its image: pages that were written get their
// contents again, or are dropped. Without means to find them all are dropped.
func (m *memory) restore(f *frozen, pages *scanner) error {
	if m.size != int64(len(f.view)) {
		return errGrew
	}
	kept := 0
	err := pages.written(m.region[:m.size], func(start, end int) error {
		if kept += end - start; kept > residentBytes {
			return drop(m.region[start:end])
		}
		return refresh(m.region[start:end], f.view[start:end])
	})
	if errors.Is(err, errNoScan) {
		return drop(m.region[:m.size])
	}
	return err
}

// refresh makes pages what the image has. Those that are so already were kept for
// this call and not written in it: they are dropped, or one call that wrote to
// much would make the restores of all later ones slow.
func refresh(pages, contents []byte) error {
	size := pageSizeOfSystem
	cold := 0 // where the pages begin that are to be dropped
	for at := 0; at < len(pages); at += size {
		if bytes.Equal(pages[at:at+size], contents[at:at+size]) {
			continue
		}
		copy(pages[at:at+size], contents[at:at+size])
		if at > cold {
			if err := drop(pages[cold:at]); err != nil {
				return err
			}
		}
		cold = at + size
	}
	if cold < len(pages) {
		return drop(pages[cold:])
	}
	return nil
}

// pageSizeOfSystem is the unit in which the kernel tracks writes, bytes.
var pageSizeOfSystem = os.Getpagesize()

// trim gives up the pages that a memory on an image keeps. What they held must
// have been restored.
func (m *memory) trim() error { return drop(m.region[:m.size]) }
