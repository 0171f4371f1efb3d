package vmhosttest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// testBudgets: a call that uses up a budget ends with an error that names it, with
// what it used and what it was allowed, and the next call is served.
func testBudgets(t *testing.T, h Harness) {
	t.Run("wall", func(t *testing.T) {
		const wall = 100 * time.Millisecond
		g := h.load(t, "loop", func(s *vmhost.Source) { s.Limits.Wall = wall })
		_, err := g.Call(t.Context(), request("!"))
		wantBudget(t, err, vmhost.BudgetWall, wall.Microseconds(), vmhost.ErrDeadline)
	})
	t.Run("output", func(t *testing.T) {
		g := h.load(t, "flood", nil)
		_, err := g.Call(t.Context(), request("!"))
		if used := wantBudget(t, err, vmhost.BudgetOutput, limits().Output, vmhost.ErrOutput); used != 1<<20 {
			t.Errorf("output used = %d, want %d", used, 1<<20)
		}
	})
	t.Run("input", func(t *testing.T) {
		g := h.load(t, "echo", nil)
		_, err := g.Call(t.Context(), request(strings.Repeat("a", int(limits().Input)+5)))
		if used := wantBudget(t, err, vmhost.BudgetInput, limits().Input, vmhost.ErrInput); used != limits().Input+5 {
			t.Errorf("input used = %d, want %d", used, limits().Input+5)
		}
	})
	t.Run("account's memory", func(t *testing.T) {
		src := h.source(t, "echo")
		src.AccountMemory = src.Limits.WithDefaults().Reservation() - 1
		_, err := h.host(t).Load(t.Context(), src)
		wantBudget(t, err, vmhost.BudgetAccountMemory, src.AccountMemory, vmhost.ErrRefused)
	})
	t.Run("host calls", func(t *testing.T) {
		g := h.load(t, "searches", nil)
		_, err := g.Call(t.Context(), answered("{}"))
		wantBudget(t, err, vmhost.BudgetHostCalls, int64(limits().HostCalls), vmhost.ErrHostBudget)
	})
	t.Run("host bytes", func(t *testing.T) { testHostBytes(t, h) })
	t.Run("host time", func(t *testing.T) { testHostTime(t, h) })
	if h.native() {
		return
	}
	t.Run("memory", func(t *testing.T) {
		g := h.load(t, "hog", nil)
		reply, err := g.Call(t.Context(), request("!"))
		if used := wantBudget(t, err, vmhost.BudgetMemory, limits().Memory, vmhost.ErrMemory); used != limits().Memory+vmhost.PageSize {
			t.Errorf("memory used = %d, want a page more than %d", used, limits().Memory)
		}
		if reply.Usage.PeakMemory != limits().Memory {
			t.Errorf("PeakMemory = %d, want %d", reply.Usage.PeakMemory, limits().Memory)
		}
		wantOutput(t, g, request("next"), "next")
	})
	t.Run("fuel", func(t *testing.T) { testFuel(t, h) })
	t.Run("CPU", func(t *testing.T) { testCPU(t, h) })
}

// wantBudget checks that an error names a budget of so much, in figures that make
// sense, and is of its kind and no other. It returns what was used.
func wantBudget(t *testing.T, err error, budget vmhost.Budget, allowed int64, kind error) (used int64) {
	t.Helper()
	var got *vmhost.BudgetError
	if !errors.As(err, &got) || got.Budget != budget || got.Allowed != allowed || got.Used < allowed {
		t.Fatalf("error = %#v, %v, want %s with %d allowed and no less used", got, err, budget, allowed)
	}
	kinds := []error{
		vmhost.ErrRefused, vmhost.ErrTrapped, vmhost.ErrDeadline, vmhost.ErrCPU, vmhost.ErrFuel, vmhost.ErrHostBudget, vmhost.ErrMemory,
		vmhost.ErrOutput, vmhost.ErrInput, vmhost.ErrCrashed, vmhost.ErrBusy, vmhost.ErrUnavailable,
	}
	for _, k := range kinds {
		if errors.Is(err, k) != errors.Is(kind, k) {
			t.Errorf("errors.Is(%v, %v) = %v, want the kind %v alone", err, k, errors.Is(err, k), kind)
		}
	}
	return got.Used
}

// answered is a request whose host calls are all answered with the same.
func answered(answer string) vmhost.Request {
	req := request("{}")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return []byte(answer), nil }
	return req
}

