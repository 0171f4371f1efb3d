package wazerovm

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PAGEMAP_SCAN, from linux/fs.h: which pages of a range of a process are of
// some categories. Linux 6.7 and later.
const (
	pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

// scanArg is struct pm_scan_arg.
type scanArg struct {
	size, flags                         uint64
	start, end, walkEnd                 uint64
	vec, vecLen                         uint64
	maxPages                            uint64
	inverted, mask, anyOf, returnedMask uint64
}

// pageRange is struct page_region: addresses, the end not included.
type pageRange struct{ start, end, categories uint64 }

// scanner finds the pages of a private mapping that have been written since it
// was made. It belongs to one goroutine at a time.
type scanner struct {
	pagemap int // -1: there is none
	found   [256]pageRange
}

// written calls yield with each range of b, as offsets, that is no longer the
// file's: pages that are the process's own, in memory or on their way between
// two places, for which a page that is being moved counts as swapped. It walks
// until the end, however many ranges there are.
func (s *scanner) written(b []byte, yield func(start, end int) error) error {
	if s.pagemap < 0 {
		return errNoScan
	}
	base := uint64(uintptr(unsafe.Pointer(&b[0])))
	arg := scanArg{
		size: uint64(unsafe.Sizeof(scanArg{})), start: base, end: base + uint64(len(b)),
		vec: uint64(uintptr(unsafe.Pointer(&s.found[0]))), vecLen: uint64(len(s.found)),
		inverted: pageIsFile, mask: pageIsFile, anyOf: pageIsPresent | pageIsSwapped,
		returnedMask: pageIsPresent,
	}
	for arg.start < arg.end {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.pagemap), pagemapScan, uintptr(unsafe.Pointer(&arg)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return fmt.Errorf("scan pages: %w", errno)
		case arg.walkEnd <= arg.start || arg.walkEnd > arg.end || n > uintptr(len(s.found)):
			return fmt.Errorf("scan pages: stopped at %#x of %#x-%#x", arg.walkEnd, arg.start, arg.end)
		}
		for _, r := range s.found[:n] {
			if r.start < base || r.end > arg.end || r.start >= r.end {
				return fmt.Errorf("scan pages: found %#x-%#x in %#x-%#x", r.start, r.end, base, arg.end)
			}
			if err := yield(int(r.start-base), int(r.end-base)); err != nil {
				return err
			}
		}
		arg.start = arg.walkEnd
	}
	return nil
}

// ownFiles opens what a process that is not closed off needs for one program.
func ownFiles() (*Files, error) {
	f := &Files{Pagemap: -1}
	if fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		f.Pagemap = fd
	}
	fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		f.close()
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f.Images = []int{fd}
	return f, nil
}

// rewrite gives the file fd new contents, whose length is a multiple of the page
// size. Pages of zeros take no room.
func rewrite(fd int, contents []byte) error {
	for _, size := range []int64{0, int64(len(contents))} { // by 0, so that nothing stays
		if err := unix.Ftruncate(fd, size); err != nil {
			return fmt.Errorf("size of an image: %w", err)
		}
	}
	page := pageSizeOfSystem
	for at := 0; at < len(contents); {
		end := at
		for end < len(contents) && !allZero(contents[end:end+page]) {
			end += page
		}
		if end == at {
			at += page
			continue
		}
		n, err := unix.Pwrite(fd, contents[at:end], int64(at))
		if err != nil {
			return fmt.Errorf("write an image: %w", err)
		}
		if n -= n % page; n == 0 {
			return fmt.Errorf("write an image: less than a page of %d bytes", end-at)
		}
		at += n // a short write is done again from its page on
	}
	return nil
}

// seal keeps everybody from changing the file.
func seal(fd int) error {
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal an image: %w", err)
	}
	return nil
}

// allZero reports whether a page is empty.
func allZero(page []byte) bool {
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&page[0])), len(page)/8)
	for _, w := range words {
		if w != 0 {
			return false
		}
	}
	return true
}

// mapImage puts a private copy of the file over b, whose length is a multiple of
// the page size.
func mapImage(b []byte, fd int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(&b[0]), uintptr(len(b)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		return fmt.Errorf("map an image: %w", err)
	}
	return smallPages(b)
}

// viewImage maps the file to be read.
func viewImage(fd, size int) ([]byte, error) {
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map an image to read: %w", err)
	}
	return b, nil
}

// smallPages keeps the kernel from joining pages of b: a large page would be
// written as a whole, and restored as a whole.
func smallPages(b []byte) error {
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL { //nolint:errorlint // a bare errno; a kernel without large pages does not know the word
		return fmt.Errorf("advise small pages: %w", err)
	}
	return nil
}

// drop forgets what was written to b: it reads as the file again.
func drop(b []byte) error {
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("drop pages: %w", err)
	}
	return nil
}
