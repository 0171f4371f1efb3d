//go:build amd64 || arm64

package seal

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeForeign closes every descriptor but the standard ones, the wire and
// those of the runtime's own poller. A child gets each descriptor that its
// parent, or the parent's parent, forgot to mark; those have no close-on-exec
// flag, since otherwise they would not have come here.
func closeForeign() error {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		if fd <= WireFD {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			continue // the descriptor of the listing itself, closed by now
		}
		if flags&unix.FD_CLOEXEC != 0 && ofPoller(dir+"/"+e.Name()) {
			continue
		}
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return nil
}

func ofPoller(name string) bool {
	target, err := os.Readlink(name)
	return err == nil && (target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]")
}

// emptyRoot makes a read-only directory the whole file system, with the folder for
// code in it if the plan has one, and nothing else.
func emptyRoot(plan Plan) error {
	// Any directory will do to mount on until it becomes the root; this
	// one is certain to be there, closeForeign having read it.
	const at = "/proc"
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("cell", at, "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555"); err != nil {
		return fmt.Errorf("mount the empty directory: %w", err)
	}
	if err := mountFolder(at, plan); err != nil {
		return fmt.Errorf("folder for code: %w", err)
	}
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make the empty directory read-only: %w", err)
	}
	if err := unix.Chdir(at); err != nil {
		return err
	}
	// With the same place for both, the old root comes to lie on top of
	// the new one and can be taken off without a directory to put it in.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("take off the old root: %w", err)
	}
	return unix.Chdir("/")
}
