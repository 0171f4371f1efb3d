//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// The binaries of the tests, built once by TestMain the way they are shipped.
const (
	binTars  = "tars"  // the shipped one
	binProbe = "probe" // the same worker and seal with hostile code instead of the engine
)

// binaries is the folder that they are in.
var binaries string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if binaries = os.Getenv(hostBinsEnv); binaries != "" {
		return m.Run() // a host process of another test
	}
	dir, err := os.MkdirTemp("", "tars-cell-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // some host processes are another user's
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, pkg := range map[string]string{
		binTars:  "github.com/tars-project/tars/cmd/tars",
		binProbe: "github.com/tars-project/tars/vmhost/cell/internal/probe",
	} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	binaries = dir
	code := m.Run()
	// All drivers are closed: nothing may be left of any cell.
	if left := append(cgroupsOf(os.Getpid()), children(os.Getpid())...); len(left) != 0 {
		fmt.Fprintln(os.Stderr, "FAIL: left behind:", left)
		return 1
	}
	return code
}

// newDriver returns a driver on one of the binaries, which is closed with the
// test and must leave nothing behind. change, if not nil, alters its options.
func newDriver(t testing.TB, binary string, change func(*cell.Options)) *cell.Driver {
	t.Helper()
	opts := cell.Options{Executable: filepath.Join(binaries, binary), MinGrade: cell.GradeJail, LoadCPU: 5 * time.Second, Logger: testLogger(t)}
	if change != nil {
		change(&opts)
	}
	d, err := cell.New(opts)
	if err != nil {
		t.Fatalf("New: %v", err) // no jail is a failure, not a reason to skip
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n := d.Cells(); n != 0 {
			t.Errorf("%d cells after Close, want none", n)
		}
	})
	return d
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// limits are those of the tests' programs.
func limits() vmhost.Limits {
	return vmhost.Limits{Wall: 30 * time.Second, Memory: 4 << 20, Input: 64 << 10, Output: 64 << 10, Logs: 8 << 10, HostCalls: 4}
}

// source is one of the guests of vmhosttest.
func source(t testing.TB, guest string) vmhost.Source {
	t.Helper()
	module := vmhosttest.ExactGuest(t, guest)
	return vmhost.Source{
		Account: "test", Module: module, Digest: vmhost.DigestOf(module), Limits: limits(),
		Grants: vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true, Clock: true},
	}
}

// load loads a program, which is closed with its driver.
func load(t testing.TB, d *cell.Driver, src vmhost.Source) vmhost.Program {
	t.Helper()
	p, err := d.Load(context.Background(), src)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return p
}

func request(input string) vmhost.Request {
	return vmhost.Request{Capability: "rank", Input: []byte(input)}
}

// within returns a context for a call, with a limit that a busy machine keeps.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// wantAnswer calls a program that echoes.
func wantAnswer(t testing.TB, p vmhost.Program, input string) vmhost.Reply {
	t.Helper()
	reply, err := p.Call(within(t, 30*time.Second), request(input))
	if err != nil || string(reply.Output) != input {
		t.Fatalf("Call(%.40q) = %.40q, %v, want its input", input, reply.Output, err)
	}
	return reply
}

// children returns the process ids of the cells of a host process, as names in
// /proc, those that nobody has reaped included.
func children(host int) []string {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err) // the pattern is bad
	}
	var pids []string
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		var state string
		var parent int
		_, after, _ := strings.Cut(string(stat), ") ") // a cell's name has no bracket
		if _, err := fmt.Sscan(after, &state, &parent); err != nil || parent != host {
			continue
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if err == nil && (strings.HasPrefix(string(args), "tars\x00cell\x00") || state == "Z") {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

// cgroupsOf returns the directories that a host process has made for its cells.
func cgroupsOf(host int) []string {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, _ fs.DirEntry, _ error) error {
		if strings.HasPrefix(filepath.Base(path), fmt.Sprintf("tars-cell-%d-", host)) {
			found = append(found, path)
		}
		return nil // what cannot be read, or has just gone, is not ours
	})
	return found
}

// eventually waits until something holds, for longer than it may take.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("after 20 s not yet: %s", what)
}
