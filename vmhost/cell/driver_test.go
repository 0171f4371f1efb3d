//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// theCell returns the process id of the only cell.
func theCell(t *testing.T) int {
	t.Helper()
	cells := children(os.Getpid())
	if len(cells) != 1 {
		t.Fatalf("cells %v, want one", cells)
	}
	pid, err := strconv.Atoi(cells[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// asking returns a request whose guest is inside a host function when started is
// closed, and gets its answer when the returned function is called.
func asking(input string) (req vmhost.Request, started chan struct{}, answer func()) {
	started, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	req = request(input)
	req.Host = func(ctx context.Context, _ vmhost.HostCall) ([]byte, error) {
		once.Do(func() { close(started) })
		select {
		case <-release:
			return []byte("answer"), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return req, started, func() { close(release) }
}

// TestCellKilled: kill -9 of a cell in a call gives the caller a typed error at
// once, and the next call works.
func TestCellKilled(t *testing.T) {
	p := load(t, newDriver(t, binTars, nil), source(t, "search"))
	req, started, _ := asking("{}")
	done := make(chan error, 1)
	go func() {
		_, err := p.Call(within(t, time.Minute), req)
		done <- err
	}()
	<-started
	if err := syscall.Kill(theCell(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	err := <-done
	if !errors.Is(err, vmhost.ErrCrashed) || !strings.Contains(err.Error(), "signal 9") {
		t.Errorf("Call of a killed cell = %v, want ErrCrashed that names signal 9", err)
	}
	if took := time.Since(killed); took > 5*time.Second {
		t.Errorf("the caller heard of it after %v, want at once", took)
	}
	next, _, answer := asking("{}")
	answer()
	reply, err := p.Call(within(t, 30*time.Second), next)
	if err != nil || string(reply.Output) != "answer" {
		t.Errorf("next Call = %q, %v, want answer", reply.Output, err)
	}
}

// TestDeadlineSparesOthers: a call that does not end at its deadline takes its cell
// with it; another in the same cell is made once more, and answers.
func TestDeadlineSparesOthers(t *testing.T) {
	p := load(t, newDriver(t, binProbe, nil), probeSource("deadline"))
	var runs atomic.Int32
	innocent := vmhost.Request{Capability: "ask", Input: []byte("{}")}
	restarted := make(chan struct{})
	innocent.Host = func(ctx context.Context, _ vmhost.HostCall) ([]byte, error) {
		if runs.Add(1) == 2 {
			close(restarted)
			return nil, errors.New("seen twice") // how it ends is not the point
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	innocentDone := make(chan error, 1)
	go func() {
		_, err := p.Call(within(t, time.Minute), innocent)
		innocentDone <- err
	}()
	eventually(t, "the innocent call is in its cell", func() bool { return runs.Load() == 1 })
	before := theCell(t)

	_, err := p.Call(within(t, 300*time.Millisecond), vmhost.Request{Capability: "stuck", Input: []byte("{}")})
	if !errors.Is(err, vmhost.ErrDeadline) {
		t.Errorf("Call of the culprit = %v, want ErrDeadline", err)
	}
	<-restarted
	if err := <-innocentDone; fmt.Sprint(err) != "seen twice" {
		t.Errorf("Call of the innocent = %v, want its host function's second answer", err)
	}
	if after := theCell(t); after == before {
		t.Errorf("the cell is still process %d, want another", after)
	}
}

// TestLoopLeavesCell: an endless guest ends at its deadline through the meter, and
// its cell and the other calls in it go on.
func TestLoopLeavesCell(t *testing.T) {
	// A long grace: what is tested is that it is not needed.
	p := load(t, newDriver(t, binTars, func(o *cell.Options) { o.Grace = 20 * time.Second }), source(t, "searchloop"))
	innocent, started, _ := asking("{}")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	innocentDone := make(chan error, 1)
	go func() {
		_, err := p.Call(ctx, innocent)
		innocentDone <- err
	}()
	<-started
	before := theCell(t)
	culprit, _, answer := asking("{}")
	answer() // then it loops
	reply, err := p.Call(within(t, 300*time.Millisecond), culprit)
	if !errors.Is(err, vmhost.ErrDeadline) || reply.Usage.Fuel < 1_000_000 {
		t.Errorf("Call of an endless guest = %v after %d units of fuel, want ErrDeadline after millions", err, reply.Usage.Fuel)
	}
	select {
	case err := <-innocentDone:
		t.Errorf("the other call in the cell ended: %v", err)
	default:
	}
	if after := theCell(t); after != before {
		t.Errorf("the cell is process %d, was %d, want the same", after, before)
	}
	cancel()
	<-innocentDone
}

// TestCancelKeepsCell: a call that ends when it is cancelled leaves the cell to
// the others.
func TestCancelKeepsCell(t *testing.T) {
	// A long grace: what is tested is that it is not needed.
	d := newDriver(t, binTars, func(o *cell.Options) { o.Grace = 10 * time.Second })
	p := load(t, d, source(t, "search"))
	before := theCell(t)
	ctx, cancel := context.WithCancel(context.Background())
	req, started, _ := asking("{}")
	go func() {
		<-started
		cancel()
	}()
	if _, err := p.Call(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("Call that was cancelled = %v, want context.Canceled", err)
	}
	if after := theCell(t); after != before {
		t.Errorf("the cell is process %d, was %d, want the same", after, before)
	}
}

// TestIdle: a cell without calls ends, and the next call has another.
func TestIdle(t *testing.T) {
	d := newDriver(t, binTars, func(o *cell.Options) { o.IdleTimeout = 20 * time.Millisecond })
	p := load(t, d, source(t, "echo"))
	for range 3 {
		wantAnswer(t, p, "x")
		eventually(t, "the idle cell ends", func() bool { return d.Cells() == 0 && len(children(os.Getpid())) == 0 })
	}
}

// TestFrozenCell: a worker that has stopped costs one call its deadline.
func TestFrozenCell(t *testing.T) {
	p := load(t, newDriver(t, binTars, nil), source(t, "echo"))
	wantAnswer(t, p, "x")
	frozen := theCell(t)
	stop(t, frozen)
	_, err := p.Call(within(t, 100*time.Millisecond), request("x"))
	if !errors.Is(err, vmhost.ErrDeadline) {
		t.Errorf("Call of a frozen cell = %v, want ErrDeadline", err)
	}
	wantAnswer(t, p, "x")
	if now := theCell(t); now == frozen {
		t.Errorf("the cell is still process %d, want another", now)
	}
}

// TestMaxCells: with fewer places than programs, all programs get their turn.
func TestMaxCells(t *testing.T) {
	d := newDriver(t, binTars, func(o *cell.Options) { o.MaxCells = 2 })
	programs := make([]vmhost.Program, 5)
	for i := range programs {
		src := source(t, "echo")
		src.Account = vmhost.Account(strconv.Itoa(i))
		programs[i] = load(t, d, src)
	}
	var calls sync.WaitGroup
	for i, p := range programs {
		calls.Go(func() {
			for n := range 4 {
				input := fmt.Sprintf("%d of %d", n, i)
				reply, err := p.Call(within(t, 30*time.Second), request(input))
				if err != nil || string(reply.Output) != input {
					t.Errorf("Call(%q) = %q, %v, want its input", input, reply.Output, err)
				}
				if n := len(children(os.Getpid())); n > 2 {
					t.Errorf("%d cells, want at most 2", n)
				}
			}
		})
	}
	calls.Wait()
}

// TestBackoff: a program whose cells keep dying is kept back, and let in again.
func TestBackoff(t *testing.T) {
	p := load(t, newDriver(t, binProbe, nil), probeSource("attempts"))
	die := vmhost.Request{Capability: "panic"}
	deaths, refused := 0, 0
	for deaths < 3 || refused == 0 {
		_, err := p.Call(within(t, 30*time.Second), die)
		switch {
		case errors.Is(err, vmhost.ErrUnavailable):
			refused++
		case errors.Is(err, vmhost.ErrCrashed):
			deaths++
			if !strings.Contains(err.Error(), "exited with code 2") {
				t.Errorf("Call that panics = %v, want the exit code 2", err)
			}
		default:
			t.Fatalf("Call that panics = %v, want ErrCrashed or ErrUnavailable", err)
		}
	}
	eventually(t, "the program is let in again", func() bool {
		reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "echo", Input: []byte("x")})
		if err != nil && !errors.Is(err, vmhost.ErrUnavailable) {
			t.Fatalf("Call = %v, want ErrUnavailable until it works", err)
		}
		return string(reply.Output) == "x"
	})
}

// TestLoads: what goes wrong in a load is the module's fault or the machine's,
// and said so.
func TestLoads(t *testing.T) {
	for _, c := range []struct {
		module string
		kind   error
		words  string
	}{
		{"refused", vmhost.ErrRefused, "code section, offset 42: too much of it"},
		{"spin", vmhost.ErrRefused, "takes more than 500ms of CPU time"},
		{"eat", vmhost.ErrRefused, "more memory"},
		{"panic", vmhost.ErrRefused, "the engine died of it"},
		{"sleep", vmhost.ErrUnavailable, "longer than 2s by the clock"},
	} {
		t.Run(c.module, func(t *testing.T) {
			d := newDriver(t, binProbe, func(o *cell.Options) {
				o.LoadCPU, o.LoadTimeout = 500*time.Millisecond, 2*time.Second
				if c.module == "eat" {
					o.LoadCPU, o.LoadTimeout = time.Minute, time.Minute
				}
			})
			_, err := d.Load(context.Background(), probeSource(c.module))
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("Load = %v, want %v: %s", err, c.kind, c.words)
			}
			eventually(t, "the cell is gone", func() bool { return d.Cells() == 0 })
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		d := newDriver(t, binProbe, nil)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			eventually(t, "the load has a cell", func() bool { return d.Cells() == 1 })
			cancel()
		}()
		if _, err := d.Load(ctx, probeSource("sleep")); !errors.Is(err, context.Canceled) {
			t.Errorf("Load that was cancelled = %v, want context.Canceled", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		d := newDriver(t, binProbe, nil)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Load(context.Background(), probeSource("x")); !errors.Is(err, vmhost.ErrUnavailable) {
			t.Errorf("Load on a closed driver = %v, want ErrUnavailable", err)
		}
	})
}

// TestHostileWorker: whatever a taken-over worker puts on the wire, its calls
// get an error at once, the host lives, and the next call has a new cell.
func TestHostileWorker(t *testing.T) {
	for name, words := range map[string]string{
		"huge-frame": "header", "unknown-id": "not expected", "more-logs": "more log", "second-hi": "not expected",
		"pong": "not expected", "flood-wire": "wire protocol broken", "close-wire": "killed by signal 9",
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, newDriver(t, binProbe, nil), probeSource("attempts"))
			start := time.Now()
			_, err := p.Call(within(t, time.Minute), vmhost.Request{Capability: name})
			if !errors.Is(err, vmhost.ErrCrashed) || !strings.Contains(err.Error(), words) {
				t.Errorf("Call = %v, want ErrCrashed with %q", err, words)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("Call took %v, want less than its deadline", took)
			}
			reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "echo", Input: []byte("x")})
			if err != nil || string(reply.Output) != "x" {
				t.Errorf("next Call = %q, %v, want x", reply.Output, err)
			}
		})
	}
}

// TestFalseUsage: what a worker says that it used is held to what can be.
func TestFalseUsage(t *testing.T) {
	p := load(t, newDriver(t, binProbe, nil), probeSource("attempts"))
	reply, err := p.Call(within(t, 30*time.Second), vmhost.Request{Capability: "false-usage"})
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	u, most := reply.Usage, limits().WithDefaults()
	if u.VM < 0 || u.VM > time.Minute || u.CPU != u.VM || u.PeakMemory != most.Memory+most.Tables || u.HostCalls != limits().HostCalls || u.LogsDropped != 0 {
		t.Errorf("Usage = %+v, want each figure within its limit", u)
	}
	if u.Tier != vmhost.TierProcess || !strings.HasPrefix(u.Grade, "jail") {
		t.Errorf("Usage = %+v, want tier process and a jail's grade", u)
	}
}

// TestNewFails: a driver that cannot be says why.
func TestNewFails(t *testing.T) {
	notForAll := filepath.Join(t.TempDir(), "tars")
	b, err := os.ReadFile(filepath.Join(binaries, binTars))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notForAll, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts  cell.Options
		words string
	}{
		"no binary":        {cell.Options{Executable: filepath.Join(t.TempDir(), "none")}, "no such file"},
		"not executable":   {cell.Options{Executable: notForAll}, "chmod 0755"},
		"another program":  {cell.Options{Executable: "/bin/true"}, "the cell died"},
		"no such cgroup":   {cell.Options{Executable: filepath.Join(binaries, binTars), CgroupRoot: t.TempDir()}, "cgroup"},
		"a floor too high": {cell.Options{Executable: filepath.Join(binaries, binTars), MinGrade: cell.GradeJailCgroup + 1}, "demanded"},
	} {
		d, err := cell.New(c.opts)
		if !errors.Is(err, vmhost.ErrUnavailable) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("New with %s = %v, want ErrUnavailable with %q", name, err, c.words)
		}
		if err == nil {
			_ = d.Close()
		}
	}
	if _, err := cell.New(cell.Options{Executable: filepath.Join(binaries, binTars), Grace: -1}); err == nil {
		t.Error("New with a negative grace succeeded")
	}
}

// TestLongAnswersAreApart: what the host answers to one call never comes to stand in
// the answer to another, though the cell uses the memory of long ones again.
func TestLongAnswersAreApart(t *testing.T) {
	src := source(t, "search")
	src.Limits.Output = 1 << 20
	p := load(t, newDriver(t, binTars, nil), src)
	var callers sync.WaitGroup
	for caller := range 6 {
		callers.Go(func() {
			for round := range 40 {
				want := strings.Repeat(string(rune('a'+caller))+strconv.Itoa(round), 280<<10/2)
				req := request("{}")
				req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return []byte(want), nil }
				reply, err := p.Call(within(t, 30*time.Second), req)
				if err != nil || string(reply.Output) != want {
					t.Errorf("caller %d, round %d: Call = %d bytes, %v, want the %d that its host answered", caller, round, len(reply.Output), err, len(want))
					return
				}
			}
		})
	}
	callers.Wait()
}
