package vmhosttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// Harness is how the suite gets at a driver.
type Harness struct {
	// New returns a driver without programs. The suite closes it, through
	// its host. A driver whose machine has to be built first builds it here,
	// once.
	New func(t testing.TB) vmhost.Driver
	// Module returns the guest of a name in the driver's form; nil means
	// [ExactGuest]. A driver whose programs are Go functions has its own, and
	// is spared the tests of what lies in a guest's memory and of modules
	// made by compilers.
	Module func(t testing.TB, name string) []byte
}

// native reports whether the driver's programs are Go functions.
func (h Harness) native() bool { return h.Module != nil }

// Run tests that a driver, under a [vmhost.Host], keeps the contract.
func Run(t *testing.T, h Harness) {
	t.Run("calls", func(t *testing.T) { testCalls(t, h) })
	t.Run("limits", func(t *testing.T) { testLimits(t, h) })
	t.Run("budgets", func(t *testing.T) { testBudgets(t, h) })
	t.Run("ends", func(t *testing.T) { testEnds(t, h) })
	t.Run("host functions", func(t *testing.T) { testHostFunctions(t, h) })
	if h.native() {
		return
	}
	t.Run("loads", func(t *testing.T) { testLoads(t, h) })
	t.Run("results", func(t *testing.T) { testResults(t, h) })
	t.Run("breaches", func(t *testing.T) { testBreaches(t, h) })
	t.Run("compiled guests", func(t *testing.T) { testCompiled(t, h) })
	t.Run("canaries", func(t *testing.T) { testCanaries(t, h) })
}

// limits are those of the suite's guests. The wall-clock limit is long enough
// for a busy machine; tests of it set their own.
func limits() vmhost.Limits {
	return vmhost.Limits{
		Wall:      30 * time.Second,
		Memory:    4 << 20,
		Input:     64 << 10,
		Output:    64 << 10,
		Logs:      8 << 10,
		HostCalls: 4,
	}
}

// allGrants are the grants of the suite's guests, unless a test is about them.
func allGrants() vmhost.Grants {
	return vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true, Clock: true}
}

// host returns a host on a new driver, which is closed with the test.
func (h Harness) host(t testing.TB) *vmhost.Host {
	t.Helper()
	most := limits()
	most.Memory = 256 << 20
	most.Output = 8 << 20
	most.Input = 8 << 20
	most.Wall = time.Minute
	host, err := vmhost.New(h.New(t), vmhost.Options{Slots: 32, MaxLimits: most})
	if err != nil {
		t.Fatalf("vmhost.New: %v", err)
	}
	t.Cleanup(func() {
		if err := host.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return host
}

// source returns a program with the suite's limits and grants.
func (h Harness) source(t testing.TB, name string) vmhost.Source {
	t.Helper()
	module := h.Module
	if module == nil {
		module = ExactGuest
	}
	return sourceOf(module(t, name))
}

func sourceOf(module []byte) vmhost.Source {
	return vmhost.Source{
		Account: "suite",
		Module:  module,
		Digest:  vmhost.DigestOf(module),
		Limits:  limits(),
		Grants:  allGrants(),
	}
}

// load loads a guest on a host of its own; change, if not nil, alters its source
// first.
func (h Harness) load(t testing.TB, name string, change func(*vmhost.Source)) *vmhost.Guest {
	t.Helper()
	src := h.source(t, name)
	if change != nil {
		change(&src)
	}
	return load(t, h.host(t), src)
}

func load(t testing.TB, host *vmhost.Host, src vmhost.Source) *vmhost.Guest {
	t.Helper()
	guest, err := host.Load(t.Context(), src)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return guest
}

// request is a call with an input.
func request(input string) vmhost.Request {
	return vmhost.Request{Capability: "rank", Input: []byte(input)}
}

// wantOutput calls a guest and checks what it answers.
func wantOutput(t testing.TB, g *vmhost.Guest, req vmhost.Request, want string) vmhost.Reply {
	t.Helper()
	reply, err := g.Call(t.Context(), req)
	if err != nil || string(reply.Output) != want {
		t.Errorf("Call(%.40q) = %.80q, %v, want %.80q", req.Input, reply.Output, err, want)
	}
	return reply
}

// wantKind calls a guest and checks what kind of error it gives: that one, and
// no other.
func wantKind(t testing.TB, g *vmhost.Guest, req vmhost.Request, want error) vmhost.Reply {
	t.Helper()
	reply, err := g.Call(t.Context(), req)
	checkKind(t, err, want)
	if len(reply.Output) > 0 {
		t.Errorf("Call(%.40q) gave the output %.40q with its error", req.Input, reply.Output)
	}
	return reply
}

// checkKind checks that an error is of one kind and of no other.
func checkKind(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("Call error = %v, want %v", err, want)
	}
	for _, other := range []error{
		vmhost.ErrRefused, vmhost.ErrTrapped, vmhost.ErrDeadline, vmhost.ErrMemory, vmhost.ErrOutput,
		vmhost.ErrInput, vmhost.ErrCrashed, vmhost.ErrBusy, vmhost.ErrUnavailable,
		context.Canceled, context.DeadlineExceeded,
	} {
		if !errors.Is(want, other) && errors.Is(err, other) {
			t.Errorf("Call error = %v, want %v and not also %v", err, want, other)
		}
	}
}
