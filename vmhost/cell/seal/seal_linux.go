//go:build amd64 || arm64

package seal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Close closes the seal as planned. The order matters: each step uses means
// that a later one takes away. On an error the process is half sealed and must
// end.
func Close(plan Plan) (Report, error) {
	start := time.Now()
	plan.Folder = cmp.Or(plan.Folder, FolderNone)
	report := Report{Namespaces: plan.Namespaces}
	folder := -1 // descriptor
	means := images{pagemap: -1}
	steps := []struct {
		name string
		do   func() error
	}{
		{"close foreign descriptors", closeForeign},
		{"memory images", when(plan.Folder != FolderWrite, func() (err error) { means, err = openImages(); return err })},
		{"forbid namespaces", when(plan.Namespaces, forbidNamespaces)},
		{"empty root", when(plan.Namespaces, func() error { return emptyRoot(plan) })},
		{"folder", when(plan.Folder != FolderNone, func() (err error) { folder, report.Folder, err = openFolder(plan); return err })},
		{"host name", when(plan.Namespaces, func() error { return unix.Sethostname([]byte("cell")) })},
		{"priority", lowerPriority},
		{"resource limits", func() error { return setLimits(plan) }},
		{"dumpable", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
		// Before Landlock, which wants it of a process without capabilities.
		{"no new privileges", func() error { return allThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1) }},
		{"landlock", func() (err error) {
			report.LandlockABI, err = landlock(plan.Namespaces, folder, folderRights(plan.Folder))
			return err
		}},
		{"descriptor of the folder", when(folderFDEnds(plan), func() error { return unix.Close(folder) })},
		{"capabilities", dropCapabilities},
		{"system call filter", func() error { return installFilter(means, plan.Folder) }},
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

// folderFDEnds reports whether the folder is found without its descriptor, which
// then must not stay: it leads out of any root that was made before.
func folderFDEnds(plan Plan) bool { return plan.Namespaces && plan.Folder != FolderNone }

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

const (
	// niceness makes the host's own threads win over cells where both want a
	// core and no cgroup weighs them.
	niceness = 5
	// slice is how long a thread of a cell keeps a processor that others wait
	// for: a guest that computes would otherwise delay each call in another cell
	// by some 3 ms. From Linux 6.12 on; before that the kernel does not listen.
	slice = 500 * time.Microsecond
)

// lowerPriority makes all threads, and those that they will start, wait for others
// and for short times.
func lowerPriority() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: niceness, Runtime: uint64(slice)}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_SCHED_SETATTR, 0, uintptr(unsafe.Pointer(&attr)), 0); errno != 0 {
		return errno
	}
	return nil
}

// setLimits sets hard limits. A cell that serves for days has none on CPU time,
// which would count over its whole life: the host watches it instead.
func setLimits(plan Plan) error {
	type limit struct {
		resource int
		max      uint64
	}
	limits := []limit{
		{unix.RLIMIT_AS, plan.AddressSpace},
		{unix.RLIMIT_NPROC, plan.Threads},
		{unix.RLIMIT_NOFILE, 16}, // three standard ones, the wire, the poller's two, those of the images, the folder and a file in it
		// Nothing else can be written to: Landlock, the read-only root.
		{unix.RLIMIT_FSIZE, max(plan.ImageSize, plan.FolderBytes)},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
		{unix.RLIMIT_NICE, 0},
		{unix.RLIMIT_RTPRIO, 0},
	}
	if plan.CPU > 0 {
		limits = append(limits, limit{unix.RLIMIT_CPU, plan.CPU})
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
