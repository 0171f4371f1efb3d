package pglocal

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// errLocked says that another process holds a lock.
var errLocked = errors.New("locked by another process")

// fileLock is an advisory lock that the kernel lets go of when its holder
// ends, however it ends. Children do not inherit it.
type fileLock struct{ file *os.File }

// tryLock takes the lock of a file, which it makes, or returns errLocked.
func tryLock(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return &fileLock{f}, nil
}

// waitLock takes the lock of a file as soon as it is free. It polls, because
// a blocking flock cannot be cancelled.
func waitLock(ctx context.Context, path string) (*fileLock, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := tryLock(path)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// unlock lets go. The file stays: removing it would race with one who waits.
func (l *fileLock) unlock() { l.file.Close() }
