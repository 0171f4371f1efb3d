package artifact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	runName     = "run"
	draftPrefix = "new-"
)

// runDir is the directory of this process, locked while it lives.
type runDir struct {
	dir  string
	lock *os.File // the directory itself
}

// openRun makes a directory for this process and removes those of processes that
// live no more.
func openRun(cache string) (*runDir, error) {
	// So that nobody takes a directory for left over that is being made.
	all, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer all.Close() // and unlocks
	if err := unix.Flock(int(all.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	runs := filepath.Join(cache, runName)
	old, err := os.ReadDir(runs)
	if err != nil {
		return nil, err
	}
	for _, d := range old {
		if err := removeDead(filepath.Join(runs, d.Name())); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(runs, "")
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &runDir{dir: dir, lock: lock}, nil
}

// removeDead removes a directory whose process does not hold its lock.
func removeDead(dir string) error {
	lock, err := lockDir(dir)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return os.RemoveAll(dir)
}

// lockDir locks a directory for this process, without waiting.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func (r *runDir) close() error { return errors.Join(os.RemoveAll(r.dir), r.lock.Close()) }
