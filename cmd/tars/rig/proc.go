package rig

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
	StatParent = 1
	statUser   = 11 // user, system, and the same of children that were waited for
	statEnd    = 15
)

// StatFields returns what of /proc/PID/stat follows the name.
func StatFields(name string) ([]string, error) {
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
		fields, err := StatFields(name)
		if err != nil || fields[StatParent] != strconv.Itoa(pid) {
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

// CPUOf is the processor time of a process and its children so far, with those
// that have ended.
func CPUOf(pid int) (time.Duration, error) {
	pids, err := family(pid)
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, p := range pids {
		fields, err := StatFields(fmt.Sprintf("/proc/%d/stat", p))
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

// OwnCPU is the processor time of this process and of programs that it ran.
func OwnCPU() (time.Duration, error) {
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

// ResidentOf is the memory of a process and its children, in bytes, each page
// that several of them share counted once.
func ResidentOf(pid int) (int64, error) {
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

// Usage is processor time by who took it.
type Usage struct{ Client, Server, Postgres, Machine, Wall time.Duration }

// Clocks are whose processor time is read.
type Clocks struct{ Server, Postgres int } // process ids

// began is what wall clocks count from.
var began = time.Now()

// Start reads the clocks, and Stop reads them again and returns what was taken in
// between. Reading takes a while, so this process's own clock is the last to be
// read at the start, and the first at the end.
func (c Clocks) Start() (u Usage, err error) {
	u.Wall = time.Since(began)
	if u.Server, u.Postgres, u.Machine, err = c.others(); err != nil {
		return u, err
	}
	u.Client, err = OwnCPU()
	return u, err
}

func (c Clocks) Stop(started Usage) (u Usage, err error) {
	if u.Client, err = OwnCPU(); err != nil {
		return u, err
	}
	u.Server, u.Postgres, u.Machine, err = c.others()
	return Usage{
		u.Client - started.Client, u.Server - started.Server, u.Postgres - started.Postgres, u.Machine - started.Machine,
		time.Since(began) - started.Wall,
	}, err
}

func (c Clocks) others() (server, postgres, machine time.Duration, err error) {
	if server, err = CPUOf(c.Server); err != nil {
		return 0, 0, 0, err
	}
	if postgres, err = CPUOf(c.Postgres); err != nil {
		return 0, 0, 0, err
	}
	machine, err = machineCPU()
	return server, postgres, machine, err
}

// Foreign is what others took of the machine meanwhile, about.
func (u Usage) Foreign() time.Duration {
	return max(0, u.Machine-u.Client-u.Server-u.Postgres)
}

// CPUName is the processor as it calls itself.
func CPUName() string {
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

// Kernel is the kernel's version.
func Kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return "Linux " + strings.TrimSpace(string(b))
}

// Plus adds up.
func (u Usage) Plus(v Usage) Usage {
	return Usage{u.Client + v.Client, u.Server + v.Server, u.Postgres + v.Postgres, u.Machine + v.Machine, u.Wall + v.Wall}
}
