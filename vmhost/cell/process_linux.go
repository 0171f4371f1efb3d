//go:build amd64 || arm64

package cell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a cell's process in its jail.
type process struct {
	cmd    *exec.Cmd
	wire   *os.File
	tree   *cgroups // nil when there is none
	space  uint64   // the limit on its address space when it was started
	grade  Grade
	stderr head

	mu     sync.Mutex
	group  *cgroup // nil before it is adopted, and without a tree
	reaped bool    // the process id may be somebody else's from here on
	exit   Exit
	ended  chan struct{}
}

// Wire implements [Process].
func (p *process) Wire() io.ReadWriteCloser { return p.wire }

// Grade implements [Process].
func (p *process) Grade() Grade { return p.grade }

// Kill implements [Process]. It goes by pidfd where the kernel has one.
func (p *process) Kill() { _ = p.cmd.Process.Kill() } // fails only when it has ended

// errFixedLimits: this host may not lower the limits of a process that runs.
var errFixedLimits = errors.New("the limits of a running process cannot be lowered")

// Adopt implements [Process].
func (p *process) Adopt(a Adoption) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped { // until then the process id is its own, dead or alive
		return os.ErrProcessDone
	}
	pid := p.cmd.Process.Pid
	if space := addressSpace(a.Memory); space < p.space {
		limit := unix.Rlimit{Cur: space, Max: space}
		if err := unix.Prlimit(pid, unix.RLIMIT_AS, &limit, nil); err != nil {
			return fmt.Errorf("%w: address space: %w", errFixedLimits, err)
		}
	}
	if p.tree == nil {
		return nil
	}
	group, err := p.tree.create(a)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	p.group = group // removed when the process is gone
	if err := group.join(pid); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// Wait implements [Process].
func (p *process) Wait() Exit {
	<-p.ended
	return p.exit
}

// reap waits for the process and releases what was held for it.
func (p *process) reap() {
	defer close(p.ended)
	p.awaitEnd()
	p.mu.Lock()
	p.reaped = true
	group := p.group
	p.mu.Unlock()
	_ = p.cmd.Wait() // the state below says more
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	p.exit = Exit{Code: p.cmd.ProcessState.ExitCode(), Stderr: p.stderr.String()}
	if status.Signaled() {
		p.exit.Signal = status.Signal()
	}
	p.exit.OutOfMemory = group.outOfMemory() || (p.exit.Signal == 0 && p.exit.Code != 0 && ranOut(p.exit.Stderr))
	_ = group.remove() // retried when the next server starts
	_ = p.wire.Close() // unblocks who reads and writes
}

// awaitEnd waits until the process has ended and leaves it unreaped, so that its
// id is nobody else's before reaped is set.
func (p *process) awaitEnd() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // nil: an own child that nobody else waits for is always found
		}
	}
}

// ranOut recognises what the Go runtime says when the kernel refuses it memory.
func ranOut(stderr string) bool {
	return strings.Contains(stderr, "out of memory") || strings.Contains(stderr, "cannot allocate memory")
}

// Usage implements [Process].
func (p *process) Usage() (Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return Usage{}, os.ErrProcessDone
	}
	pid := p.cmd.Process.Pid
	var cpu unix.Timespec
	// The clock of another process's CPU time: clock_getcpuclockid(3).
	if err := unix.ClockGettime(^int32(pid)<<3|2, &cpu); err != nil {
		return Usage{}, fmt.Errorf("cpu time of a cell: %w", err)
	}
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return Usage{}, fmt.Errorf("memory of a cell: %w", err)
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return Usage{}, fmt.Errorf("memory of a cell: statm is %q", statm)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return Usage{}, fmt.Errorf("memory of a cell: %w", err)
	}
	return Usage{CPU: time.Duration(cpu.Nano()), Memory: pages * int64(os.Getpagesize())}, nil
}

// head keeps the beginning of what is written to it, where the runtime says why
// it died, and takes everything, so that a worker never waits for it.
type head struct {
	mu sync.Mutex
	b  []byte
}

const maxHead = 2 << 10

// Write implements [io.Writer].
func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), maxHead-len(h.b))]...)
	return len(p), nil
}

// String returns what was kept, as valid UTF-8.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.ToValidUTF8(string(h.b), "?")
}
