//go:build amd64 || arm64

package cell

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
)

// cgroups is where the kernel limits of cells are made, as a tree: a directory of
// this driver, in it one for cells that belong to nobody yet and one for each
// account, and in that one for each of the account's cells. There is one such tree
// (v2), or one for each controller (v1). Safe for concurrent use once open.
type cgroups struct {
	v2    bool
	roots []cgroupRoot // in which the driver's directory is made
	own   string       // its name

	born *os.File // v2: the directory of blank cells, to start processes in

	mu       sync.Mutex
	accounts map[string]*accountGroup // by the name of the directory
	made     int                      // cells' directories so far, which numbers them
}

// accountGroup is the directory of an account.
type accountGroup struct {
	cells            int
	memory, overhead int64 // as in [Adoption]
}

// limit is what the account's cells may have together; 0 is no limit.
func (a *accountGroup) limit() int64 {
	if a.memory == 0 {
		return 0
	}
	return a.memory + int64(a.cells)*a.overhead
}

// cgroupRoot is a directory to make children in.
type cgroupRoot struct {
	dir        string
	controller string // of v1; empty for v2
}

// in returns a directory below.
func (r cgroupRoot) in(names ...string) cgroupRoot {
	return cgroupRoot{dir: filepath.Join(append([]string{r.dir}, names...)...), controller: r.controller}
}

// cgroupPrefix begins the name of every directory of ours. What follows is the
// host's process id and start time, so that a later host knows which are left
// over.
const cgroupPrefix = "tars-cell-"

// blankGroup is the directory of the cells that belong to nobody yet.
const blankGroup = "blank"

// groupOf is the name of an account's directory: an account is any text.
func groupOf(account vmhost.Account) string {
	sum := sha256.Sum256([]byte(account))
	return "account-" + hex.EncodeToString(sum[:16])
}

func (c *cgroups) version() string {
	if c.v2 {
		return "v2"
	}
	return "v1"
}

// open makes the driver's own directories.
func (c *cgroups) open() error {
	c.accounts = make(map[string]*accountGroup)
	for _, root := range c.roots {
		removeStale(root.dir)
		if err := root.in(c.own).make(groupLimits{cpus: runtime.NumCPU(), parent: true}); err != nil {
			return err
		}
		if err := root.in(c.own, blankGroup).make(groupLimits{}); err != nil {
			return err
		}
	}
	if !c.v2 {
		return nil
	}
	born, err := os.Open(c.roots[0].in(c.own, blankGroup).dir)
	c.born = born
	return err
}

// close removes the driver's directories, of which no cell may be left.
func (c *cgroups) close() error {
	var errs []error
	if c.born != nil {
		errs = append(errs, c.born.Close())
	}
	end := time.Now().Add(time.Second)
	for _, root := range c.roots {
		errs = append(errs, removeDir(root.in(c.own, blankGroup).dir, end), removeDir(root.in(c.own).dir, end))
	}
	return errors.Join(errs...)
}

// join puts a process among the blank cells, where it was not born there.
func (c *cgroups) join(pid int) error {
	if c.v2 {
		return nil
	}
	for _, root := range c.roots {
		if err := root.in(c.own, blankGroup).join(pid); err != nil {
			return err
		}
	}
	return nil
}

// cgroup is the directories of one cell.
type cgroup struct {
	tree  *cgroups
	group string // of its account
	dirs  []cgroupRoot
}

// create makes the directories of a cell within its account's and sets the
// limits of both.
func (c *cgroups) create(a Adoption) (*cgroup, error) {
	g := &cgroup{tree: c, group: groupOf(a.Account)}
	name, err := c.reserve(g.group, a)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("limits of the account: %w", err), g.remove())
	}
	for _, root := range c.roots {
		dir := root.in(c.own, g.group, name)
		g.dirs = append(g.dirs, dir)
		if err := dir.make(groupLimits{memory: a.Memory, pids: maxThreads, cpus: a.CPUs, cell: true}); err != nil {
			return nil, errors.Join(err, g.remove())
		}
	}
	return g, nil
}

