package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// RemoveData removes the cluster in opts.DataDir, the volume of a container
// that belongs to it, and the folder itself unless it holds other things. That it is not there is no error; that a
// server runs on it is one, ErrInUse.
func RemoveData(ctx context.Context, opts Options) error {
	if opts.DataDir == "" {
		return errors.New("DataDir is not set")
	}
	dir, err := filepath.Abs(opts.DataDir)
	if err != nil {
		return err
	}
	lock, err := tryLock(filepath.Join(dir, "lock"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, errLocked):
		return fmt.Errorf("%s: %w", dir, ErrInUse)
	case err != nil:
		return err
	}
	defer lock.unlock()
	if _, err := os.Stat(filepath.Join(dir, passwordFile)); err == nil {
		if _, err := docker(ctx, "volume", "rm", "--force", volumeName(dir)); err != nil {
			return fmt.Errorf("remove the container's volume: %w", err)
		}
	}
	if err := stopLeftOver(ctx, dir); err != nil {
		return err
	}
	for _, name := range []string{"data", "data.new", "run", "server.log", "server.log.1", passwordFile, "lock"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// stopLeftOver ends a server that outlived its parent by a moment.
func stopLeftOver(ctx context.Context, dir string) error {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	c := cluster{dir: resolved, log: newProgress(nil)}
	return c.clearOrphans(ctx)
}
