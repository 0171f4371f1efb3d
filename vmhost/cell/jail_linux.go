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
	exe, err := os.Open(opts.Executable)
	if err != nil {
		return nil, fmt.Errorf("%w: the binary for cells: %w", vmhost.ErrUnavailable, err)
	}
	j := &jail{opts: opts, exe: exe, namespaces: true, uids: findUIDs(opts.UIDBase, opts.MaxCells+opts.Compiles+opts.Tasks), thread: newSpawner()}
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
			report.Folders, report.Blanks = j.mayHaveFolder(), found.adopted == nil
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

// imageSize is the most of one memory image.
func imageSize(memory int64) uint64 { return uint64(memory) }

// maxThreads is enough for a runtime with a few threads in system calls. It
// counts per user, so that it holds only where a cell's user is its own.
const (
	maxThreads       = 64
	maxThreadsShared = 8192
)

func (j *jail) plan(spec Spec) seal.Plan {
	p := seal.Plan{Namespaces: j.namespaces, AddressSpace: addressSpace(spec.Memory), Threads: maxThreads, ImageSize: imageSize(spec.Memory)}
	if !j.namespaces && !j.uids.own {
		p.Threads = maxThreadsShared // all processes of the host's user count
	}
	switch {
	case spec.Compile != nil:
		p.ImageSize, p.Folder, p.FolderBytes = 0, seal.FolderWrite, uint64(spec.Compile.Bytes)
		// Behind the host's own watch; whole seconds, rounded up.
		p.CPU = uint64(spec.Compile.CPU/time.Second) + 2
	case spec.Folder != nil:
		p.Folder = seal.FolderRead
	case spec.CPU > 0:
		p.CPU = uint64(spec.CPU/time.Second) + 2
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

// exeFD is the binary's descriptor in a child; the seal closes it. It is handed on
// like the wire, because a number that Go's runtime is not told of is not safe in the
// child: it moves its own pipe to the first one beyond all that it was told of, over
// whatever is there. (Executing that pipe instead was "permission denied".)
const exeFD = seal.WireFD + 1

// startIn starts the process among the blank ones.
func (j *jail) startIn(p *process, spec Spec, child *os.File) error {
	cmd := exec.Command("/proc/self/fd/" + strconv.Itoa(exeFD))
	cmd.Args = append([]string{"tars", "cell"}, j.plan(spec).Args()...)
	// All that the runtime must know before main; the worker clears it. The
	// runtime would otherwise open files of its cgroup and keep them.
	cmd.Env = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0", "GOMAXPROCS=" + strconv.Itoa(spec.Procs)}
	if err := j.enterFolder(p, cmd, spec); err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{child, j.exe}
	cmd.Stderr = &p.stderr // by a pipe: the worker may write no file, and should have none of ours
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = j.attributes(spec.Place)
	p.cmd, p.grade, p.memory = cmd, GradeJailLite, spec.Memory
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

// enterFolder gives the process its folder as the working directory, or the root
// if it has none. The seal takes it from there: see seal.Folder.
func (j *jail) enterFolder(p *process, cmd *exec.Cmd, spec Spec) error {
	if spec.Folder == nil || (spec.Compile != nil && j.namespaces) { // that makes its own
		cmd.Dir = "/"
		return nil
	}
	path, fd := spec.Folder.Dir()
	switch {
	case j.thread.apart:
		p.folder = fd
	case j.namespaces: // the same user as ours, see mayHaveFolder
		cmd.Dir = path
	default:
		cmd.Dir = "/proc/self/fd/" + strconv.Itoa(int(fd.Fd()))
	}
	if spec.Compile != nil && j.uids.own {
		uid, gid := j.uids.ids(spec.Place)
		return spec.Folder.GiveTo(uid, gid)
	}
	return nil
}

// mayHaveFolder reports whether a process can be given a folder. What is in the way
// is a container that allows namespaces but no working directory for each thread.
func (j *jail) mayHaveFolder() bool { return j.thread.apart || !j.namespaces || !j.uids.own }

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
	jobs  chan func()
	done  chan struct{}
	apart bool // the thread has a working directory of its own
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		s.apart = unix.Unshare(unix.CLONE_FS) == nil
		close(ready)
		for job := range s.jobs {
			job()
		}
	}()
	<-ready
	return s
}

// start starts p's command and begins to wait for it.
func (s *spawner) start(p *process) error {
	started := make(chan error)
	s.jobs <- func() { started <- startThere(p) }
	if err := <-started; err != nil {
		return fmt.Errorf("start a process: %w", err)
	}
	go p.reap()
	return nil
}

// startThere starts p's command in its folder, if it has one. A child whose user
// cannot walk there by a path is born there: in a mount namespace of its own the
// kernel translates the working directory, which it does not do for descriptors.
func startThere(p *process) error {
	if p.folder == nil {
		return p.cmd.Start()
	}
	if err := unix.Fchdir(int(p.folder.Fd())); err != nil {
		return fmt.Errorf("enter its folder: %w", err)
	}
	return errors.Join(p.cmd.Start(), unix.Chdir("/"))
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}
