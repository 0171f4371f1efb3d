//go:build linux && (amd64 || arm64)

package cell_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// Some tests need a host process of their own, to kill it or to take means
// from it: the test binary again, with a task in its environment.
const (
	hostEnv     = "TARS_CELL_TEST_HOST"     // the task
	hostBinsEnv = "TARS_CELL_TEST_BINARIES" // the folder of the binaries
)

// TestHostTask is such a process. In any other it has nothing to do.
func TestHostTask(t *testing.T) {
	switch task := os.Getenv(hostEnv); task {
	case "":
	case "loop":
		hostLoop(t)
	case "compile-escapes":
		testCompileEscapes(t, newDriver(t, binProbe, func(o *cell.Options) { o.MinGrade = 0 }))
		fmt.Println(taskDone)
	case "task-escapes":
		testTaskEscapes(t, newDriver(t, binProbe, func(o *cell.Options) { o.MinGrade = 0 }))
		fmt.Println(taskDone)
	case "full-disk":
		testFullDisk(t)
		fmt.Println(taskDone)
	case "escapes":
		hostEscapes(t, "jail")
	case "escapes without namespaces":
		hostEscapes(t, "jail-lite")
	case "floor":
		_, err := cell.New(cell.Options{Executable: filepath.Join(binaries, binTars), MinGrade: cell.GradeJail})
		if !errors.Is(err, vmhost.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "jail-lite") {
			t.Errorf("New below its floor = %v, want ErrUnavailable that names jail-lite", err)
		}
		fmt.Println(taskDone)
	default:
		t.Fatalf("no task %q", task)
	}
}

// hostEscapes makes every attempt on a host that reaches the grade, with a cgroup or
// without one.
func hostEscapes(t testing.TB, grade string) {
	d := newDriver(t, binProbe, func(o *cell.Options) { o.MinGrade = 0 })
	if got := strings.TrimSuffix(d.Grade(), "+cgroup"); got != grade {
		t.Errorf("Grade() = %q, want %s", d.Grade(), grade)
	}
	testEscapes(t, d)
	fmt.Println(d.Report())
	fmt.Println(taskDone)
}

// Lines that a host process says.
const (
	looping  = "looping"   // its guest has begun to
	taskDone = "task done" // it came to the end
)

// hostLoop has a guest loop without end, says when it does, and waits to be
// killed.
func hostLoop(t testing.TB) {
	d := withBlanks(t, binTars, 2, nil)
	p := load(t, d, source(t, "searchloop"))
	waitBlanks(t, d, 2)
	req := request("!")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
		fmt.Println(looping)
		return []byte("{}"), nil
	}
	_, err := p.Call(context.Background(), req)
	t.Errorf("an endless call ended: %v", err)
}

const hostFlag = "-test.run=^TestHostTask$"

// hostCommand is a host process with a task.
func hostCommand(task string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", hostFlag)
	cmd.Env = append(os.Environ(), hostEnv+"="+task, hostBinsEnv+"="+binaries)
	return cmd
}

// withoutNamespaces lets a host process make none, as in most containers: it
// runs in a user namespace that has used up its number of them.
func withoutNamespaces(cmd *exec.Cmd) {
	cmd.Path = "/bin/sh"
	cmd.Args = []string{"sh", "-c", `for n in user mnt pid net ipc uts; do echo 0 > /proc/sys/user/max_${n}_namespaces || exit 9; done; exec "$0" "$1"`, "/proc/self/fd/3", hostFlag}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// inMountNamespace gives a host process mounts of its own, which it may change
// whoever runs the tests.
func inMountNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// ordinaryUser is a user without any privilege.
const ordinaryUser = 12345

// asUser makes a host process an ordinary user's.
func asUser(cmd *exec.Cmd) {
	cmd.Path = "/proc/self/fd/3"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}}
}

// asUserWithoutNamespaces makes a host process an ordinary user's in a user
// namespace that has used up its number of namespaces, as a container is that runs
// as one.
func asUserWithoutNamespaces(cmd *exec.Cmd) {
	withoutNamespaces(cmd)
	cmd.Args[2] = strings.Replace(cmd.Args[2], `exec "$0"`, fmt.Sprintf(`exec setpriv --reuid=%d --regid=%[1]d --clear-groups "$0"`, ordinaryUser), 1)
	const ids = 65536
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: ids}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: ids}}
	cmd.SysProcAttr.GidMappingsEnableSetgroups = true
}

// runHost runs a host process to its end, which must be good.
func runHost(t *testing.T, task string, change func(*exec.Cmd)) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := hostCommand(task)
	cmd.ExtraFiles = []*os.File{self} // it is 3, since the shell's own /proc/self/exe is the shell
	change(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), taskDone) {
		t.Errorf("host process %q: %v\n%s", task, err, out)
	}
	t.Logf("%s", out)
}

// TestFloor: below the least grade there is no driver.
func TestFloor(t *testing.T) { runHost(t, "floor", withoutNamespaces) }

// TestHostKilled: cells do not outlive a host that is killed, even while their
// guest loops, or before they have one.
func TestHostKilled(t *testing.T) {
	// What the host leaves behind becomes a child of this process.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := hostCommand("loop")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatalf("the host process ended: %v", cmd.Wait())
		}
		if lines.Text() == looping {
			break
		}
	}
	cells := children(cmd.Process.Pid)
	if len(cells) != 3 {
		t.Errorf("%d cells, want one that loops and two blank ones", len(cells))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, name := range cells {
		pid, err := strconv.Atoi(name)
		if err != nil {
			t.Fatal(err)
		}
		// It ends because the kernel kills it, or because its wire does:
		// whichever is first.
		eventually(t, "the cell dies with its host", func() bool {
			reaped, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.ECHILD) {
				return true // a thread of the dying host was quick enough to reap it
			}
			if err != nil {
				t.Fatalf("wait for the cell: %v", err)
			}
			return reaped == pid
		})
	}
	// What it left of cgroups goes with the next host's start.
	newDriver(t, binTars, nil)
	if left := cgroupsOf(cmd.Process.Pid); len(left) != 0 {
		t.Errorf("cgroups %v of a killed host after the next has started, want none", left)
	}
}