// testHostBytes: arguments and answers count; the answer that is too much does not
// reach the guest, nor does anything after it.
func testHostBytes(t *testing.T, h Harness) {
	const allowed = 2500 // two answers of 1,000 with their arguments fit
	g := h.load(t, "searches", func(s *vmhost.Source) { s.Limits.HostBytes = allowed })
	asked := 0
	req := request("{}")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
		asked++
		return []byte(strings.Repeat("x", 1000)), nil
	}
	reply, err := g.Call(t.Context(), req)
	wantBudget(t, err, vmhost.BudgetHostBytes, allowed, vmhost.ErrHostBudget)
	checkRefusal(t, err, vmhost.CodeOverBudget)
	if u := reply.Usage; asked != 3 || u.HostCalls != 3 || u.HostBytes != 3*1002 {
		t.Errorf("%d calls reached the host, Usage = %d calls, %d bytes, want 3 and %d", asked, u.HostCalls, u.HostBytes, 3*1002)
	}
	reply = wantOutput(t, h.load(t, "search", nil), answered("{...}"), "{...}")
	if got := reply.Usage.HostBytes; got != 7 {
		t.Errorf("HostBytes = %d, want 7: the argument and the answer", got)
	}
}

// testHostTime: a host call ends when the time for all of them is over, and the
// guest hears why.
func testHostTime(t *testing.T, h Harness) {
	const allowed = 50 * time.Millisecond
	g := h.load(t, "search", func(s *vmhost.Source) { s.Limits.HostTime = allowed })
	req := request("{}")
	req.Host = func(ctx context.Context, _ vmhost.HostCall) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	reply, err := g.Call(t.Context(), req)
	wantBudget(t, err, vmhost.BudgetHostTime, allowed.Microseconds(), vmhost.ErrHostBudget)
	if u := reply.Usage; u.HostTime < allowed {
		t.Errorf("HostTime = %v, want at least %v", u.HostTime, allowed)
	}
	wantOutput(t, g, answered("{}"), "{}")
}

// testFuel: a limit of what a call costs lets it through, one less does not, and
// what was used is told to the unit.
func testFuel(t *testing.T, h Harness) {
	need := wantOutput(t, h.load(t, "echo", nil), request("hello"), "hello").Usage.Fuel
	with := func(fuel int64) *vmhost.Guest {
		return h.load(t, "echo", func(s *vmhost.Source) { s.Limits.Fuel = fuel })
	}
	if got := wantOutput(t, with(need), request("hello"), "hello").Usage.Fuel; got != need {
		t.Errorf("Fuel = %d with a limit of as much, want %d", got, need)
	}
	reply, err := with(need-1).Call(t.Context(), request("hello"))
	if used := wantBudget(t, err, vmhost.BudgetFuel, need-1, vmhost.ErrFuel); used != need || reply.Usage.Fuel != need {
		t.Errorf("with a limit of one less: %d in the error, %d in the usage, want %d", used, reply.Usage.Fuel, need)
	}

	const allowed, stretch = 12_345_678, 100 // far more than one way through the loop costs
	loop := h.load(t, "loop", func(s *vmhost.Source) { s.Limits.Fuel = allowed })
	reply, err = loop.Call(t.Context(), request("!"))
	used := wantBudget(t, err, vmhost.BudgetFuel, allowed, vmhost.ErrFuel)
	if used > allowed+stretch || reply.Usage.Fuel != used {
		t.Errorf("an endless loop used %d (%d in the usage), want at most %d", used, reply.Usage.Fuel, allowed+stretch)
	}
	again, _ := loop.Call(t.Context(), request("!"))
	if again.Usage.Fuel != used {
		t.Errorf("the same call again used %d, want %d", again.Usage.Fuel, used)
	}
	wantOutput(t, loop, request("next"), "next")
}

// testCPU: a guest that computes is ended by its processor time; one that waits
// uses none.
func testCPU(t *testing.T, h Harness) {
	const allowed = 50 * time.Millisecond
	g := h.load(t, "loop", func(s *vmhost.Source) { s.Limits.CPU = allowed })
	reply, err := g.Call(t.Context(), request("!"))
	wantBudget(t, err, vmhost.BudgetCPU, allowed.Microseconds(), vmhost.ErrCPU)
	if u := reply.Usage; u.CPU <= allowed || u.CPU > u.VM {
		t.Errorf("CPU = %v of %v, want more than %v and no more than that", u.CPU, u.VM, allowed)
	}
	wantOutput(t, g, request("next"), "next")

	const wait = 200 * time.Millisecond
	req := request("{}")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
		time.Sleep(wait)
		return []byte("{}"), nil
	}
	reply = wantOutput(t, h.load(t, "search", func(s *vmhost.Source) { s.Limits.CPU = wait }), req, "{}")
	if u := reply.Usage; u.CPU <= 0 || u.CPU >= u.VM-wait/2 || u.HostTime < wait {
		t.Errorf("CPU = %v of %v, of which %v in a host call, want little of it", u.CPU, u.VM, u.HostTime)
	}
}
