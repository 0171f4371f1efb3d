package vmhost_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func limits() vmhost.Limits {
	return vmhost.Limits{Wall: 10 * time.Second, Memory: 1 << 20, Input: 100, Output: 100, Logs: 200, HostCalls: 2}
}

// newHost returns a host that is closed with the test.
func newHost(t *testing.T, d vmhost.Driver, opts vmhost.Options) *vmhost.Host {
	t.Helper()
	opts.MaxLimits = limits()
	host, err := vmhost.New(d, opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return host
}

func loadGuest(t *testing.T, host *vmhost.Host, account vmhost.Account) *vmhost.Guest {
	t.Helper()
	module := fakevm.Module("f")
	guest, err := host.Load(t.Context(), vmhost.Source{
		Account: account, Module: module, Digest: vmhost.DigestOf(module), Limits: limits(), Grants: vmhost.Grants{Log: true, Search: true},
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return guest
}

// hasty is a driver whose machine's clock is ahead: it ends every call at once for
// its deadline.
type hasty struct{ vmhost.Driver }

func (hasty) Load(context.Context, vmhost.Source) (vmhost.Program, error) { return hastyProgram{}, nil }

type hastyProgram struct{}

func (hastyProgram) Close() error { return nil }

func (hastyProgram) Call(context.Context, vmhost.Request) (vmhost.Reply, error) {
	return vmhost.Reply{}, vmhost.ErrDeadline
}

// TestWhoseDeadline: a machine that is the first to see a deadline does not know
// whose it was: the caller's is told as the caller's, the guest's limit as a budget.
func TestWhoseDeadline(t *testing.T) {
	guest := loadGuest(t, newHost(t, hasty{fakevm.New(nil)}, vmhost.Options{Slots: 1}), "a")
	for _, c := range []struct {
		name     string
		deadline time.Duration
		want     error
	}{
		{"the caller's", limits().Wall / 2, context.DeadlineExceeded},
		{"the guest's", limits().Wall * 2, vmhost.ErrDeadline},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
		_, err := guest.Call(ctx, request("x"))
		cancel()
		other := context.DeadlineExceeded
		if c.want == other {
			other = vmhost.ErrDeadline
		}
		if !errors.Is(err, c.want) || errors.Is(err, other) {
			t.Errorf("%s: Call = %v, want %v alone", c.name, err, c.want)
		}
	}
}

func request(input string) vmhost.Request {
	return vmhost.Request{Capability: "rank", Input: []byte(input)}
}

func TestNewOptions(t *testing.T) {
	for name, opts := range map[string]vmhost.Options{
		"no slots":  {MaxLimits: limits()},
		"no limits": {Slots: 1},
	} {
		if _, err := vmhost.New(fakevm.New(nil), opts); err == nil {
			t.Errorf("New with %s succeeded", name)
		}
	}
}

// TestFairness: one account floods the node; another's call comes next.
func TestFairness(t *testing.T) {
	var order []string
	started, proceed := make(chan struct{}), make(chan struct{})
	driver := fakevm.New(map[string]fakevm.Func{"f": func(_ context.Context, c *fakevm.Call) ([]byte, error) {
		if string(c.Input) == "first" {
			close(started)
			<-proceed
		}
		order = append(order, string(c.Input)) // one slot: one at a time
		return nil, nil
	}})
	host := newHost(t, driver, vmhost.Options{Slots: 1})
	flood, quiet := loadGuest(t, host, "flood"), loadGuest(t, host, "quiet")
	var group sync.WaitGroup
	call := func(g *vmhost.Guest, input string) {
		group.Go(func() {
			reply, err := g.Call(t.Context(), request(input))
			if err != nil || (input != "first" && reply.Usage.Queue <= 0) {
				t.Errorf("Call(%s): queued %v, %v, want a wait and no error", input, reply.Usage.Queue, err)
			}
		})
	}
	call(flood, "first")
	<-started
	for range 50 {
		call(flood, "flood")
	}
	waitFor(t, func() bool { return vmhost.Waiting(host, "flood") == 50 })
	call(quiet, "quiet")
	waitFor(t, func() bool { return vmhost.Waiting(host, "quiet") == 1 })
	close(proceed)
	group.Wait()
	if got := strings.Join(order[:3], " "); got != "first quiet flood" || len(order) != 52 {
		t.Errorf("%d calls, at first %s, want 52, at first: first quiet flood", len(order), got)
	}
}

// waitFor waits for a condition that another goroutine is about to make true.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal("waited 10 s in vain")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestBusy: waiting for a slot ends in ErrBusy.
func TestBusy(t *testing.T) {
	started := make(chan struct{})
	driver := fakevm.New(map[string]fakevm.Func{"f": func(ctx context.Context, _ *fakevm.Call) ([]byte, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	host := newHost(t, driver, vmhost.Options{Slots: 1, QueueWait: 20 * time.Millisecond})
	g := loadGuest(t, host, "a")
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := g.Call(ctx, request("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("Call that is cancelled: %v, want context.Canceled", err)
		}
	})
	<-started
	reply, err := g.Call(t.Context(), request("x"))
	if !errors.Is(err, vmhost.ErrBusy) || reply.Usage.Queue < 20*time.Millisecond {
		t.Errorf("Call on a busy node: queued %v, %v, want ErrBusy after 20ms", reply.Usage.Queue, err)
	}
	cancel()
	group.Wait()
}

// liar is a machine that was taken over: it answers calls as it likes.
type liar struct {
	vmhost.Driver
	call func(ctx context.Context, req vmhost.Request) (vmhost.Reply, error)
}

func (l liar) Load(context.Context, vmhost.Source) (vmhost.Program, error) { return l, nil }
func (l liar) Close() error                                                { return nil }
func (l liar) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	return l.call(ctx, req)
}

// TestHostBelievesNothing: what comes back from a machine is held to the limits
// once more.
func TestHostBelievesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply vmhost.Reply
		err   error
		want  error // kind
	}{
		{"output over the cap", vmhost.Reply{Output: make([]byte, 101)}, nil, vmhost.ErrOutput},
		{"output that is not UTF-8", vmhost.Reply{Output: []byte{0xff}}, nil, vmhost.ErrOutput},
		{"error of no kind", vmhost.Reply{}, errors.New("hello"), vmhost.ErrCrashed},
		{"a cancellation that was none", vmhost.Reply{}, context.Canceled, vmhost.ErrCrashed},
		{"a deadline that was none", vmhost.Reply{}, context.DeadlineExceeded, vmhost.ErrCrashed},
		{"a trap", vmhost.Reply{Output: []byte("and an output")}, fmt.Errorf("%w: x", vmhost.ErrTrapped), vmhost.ErrTrapped},
		{"out of memory", vmhost.Reply{}, vmhost.ErrMemory, vmhost.ErrMemory},
		{"a deadline of its own", vmhost.Reply{}, vmhost.ErrDeadline, vmhost.ErrDeadline},
		{"a budget that is the host's", vmhost.Reply{}, &vmhost.BudgetError{Budget: vmhost.BudgetAccountMemory, Used: 2, Allowed: 1}, vmhost.ErrCrashed},
		{"a budget that nobody has", vmhost.Reply{}, &vmhost.BudgetError{Budget: "patience", Used: 2, Allowed: 1}, vmhost.ErrCrashed},
		{"more fuel than allowed, and an output", vmhost.Reply{Output: []byte("x"), Usage: vmhost.Usage{Fuel: 1 << 60}}, nil, vmhost.ErrFuel},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := loadGuest(t, newHost(t, liar{call: func(context.Context, vmhost.Request) (vmhost.Reply, error) { return c.reply, c.err }}, vmhost.Options{Slots: 1}), "a")
			reply, err := g.Call(t.Context(), request("x"))
			if !errors.Is(err, c.want) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || reply.Output != nil {
				t.Errorf("Call = %q, %v, want no output and %v", reply.Output, err, c.want)
			}
		})
	}
}

