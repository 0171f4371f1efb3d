package cell

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Options are what a driver is made with. The zero value is complete.
type Options struct {
	// Executable is the binary whose "cell" command calls [Main]; default
	// /proc/self/exe. It is opened once, so that replacing the file does
	// not change which binary later cells run.
	Executable string
	// MinGrade is the least isolation: below it [New] fails. Zero takes any.
	MinGrade Grade
	// MaxCells is the most cells at once; default 64. The one that has been
	// idle longest gives way to another.
	MaxCells int
	// CallsPerCell is the most calls at once in one cell; more wait.
	// Default 4. A cell's memory limit is made for them.
	CallsPerCell int
	// CPUs is how many processors a cell may keep busy, where a cgroup can
	// hold it to that; default all of the machine.
	CPUs int
	// Overhead is what a cell may use besides the memory of its guests,
	// which is mostly for compiling; default 512 MiB.
	Overhead int64
	// Blanks is how many cells are kept that are sealed and belong to nobody,
	// so that a program's first call does not wait for one to start. They
	// count among MaxCells and give way to all others. Default none.
	Blanks int
	// GuestMemory is the most linear memory of a guest that a blank cell is
	// made for, bytes; programs that have more start cells of their own.
	// Default 1 GiB.
	GuestMemory int64
	// QuarantineAfter is how many cells in a row a program may kill before it
	// is not run any more; default 5. A forbidden system call is enough.
	QuarantineAfter int
	// IdleTimeout is how long a cell without calls is kept; default 60 s.
	// The next call starts it again.
	IdleTimeout time.Duration
	// StartTimeout is the longest from starting a process to its hello;
	// default 10 s.
	StartTimeout time.Duration
	// LoadTimeout is the longest to compile a module and try one instance,
	// by the clock; default 20 s.
	LoadTimeout time.Duration
	// LoadCPU is the same in CPU time of all threads; default 10 s. A
	// module that passes it is refused, and so is one that passes
	// LoadTimeout after a quarter of it; below that the machine is to blame.
	LoadCPU time.Duration
	// Grace is how long a guest may go on after its deadline, or after its
	// caller has gone, before its cell is killed; default 20 ms.
	Grace time.Duration
	// CgroupRoot is a cgroup v2 directory that is ours to make children in,
	// with no process in itself. By default the driver looks for one, or for
	// v1 hierarchies, starting at its own cgroup.
	CgroupRoot string
	// UIDBase is the first of MaxCells user ids for cells, used when the
	// host runs as root and has them; default 1,900,000,000, above what
	// distributions and systemd hand out.
	UIDBase int
	// Logger hears of cells that die and of protocol errors; default none.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Executable, "/proc/self/exe")
	setDefault(&o.MaxCells, 64)
	setDefault(&o.CallsPerCell, 4)
	setDefault(&o.CPUs, runtime.NumCPU())
	setDefault(&o.Overhead, 512<<20)
	setDefault(&o.GuestMemory, 1<<30)
	setDefault(&o.QuarantineAfter, 5)
	setDefault(&o.IdleTimeout, time.Minute)
	setDefault(&o.StartTimeout, 10*time.Second)
	setDefault(&o.LoadTimeout, 20*time.Second)
	setDefault(&o.LoadCPU, 10*time.Second)
	setDefault(&o.Grace, 20*time.Millisecond)
	setDefault(&o.UIDBase, 1_900_000_000)
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	if min(o.MaxCells, o.CallsPerCell, o.CPUs, o.UIDBase, o.Blanks, o.QuarantineAfter) < 0 || min(o.Overhead, o.GuestMemory) < 0 ||
		min(o.IdleTimeout, o.StartTimeout, o.LoadTimeout, o.LoadCPU, o.Grace) < 0 {
		return o, fmt.Errorf("cell: a negative option: %+v", o)
	}
	return o, nil
}

// procs is how many threads of a worker may run at once. Guests that never
// yield must leave one for the worker's own work and one for its collector:
// otherwise nobody would even hear that a call is cancelled.
func (o Options) procs() int { return o.CallsPerCell + 2 }

// memory is the limit on real memory of a cell whose guests may have the given
// bytes each.
func (o Options) memory(guest int64) int64 { return o.Overhead + int64(o.CallsPerCell)*guest }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
