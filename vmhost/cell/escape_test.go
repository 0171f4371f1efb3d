//go:build linux && (amd64 || arm64)

package cell_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// probeSource is a program of the probe, where the module's text says what
// happens at its load.
func probeSource(module string) vmhost.Source {
	return vmhost.Source{Account: "test", Module: []byte(module), Digest: vmhost.DigestOf([]byte(module)), Limits: limits()}
}

// fates are what the seal does to an attempt to get out.
var fates = map[string][]string{
	"killed for a forbidden system call (SIGSYS)": {
		"kill-host", "kill-all", "tgkill-other", "ptrace", "read-memory", "pidfd", "fork", "clone-user", "clone3", "unshare", "setns",
		"execve", "execveat", "memfd", "mount", "umount", "fsopen", "pivot", "chroot", "mknod", "openat2", "rename", "io-uring", "userfault",
		"keyctl", "add-key", "bpf", "perf", "setuid", "capset", "personality", "shmget", "inotify", "pipe", "send-fd", "receive-fd",
		"dumpable", "own-filter", "no-aslr", "kexec", "module", "reboot", "clock", "mmap-rwx", "mmap-rx", "mmap-file", "mprotect-rwx", "foreign-abi",
		"socketpair", "connect", "bind", "listen", "accept", "shutdown", "sendto", "recvfrom", "sendmmsg", "recvmmsg", "peer-name",
		"uring-enter", "uring-attach", "aio", "request-key", "fanotify", "by-handle", "to-handle", "move-mount", "open-tree", "mount-attr",
		"swap", "quota", "accounting", "kernel-log", "host-name", "msgget", "semget", "mq-open", "splice", "vmsplice", "copy-range", "sendfile",
		"memfd-secret", "mlock", "mremap", "pkey", "rseq", "move-pages", "advise-others", "adjust-clock",
		"timer", "timerfd", "eventfd", "signalfd", "new-poller", "landlock",
		"stat", "access", "read-link", "list-folder", "unlink", "link", "symlink", "mkdir", "chmod", "chown", "truncate", "chdir", "fchdir",
		"set-xattr", "dup3", "steal-descr", "close-range", "same-resource", "write-memory", "pidfd-signal", "tkill", "queue-signal",
		"clone-thread", "clone-parent", "double-fork", "new-session", "own-group", "outlive-parent", "adopt-orphans", "traced-by-all",
		"keep-caps", "raise-ambient", "setgid", "setgroups", "raise-priority", "real-time", "own-processor",
		"image-shared", "image-code", "resize-wire", "write-wire", "pagemap-map",
	},
	"denied: EPERM": {
		"open-etc", "open-proc", "open-here", "open-create", "raise-limit", "dup", "ioctl",
		"open-environ", "open-memory", "open-descr", "open-sys", "open-cgroup", "open-device", "open-parent", "open-temporary", "peer-of-wire",
		"image-dup", "image-locks", "pagemap-call",
	},
	"denied: EBADF":                {"descriptors"},
	"denied: ENOENT":               {"environment"},
	"out of memory|denied: ENOMEM": {"memory"}, // by the cgroup, or by the limit on address space
	// The runtime gives up when it gets no thread.
	"exited with code 2": {"threads"},
}

// attemptsWith returns the attempts with that fate; sockets of every family are too.
func attemptsWith(fate string) []string {
	attempts := slices.Clone(fates[fate])
	if !strings.Contains(fate, "SIGSYS") {
		return attempts
	}
	const families = 50 // as in the probe
	for family := range families {
		attempts = append(attempts, fmt.Sprintf("socket-%d", family), fmt.Sprintf("socket-datagram-%d", family))
	}
	return attempts
}

// TestEscapes: code that has broken out of its guest gets nowhere, whoever the host
// runs as. Each attempt is made in a fresh cell.
func TestEscapes(t *testing.T) {
	if os.Geteuid() != 0 {
		testEscapes(t, newDriver(t, binProbe, nil))
		runHost(t, "escapes without namespaces", withoutNamespaces)
		return
	}
	t.Run("root", func(t *testing.T) { testEscapes(t, newDriver(t, binProbe, nil)) })
	t.Run("root without namespaces", func(t *testing.T) { runHost(t, "escapes without namespaces", withoutNamespaces) })
	t.Run("user", func(t *testing.T) { runHost(t, "escapes", asUser) })
	t.Run("user without namespaces", func(t *testing.T) { runHost(t, "escapes without namespaces", asUserWithoutNamespaces) })
}