// reserve counts one cell more of an account, makes the account's directories ready
// for it, and returns the name of its own. Also on an error the cell is counted.
func (c *cgroups) reserve(group string, a Adoption) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	account := c.accounts[group]
	if account == nil {
		account = &accountGroup{}
		c.accounts[group] = account
	}
	account.cells++
	account.memory, account.overhead = a.AccountMemory, a.Overhead
	c.made++
	for _, root := range c.roots {
		if err := root.in(c.own, group).make(groupLimits{memory: account.limit(), parent: true, again: true}); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(c.made), nil
}

// join moves a process in. What it has taken before stays charged to the blank
// ones: a few megabytes.
func (g *cgroup) join(pid int) error {
	for _, d := range g.dirs {
		if err := d.join(pid); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes to a file that the kernel made.
func writeFile(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// join moves a process in.
func (r cgroupRoot) join(pid int) error {
	return writeFile(filepath.Join(r.dir, "cgroup.procs"), strconv.Itoa(pid))
}

// outOfMemory reports whether the kernel killed a member for a memory limit: the
// cell's, or its account's, which the kernel counts where the victim was.
func (g *cgroup) outOfMemory() bool {
	if g == nil {
		return false
	}
	for _, d := range g.dirs {
		for _, file := range []string{"memory.events", "memory.oom_control"} {
			b, err := os.ReadFile(filepath.Join(d.dir, file))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(b)) {
				if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok && n != "0" {
					return true
				}
			}
		}
	}
	return false
}

// remove removes the directories, and those of the account with its last cell.
// The kernel refuses for a moment after the last member has been reaped.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	end := time.Now().Add(time.Second)
	for _, d := range g.dirs {
		errs = append(errs, removeDir(d.dir, end))
	}
	c := g.tree
	c.mu.Lock()
	defer c.mu.Unlock()
	account := c.accounts[g.group]
	account.cells--
	for _, root := range c.roots {
		dir := root.in(c.own, g.group)
		if account.cells == 0 {
			errs = append(errs, removeDir(dir.dir, time.Now())) // the lock is held: no waiting
			continue
		}
		// What is left may have more in use for a moment. The next cell tries again.
		_ = dir.make(groupLimits{memory: account.limit(), parent: true, again: true})
	}
	if account.cells == 0 {
		delete(c.accounts, g.group)
	}
	return errors.Join(errs...)
}

// removeDir removes a cgroup and tries until end while it is busy.
func removeDir(dir string, end time.Time) error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := os.Remove(dir)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(end):
			return err
		}
		time.Sleep(pause)
	}
}

// startTime returns when a process started, in the kernel's ticks since boot,
// which with its id names it for good. The id alone is used again.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// The command's name is in brackets and may hold anything.
	const after = 19 // fields between the name and the start time
	_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) <= after {
		return "", fmt.Errorf("process %d: stat is %q", pid, b)
	}
	return fields[after], nil
}

// removeStale removes what hosts that are gone have left in a directory. Their
// cells died with them, but may not have been reaped yet.
func removeStale(root string) {
	end := time.Now().Add(500 * time.Millisecond)
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), cgroupPrefix)
		if !ours || !e.IsDir() {
			continue
		}
		parts := strings.Split(rest, "-") // process id, start time, instance
		pid, err := strconv.Atoi(parts[0])
		if err != nil || len(parts) < 3 {
			continue
		}
		if started, err := startTime(pid); err == nil && started == parts[1] {
			continue // that host lives
		}
		removeTree(filepath.Join(root, e.Name()), end)
	}
}

// removeTree removes a cgroup with those in it. Errors are not looked at: another
// host may be removing it too, and the next one tries again.
func removeTree(dir string, end time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(dir, e.Name()), end)
		}
	}
	_ = removeDir(dir, end)
}
