//go:build amd64 || arm64

package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups is where the kernel limits of cells are made: one directory for each
// cell in one tree (v2) or in one tree for each controller (v1).
type cgroups struct {
	v2    bool
	roots []cgroupRoot
	own   string // prefix of the names that this process gives
}

// cgroupRoot is a directory to make children in.
type cgroupRoot struct {
	dir        string
	controller string // of v1; empty for v2
}

// cgroupPrefix begins the name of every directory of ours. What follows is the
// host's process id and start time, so that a later host knows which are left
// over.
const cgroupPrefix = "tars-cell-"

func (c *cgroups) version() string {
	if c.v2 {
		return "v2"
	}
	return "v1"
}

// setting is a value for a file of a cgroup.
type setting struct {
	file, value string
	optional    bool // kernels and containers differ; what it bounds is bounded elsewhere too
}

// cpuPeriod is the slice in which the kernel counts CPU time, microseconds.
const cpuPeriod = 50_000

// settings are the limits of a cell. Its weight is half the default: what
// serves requests wins over guests.
func (r cgroupRoot) settings(spec Spec) []setting {
	memory := strconv.FormatInt(spec.Memory, 10)
	pids := strconv.Itoa(maxThreads)
	quota := strconv.Itoa(spec.CPUs * cpuPeriod)
	switch r.controller {
	case "memory":
		return []setting{
			{file: "memory.limit_in_bytes", value: memory},
			{file: "memory.memsw.limit_in_bytes", value: memory, optional: true},
			{file: "memory.swappiness", value: "0", optional: true},
		}
	case "pids":
		return []setting{{file: "pids.max", value: pids}}
	case "cpu":
		return []setting{
			{file: "cpu.shares", value: "512"},
			{file: "cpu.cfs_period_us", value: strconv.Itoa(cpuPeriod), optional: true},
			{file: "cpu.cfs_quota_us", value: quota, optional: true},
		}
	default:
		return []setting{
			{file: "memory.max", value: memory},
			{file: "memory.swap.max", value: "0", optional: true},
			{file: "memory.oom.group", value: "1", optional: true},
			{file: "pids.max", value: pids},
			{file: "cpu.weight", value: "50", optional: true},
			{file: "cpu.max", value: quota + " " + strconv.Itoa(cpuPeriod), optional: true},
		}
	}
}

// cgroup is the directories of one cell.
type cgroup struct {
	dirs []cgroupRoot
	fd   *os.File // v2: of the directory, to start the process in
}

// create makes the directories of a cell and sets its limits.
func (c *cgroups) create(spec Spec) (*cgroup, error) {
	g := &cgroup{}
	name := c.own + strconv.Itoa(spec.Place)
	for _, root := range c.roots {
		made := cgroupRoot{dir: filepath.Join(root.dir, name), controller: root.controller}
		if err := os.Mkdir(made.dir, 0o755); err != nil {
			return nil, errors.Join(err, g.remove())
		}
		g.dirs = append(g.dirs, made)
		for _, s := range root.settings(spec) {
			if err := writeFile(filepath.Join(made.dir, s.file), s.value); err != nil && !s.optional {
				return nil, errors.Join(err, g.remove())
			}
		}
	}
	if c.v2 {
		fd, err := os.Open(g.dirs[0].dir)
		if err != nil {
			return nil, errors.Join(err, g.remove())
		}
		g.fd = fd
	}
	return g, nil
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

// join moves a process in, where it was not started inside.
func (g *cgroup) join(pid int) error {
	if g.fd != nil {
		return nil
	}
	for _, d := range g.dirs {
		if err := writeFile(filepath.Join(d.dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// outOfMemory reports whether the kernel killed a member for the memory limit.
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

// remove removes the directories. The kernel refuses for a moment after the
// last member has been reaped.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	if g.fd != nil {
		errs = append(errs, g.fd.Close())
	}
	end := time.Now().Add(time.Second)
	for _, d := range g.dirs {
		errs = append(errs, removeDir(d.dir, end))
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
		parts := strings.Split(rest, "-") // process id, start time, instance, place
		pid, err := strconv.Atoi(parts[0])
		if err != nil || len(parts) != 4 {
			continue
		}
		if started, err := startTime(pid); err == nil && started == parts[1] {
			continue // that host lives
		}
		_ = removeDir(filepath.Join(root, e.Name()), end) // another host may be removing it too
	}
}
