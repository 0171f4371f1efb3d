package pglocal

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// canListProcesses tells whether processesIn sees anything at all.
const canListProcesses = true

func setDeathSignal(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// processesIn lists the processes whose working directory is dir: for a data
// folder these are the postmaster and its backends and nothing else. Those
// that we may not look at are not ours and left out.
func processesIn(dir string) ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, link := range links {
		cwd, err := os.Readlink(link)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || cwd != dir {
			continue
		}
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
