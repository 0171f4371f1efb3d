//go:build amd64 || arm64

package seal

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// securebits: user 0 gains nothing by exec or by changing users, capabilities
// are not kept nor raised to ambient, and none of this can be changed back.
// From linux/securebits.h, which x/sys does not carry.
const securebits = 1<<0 | 1<<1 | // NOROOT, locked
	1<<2 | 1<<3 | // NO_SETUID_FIXUP, locked
	1<<5 | // KEEP_CAPS stays off, locked
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE, locked

// dropCapabilities empties the effective, permitted, inheritable and ambient
// sets of all threads. The bounding set matters at exec alone, which the filter
// refuses, and would cost forty calls on every thread.
func dropCapabilities() error {
	if err := allThreadsPrctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held, none [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return err
	}
	// Needs CAP_SETPCAP. Who has none has nothing to lock: it cannot come
	// back by exec, with no_new_privs set.
	if held[0].Effective&(1<<unix.CAP_SETPCAP) != 0 {
		if err := allThreadsPrctl(unix.PR_SET_SECUREBITS, securebits); err != nil {
			return err
		}
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
