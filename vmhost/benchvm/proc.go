package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cells returns the process ids of the cells of this process, in no order.
func cells() ([]int, error) { return childrenOf(os.Getpid(), cellArgs) }

// cellArgs is how the command line of a cell begins.
const cellArgs = "tars\x00cell\x00"

// childrenOf returns the children of a process whose command line begins so.
func childrenOf(parent int, args string) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		fields, err := statFields(name)
		if err != nil {
			continue // gone meanwhile
		}
		if fields[1] != strconv.Itoa(parent) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if err != nil || !strings.HasPrefix(string(line), args) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// statFields returns what of /proc/PID/stat follows the name: state, parent, …
func statFields(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	end := strings.LastIndexByte(string(b), ')')
	fields := strings.Fields(string(b[end+1:]))
	if end < 0 || len(fields) < 20 {
		return nil, fmt.Errorf("%s: %q", name, b)
	}
	return fields, nil
}

// cpuTime is what all threads of a process have run so far, from the scheduler's
// own account in nanoseconds: /proc/PID/stat counts in hundredths of a second.
// Threads that have ended are not in it; those of a cell do not.
func cpuTime(pid int) (time.Duration, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("processor time: %w", err)
		}
		var running int64
		if _, err := fmt.Sscan(string(b), &running); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		total += time.Duration(running)
	}
	if total == 0 {
		return 0, fmt.Errorf("process %d has used no processor time", pid)
	}
	return total, nil
}

// peakRSS is the most resident memory that this process and its cells had, in
// bytes: the sum of each one's own peak.
func peakRSS() (int64, error) { return peakRSSOf(os.Getpid()) }

// peakRSSOf is the same of another process.
func peakRSSOf(host int) (int64, error) {
	pids, err := childrenOf(host, cellArgs)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, pid := range append(pids, host) {
		n, err := kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM")
		if err != nil {
			return 0, err
		}
		total += n << 10
	}
	return total, nil
}

// kilobytes reads a field such as "VmHWM:  123 kB" from a file in /proc.
func kilobytes(name, field string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if words := strings.Fields(value); ok && key == field && len(words) > 0 {
			return strconv.ParseInt(words[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", name, field)
}

// privateOf adds up the private memory, in kilobytes, of the mappings of a
// process whose name has that in it.
func privateOf(pid int, mapping string) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var total int64
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		switch {
		case len(words) > 0 && !strings.HasSuffix(words[0], ":"): // a mapping's address
			inside = strings.Contains(s.Text(), mapping)
		case inside && len(words) > 1 && words[0] == "Private_Dirty:":
			n, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

// servingCell is the cell that serves a program: none of those, and of the others
// the one that has used the processor most, since a driver may keep blank cells
// beside it.
func servingCell(others []int) (int, error) {
	pids, err := cells()
	if err != nil {
		return 0, err
	}
	serving, most := 0, time.Duration(0)
	for _, pid := range pids {
		if used, err := cpuTime(pid); err == nil && used > most && !slices.Contains(others, pid) {
			serving, most = pid, used
		}
	}
	if serving == 0 {
		return 0, errors.New("no cell serves the program")
	}
	return serving, nil
}
