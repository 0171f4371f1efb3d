package pglocal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clearOrphans waits for what an earlier server on this folder left running.
// We hold the folder's lock, so its parent is gone: a postmaster is told to
// shut down, and backends without one notice and end by themselves. Those
// that stay are made to end, since PostgreSQL refuses to start beside them.
func (c *cluster) clearOrphans(ctx context.Context) error {
	return c.log.during("waiting for an earlier server to end", nil, func() error {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
			left, err := c.signalOrphans(ctx, sig, 20*time.Second)
			if err != nil {
				return err
			}
			if len(left) == 0 {
				return c.removeStalePID()
			}
		}
		return fmt.Errorf("%s: %w by processes that do not end", c.dir, ErrInUse)
	})
}

// signalOrphans sends sig, waits for at most d, and returns who is left.
// A fast shutdown is asked of the postmaster alone; it tells its backends.
func (c *cluster) signalOrphans(ctx context.Context, sig syscall.Signal, d time.Duration) ([]int, error) {
	pids, err := processesIn(c.data())
	if err != nil || len(pids) == 0 {
		return nil, err
	}
	for _, pid := range pids {
		if sig != syscall.SIGINT || pid == c.postmaster() {
			_ = syscall.Kill(pid, sig) // it may have ended meanwhile
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, errLocked)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if pids, err = processesIn(c.data()); err != nil || len(pids) == 0 {
			return nil, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errLocked) {
				return pids, nil
			}
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// postmaster is the process that postmaster.pid names; 0 if there is none.
func (c *cluster) postmaster() int {
	f, err := os.Open(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	defer f.Close()
	line := bufio.NewScanner(f)
	line.Scan()
	pid, _ := strconv.Atoi(strings.TrimSpace(line.Text()))
	return pid
}

// removeStalePID removes postmaster.pid if it names a living process that is
// no server of this folder: its number was used again, and PostgreSQL, which
// only asks whether the process lives, would refuse to start.
func (c *cluster) removeStalePID() error {
	pid := c.postmaster()
	if alive := pid > 0 && syscall.Kill(pid, 0) == nil; !alive {
		return nil
	}
	pids, err := processesIn(c.data())
	if err != nil || slices.Contains(pids, pid) || !canListProcesses {
		return err
	}
	return os.Remove(filepath.Join(c.data(), "postmaster.pid"))
}