func TestHostBoundsErrorsAndLogs(t *testing.T) {
	bad := vmhost.Reply{Usage: vmhost.Usage{HostCalls: 99, LogsDropped: -5}}
	for range 100 {
		bad.Logs = append(bad.Logs, vmhost.Log{Level: -7, Text: "\xff" + strings.Repeat("x", 20)})
	}
	long := &vmhost.GuestError{Code: strings.Repeat("c", 1000), Message: "\xff" + strings.Repeat("m", 10_000)}
	g := loadGuest(t, newHost(t, liar{call: func(context.Context, vmhost.Request) (vmhost.Reply, error) { return bad, long }}, vmhost.Options{Slots: 1}), "a")
	reply, err := g.Call(t.Context(), request("x"))
	var refusal *vmhost.GuestError
	if !errors.As(err, &refusal) || len(refusal.Code) != vmhost.MaxErrorCode || len(refusal.Message) > vmhost.MaxErrorMessage || !strings.HasPrefix(refusal.Message, "\uFFFDmm") {
		t.Errorf("Call error = %.100v, want it cut and made UTF-8", err)
	}
	if len(reply.Logs) != 3 || reply.Logs[0].Level != 0 || !strings.HasPrefix(reply.Logs[0].Text, "\uFFFDxx") {
		t.Errorf("Logs = %v, want 3 of level 0 in UTF-8", reply.Logs)
	}
	if u := reply.Usage; u.LogsDropped != 97 || u.HostCalls != 0 {
		t.Errorf("Usage = %+v, want 97 messages dropped and no host call", u)
	}
}

