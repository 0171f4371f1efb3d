package cell

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/artifact"
)

// Launcher starts machines for cells. Safe for concurrent use.
type Launcher interface {
	// Name is a word such as "jail".
	Name() string
	// Probe finds out what isolation this host gives, by starting a blank
	// machine and ending it. An error means that there is none to be had.
	Probe(ctx context.Context) (Report, error)
	// Start starts a machine that belongs to nobody yet, whose worker closes
	// its seal and says hello. ctx bounds the start, not the machine's life.
	Start(ctx context.Context, spec Spec) (Process, error)
	// Close lets go of what the launcher holds. All processes must have
	// ended.
	Close() error
}

// Spec is what a machine is started with.
type Spec struct {
	// Place numbers the machine among those that run at once, from 0. No
	// two that run have the same.
	Place int
	// Memory is the most bytes of real memory that the machine will ever be
	// adopted with, the guests' included.
	Memory int64
	// Procs is how many threads of the worker may run at once.
	Procs int
	// Folder is where the machine finds compiled code; nil for nowhere. With
	// Compile, in a machine without namespaces, it is where it puts it.
	Folder *artifact.Folder
	// Compile is set for a machine that compiles, and only that.
	Compile *CompileSpec
	// CPU is the most processor time of its whole life, which the kernel sees to
	// somewhat later; 0: no limit. With Compile, that of it counts.
	CPU time.Duration
}

// CompileSpec bounds a machine that compiles.
type CompileSpec struct {
	CPU   time.Duration // of its whole life; the kernel kills it somewhat later
	Bytes int64         // of the files that it writes
}

// Adoption is whose a machine becomes, and what it may use from then on.
type Adoption struct {
	Account vmhost.Account
	// AccountMemory is the most bytes of memory of all guests of the account
	// together; 0 means no limit at that level. Its machines together may have
	// Overhead each besides.
	AccountMemory int64
	Overhead      int64
	// Memory is the most bytes of real memory of this one.
	Memory int64
	// CPUs is how many processors it may keep busy.
	CPUs int
}

// Process is a running machine. Safe for concurrent use.
type Process interface {
	// Wire is the byte stream to the worker. Closing it makes a healthy
	// worker end.
	Wire() io.ReadWriteCloser
	// Grade is what the machine is isolated by, apart from what its worker
	// reports.
	Grade() Grade
	// Adopt puts the machine under the limits of the account that it belongs to
	// from now on. It must come before the worker is told anything of that,
	// and once. A machine that it fails for must be killed.
	Adopt(Adoption) error
	// Kill ends the machine without its co-operation. It does not wait.
	Kill()
	// Wait waits until the machine has ended and everything that was held
	// for it is released, and says how it ended.
	Wait() Exit
	// Usage is what the machine has used. It fails when it has ended.
	Usage() (Usage, error)
}

// Usage is what a machine has used so far.
type Usage struct {
	CPU    time.Duration // of all threads
	Memory int64         // resident now, bytes
}

// Exit is how a machine ended.
type Exit struct {
	Code        int            // -1 when by a signal
	Signal      syscall.Signal // 0 when by itself
	OutOfMemory bool           // the kernel ended it for its memory, or it could not get any
	Stderr      string         // the first 2 KiB of what the worker wrote there; untrusted
}

// String says how the machine ended, in words for a log or an error.
func (e Exit) String() string {
	switch {
	case e.OutOfMemory:
		return "out of memory"
	case e.Signal == syscall.SIGSYS:
		return "killed for a forbidden system call (SIGSYS)"
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%v)", int(e.Signal), e.Signal)
	default:
		return fmt.Sprintf("exited with code %d", e.Code)
	}
}

// Grade is how much isolation a cell really has, weakest first.
type Grade int

// The grades.
const (
	// GradeJailLite: a process with Landlock, no privileges, resource
	// limits and the system call filter, but no namespaces of its own.
	GradeJailLite Grade = iota + 1
	// GradeJail adds namespaces and an empty root.
	GradeJail
	// GradeJailCgroup adds kernel limits on memory and processes by cgroup.
	GradeJailCgroup
)

var gradeNames = map[Grade]string{GradeJailLite: "jail-lite", GradeJail: "jail", GradeJailCgroup: "jail+cgroup"}

// String returns "jail-lite", "jail" or "jail+cgroup".
func (g Grade) String() string {
	if s, ok := gradeNames[g]; ok {
		return s
	}
	return "none"
}

// ParseGrade is the inverse of [Grade.String].
func ParseGrade(s string) (Grade, error) {
	for g, name := range gradeNames {
		if name == s {
			return g, nil
		}
	}
	return 0, fmt.Errorf("isolation grade %q: want jail-lite, jail or jail+cgroup", s)
}

// Report is what a launcher found on this host.
type Report struct {
	Launcher    string
	Grade       Grade
	LandlockABI int
	Cgroup      string        // "v2", "v1" or "" for none
	Folders     bool          // machines can be given folders
	Seal        time.Duration // what the probe took to close its seal
	// Blanks says that machines can be started before it is known for whom:
	// that their limits can be lowered later.
	Blanks bool
	// Missing says, for each step up that could not be had, why.
	Missing []string
}

// String says it on one line.
func (r Report) String() string {
	s := fmt.Sprintf("%s: %v, landlock ABI %d, sealed in %v", r.Launcher, r.Grade, r.LandlockABI, r.Seal)
	if len(r.Missing) > 0 {
		s += "; missing: " + strings.Join(r.Missing, "; ")
	}
	return s
}
