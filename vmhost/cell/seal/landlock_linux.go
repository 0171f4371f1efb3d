//go:build amd64 || arm64

package seal

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Everything that Landlock can refuse is refused, but for one folder at most. The
// four system calls are shorter than a library, which would bring a second one
// to reach all threads.

// landlockAttr is struct landlock_ruleset_attr up to ABI 6. Older kernels take
// a prefix of it.
type landlockAttr struct {
	fs, net, scoped uint64
}

// attrFor returns all that a kernel of the ABI can refuse, and how many bytes
// of the struct it knows. Rights of ABIs above 6 are not asked for: they go
// beyond what the filter lets near the kernel.
func attrFor(abi int) (attr landlockAttr, size uintptr) {
	const (
		fs1 = 1<<13 - 1 // execute to make_sym
		fs2 = unix.LANDLOCK_ACCESS_FS_REFER
		fs3 = unix.LANDLOCK_ACCESS_FS_TRUNCATE
		fs5 = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	)
	attr.fs, size = fs1, unsafe.Sizeof(attr.fs)
	if abi >= 2 {
		attr.fs |= fs2
	}
	if abi >= 3 {
		attr.fs |= fs3
	}
	if abi >= 4 {
		attr.net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = unsafe.Offsetof(attr.scoped)
	}
	if abi >= 5 {
		attr.fs |= fs5
	}
	if abi >= 6 {
		attr.scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		size = unsafe.Sizeof(attr)
	}
	if abi >= 7 {
		// Before Linux 6.15 (ABI 7) the scope also kept the threads of
		// one process apart, since each restricts itself, and with that
		// the runtime from interrupting its own goroutines.
		attr.scoped |= unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr, size
}

// landlock refuses all access to files but the folder's, all TCP and all that
// reaches outside by name, on all threads. It returns the ABI of the kernel. A
// kernel without Landlock is an error unless the process has a root of its own.
// folder is a descriptor, negative for none.
func landlock(namespaces bool, folder int, rights uint64) (abi int, err error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		if namespaces && (errors.Is(errno, unix.ENOSYS) || errors.Is(errno, unix.EOPNOTSUPP)) {
			return 0, nil
		}
		return 0, fmt.Errorf("ask for its version: %w", errno)
	}
	attr, size := attrFor(int(version))
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return 0, fmt.Errorf("create rules: %w", errno)
	}
	if folder >= 0 {
		rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(folder)}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 {
			return 0, fmt.Errorf("add the rule for the folder: %w", errno)
		}
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return 0, fmt.Errorf("restrict: %w", errno)
	}
	return int(version), unix.Close(int(ruleset))
}
