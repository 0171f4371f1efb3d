// Package seal closes the sandbox round the process that calls it: from then
// on it can compute, allocate memory within its limits and talk over the
// descriptors that it was given, and nothing else. It cannot be undone.
//
// Each layer stands alone, so that a hole in one is covered by the next: no
// descriptors of others; an empty root in namespaces of its own; no further
// namespaces; resource limits; no access to its memory from outside; Landlock;
// no capabilities; no privileges by exec; a filter of about twenty-five system
// calls that kills on any other.
//
// The process must have been started for it (by vmhost/cell), with cgo off:
// several steps must reach every thread of the process. Linux alone has what
// it takes; elsewhere [Close] returns [ErrUnsupported].
package seal

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"
)

// WireFD is the descriptor that stays open beside the standard ones.
const WireFD = 3

// ErrUnsupported: the system has no means to close a seal.
var ErrUnsupported = errors.New("seal: needs linux on amd64 or arm64, without cgo")

// Plan says what to close. There is no way to leave out a layer but the
// namespaces, which a host without user namespaces cannot have.
type Plan struct {
	// Namespaces says that the process was started in namespaces of its
	// own: user, pid, mount, net, ipc, uts.
	Namespaces bool
	// AddressSpace is the most virtual memory, bytes.
	AddressSpace uint64
	// Threads is the most threads of the process's user.
	Threads uint64
	// ImageSize is the most bytes of one memory image; see [Report].
	ImageSize uint64
}

// Report says what was reached.
type Report struct {
	Namespaces  bool
	LandlockABI int // 0: the kernel has no Landlock
	Took        time.Duration
	// Pagemap and Images are descriptors with which the process can still do
	// one thing each: ask which of its own pages are private, by the ioctl
	// PAGEMAP_SCAN; and freeze memory in files without a name, set their
	// size, seal them, and map them privately and not executable. Pagemap is
	// -1 where the process may not look at its own.
	Pagemap int
	Images  []int
}

// Args returns the plan as arguments of a command line.
func (p Plan) Args() []string {
	return []string{
		"-namespaces=" + strconv.FormatBool(p.Namespaces),
		"-address-space=" + strconv.FormatUint(p.AddressSpace, 10),
		"-threads=" + strconv.FormatUint(p.Threads, 10),
		"-image-size=" + strconv.FormatUint(p.ImageSize, 10),
	}
}

// ParseArgs is the inverse of [Plan.Args]. All arguments are needed.
func ParseArgs(args []string) (Plan, error) {
	var p Plan
	set := flag.NewFlagSet("cell", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.BoolVar(&p.Namespaces, "namespaces", false, "")
	set.Uint64Var(&p.AddressSpace, "address-space", 0, "")
	set.Uint64Var(&p.Threads, "threads", 0, "")
	set.Uint64Var(&p.ImageSize, "image-size", 0, "")
	if err := set.Parse(args); err != nil {
		return Plan{}, fmt.Errorf("seal plan: %w", err)
	}
	if set.NFlag() != len(Plan{}.Args()) || set.NArg() != 0 || p.AddressSpace == 0 || p.Threads == 0 || p.ImageSize == 0 {
		return Plan{}, fmt.Errorf("seal plan: %q is not whole", args)
	}
	return p, nil
}
