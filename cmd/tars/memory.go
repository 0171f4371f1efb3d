package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memoryFiles are where Linux tells how much memory there is: the machine's, and
// in a container the container's, by the second and the first kind of cgroups.
const (
	machineMemoryFile = "/proc/meminfo"
	cgroupV2File      = "/sys/fs/cgroup/memory.max"
	cgroupV1File      = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
)

// machineMemory returns how many bytes of memory this process could have.
func machineMemory() (int64, error) {
	info, err := os.ReadFile(machineMemoryFile)
	if err != nil {
		return 0, fmt.Errorf("the machine's memory is not known: %w", err)
	}
	all, err := memTotal(string(info))
	if err != nil {
		return 0, err
	}
	for _, file := range []string{cgroupV2File, cgroupV1File} {
		if text, err := os.ReadFile(file); err == nil {
			all = min(all, cgroupLimit(string(text), all))
		}
	}
	return all, nil
}

// memTotal reads the machine's memory from /proc/meminfo: proc_meminfo(5).
func memTotal(info string) (int64, error) {
	for line := range strings.Lines(info) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("the machine's memory is not known: " + machineMemoryFile + " has no MemTotal")
}

// cgroupLimit reads a limit, which may be "max"; what is no limit is all.
func cgroupLimit(text string, all int64) int64 {
	limit, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || limit <= 0 {
		return all
	}
	return limit
}
