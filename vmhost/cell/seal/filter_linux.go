//go:build amd64 || arm64

package seal

import (
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
	unix.SYS_OPENAT, unix.SYS_PREAD64, unix.SYS_UNAME, unix.SYS_PRLIMIT64,
	unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT,
}

// check is a test of one argument.
type check struct {
	arg   int
	equal []uint32 // one of these
	set   uint32   // or, when equal is nil: all of these bits are set
	clear uint32   // and none of these
}

// form is one harmless form of a call: all checks hold.
type form []check

// rule allows a call in some forms.
type rule struct {
	number uintptr
	forms  []form
	others uint32 // verdict on other forms
}

// pagemapScan is the ioctl PAGEMAP_SCAN: _IOWR('f', 16, 96 bytes).
const pagemapScan = 0xc0606610

// rules are the calls that are harmless in some forms only.
func rules(pid int, means images) []rule {
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	const rw = unix.PROT_READ | unix.PROT_WRITE
	image := make([]uint32, len(means.files))
	for i, fd := range means.files {
		image[i] = uint32(fd)
	}
	var pagemap []form
	if means.pagemap >= 0 {
		pagemap = []form{{{arg: 0, equal: []uint32{uint32(means.pagemap)}}, {arg: 1, equal: []uint32{pagemapScan}}}}
	}
	return []rule{
		// Threads of this process, never a process. Go sets up
		// thread-local storage by the call on amd64.
		{unix.SYS_CLONE, []form{{{arg: 0, equal: []uint32{thread, thread | unix.CLONE_SETTLS}}}}, resultKill},
		// Fresh memory, or a private copy of an image; no other file, and
		// nothing executable.
		{unix.SYS_MMAP, []form{
			{{arg: 2, clear: unix.PROT_EXEC}, {arg: 3, set: unix.MAP_ANONYMOUS}},
			{{arg: 2, clear: unix.PROT_EXEC}, {arg: 3, set: unix.MAP_PRIVATE, clear: unix.MAP_SHARED}, {arg: 4, equal: image}},
		}, resultKill},
		// The engine makes compiled code executable, but nothing is
		// writable and executable at once.
		{unix.SYS_MPROTECT, []form{{{arg: 2, equal: []uint32{unix.PROT_NONE, unix.PROT_READ, rw, unix.PROT_READ | unix.PROT_EXEC}}}}, resultKill},
		// The runtime gives names to its memory.
		{unix.SYS_PRCTL, []form{{{arg: 0, equal: []uint32{unix.PR_SET_VMA}}, {arg: 1, equal: []uint32{unix.PR_SET_VMA_ANON_NAME}}}}, resultKill},
		// The runtime interrupts its own threads.
		{unix.SYS_TGKILL, []form{{{arg: 0, equal: []uint32{uint32(pid)}}}}, resultKill},
		// Images are given a size, written, and sealed.
		{unix.SYS_FTRUNCATE, []form{{{arg: 0, equal: image}}}, resultKill},
		{unix.SYS_PWRITE64, []form{{{arg: 0, equal: image}}}, resultKill},
		// The runtime may try others of these two, and does without.
		{unix.SYS_FCNTL, []form{{{arg: 0, equal: image}, {arg: 1, equal: []uint32{unix.F_ADD_SEALS}}}}, resultRefuse},
		{unix.SYS_IOCTL, pagemap, resultRefuse},
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
func build(pid int, means images) program {
	var p program
	p.op(load, offArch)
	p.jump(ifEqual, auditArch, 1, 0)
	p.op(result, resultKill)
	p.op(load, offNumber)
	p.jump(ifAbove, x32Calls, 0, 1)
	p.op(result, resultKill)
	for _, number := range allowed {
		p.jump(ifEqual, uint32(number), 0, 1)
		p.op(result, resultAllow)
	}
	for _, number := range refused {
		p.jump(ifEqual, uint32(number), 0, 1)
		p.op(result, resultRefuse)
	}
	for _, r := range rules(pid, means) {
		var body program
		for _, f := range r.forms {
			body = append(body, f.build()...)
		}
		body.op(result, r.others)
		p.jump(ifEqual, uint32(r.number), 0, len(body))
		p = append(p, body...) // ends in a result on every path, so that the number stays loaded for the next rule
	}
	p.op(result, resultKill)
	return p
}

// build makes what allows a call of the form, and goes on behind itself
// otherwise.
func (f form) build() program {
	var p program
	p.op(result, resultAllow)
	for _, c := range slices.Backward(f) {
		p = append(c.build(len(p)), p...)
	}
	return p
}

// build makes what goes on behind itself if the check holds, and jumps over so
// many instructions besides if it does not.
func (c check) build(over int) program {
	var p program
	p.op(load, offArg(c.arg))
	if c.equal == nil {
		p.op(and, c.set|c.clear)
		p.jump(ifEqual, c.set, 0, over)
		return p
	}
	for i, v := range c.equal {
		rest := len(c.equal) - 1 - i
		if rest > 0 {
			p.jump(ifEqual, v, rest, 0)
		} else {
			p.jump(ifEqual, v, 0, over)
		}
	}
	return p
}

// installFilter puts the filter on all threads at once.
func installFilter(means images) error {
	p := build(unix.Getpid(), means)
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
