package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Fields of /proc/PID/stat, counted from the state on: proc_pid_stat(5).
const (
	statParent = 1
	statUser   = 11 // user, system, and the same of children that were waited for
	statEnd    = 15
)

// statFields returns what of /proc/PID/stat follows the name.
func statFields(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	end := strings.LastIndexByte(string(b), ')')
	fields := strings.Fields(string(b[end+1:]))
	if end < 0 || len(fields) < statEnd {
		return nil, fmt.Errorf("%s: %q", name, b)
	}
	return fields, nil
}

// tick is the unit of /proc's processor times: USER_HZ, 100 on every Linux that
// Go runs on.
const tick = 10 * time.Millisecond

// family returns a process and the processes that it is the parent of.
func family(pid int) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	pids := []int{pid}
	for _, name := range names {
		fields, err := statFields(name)
		if err != nil || fields[statParent] != strconv.Itoa(pid) {
			continue // gone meanwhile, or another's
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// cpuOf is the processor time of a process and its children so far, with those
// that have ended.
func cpuOf(pid int) (time.Duration, error) {
	pids, err := family(pid)
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, p := range pids {
		fields, err := statFields(fmt.Sprintf("/proc/%d/stat", p))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return 0, err
		}
		for _, field := range fields[statUser:statEnd] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			total += time.Duration(n) * tick
		}
	}
	return total, nil
}

// ownCPU is the processor time of this process and of programs that it ran.
func ownCPU() (time.Duration, error) {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, err
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total, nil
}

// machineCPU is the processor time of all that runs on this machine.
func machineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	words := strings.Fields(line)
	if len(words) < 9 || words[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	var total time.Duration
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, irq, softirq, steal
		n, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}

// residentOf is the memory of a process and its children, in bytes, each page
// that several of them share counted once.
func residentOf(pid int) (int64, error) {
	pids, err := family(pid)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, p := range pids {
		n, err := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", p), "Pss")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		} else if err != nil {
			return 0, err
		}
		total += n << 10
	}
	return total, nil
}

// kilobytes reads a field such as "Pss:  123 kB" from a file in /proc.
func kilobytes(name, field string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		if words := strings.Fields(value); ok && key == field && len(words) > 0 {
			return strconv.ParseInt(words[0], 10, 64)
		}
	}
	return 0, errors.Join(s.Err(), fmt.Errorf("%s has no %s", name, field))
}

// usage is processor time by who took it.
type usage struct{ client, server, postgres, machine, wall time.Duration }

// clocks are whose processor time is read.
type clocks struct{ server, postgres int } // process ids

// began is what wall clocks count from.
var began = time.Now()

// start reads the clocks, and stop reads them again and returns what was taken in
// between. Reading takes a while, so this process's own clock is the last to be
// read at the start, and the first at the end.
func (c clocks) start() (u usage, err error) {
	u.wall = time.Since(began)
	if u.server, u.postgres, u.machine, err = c.others(); err != nil {
		return u, err
	}
	u.client, err = ownCPU()
	return u, err
}

func (c clocks) stop(started usage) (u usage, err error) {
	if u.client, err = ownCPU(); err != nil {
		return u, err
	}
	u.server, u.postgres, u.machine, err = c.others()
	return usage{
		u.client - started.client, u.server - started.server, u.postgres - started.postgres, u.machine - started.machine,
		time.Since(began) - started.wall,
	}, err
}

func (c clocks) others() (server, postgres, machine time.Duration, err error) {
	if server, err = cpuOf(c.server); err != nil {
		return 0, 0, 0, err
	}
	if postgres, err = cpuOf(c.postgres); err != nil {
		return 0, 0, 0, err
	}
	machine, err = machineCPU()
	return server, postgres, machine, err
}

// foreign is what others took of the machine meanwhile, about.
func (u usage) foreign() time.Duration {
	return max(0, u.machine-u.client-u.server-u.postgres)
}

// cpuName is the processor as it calls itself.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// kernel is the kernel's version.
func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return "Linux " + strings.TrimSpace(string(b))
}
