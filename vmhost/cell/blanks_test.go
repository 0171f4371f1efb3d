//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// withBlanks returns a driver whose blank cells are ready.
func withBlanks(t testing.TB, binary string, blanks int, change func(*cell.Options)) *cell.Driver {
	t.Helper()
	d := newDriver(t, binary, func(o *cell.Options) {
		o.Blanks = blanks
		if change != nil {
			change(o)
		}
	})
	waitBlanks(t, d, blanks)
	return d
}

func waitBlanks(t testing.TB, d *cell.Driver, blanks int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d blank cells are ready", blanks), func() bool { return d.Stats().Blanks == blanks })
}

// stop sends SIGSTOP to a cell and waits until every thread of it has stopped.
func stop(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every thread of the cell has stopped", func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		return err == nil && !slices.ContainsFunc(tasks, func(name string) bool {
			stat, err := os.ReadFile(name)
			return err != nil || !strings.Contains(string(stat), ") T ")
		})
	})
}

// limitOf returns the soft limit on address space of a process.
func limitOf(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Max address space"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no limit on address space")
	return 0
}

// groupsOf returns in which of the driver's cgroups a process is, by hierarchy,
// such as "account-1f…/3".
func groupsOf(t testing.TB, pid int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for line := range strings.Lines(string(b)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), "/tars-cell-"); ok {
			_, group, _ := strings.Cut(path, "/")
			groups = append(groups, group)
		}
	}
	return groups
}

// pids are the process ids of the cells of this process.
func pids(t testing.TB) []int {
	t.Helper()
	var list []int
	for _, name := range children(os.Getpid()) {
		pid, err := strconv.Atoi(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}

// TestAdoption: a program gets a cell that was there before it, under the limits
// of the program and in the cgroup of its account, and another takes its place.
func TestAdoption(t *testing.T) {
	d := withBlanks(t, binTars, 2, nil)
	before := pids(t)
	for _, pid := range before {
		for _, group := range groupsOf(t, pid) {
			if group != "blank" {
				t.Errorf("a blank cell is in cgroup %q, want blank", group)
			}
		}
	}
	sealed := limitOf(t, before[0])
	p := load(t, d, source(t, "echo"))
	wantAnswer(t, p, "x")
	waitBlanks(t, d, 2)

	var adopted []int
	for _, pid := range before {
		groups := groupsOf(t, pid)
		if !slices.ContainsFunc(groups, func(g string) bool { return strings.HasPrefix(g, "account-") }) {
			continue
		}
		adopted = append(adopted, pid)
		if slices.Contains(groups, "blank") {
			t.Errorf("an adopted cell is in cgroups %q, want none of the blank ones", groups)
		}
		if limit := limitOf(t, pid); limit >= sealed {
			t.Errorf("address space of an adopted cell is %d, want less than a blank one's %d", limit, sealed)
		}
	}
	if cgroup := d.Report().Cgroup; cgroup != "" && len(adopted) != 1 {
		t.Errorf("%d of the blank cells %v were adopted, want 1", len(adopted), before)
	}
	if s := d.Stats(); s.Adoptions != 1 || s.ColdStarts != 0 || s.Cells != 1 || s.Blanks != 2 {
		t.Errorf("Stats() = %+v, want one adoption, no cold start, one cell, two blanks", s)
	}
	if n := len(pids(t)); n != 3 {
		t.Errorf("%d processes, want 3", n)
	}
}

// TestBlankTooSmall: a program that may have more memory than blank cells are
// sealed for starts one of its own.
func TestBlankTooSmall(t *testing.T) {
	d := withBlanks(t, binTars, 1, func(o *cell.Options) { o.GuestMemory = 1 << 20 })
	wantAnswer(t, load(t, d, source(t, "echo")), "x") // has 4 MiB
	if s := d.Stats(); s.ColdStarts != 1 || s.Blanks != 1 {
		t.Errorf("Stats() = %+v, want a cold start beside the blank cell", s)
	}
}

// TestBlankGivesWay: blank cells take no place that a program needs, also one that
// they are too small for.
func TestBlankGivesWay(t *testing.T) {
	for name, memory := range map[string]int64{"adopted": 1 << 30, "given up": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			d := withBlanks(t, binTars, 2, func(o *cell.Options) { o.MaxCells, o.GuestMemory = 2, memory })
			for _, account := range []vmhost.Account{"a", "b"} {
				src := source(t, "echo")
				src.Account = account
				wantAnswer(t, load(t, d, src), "x")
			}
			if s := d.Stats(); s.Cells != 2 || s.Blanks != 0 {
				t.Errorf("Stats() = %+v, want 2 cells and no blank one in 2 places", s)
			}
		})
	}
}

