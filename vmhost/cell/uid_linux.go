//go:build amd64 || arm64

package cell

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// uidRange is the users that cells run as.
type uidRange struct {
	own  bool // each place has a user of its own
	base int
}

// findUIDs returns base and the following users if this process may become
// them, and otherwise its own.
func findUIDs(base, count int) uidRange {
	if maySetIDs() && mapped("/proc/self/uid_map", base, count) && mapped("/proc/self/gid_map", base, count) {
		return uidRange{own: true, base: base}
	}
	return uidRange{}
}

// maySetIDs reports whether this process may become any user and group: root in a
// container may be without the capabilities.
func maySetIDs() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false
	}
	const both = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return os.Geteuid() == 0 && sets[0].Effective&both == both
}

// mapped reports whether the ids exist in this process's user namespace.
func mapped(file string, base, count int) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err == nil && inside <= base && base+count <= inside+size {
			return true
		}
	}
	return false
}

// ids returns user and group of a place.
func (r uidRange) ids(place int) (uid, gid int) {
	if r.own {
		return r.base + place, r.base + place
	}
	return os.Geteuid(), os.Getegid()
}

// mayExecute reports, as an error that says what to do, if the users of cells
// cannot execute the binary.
func (r uidRange) mayExecute(exe *os.File) error {
	info, err := exe.Stat()
	if err != nil {
		return err
	}
	perm := info.Mode().Perm()
	if perm&0o111 == 0 || (r.own && perm&0o005 != 0o005) {
		return fmt.Errorf("%s has mode %v: cells run as users of their own, make it readable and executable by all (chmod 0755)", exe.Name(), perm)
	}
	return nil
}
