//go:build linux && (amd64 || arm64)

package main

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttempts are about files, other processes, and what this one was given.
func processAttempts() map[string]attempt {
	return map[string]attempt{
		"open-environ":   open("/proc/1/environ", unix.O_RDONLY),
		"open-memory":    open("/proc/self/mem", unix.O_RDWR),
		"open-descr":     open("/proc/self/fd/3", unix.O_RDWR),
		"open-sys":       open("/sys/kernel/uevent_helper", unix.O_WRONLY),
		"open-cgroup":    open("/sys/fs/cgroup/memory/release_agent", unix.O_WRONLY),
		"open-device":    open("/dev/kmsg", unix.O_RDONLY),
		"open-parent":    open("../../../../etc/passwd", unix.O_RDONLY),
		"open-temporary": open("/tmp", unix.O_RDWR|unix.O_TMPFILE),
		"stat":           call(unix.SYS_STATX, 0, text("/etc/passwd"), 0, 0, 0),
		"access":         call(unix.SYS_FACCESSAT, 0, text("/etc/passwd"), 0),
		"read-link":      call(unix.SYS_READLINKAT, 0, text("/proc/self/exe"), 0, 0),
		"list-folder":    call(unix.SYS_GETDENTS64, 3, 0, 0),
		"unlink":         call(unix.SYS_UNLINKAT, 0, text("/x"), 0),
		"link":           call(unix.SYS_LINKAT, 0, text("/a"), 0, text("/b"), 0),
		"symlink":        call(unix.SYS_SYMLINKAT, text("/a"), 0, text("/b")),
		"mkdir":          call(unix.SYS_MKDIRAT, 0, text("/x"), 0o700),
		"chmod":          call(unix.SYS_FCHMODAT, 0, text("/"), 0o777),
		"chown":          call(unix.SYS_FCHOWNAT, 0, text("/"), 0, 0, 0),
		"truncate":       call(unix.SYS_FTRUNCATE, 3, 0),
		"chdir":          call(unix.SYS_CHDIR, text("/")),
		"fchdir":         call(unix.SYS_FCHDIR, 3),
		"set-xattr":      call(unix.SYS_SETXATTR, text("/"), text("user.x"), text("y"), 1, 0),
		"dup3":           call(unix.SYS_DUP3, 3, 100, 0),
		"steal-descr":    call(unix.SYS_PIDFD_GETFD, 3, 3, 0),
		"close-range":    call(unix.SYS_CLOSE_RANGE, 100, 200, 0),
		"same-resource":  call(unix.SYS_KCMP, 1, 1, 0, 3, 3),
		"write-memory":   call(unix.SYS_PROCESS_VM_WRITEV, 1, 0, 0, 0, 0, 0),
		"pidfd-signal":   call(unix.SYS_PIDFD_SEND_SIGNAL, 3, 9, 0, 0),
		"tkill":          call(unix.SYS_TKILL, 2, 0),
		"queue-signal":   call(unix.SYS_RT_SIGQUEUEINFO, 1, 0, 0),
		"clone-thread":   call(unix.SYS_CLONE, unix.CLONE_VM, 0, 0, 0, 0), // shares memory, but a process of its own
		"clone-parent":   call(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0),
		"double-fork":    doubleFork,
		"new-session":    call(unix.SYS_SETSID),
		"own-group":      call(unix.SYS_SETPGID, 0, 0),
		"outlive-parent": call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0),
		"adopt-orphans":  call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1),
		"traced-by-all":  call(unix.SYS_PRCTL, unix.PR_SET_PTRACER, ^uintptr(0)),
		"keep-caps":      call(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1),
		"raise-ambient":  call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN),
		"setgid":         call(unix.SYS_SETRESGID, 0, 0, 0),
		"setgroups":      call(unix.SYS_SETGROUPS, 0, 0),
		"raise-priority": call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, ^uintptr(19)),
		"real-time":      call(unix.SYS_SCHED_SETSCHEDULER, 0, 1, 0),
		"own-processor":  call(unix.SYS_SCHED_SETAFFINITY, 0, 0, 0),
		"environment":    environment,
	}
}

// doubleFork tries to leave a grandchild behind that nobody waits for.
func doubleFork() (string, error) {
	child, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return "", errno
	}
	if child == 0 {
		unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
		unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		for { // the grandchild, and its parent: both stay
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
	return "a grandchild", nil
}

// environment looks for what the host has in its.
func environment() (string, error) {
	if env := os.Environ(); len(env) > 0 {
		return strings.Join(env, " "), nil
	}
	return "", syscall.ENOENT
}