// TestBlankReplaced: a blank cell that dies, or does not answer, is replaced, and
// costs the next program little.
func TestBlankReplaced(t *testing.T) {
	d := withBlanks(t, binTars, 1, nil)
	first := theCell(t)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead blank cell is replaced", func() bool {
		s := d.Stats()
		return s.BlankFailures == 1 && s.Blanks == 1 && len(pids(t)) == 1
	})
	second := theCell(t)
	stop(t, second)
	wantAnswer(t, load(t, d, source(t, "echo")), "x")
	eventually(t, "the stopped blank cell is gone", func() bool {
		return d.Stats().BlankFailures == 2 && !slices.Contains(pids(t), second)
	})
	if s := d.Stats(); s.BlankFailures != 2 || s.Deaths[cell.DeathSignal] != 1 || s.Deaths[cell.DeathSilence] != 1 {
		t.Errorf("Stats() = %+v, want two failures of blank cells, one by a signal, one silent", s)
	}
}

// TestJanitorBlanks: a blank cell that does not answer is replaced also when nobody
// wants it.
func TestJanitorBlanks(t *testing.T) {
	d := withBlanks(t, binTars, 1, nil)
	stopped := theCell(t)
	stop(t, stopped)
	eventually(t, "the stopped blank cell is replaced", func() bool {
		s := d.Stats()
		return s.BlankFailures == 1 && s.Blanks == 1 && !slices.Contains(pids(t), stopped)
	})
}

// TestScaleToZero: after the idle time none but blank cells are left, and none is
// used for a second program.
func TestScaleToZero(t *testing.T) {
	d := withBlanks(t, binTars, 2, func(o *cell.Options) { o.IdleTimeout = 20 * time.Millisecond })
	for i := range 4 {
		before := pids(t)
		src := source(t, "echo")
		src.Account = vmhost.Account(strconv.Itoa(i))
		wantAnswer(t, load(t, d, src), "x")
		eventually(t, "only blank cells are left", func() bool {
			s := d.Stats()
			return s.Cells == 0 && s.Blanks == 2 && len(pids(t)) == 2
		})
		after := pids(t)
		if slices.Equal(before, after) {
			t.Errorf("the cells are %v before and after a program, want the one that it had gone", after)
		}
		for _, pid := range after {
			if groups := groupsOf(t, pid); slices.ContainsFunc(groups, func(g string) bool { return g != "blank" }) {
				t.Errorf("blank cell %d is in cgroups %q", pid, groups)
			}
		}
	}
	if s := d.Stats(); s.Adoptions < 4 || s.ColdStarts != 0 {
		t.Errorf("Stats() = %+v, want at least 4 adoptions, no cold start", s)
	}
}

// TestAccountMemory: the cells of an account together keep within its cap, and the
// one that the kernel kills for it is known to have died of memory.
func TestAccountMemory(t *testing.T) {
	const mib = 1 << 20
	d := newDriver(t, binProbe, func(o *cell.Options) { o.Overhead = 32 * mib })
	if d.Report().Cgroup == "" {
		t.Fatalf("no cgroup tree to be had: %v", d.Report())
	}
	src, beside := probeSource("culprit"), probeSource("beside")
	for _, s := range []*vmhost.Source{&src, &beside} {
		s.AccountMemory = 64 * mib
		s.Limits.Memory = 128 * mib // of each of four calls at once
	}
	p := load(t, d, src)
	wantAccountLimit(t, (64+32)*mib)
	innocent := load(t, d, beside)
	wantAccountLimit(t, (64+2*32)*mib)
	other := probeSource("other")
	other.Account = "other"
	stranger := load(t, d, other)

	_, err := p.Call(within(t, time.Minute), vmhost.Request{Capability: "memory"})
	if !errors.Is(err, vmhost.ErrCrashed) || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("Call that takes more than the account's cap = %v, want ErrCrashed, out of memory", err)
	}
	if n := d.Stats().Deaths[cell.DeathMemory]; n != 1 {
		t.Errorf("%d deaths of memory, want 1", n)
	}
	wantAccountLimit(t, (64+32)*mib) // again
	wantEcho(t, innocent)
	wantEcho(t, stranger)
	for _, p := range []vmhost.Program{p, innocent} {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if groups := accountGroups(t); len(groups) != 1 {
		t.Errorf("directories %v of accounts, want that of the other alone", groups)
	}
}

// wantAccountLimit looks for the account that has the limit on memory.
func wantAccountLimit(t testing.TB, want int64) {
	t.Helper()
	var got []string
	for _, dir := range cgroupsOf(os.Getpid()) {
		for _, name := range []string{"memory.limit_in_bytes", "memory.max"} {
			files, err := filepath.Glob(filepath.Join(dir, "account-*", name))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, strings.TrimSpace(string(b)))
			}
		}
	}
	if !slices.Contains(got, strconv.FormatInt(want, 10)) {
		t.Errorf("limits of accounts are %v, want %d among them", got, want)
	}
}

// wantEcho calls the probe.
func wantEcho(t testing.TB, p vmhost.Program) {
	t.Helper()
	reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "echo", Input: []byte("x")})
	if err != nil || string(reply.Output) != "x" {
		t.Errorf("Call = %q, %v, want x", reply.Output, err)
	}
}