// TestHostCallsAreGuarded: a machine that was taken over gets no more from the
// host than its guest could.
func TestHostCallsAreGuarded(t *testing.T) {
	var served, atOnce atomic.Int32
	answer := func(context.Context, vmhost.HostCall) ([]byte, error) {
		if atOnce.Add(1) > 1 {
			t.Error("two host calls at once")
		}
		defer atOnce.Add(-1)
		served.Add(1)
		return nil, nil
	}
	var kept vmhost.HostFunc
	driver := liar{call: func(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
		kept = req.Host
		for _, c := range []vmhost.HostCall{
			{Func: "vectors"},
			{Func: "log"},
			{Func: "drop"},
			{Func: "search", Text: strings.Repeat("x", 101)},
			{Func: "search", Text: "\xff"},
		} {
			var refusal *vmhost.GuestError
			if _, err := req.Host(ctx, c); !errors.As(err, &refusal) || refusal.Code != vmhost.CodeInvalid {
				t.Errorf("host call %.20v: %v, want a refusal", c, err)
			}
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { _, _ = req.Host(ctx, vmhost.HostCall{Func: "search"}) })
		}
		group.Wait()
		return vmhost.Reply{}, nil
	}}
	g := loadGuest(t, newHost(t, driver, vmhost.Options{Slots: 1}), "a")
	req := request("x")
	req.Host = answer
	reply, err := g.Call(t.Context(), req)
	if err != nil || served.Load() != 2 || reply.Usage.HostCalls != 2 {
		t.Errorf("8 searches at once: %d served, %d counted, %v, want 2", served.Load(), reply.Usage.HostCalls, err)
	}
	if _, err := kept(t.Context(), vmhost.HostCall{Func: "search"}); err == nil || served.Load() != 2 {
		t.Errorf("host call after the call: %v, %d served, want an error and 2", err, served.Load())
	}
}

// TestHostErrorWins: a machine cannot hide that the host failed.
func TestHostErrorWins(t *testing.T) {
	broken := errors.New("database gone")
	driver := liar{call: func(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
		_, _ = req.Host(ctx, vmhost.HostCall{Func: "search"})
		return vmhost.Reply{Output: []byte("all is well")}, nil
	}}
	g := loadGuest(t, newHost(t, driver, vmhost.Options{Slots: 1}), "a")
	req := request("x")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return nil, broken }
	if reply, err := g.Call(t.Context(), req); !errors.Is(err, broken) || reply.Output != nil {
		t.Errorf("Call = %q, %v, want %v", reply.Output, err, broken)
	}
}

// TestHostDrains: Close waits for calls under way while it may.
func TestHostDrains(t *testing.T) {
	started, proceed := make(chan struct{}), make(chan struct{})
	driver := fakevm.New(map[string]fakevm.Func{"f": func(context.Context, *fakevm.Call) ([]byte, error) {
		close(started)
		<-proceed
		return []byte("done"), nil
	}})
	host := newHost(t, driver, vmhost.Options{Slots: 1, QueueWait: time.Millisecond})
	g := loadGuest(t, host, "a")
	var group sync.WaitGroup
	group.Go(func() {
		if reply, err := g.Call(t.Context(), request("x")); string(reply.Output) != "done" || err != nil {
			t.Errorf("Call = %q, %v, want done", reply.Output, err)
		}
	})
	<-started
	group.Go(func() {
		if err := host.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	waitFor(t, func() bool {
		_, err := g.Call(t.Context(), request("x"))
		return errors.Is(err, vmhost.ErrUnavailable)
	})
	close(proceed)
	group.Wait()
}
