//go:build amd64 || arm64

package cell

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// TestCandidates: the trees that this process is in, by what the kernel says of
// mounts and memberships.
func TestCandidates(t *testing.T) {
	v2 := func(dir string) *cgroups { return &cgroups{v2: true, roots: []cgroupRoot{{dir: dir}}} }
	const mountV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	const mountsV1 = "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"32 25 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
		"33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	for _, c := range []struct {
		name, mounts, mine string
		want               []*cgroups
	}{
		{"none", "22 1 0:21 / /proc rw - proc proc rw\n", "", nil},
		{"v2 service", mountV2, "0::/system.slice/tars.service\n", []*cgroups{v2("/sys/fs/cgroup/system.slice/tars.service")}},
		{"v2 container", mountV2, "0::/\n", []*cgroups{v2("/sys/fs/cgroup")}},
		{
			"v2 that shows a part", "30 23 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/docker/x/y\n",
			[]*cgroups{v2("/sys/fs/cgroup/y")},
		},
		{
			"v2 from outside", "30 23 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/elsewhere\n",
			[]*cgroups{v2("/sys/fs/cgroup")},
		},
		{
			"v1", mountsV1, "3:cpu,cpuacct:/a\n2:pids:/\n1:memory:/b/c\n",
			[]*cgroups{{roots: []cgroupRoot{
				{dir: "/sys/fs/cgroup/memory/b/c", controller: "memory"},
				{dir: "/sys/fs/cgroup/pids", controller: "pids"},
				{dir: "/sys/fs/cgroup/cpu,cpuacct/a", controller: "cpu"},
			}}},
		},
		{"v1 without memory", mountsV1, "3:cpu,cpuacct:/a\n2:pids:/\n", nil},
	} {
		if got := candidates(c.mounts, c.mine); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: candidates = %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestRemoveStale: what hosts that are gone have left is removed, what those
// that live have made is not.
func TestRemoveStale(t *testing.T) {
	root := t.TempDir()
	started, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const beyond = 1 << 30 // no process has so high an id
	for name, stays := range map[string]bool{
		fmt.Sprintf("%s%d-%s-abc", cgroupPrefix, os.Getpid(), started):        true,
		fmt.Sprintf("%s%d-%s-abc", cgroupPrefix, os.Getpid(), "1"):            false, // the id is in use again
		fmt.Sprintf("%s%d-%s-abc", cgroupPrefix, beyond, "1"):                 false,
		cgroupPrefix + "of somebody else":                                     true,
		"other":                                                               true,
		fmt.Sprintf("%s%d-%s", cgroupPrefix, beyond, "an older name of ours"): true,
	} {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Join(dir, "account-1", "2"), 0o755); err != nil {
			t.Fatal(err)
		}
		removeStale(root)
		if _, err := os.Stat(dir); (err == nil) != stays {
			t.Errorf("removeStale: %q is there: %v, want %v", name, err == nil, stays)
		}
	}
}

// TestRemoveBusy: a directory that stays busy is given up, with an error.
func TestRemoveBusy(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeDir(dir, time.Now()); err == nil {
		t.Error("removeDir of what cannot be removed = nil")
	}
	if err := removeDir(filepath.Join(dir, "none"), time.Now()); err != nil {
		t.Errorf("removeDir of nothing = %v, want nil", err)
	}
}

func TestUIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "uid_map")
	if err := os.WriteFile(file, []byte("         0       1000          1\n         1     100000      65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		base, count int
		want        bool
	}{
		{0, 1, true}, {0, 2, false}, {1, 65536, true}, {1, 65537, false}, {65537, 1, false}, {1_900_000_000, 64, false},
	} {
		if got := mapped(file, c.base, c.count); got != c.want {
			t.Errorf("mapped(%d, %d) = %v, want %v", c.base, c.count, got, c.want)
		}
	}
}