// accountGroups returns the directories of accounts in one hierarchy.
func accountGroups(t testing.TB) []string {
	t.Helper()
	names := make(map[string]bool)
	for _, dir := range cgroupsOf(os.Getpid()) {
		found, err := filepath.Glob(filepath.Join(dir, "account-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			names[filepath.Base(f)] = true
		}
	}
	var list []string
	for n := range names {
		list = append(list, n)
	}
	return list
}

// TestIdleBurner: native code that computes after its call has ended costs its cell
// its life.
func TestIdleBurner(t *testing.T) {
	d := newDriver(t, binProbe, nil)
	p := load(t, d, probeSource("burner"))
	reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "burn-on", Input: []byte("x")})
	if err != nil || string(reply.Output) != "x" {
		t.Fatalf("Call = %q, %v, want x", reply.Output, err)
	}
	eventually(t, "the cell that computes is gone", func() bool { return d.Stats().Deaths[cell.DeathCPU] == 1 && d.Cells() == 0 })
	wantEcho(t, p)
}

// TestQuietIdle: a cell that has collected garbage and waits is left alone.
func TestQuietIdle(t *testing.T) {
	d := newDriver(t, binTars, func(o *cell.Options) { o.IdleTimeout = 3 * time.Second })
	p := load(t, d, source(t, "echo"))
	for range 200 {
		wantAnswer(t, p, strings.Repeat("x", 60<<10))
	}
	eventually(t, "the idle cell ends", func() bool { return d.Cells() == 0 })
	if s := d.Stats(); s.Deaths[cell.DeathCPU] != 0 || s.Deaths[cell.DeathSilence] != 0 {
		t.Errorf("Stats() = %+v, want no death", s)
	}
}

// TestQuarantine: a program that kills so many cells in a row is not run any more,
// also when it is loaded again, until it is released.
func TestQuarantine(t *testing.T) {
	d := newDriver(t, binProbe, func(o *cell.Options) { o.QuarantineAfter = 4 }) // the fifth would wait for ten seconds
	src := probeSource("attempts")
	p := load(t, d, src)
	die := func(p vmhost.Program) error {
		_, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "close-wire"})
		return err
	}
	deaths := 0
	var q *vmhost.QuarantinedError
	eventually(t, "the program is in quarantine", func() bool {
		err := die(p)
		if errors.Is(err, vmhost.ErrCrashed) {
			deaths++
		}
		return errors.As(err, &q)
	})
	if deaths != 4 || q.Deaths != 4 || q.Account != "test" || q.Digest != src.Digest || !strings.Contains(q.Reason, "signal 9") {
		t.Errorf("after %d deaths: %+v, want 4 by signal 9", deaths, q)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(context.Background(), src); !errors.Is(err, vmhost.ErrQuarantined) {
		t.Errorf("Load of a program in quarantine = %v, want ErrQuarantined", err)
	}
	other := src
	other.Account = "other"
	wantEcho(t, load(t, d, other))
	if list := d.Quarantined(); len(list) != 1 || list[0] != q.Quarantine {
		t.Errorf("Quarantined() = %+v, want %+v", list, q.Quarantine)
	}
	if d.Release("other", src.Digest) || !d.Release(src.Account, src.Digest) || d.Release(src.Account, src.Digest) {
		t.Error("Release: want true once, for that program alone")
	}
	wantEcho(t, load(t, d, src))
}

// TestAlarm: a forbidden system call is enough, and is released at once.
func TestAlarm(t *testing.T) {
	d := newDriver(t, binProbe, nil)
	src := probeSource("attempts")
	p := load(t, d, src)
	if _, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "execve"}); !errors.Is(err, vmhost.ErrCrashed) {
		t.Errorf("Call that breaks out = %v, want ErrCrashed", err)
	}
	_, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "echo"})
	var q *vmhost.QuarantinedError
	if !errors.As(err, &q) || q.Deaths != 1 || !strings.Contains(q.Reason, "SIGSYS") {
		t.Errorf("next Call = %v, want a quarantine after one death by SIGSYS", err)
	}
	if !d.Release(src.Account, src.Digest) {
		t.Error("Release = false")
	}
	wantEcho(t, p)
}

// TestGoodCallClears: deaths with good calls between them are not in a row.
func TestGoodCallClears(t *testing.T) {
	d := newDriver(t, binProbe, nil)
	p := load(t, d, probeSource("attempts"))
	for range 8 {
		if _, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "close-wire"}); !errors.Is(err, vmhost.ErrCrashed) {
			t.Fatalf("Call = %v, want ErrCrashed", err)
		}
		wantEcho(t, p)
	}
}

// TestSpinner: native code that computes past its deadline, where no fuel is
// counted, is known from a machine that has no time.
func TestSpinner(t *testing.T) {
	d := newDriver(t, binProbe, nil)
	p := load(t, d, probeSource("attempts"))
	if _, err := p.Call(within(t, 100*time.Millisecond), vmhost.Request{Capability: "spin"}); !errors.Is(err, vmhost.ErrDeadline) {
		t.Errorf("Call that computes without end = %v, want ErrDeadline", err)
	}
	wantEcho(t, p)
	if n := d.Stats().Deaths; n[cell.DeathCPU]+n[cell.DeathSilence] != 1 { // the second where the machine had no time for it
		t.Errorf("deaths %v, want one", n)
	}
}