// boundsThreads reports whether a cell's threads are bounded apart from those of
// its host: by a user namespace or by a cgroup. A host in a container that has
// neither bounds them by address space alone, unless it is root.
func boundsThreads(d *cell.Driver) bool {
	return d.Grade() != cell.GradeJailLite.String() || d.Report().Cgroup != ""
}

// testEscapes makes every attempt.
func testEscapes(t testing.TB, d *cell.Driver) {
	// Something to inherit: not marked to be closed on exec.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(secret, unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for want := range fates {
		for _, attempt := range attemptsWith(want) {
			if attempt == "threads" && !boundsThreads(d) {
				continue
			}
			p := load(t, d, probeSource("attempt "+attempt))
			reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: attempt})
			if !slices.ContainsFunc(strings.Split(want, "|"), func(end string) bool { return strings.HasSuffix(fmt.Sprint(err), end) }) {
				t.Errorf("%s = %q, %v, want %s", attempt, reply.Output, err, want)
			}
			var guest *vmhost.GuestError
			if !errors.As(err, &guest) && !errors.Is(err, vmhost.ErrCrashed) {
				t.Errorf("%s: error %v is neither a denial nor ErrCrashed", attempt, err)
			}
			if err := p.Close(); err != nil {
				t.Errorf("%s: Close: %v", attempt, err)
			}
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the host's file is %q, %v after the attempts", b, err)
	}
}

// TestSealFromOutside: what the kernel says of every thread of a cell that has
// served.
func TestSealFromOutside(t *testing.T) {
	d := newDriver(t, binTars, nil)
	p := load(t, d, source(t, "echo"))
	wantAnswer(t, p, "x")
	cells := children(os.Getpid())
	if len(cells) != 1 {
		t.Fatalf("%d cells, want 1", len(cells))
	}
	proc := "/proc/" + cells[0]

	tasks, err := filepath.Glob(proc + "/task/*/status")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads of the cell: %v, %v", tasks, err)
	}
	const none = "0000000000000000"
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for line := range strings.Lines(string(status)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			got[key] = strings.TrimSpace(value)
		}
		for key, want := range map[string]string{
			"CapInh": none, "CapPrm": none, "CapEff": none, "CapAmb": none,
			"NoNewPrivs": "1", "Seccomp": "2", "Groups": "",
		} {
			if got[key] != want {
				t.Errorf("%s: %s = %q, want %q", task, key, got[key], want)
			}
		}
		if os.Geteuid() == 0 && strings.HasPrefix(got["Uid"], "0\t") {
			t.Errorf("%s: Uid = %q, want none of the host's", task, got["Uid"])
		}
	}
	for _, ns := range []string{"user", "pid", "mnt", "net", "ipc", "uts"} {
		theirs, err := os.Readlink(proc + "/ns/" + ns)
		ours, ourErr := os.Readlink("/proc/self/ns/" + ns)
		if err != nil || ourErr != nil || theirs == ours {
			t.Errorf("namespace %s: the cell's is %q, %v, the host's %q, %v", ns, theirs, err, ours, ourErr)
		}
	}
	if files, err := os.ReadDir(proc + "/root"); err != nil || len(files) != 0 {
		t.Errorf("the cell's root holds %v, %v, want nothing", files, err)
	}
	env, err := os.ReadFile(proc + "/environ")
	if want := "GODEBUG=containermaxprocs=0,updatemaxprocs=0\x00GOMAXPROCS=6\x00"; err != nil || string(env) != want {
		t.Errorf("environment = %q, %v, want %q", env, err, want)
	}
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil || len(fds) != 11 { // three standard ones, the wire, the poller's two, the pagemap, four images
		t.Errorf("descriptors: %v, %v, want 11", fds, err)
	}
	for name, want := range map[string]string{"Max core file size": "0", "Max open files": "16", "Max processes": "64"} {
		limits, err := os.ReadFile(proc + "/limits")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(line, name); ok && strings.Fields(rest)[0] != want {
				t.Errorf("limit %q, want %s", strings.TrimSpace(line), want)
			}
		}
	}
}
