//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost/cell/seal"
)

// attempt tries to get out. It returns what it got, or the kernel's refusal.
type attempt = func() (string, error)

// attempts are the ways out by name, in a process to which the seal left some
// descriptors.
func attempts(left seal.Report) map[string]attempt {
	image := uintptr(left.Images[0])
	m := map[string]attempt{
		"open-etc":     open("/etc/passwd", unix.O_RDONLY),
		"open-proc":    open("/proc/self/maps", unix.O_RDONLY),
		"open-here":    open(".", unix.O_RDONLY|unix.O_DIRECTORY),
		"open-create":  open("/left-behind", unix.O_WRONLY|unix.O_CREAT),
		"raise-limit":  raiseLimit,
		"dup":          call(unix.SYS_FCNTL, 3, unix.F_DUPFD, 10),
		"ioctl":        call(unix.SYS_IOCTL, 2, unix.TIOCSTI, 0),
		"kill-host":    call(unix.SYS_KILL, 1, 0),
		"kill-all":     call(unix.SYS_KILL, ^uintptr(0), 0),
		"tgkill-other": call(unix.SYS_TGKILL, 2, 2, 0),
		"ptrace":       call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1),
		"read-memory":  call(unix.SYS_PROCESS_VM_READV, 1, 0, 0, 0, 0, 0),
		"pidfd":        call(unix.SYS_PIDFD_OPEN, 1, 0),
		"fork":         call(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0),
		"clone-user":   call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0, 0, 0),
		"clone3":       call(unix.SYS_CLONE3, 0, 0),
		"unshare":      call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
		"setns":        call(unix.SYS_SETNS, 3, unix.CLONE_NEWUTS),
		"execve":       call(unix.SYS_EXECVE, text("/proc/self/exe"), 0, 0),
		"execveat":     call(unix.SYS_EXECVEAT, 3, text(""), 0, 0, unix.AT_EMPTY_PATH),
		"memfd":        call(unix.SYS_MEMFD_CREATE, text("x"), 0),
		"mount":        call(unix.SYS_MOUNT, text("x"), text("/"), text("tmpfs"), 0, 0),
		"umount":       call(unix.SYS_UMOUNT2, text("/"), unix.MNT_DETACH),
		"fsopen":       call(unix.SYS_FSOPEN, text("tmpfs"), 0),
		"pivot":        call(unix.SYS_PIVOT_ROOT, text("/"), text("/")),
		"chroot":       call(unix.SYS_CHROOT, text("/")),
		"mknod":        call(unix.SYS_MKNODAT, 0, text("/x"), unix.S_IFCHR, 1<<8|1),
		"openat2":      call(unix.SYS_OPENAT2, 0, text("/"), 0, 0),
		"rename":       call(unix.SYS_RENAMEAT2, 0, text("/a"), 0, text("/b"), 0),
		"io-uring":     call(unix.SYS_IO_URING_SETUP, 4, 0),
		"userfault":    call(unix.SYS_USERFAULTFD, 1),
		"keyctl":       call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2), 0),
		"add-key":      call(unix.SYS_ADD_KEY, text("user"), text("x"), text("y"), 1, ^uintptr(0)),
		"bpf":          call(unix.SYS_BPF, 0, 0, 0),
		"perf":         call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, ^uintptr(0), 0),
		"setuid":       call(unix.SYS_SETRESUID, 0, 0, 0),
		"capset":       call(unix.SYS_CAPSET, 0, 0),
		"personality":  call(unix.SYS_PERSONALITY, 0xffffffff),
		"shmget":       call(unix.SYS_SHMGET, 0, 4096, 0o1600),
		"inotify":      call(unix.SYS_INOTIFY_INIT1, 0),
		"pipe":         call(unix.SYS_PIPE2, 0, 0),
		"send-fd":      call(unix.SYS_SENDMSG, 3, 0, 0),
		"receive-fd":   call(unix.SYS_RECVMSG, 3, 0, 0),
		"dumpable":     call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1),
		"own-filter":   call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0),
		"no-aslr":      call(unix.SYS_PRCTL, unix.PR_SET_MM, 0),
		"kexec":        call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0),
		"module":       call(unix.SYS_INIT_MODULE, 0, 0, 0),
		"reboot":       call(unix.SYS_REBOOT, 0, 0, 0),
		"clock":        call(unix.SYS_CLOCK_SETTIME, 0, 0),
		"mmap-rwx":     call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE, ^uintptr(0), 0),
		"mmap-rx":      call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE, ^uintptr(0), 0),
		"mmap-file":    call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, 3, 0),
		"image-shared": call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, image, 0),
		"image-code":   call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE, image, 0),
		"image-dup":    call(unix.SYS_FCNTL, image, unix.F_DUPFD, 10),
		"image-locks":  call(unix.SYS_FCNTL, image, unix.F_SETLK, 0),
		"resize-wire":  call(unix.SYS_FTRUNCATE, 3, 0),
		"write-wire":   call(unix.SYS_PWRITE64, 3, 0, 0, 0),
		"pagemap-map":  call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, uintptr(left.Pagemap), 0),
		"pagemap-call": call(unix.SYS_IOCTL, uintptr(left.Pagemap), unix.FS_IOC_GETFLAGS, 0),
		"mprotect-rwx": mprotectRWX,
		"foreign-abi":  foreignABI,
		"descriptors":  func() (string, error) { return descriptors(left) },
		"threads":      threads,
		"memory":       memory,
		"stderr-flood": flood,
	}
	maps.Copy(m, kernelAttempts())
	maps.Copy(m, processAttempts())
	for family := range uintptr(socketFamilies) {
		m[fmt.Sprintf("socket-%d", family)] = call(unix.SYS_SOCKET, family, unix.SOCK_STREAM, 0)
		m[fmt.Sprintf("socket-datagram-%d", family)] = call(unix.SYS_SOCKET, family, unix.SOCK_DGRAM, 0)
	}
	return m
}

