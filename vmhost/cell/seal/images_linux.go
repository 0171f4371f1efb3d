//go:build amd64 || arm64

package seal

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// imageFiles is how many memory images a cell can hold: one for each memory of
// a program, which has several if it is a component of several modules.
const imageFiles = 4

// firstImageFD is the least descriptor of those below: above what the runtime
// opens by itself, so that it does not matter when.
const firstImageFD = 8

// images are the descriptors by which a sealed process restores memory: it
// freezes a memory in a file without a name and finds out which pages of a
// private mapping of it were written.
type images struct {
	pagemap int // of this process; -1 if it may not look at it
	files   []int
}

// openImages opens what can be opened no more when the seal is closed. Both
// kinds last for the process's life.
func openImages() (images, error) {
	i := images{pagemap: -1}
	if fd, err := openAbove("/proc/self/pagemap"); err == nil {
		i.pagemap = fd
	}
	for range imageFiles {
		fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
		if err == unix.EINVAL { //nolint:errorlint // a bare errno; before Linux 6.3 there is no such flag
			fd, err = unix.MemfdCreate("image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		}
		if err != nil {
			return images{}, fmt.Errorf("memfd: %w", err)
		}
		high, err := moveAbove(fd)
		if err != nil {
			return images{}, err
		}
		i.files = append(i.files, high)
	}
	return i, nil
}

// openAbove opens a file for reading by a descriptor of firstImageFD or more.
func openAbove(name string) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return moveAbove(fd)
}

// moveAbove moves a descriptor to firstImageFD or above.
func moveAbove(fd int) (int, error) {
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstImageFD)
	if err != nil {
		return 0, fmt.Errorf("move a descriptor: %w", err)
	}
	return high, unix.Close(fd)
}
