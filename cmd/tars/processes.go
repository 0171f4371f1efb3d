package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is one that runs, told apart from a later one with the same number by
// its time of start.
type process struct {
	pid   int
	start string // in clock ticks since boot, as the kernel prints it
	name  string
}

// descendants returns the processes below pid, from /proc; none where there is no
// /proc.
func descendants(pid int) []process {
	parents := map[int][]process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, parent, ok := readProcess(child); ok {
			parents[parent] = append(parents[parent], p)
		}
	}
	var all []process
	var walk func(pid int)
	walk = func(pid int) {
		for _, p := range parents[pid] {
			all = append(all, p)
			walk(p.pid)
		}
	}
	walk(pid)
	return all
}

// readProcess reads /proc/PID/stat: proc_pid_stat(5).
func readProcess(pid int) (p process, parent int, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, 0, false
	}
	// The name is in brackets and may hold anything, brackets too.
	open, end := strings.IndexByte(string(data), '('), strings.LastIndexByte(string(data), ')')
	if open < 0 || end < open {
		return p, 0, false
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 {
		return p, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return process{pid, fields[19], string(data[open+1 : end])}, parent, err == nil
}

// gone waits up to two seconds for all of these to end, and returns an error that
// names those that have not.
func gone(all []process) error {
	var left []string
	for range 40 {
		left = left[:0]
		for _, p := range all {
			if now, _, ok := readProcess(p.pid); ok && now.start == p.start {
				left = append(left, fmt.Sprintf("%d (%s)", p.pid, p.name))
			}
		}
		if len(left) == 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("left behind: processes %s", strings.Join(left, ", "))
}
