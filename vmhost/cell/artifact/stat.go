package artifact

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// stat is what tells that a file has not been changed.
type stat struct {
	device, inode uint64
	size          int64
	modified      int64 // nanoseconds
	changed       int64 // nanoseconds; also when a link to it is made or removed
	private       bool  // nobody but this process's user may write to it
}

// content is s without what changes by links and uses.
func (s stat) content() stat {
	s.modified, s.changed = 0, 0
	return s
}

func statOf(f *os.File) (stat, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return stat{}, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	return stat{
		device: uint64(s.Dev), inode: s.Ino, size: s.Size, //nolint:unconvert // int32 on other systems
		modified: s.Mtim.Nano(), changed: s.Ctim.Nano(),
		private: int(s.Uid) == os.Geteuid() && s.Mode&0o022 == 0,
	}, nil
}

// openEntry opens a file that is one, whatever else may have been put there.
func openEntry(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%w: no regular file", errInvalid), err, f.Close())
	}
	return f, nil
}

// ErrUnsafe: others than this process's user may change the directory.
var ErrUnsafe = errors.New("the directory is not this user's alone")

// checkOwn refuses a directory that is not this user's own, or that others may
// write to.
func checkOwn(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a directory", ErrUnsafe, dir)
	case int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to user %d, need %d", ErrUnsafe, dir, sys.Uid, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%w: %s has mode %v (chmod 0700)", ErrUnsafe, dir, info.Mode().Perm())
	default:
		return nil
	}
}
