//go:build amd64 || arm64

package cell

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoCgroup says that cells have no kernel limits on memory and processes.
var errNoCgroup = errors.New("cgroup: no tree to be had that is ours to write")

// findCgroups looks for cgroups that cells can be put in: the given v2
// directory, or the own v2 cgroup, or the own v1 ones.
func findCgroups(root string) (*cgroups, error) {
	started, err := startTime(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var instance [4]byte // drivers of one process do not know of each other
	_, _ = rand.Read(instance[:])
	own := fmt.Sprintf("%s%d-%s-%x", cgroupPrefix, os.Getpid(), started, instance)
	if root != "" {
		c := &cgroups{v2: true, own: own, roots: []cgroupRoot{{dir: root}}}
		if err := c.try(); err != nil {
			return nil, fmt.Errorf("cgroup %s: %w", root, err)
		}
		return c, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	mine, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	errs := []error{errNoCgroup}
	for _, c := range candidates(string(mounts), string(mine)) {
		c.own = own
		if err := c.try(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.version(), err))
			continue
		}
		return c, nil
	}
	return nil, errors.Join(errs...)
}

// wanted are the controllers of v1, those first without which there is no
// grade.
var wanted = [...]string{"memory", "pids", "cpu"}

// candidates returns the trees in which this process is, by what
// /proc/self/mountinfo and /proc/self/cgroup say: v2 before v1.
func candidates(mounts, mine string) []*cgroups {
	paths := ownPaths(mine)
	var found []*cgroups
	v1 := make(map[string]string)
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		root, point := left[3], left[4]
		switch right[0] {
		case "cgroup2":
			if path, ok := paths[""]; ok {
				found = append(found, &cgroups{v2: true, roots: []cgroupRoot{{dir: under(root, point, path)}}})
			}
		case "cgroup":
			for option := range strings.SplitSeq(right[2], ",") {
				if path, ok := paths[option]; ok {
					v1[option] = under(root, point, path)
				}
			}
		}
	}
	old := &cgroups{}
	for _, controller := range wanted {
		if dir, ok := v1[controller]; ok {
			old.roots = append(old.roots, cgroupRoot{dir: dir, controller: controller})
		}
	}
	if len(old.roots) == len(wanted) {
		found = append(found, old)
	}
	return found
}

// ownPaths returns the path of this process by controller; "" is v2.
func ownPaths(mine string) map[string]string {
	paths := make(map[string]string)
	for line := range strings.Lines(mine) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	return paths
}

// under returns the directory of a cgroup path in a mount that shows the tree
// from root on. In a container the path may lie outside; then the mount itself
// is all there is.
func under(root, point, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return filepath.Join(point, rel)
	}
	return point
}

// try makes the trees ready and proves it by making and removing the cgroup of a
// cell.
func (c *cgroups) try() error {
	if c.v2 {
		if err := delegate(c.roots[0].dir); err != nil {
			return err
		}
	}
	if err := c.open(); err != nil {
		return errors.Join(err, c.close())
	}
	g, err := c.create(Adoption{Memory: 64 << 20, AccountMemory: 64 << 20, CPUs: 1})
	if err == nil {
		err = g.remove()
	}
	if err != nil {
		return errors.Join(err, c.close())
	}
	return nil
}

// controllers are those of v2 that our groups need.
const controllers = "+memory +pids +cpu"

// delegate hands the controllers of a v2 cgroup down to its children. The
// kernel allows that only while no process is in the cgroup itself; if it is
// this process alone, it moves to a leaf, as a service with a delegated cgroup
// should.
func delegate(dir string) error {
	control := filepath.Join(dir, "cgroup.subtree_control")
	err := writeFile(control, controllers)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	members, readErr := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	pid := strconv.Itoa(os.Getpid())
	if readErr != nil || strings.TrimSpace(string(members)) != pid {
		return fmt.Errorf("%s holds other processes: %w", dir, err)
	}
	leaf := filepath.Join(dir, "tars-host")
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := writeFile(filepath.Join(leaf, "cgroup.procs"), pid); err != nil {
		return err
	}
	return writeFile(control, controllers)
}
