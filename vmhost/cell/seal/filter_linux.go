//go:build amd64 || arm64

package seal

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter is our own because the known library goes on comparing the
// argument with system call numbers after an argument check has failed, which
// lets calls past (elastic/go-seccomp-bpf v1.6.0). Here every check begins by
// loading what it looks at.

// Offsets in struct seccomp_data. All arguments that are checked are ints or
// fit into 32 bits, and the kernel looks at the low word of them alone.
const (
	offNumber = 0
	offArch   = 4
)

func offArg(i int) uint32 { return uint32(16 + 8*i) }

// Calls that a healthy Go 1.26 runtime with wazero makes, by a census of a
// worker under load, and those of its way out when it crashes.
var allowed = []uintptr{
	unix.SYS_FUTEX, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL,
	unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_MADVISE, unix.SYS_MUNMAP, unix.SYS_GETRANDOM, unix.SYS_CLOCK_GETTIME,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK,
	unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// Calls that a healthy runtime may try and does without. They get EPERM, so
// that an upgrade of it fails softly.
var refused = []uintptr{
	unix.SYS_PREAD64, unix.SYS_UNAME, unix.SYS_PRLIMIT64,
	unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT, unix.SYS_FCNTL, unix.SYS_IOCTL,
}

// writing are the calls by which the engine's compiler keeps its file. Where they
// reach is Landlock's to say, and the root's.
var writing = []uintptr{
	unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_FSTAT, unix.SYS_GETDENTS64, unix.SYS_MKDIRAT, unix.SYS_RENAMEAT, unix.SYS_UNLINKAT, unix.SYS_FSYNC,
}

// notReading are the flags of openat that do more than read what is there, or
// that give a descriptor to be used in another way.
const notReading = unix.O_ACCMODE | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND | unix.O_TMPFILE&^unix.O_DIRECTORY | unix.O_PATH

// files returns the calls on files that a folder needs: those that are allowed,
// those that are allowed with arguments, and those that are refused.
func files(folder Folder) (all []uintptr, some []rule, none []uintptr) {
	switch folder {
	case FolderWrite:
		return writing, nil, nil
	case FolderRead:
		open := rule{number: unix.SYS_OPENAT, checks: []check{{arg: 2, clear: notReading}}, otherwise: resultRefuse}
		return []uintptr{unix.SYS_NEWFSTATAT}, []rule{open}, nil
	default:
		return nil, nil, []uintptr{unix.SYS_OPENAT}
	}
}

// check is a test of one argument.
type check struct {
	arg   int
	equal []uint32 // one of these
	set   uint32   // or, when equal is nil: all of these bits are set
	clear uint32   // and none of these
}

// rule allows a call whose arguments pass all checks; others get the verdict in
// otherwise, which is to kill unless it is set.
type rule struct {
	number    uintptr
	checks    []check
	otherwise uint32
}

// rules are the calls that are harmless in some forms only.
func rules(pid int) []rule {
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	const rw = unix.PROT_READ | unix.PROT_WRITE
	return []rule{
		// Threads of this process, never a process. Go sets up
		// thread-local storage by the call on amd64.
		{number: unix.SYS_CLONE, checks: []check{{arg: 0, equal: []uint32{thread, thread | unix.CLONE_SETTLS}}}},
		// Fresh memory, no files, not executable.
		{number: unix.SYS_MMAP, checks: []check{{arg: 2, clear: unix.PROT_EXEC}, {arg: 3, set: unix.MAP_ANONYMOUS}}},
		// The engine makes compiled code executable, but nothing is
		// writable and executable at once.
		{number: unix.SYS_MPROTECT, checks: []check{{arg: 2, equal: []uint32{unix.PROT_NONE, unix.PROT_READ, rw, unix.PROT_READ | unix.PROT_EXEC}}}},
		// The runtime gives names to its memory.
		{number: unix.SYS_PRCTL, checks: []check{{arg: 0, equal: []uint32{unix.PR_SET_VMA}}, {arg: 1, equal: []uint32{unix.PR_SET_VMA_ANON_NAME}}}},
		// The runtime interrupts its own threads.
		{number: unix.SYS_TGKILL, checks: []check{{arg: 0, equal: []uint32{uint32(pid)}}}},
	}
}

const (
	load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ifEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	ifAbove = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K // above or equal
	and     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	result  = unix.BPF_RET | unix.BPF_K

	resultKill   = unix.SECCOMP_RET_KILL_PROCESS
	resultAllow  = unix.SECCOMP_RET_ALLOW
	resultRefuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
)

// x32Calls are numbers of a second table that amd64 kernels may have.
const x32Calls = 0x40000000

// program is a filter: instructions in order.
type program []unix.SockFilter

func (p *program) op(code uint16, k uint32) { *p = append(*p, unix.SockFilter{Code: code, K: k}) }

func (p *program) jump(code uint16, k uint32, yes, no int) {
	*p = append(*p, unix.SockFilter{Code: code, K: k, Jt: uint8(yes), Jf: uint8(no)})
}

// build makes the filter of a process whose own id is pid.
func build(pid int, folder Folder) program {
	open, someFiles, noFiles := files(folder)
	var p program
	p.op(load, offArch)
	p.jump(ifEqual, auditArch, 1, 0)
	p.op(result, resultKill)
	p.op(load, offNumber)
	p.jump(ifAbove, x32Calls, 0, 1)
	p.op(result, resultKill)
	for _, number := range slices.Concat(allowed, open) {
		p.jump(ifEqual, uint32(number), 0, 1)
		p.op(result, resultAllow)
	}
	for _, number := range slices.Concat(refused, noFiles) {
		p.jump(ifEqual, uint32(number), 0, 1)
		p.op(result, resultRefuse)
	}
	for _, r := range append(rules(pid), someFiles...) {
		var body program
		for _, c := range r.checks {
			body.check(c, cmp.Or(r.otherwise, resultKill))
		}
		body.op(result, resultAllow)
		p.jump(ifEqual, uint32(r.number), 0, len(body))
		p = append(p, body...) // ends in a result on every path, so that the number stays loaded for the next rule
	}
	p.op(result, resultKill)
	return p
}

// check goes on behind itself if the check holds, and ends in a verdict otherwise.
func (p *program) check(c check, otherwise uint32) {
	if c.equal != nil {
		p.op(load, offArg(c.arg))
		for i, v := range c.equal {
			p.jump(ifEqual, v, len(c.equal)-i, 0)
		}
		p.op(result, otherwise)
		return
	}
	p.op(load, offArg(c.arg))
	p.op(and, c.set|c.clear)
	p.jump(ifEqual, c.set, 1, 0)
	p.op(result, otherwise)
}

// installFilter puts the filter on all threads at once.
func installFilter(folder Folder) error {
	p := build(unix.Getpid(), folder)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p)
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d could not be filtered", thread)
	}
	return nil
}
