package cell

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/tars-project/tars/vmhost/cell/artifact"
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
	// Default 8. A cell's memory limit is made for them.
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
	// CompileCPU is the most CPU time to compile a module, of all threads;
	// default 5 s. A module that passes it is refused. CompileTimeout is the
	// longest by the clock, default 30 s, for which the machine is to blame.
	CompileCPU, CompileTimeout time.Duration
	// CompileMemory is what compiling may use, bytes; default 1 GiB.
	// CompileBytes is the most that it may give, bytes; default 256 MiB.
	CompileMemory, CompileBytes int64
	// Compiles is the most compilations at once; more wait, the accounts in
	// turn. Default the number of processors.
	Compiles int
	// CacheDir is where compiled code is kept, for this user alone. By
	// default, and when it cannot be written to, it is kept for the life of
	// the driver in a temporary folder. CacheBytes is the most of it, default
	// 1 GiB; CacheKey, 32 bytes, authenticates it. Without a key what other
	// processes left there is of no use.
	CacheDir   string
	CacheBytes int64
	CacheKey   []byte
	// Grace is how long a guest may go on after its deadline, or after its
	// caller has gone, before its cell is killed; default 20 ms.
	Grace time.Duration
	// CgroupRoot is a cgroup v2 directory that is ours to make children in,
	// with no process in itself. By default the driver looks for one, or for
	// v1 hierarchies, starting at its own cgroup.
	CgroupRoot string
	// Tasks is the most tasks at once, see [Driver.Do]; more wait, the accounts in
	// turn. Default: the number of processors.
	Tasks int
	// UIDBase is the first of MaxCells + Compiles + Tasks user ids for cells, used when the
	// host runs as root and has them; default 1,900,000,000, above what
	// distributions and systemd hand out.
	UIDBase int
	// Logger hears of cells that die and of protocol errors; default none.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Executable, "/proc/self/exe")
	setDefault(&o.MaxCells, 64)
	setDefault(&o.CallsPerCell, 8)
	setDefault(&o.CPUs, runtime.NumCPU())
	setDefault(&o.Overhead, 512<<20)
	setDefault(&o.GuestMemory, 1<<30)
	setDefault(&o.QuarantineAfter, 5)
	setDefault(&o.IdleTimeout, time.Minute)
	setDefault(&o.StartTimeout, 10*time.Second)
	setDefault(&o.LoadTimeout, 20*time.Second)
	setDefault(&o.LoadCPU, 10*time.Second)
	setDefault(&o.CompileCPU, 5*time.Second)
	setDefault(&o.CompileTimeout, 30*time.Second)
	setDefault(&o.CompileMemory, 1<<30)
	setDefault(&o.CompileBytes, 256<<20)
	setDefault(&o.Compiles, runtime.NumCPU())
	setDefault(&o.Tasks, runtime.NumCPU())
	setDefault(&o.CacheBytes, 1<<30)
	setDefault(&o.Grace, 20*time.Millisecond)
	setDefault(&o.UIDBase, 1_900_000_000)
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	if min(o.MaxCells, o.CallsPerCell, o.CPUs, o.UIDBase, o.Blanks, o.QuarantineAfter, o.Compiles, o.Tasks) < 0 ||
		min(o.Overhead, o.GuestMemory, o.CompileMemory, o.CompileBytes, o.CacheBytes) < 0 ||
		min(o.IdleTimeout, o.StartTimeout, o.LoadTimeout, o.LoadCPU, o.CompileCPU, o.CompileTimeout, o.Grace) < 0 {
		o.CacheKey = nil // not to be shown
		return o, fmt.Errorf("cell: a negative option: %+v", o)
	}
	if n := len(o.CacheKey); n != 0 && n != artifact.SecretLen {
		return o, fmt.Errorf("cell: a cache key of %d bytes, need %d", n, artifact.SecretLen)
	}
	return o, nil
}

// procs is how many threads of a worker may run at once. Guests yield at each
// slice of fuel, so that one more than there are processors is enough for the
// worker's own work beside them; further ones spin while they look for some (a call
// took 133 µs with six on two processors, 80 with three).
func (o Options) procs() int { return min(o.CallsPerCell+2, o.CPUs+1) }

// memory is the limit on real memory of a cell whose guests may have the given
// bytes each.
func (o Options) memory(guest int64) int64 { return o.Overhead + int64(o.CallsPerCell)*guest }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
