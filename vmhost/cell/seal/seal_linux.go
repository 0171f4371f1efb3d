//go:build amd64 || arm64

package seal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Close closes the seal as planned. The order matters: each step uses means
// that a later one takes away. On an error the process is half sealed and must
// end.
func Close(plan Plan) (Report, error) {
	start := time.Now()
	report := Report{Namespaces: plan.Namespaces}
	var means images
	steps := []struct {
		name string
		do   func() error
	}{
		{"close foreign descriptors", closeForeign},
		{"memory images", func() (err error) { means, err = openImages(); return err }},
		{"forbid namespaces", when(plan.Namespaces, forbidNamespaces)},
		{"empty root", when(plan.Namespaces, emptyRoot)},
		{"host name", when(plan.Namespaces, func() error { return unix.Sethostname([]byte("cell")) })},
		{"priority", lowerPriority},
		{"resource limits", func() error { return setLimits(plan) }},
		{"dumpable", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
		// Before Landlock, which wants it of a process without capabilities.
		{"no new privileges", func() error { return allThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1) }},
		{"landlock", func() (err error) { report.LandlockABI, err = landlock(plan.Namespaces); return err }},
		{"capabilities", dropCapabilities},
		{"system call filter", func() error { return installFilter(means) }},
	}
	for _, step := range steps {
		err := step.do()
		if errors.Is(err, unix.ENOTSUP) { // of syscall.AllThreadsSyscall
			err = fmt.Errorf("%w: threads of C cannot be sealed; build the binary with CGO_ENABLED=0", err)
		}
		if err != nil {
			return Report{}, fmt.Errorf("seal: %s: %w", step.name, err)
		}
	}
	report.Took, report.Pagemap, report.Images = time.Since(start), means.pagemap, means.files
	return report, nil
}

func when(yes bool, do func() error) func() error {
	if yes {
		return do
	}
	return func() error { return nil }
}

// allThreadsPrctl sets what the kernel keeps for each thread.
func allThreadsPrctl(option, value uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, value, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// niceness makes the host's own threads win over cells where both want a core
// and no cgroup weighs them.
const niceness = 5

func lowerPriority() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, niceness); errno != 0 {
		return errno
	}
	return nil
}

// setLimits sets hard limits. There is none on CPU time: it would count over
// the whole life of a cell that serves for days, so that the host watches it
// instead.
func setLimits(plan Plan) error {
	limits := []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_AS, plan.AddressSpace},
		{unix.RLIMIT_NPROC, plan.Threads},
		{unix.RLIMIT_NOFILE, 16},            // three standard ones, the wire, the poller's two, those of the images
		{unix.RLIMIT_FSIZE, plan.ImageSize}, // nothing else can be written to: Landlock, the empty root
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
		{unix.RLIMIT_NICE, 0},
		{unix.RLIMIT_RTPRIO, 0},
	}
	for _, l := range limits {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.max, Max: l.max}); err != nil {
			return fmt.Errorf("limit %d to %d: %w", l.resource, l.max, err)
		}
	}
	return nil
}

// forbidNamespaces sets the number of namespaces below this user namespace to
// none. Without it a process without capabilities makes a user namespace and
// has them all inside; the filter forbids that too.
func forbidNamespaces() error {
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		name := "/proc/sys/user/max_" + kind + "_namespaces"
		if err := os.WriteFile(name, []byte("0"), 0); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
