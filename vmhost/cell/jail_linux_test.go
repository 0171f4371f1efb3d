//go:build amd64 || arm64

package cell

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStartAmongDescriptors: whatever numbers the descriptors of a new process
// happen to have, what it executes is the binary. In the child, Go's runtime moves
// one to the first number beyond all that it was told of, and replaces what is
// there: seen with many cells starting at once.
func TestStartAmongDescriptors(t *testing.T) {
	l, err := newLauncher(Options{Executable: "/bin/true", MaxCells: 1, Compiles: 1, UIDBase: 1_900_000_000})
	if err != nil {
		t.Fatal(err)
	}
	j := l.(*jail)
	trees := j.cgroups
	j.cgroups = nil // which a process that ends at once may be too quick for
	defer func() {
		j.cgroups = trees
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, fd := range []int{int(j.exe.Fd()) - 1, int(j.exe.Fd()) + 1, 63, 64} {
		host, child, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.FcntlInt(child.Fd(), unix.F_DUPFD_CLOEXEC, fd)
		if err != nil {
			t.Fatal(err)
		}
		_ = child.Close()
		child = os.NewFile(uintptr(fd), "wire of the cell")
		p := &process{wire: host, ended: make(chan struct{})}
		if err := j.startIn(p, Spec{Memory: 1 << 20, Procs: 1}, child); err != nil {
			t.Errorf("with the wire at %d and the binary at %d: %v", fd, j.exe.Fd(), err)
			_ = host.Close()
		} else if exit := p.Wait(); exit.Code != 0 || exit.Signal != 0 {
			t.Errorf("with the wire at %d and the binary at %d: exit %+v, want a good one", fd, j.exe.Fd(), exit)
		}
		_ = child.Close()
	}
}
