//go:build amd64 || arm64

package cell

import (
	"slices"
	"testing"
)

// TestGroupSettings: what is written for the driver, the blank cells, an account and
// a cell, in both versions.
func TestGroupSettings(t *testing.T) {
	driver := groupLimits{cpus: 4, parent: true}
	account := groupLimits{memory: 1000, parent: true, again: true}
	cell := groupLimits{memory: 500, pids: 64, cpus: 2, cell: true}
	for _, c := range []struct {
		name, controller string
		limits           groupLimits
		want             []string
	}{
		{"driver", "", driver, []string{"memory.max=max", "cpu.weight=50", "cgroup.subtree_control=" + controllers}},
		{"blank", "", groupLimits{}, []string{"memory.max=max"}},
		{"account", "", account, []string{"memory.max=1000", "cgroup.subtree_control=" + controllers}},
		{"cell", "", cell, []string{"memory.max=500", "pids.max=64", "memory.swap.max=0", "memory.oom.group=1", "cpu.max=100000 50000"}},
		{"driver", "cpu", driver, []string{"cpu.shares=2048"}},
		{"driver", "memory", driver, []string{"memory.use_hierarchy=1", "memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"}},
		{"account", "memory", account, []string{"memory.use_hierarchy=1", "memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1000"}},
		{"account", "cpu", account, nil},
		{"account", "pids", account, nil},
		{"cell", "pids", cell, []string{"pids.max=64"}},
		{"cell", "cpu", cell, []string{"cpu.cfs_period_us=50000", "cpu.cfs_quota_us=100000"}},
	} {
		var got []string
		for _, s := range (cgroupRoot{controller: c.controller}).settings(c.limits) {
			got = append(got, s.file+"="+s.value)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s of %q: %q, want %q", c.name, c.controller, got, c.want)
		}
	}
}
