//go:build amd64 || arm64

package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/seal"
)

// jail launches cells as processes of this machine.
type jail struct {
	opts       Options
	exe        *os.File // what to execute, whatever happens to its path
	uids       uidRange
	cgroups    *cgroups // nil when there are none to be had
	missing    []string // why not
	namespaces bool     // set by Probe
	thread     *spawner
}

func newLauncher(opts Options) (Launcher, error) {
	exe, err := openExecutable(opts.Executable)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
	j := &jail{opts: opts, exe: exe, namespaces: true, uids: findUIDs(opts.UIDBase, opts.MaxCells), thread: newSpawner()}
	if err := j.uids.mayExecute(exe); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err), j.Close())
	}
	if j.cgroups, err = findCgroups(opts.CgroupRoot); err != nil {
		if opts.CgroupRoot != "" {
			return nil, errors.Join(fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err), j.Close())
		}
		j.missing = append(j.missing, err.Error())
	}
	return j, nil
}

// openExecutable opens a binary by a descriptor that no standard descriptor
// and no wire of a child will displace.
func openExecutable(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("the binary for cells: %w", err)
	}
	defer f.Close()
	const above = 64
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return nil, fmt.Errorf("the binary for cells: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Name implements [Launcher].
func (j *jail) Name() string { return "jail" }

// Close implements [Launcher].
func (j *jail) Close() error {
	j.thread.close()
	err := j.exe.Close()
	if j.cgroups != nil {
		err = errors.Join(err, j.cgroups.close())
	}
	return err
}

// Probe implements [Launcher]. It must come before the first Start: it decides
// whether cells get namespaces.
func (j *jail) Probe(ctx context.Context) (Report, error) {
	report := Report{Launcher: j.Name(), Missing: j.missing}
	if j.cgroups != nil {
		report.Cgroup = j.cgroups.version()
	}
	var errs []error
	for _, namespaces := range []bool{true, false} {
		j.namespaces = namespaces
		found, err := probe(ctx, j, j.opts)
		if err == nil {
			report.Grade, report.LandlockABI, report.Seal = found.grade, int(found.hello.LandlockABI), found.hello.Took
			report.Blanks = found.adopted == nil
			if !report.Blanks {
				report.Missing = append(report.Missing, "blank cells: "+found.adopted.Error())
			}
			return report, nil
		}
		report.Missing = append(report.Missing, "namespaces: "+err.Error())
		errs = append(errs, err)
	}
	return report, fmt.Errorf("%w: no jail can be had: %w", vmhost.ErrUnavailable, errors.Join(errs...))
}

// addressSpace is the limit on virtual memory. A Go process reserves much more
// than it uses, and what a guest may grow to is mapped from the start.
func addressSpace(memory int64) uint64 { return 3<<30 + 2*uint64(memory) }

// maxThreads is enough for a runtime with a few threads in system calls. It
// counts per user, so that it holds only where a cell's user is its own.
const (
	maxThreads       = 64
	maxThreadsShared = 8192
)

func (j *jail) plan(spec Spec) seal.Plan {
	p := seal.Plan{Namespaces: j.namespaces, AddressSpace: addressSpace(spec.Memory), Threads: maxThreads, ImageSize: uint64(spec.Memory)}
	if !j.namespaces && !j.uids.own {
		p.Threads = maxThreadsShared // all processes of the host's user count
	}
	return p
}

// Start implements [Launcher].
func (j *jail) Start(ctx context.Context, spec Spec) (Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, child, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	defer child.Close()
	p := &process{wire: host, ended: make(chan struct{})}
	if err := j.startIn(p, spec, child); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return p, nil
}

// startIn starts the process among the blank ones.
func (j *jail) startIn(p *process, spec Spec, child *os.File) error {
	cmd := exec.Command("/proc/self/fd/" + strconv.Itoa(int(j.exe.Fd())))
	cmd.Args = append([]string{"tars", "cell"}, j.plan(spec).Args()...)
	// All that the runtime must know before main; the worker clears it. The
	// runtime would otherwise open files of its cgroup and keep them.
	cmd.Env = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0", "GOMAXPROCS=" + strconv.Itoa(spec.Procs)}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{child}
	cmd.Stderr = &p.stderr // by a pipe: the worker may write no file, and should have none of ours
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = j.attributes(spec.Place)
	p.cmd, p.grade, p.space = cmd, GradeJailLite, addressSpace(spec.Memory)
	if j.namespaces {
		p.grade = GradeJail
	}
	if j.cgroups == nil {
		return j.thread.start(p)
	}
	p.tree = j.cgroups
	if born := j.cgroups.born; born != nil { // v2
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(born.Fd())
	}
	if err := j.thread.start(p); err != nil {
		return err
	}
	if err := j.cgroups.join(cmd.Process.Pid); err != nil { // v1
		p.Kill()
		if exit := p.Wait(); errors.Is(err, unix.ESRCH) { // it had ended by itself
			return fmt.Errorf("the cell died: %s", exit)
		}
		return fmt.Errorf("cgroup: %w", err)
	}
	if j.namespaces {
		p.grade = GradeJailCgroup
	}
	return nil
}

// attributes are how the process is made.
func (j *jail) attributes(place int) *syscall.SysProcAttr {
	uid, gid := j.uids.ids(place)
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if !j.namespaces {
		if j.uids.own {
			attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
		return attr
	}
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	// Root inside, so that the seal can be closed; nobody outside.
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	attr.GidMappingsEnableSetgroups = j.uids.own
	attr.Credential = &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: !j.uids.own}
	return attr
}

// socketPair makes the wire. Both ends close on exec; the child's is handed on.
func socketPair() (host, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "wire"), os.NewFile(uintptr(fds[1]), "wire of the cell"), nil
}

// spawner is a thread that starts processes and lives as long as they do: the
// kernel sends a child its parent-death signal when the thread that started it
// ends.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// start starts p's command and begins to wait for it.
func (s *spawner) start(p *process) error {
	started := make(chan error)
	s.jobs <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start a process: %w", err)
	}
	go p.reap()
	return nil
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}