// socketFamilies is how many families of sockets the kernel numbers, and a few more.
const socketFamilies = 50

// call makes one system call.
func call(number uintptr, args ...uintptr) attempt {
	return func() (string, error) {
		var a [6]uintptr
		copy(a[:], args)
		// Raw: a fork must not be known to the runtime.
		r, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return "", errno
		}
		if number == unix.SYS_CLONE && r == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) // the child, if there is one
		}
		return fmt.Sprintf("returned %d", r), nil
	}
}

// text is a pointer to a string that ends in zero and is never moved: the
// attempts are made once in a process.
func text(s string) uintptr {
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return 0
	}
	copy(b, s)
	return uintptr(unsafe.Pointer(&b[0]))
}

func open(name string, flags int) attempt {
	return func() (string, error) {
		fd, err := unix.Openat(unix.AT_FDCWD, name, flags, 0o600)
		return fmt.Sprintf("descriptor %d", fd), err
	}
}

func raiseLimit() (string, error) {
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	return "a higher limit", unix.Prlimit(0, unix.RLIMIT_NPROC, &limit, nil)
}

func mprotectRWX() (string, error) {
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return "", err
	}
	return "writable code", unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC)
}

// descriptors lists those that something can be read from or written to, beside
// the process's own pagemap and images. None of the kernel's poller can.
func descriptors(left seal.Report) (string, error) {
	var usable []string
	for fd := range uintptr(4096) {
		if fd <= 3 {
			continue // the standard ones and the wire
		}
		if int(fd) == left.Pagemap || slices.Contains(left.Images, int(fd)) {
			continue
		}
		_, _, readErr := unix.RawSyscall(unix.SYS_READ, fd, 0, 0)
		_, _, writeErr := unix.RawSyscall(unix.SYS_WRITE, fd, 0, 0)
		if readErr == 0 || writeErr == 0 {
			usable = append(usable, fmt.Sprint(fd))
		}
	}
	if len(usable) == 0 {
		return "", syscall.EBADF
	}
	return strings.Join(usable, ","), nil
}

// threads starts more than a cell may have.
func threads() (string, error) {
	const count = 300
	var all sync.WaitGroup
	release := make(chan struct{})
	var started sync.WaitGroup
	for range count {
		started.Add(1)
		all.Go(func() {
			runtime.LockOSThread()
			started.Done()
			<-release
		})
	}
	started.Wait()
	close(release)
	all.Wait()
	return fmt.Sprintf("%d threads", count), nil
}

// memory takes and touches more than a cell may have.
func memory() (string, error) {
	const piece = 64 << 20
	for taken := 0; taken < 16<<30; taken += piece {
		b, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return "", err
		}
		for i := 0; i < piece; i += 4096 {
			b[i] = 1
		}
	}
	return "16 GiB", nil
}

// flood writes far more to the standard error than anybody will read.
func flood() (string, error) {
	line := []byte(strings.Repeat("x", 4095) + "\n")
	for range 4096 {
		if _, err := unix.Write(2, line); err != nil {
			return "", err
		}
	}
	return "16 MiB", nil
}
