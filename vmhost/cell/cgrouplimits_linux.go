//go:build amd64 || arm64

package cell

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// groupLimits are what a cgroup may use, and what it is for. Zero limits are none.
type groupLimits struct {
	memory int64 // bytes
	pids   int
	cpus   int  // of a cell: processors that it may keep busy; of the driver: those of the machine
	parent bool // it holds groups and no processes
	cell   bool // it holds the processes of one cell, which die together
	again  bool // it may be there already
}

// make makes the directory and sets its limits.
func (r cgroupRoot) make(l groupLimits) error {
	if err := os.Mkdir(r.dir, 0o755); err != nil && (!l.again || !errors.Is(err, fs.ErrExist)) {
		return err
	}
	for _, s := range r.settings(l) {
		if err := writeFile(filepath.Join(r.dir, s.file), s.value); err != nil && !s.optional {
			return err
		}
	}
	return nil
}

// setting is a value for a file of a cgroup.
type setting struct {
	file, value string
	optional    bool // kernels and containers differ; what it bounds is bounded elsewhere too
}

// cpuPeriod is the slice in which the kernel counts CPU time, microseconds.
const cpuPeriod = 50_000

// Weights of all cells of a driver together: half the default, so that what
// serves requests wins over guests. v1 shares a group's weight out among the
// processors that it runs on. Below, accounts have equal weights, and so have the
// cells of one.
const (
	weightV2       = 50
	sharesV1PerCPU = 512
)

// settings are the files that say l, in the order in which they are written.
func (r cgroupRoot) settings(l groupLimits) []setting {
	switch r.controller {
	case "memory":
		return memoryV1(l)
	case "pids":
		if l.pids > 0 {
			return []setting{{file: "pids.max", value: strconv.Itoa(l.pids)}}
		}
		return nil
	case "cpu":
		return cpuV1(l)
	default:
		return settingsV2(l)
	}
}

func memoryV1(l groupLimits) []setting {
	memory := "-1"
	if l.memory > 0 {
		memory = strconv.FormatInt(l.memory, 10)
	}
	list := []setting{
		{file: "memory.use_hierarchy", value: "1", optional: true},           // newer kernels have no other way
		{file: "memory.memsw.limit_in_bytes", value: "-1", optional: true},   // is never below the other
		{file: "memory.limit_in_bytes", value: memory},                       // fails when more is in use
		{file: "memory.memsw.limit_in_bytes", value: memory, optional: true}, // kernels may count no swap
	}
	if l.cell {
		list = append(list, setting{file: "memory.swappiness", value: "0", optional: true})
	}
	return list
}

func cpuV1(l groupLimits) []setting {
	switch {
	case l.cell:
		return []setting{
			{file: "cpu.cfs_period_us", value: strconv.Itoa(cpuPeriod), optional: true},
			{file: "cpu.cfs_quota_us", value: strconv.Itoa(l.cpus * cpuPeriod), optional: true},
		}
	case l.cpus > 0:
		return []setting{{file: "cpu.shares", value: strconv.Itoa(l.cpus * sharesV1PerCPU)}}
	default:
		return nil
	}
}

func settingsV2(l groupLimits) []setting {
	memory := "max"
	if l.memory > 0 {
		memory = strconv.FormatInt(l.memory, 10)
	}
	list := []setting{{file: "memory.max", value: memory}}
	if l.pids > 0 {
		list = append(list, setting{file: "pids.max", value: strconv.Itoa(l.pids)})
	}
	switch {
	case l.cell:
		list = append(list,
			setting{file: "memory.swap.max", value: "0", optional: true},
			setting{file: "memory.oom.group", value: "1", optional: true},
			setting{file: "cpu.max", value: strconv.Itoa(l.cpus*cpuPeriod) + " " + strconv.Itoa(cpuPeriod), optional: true},
		)
	case l.cpus > 0:
		list = append(list, setting{file: "cpu.weight", value: strconv.Itoa(weightV2), optional: true})
	}
	if l.parent {
		list = append(list, setting{file: "cgroup.subtree_control", value: controllers})
	}
	return list
}
