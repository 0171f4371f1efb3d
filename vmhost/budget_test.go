package vmhost_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// TestHostCorrectsBudgets: of what a machine says of a budget, the host takes only
// that it was used up; the figures are its own or within what it knows.
func TestHostCorrectsBudgets(t *testing.T) {
	full := limits().WithDefaults()
	for _, c := range []struct {
		name    string
		said    vmhost.BudgetError
		usage   vmhost.Usage
		allowed int64
		used    int64
	}{
		{"fuel", vmhost.BudgetError{Budget: vmhost.BudgetFuel, Used: full.Fuel + 7, Allowed: 3}, vmhost.Usage{}, full.Fuel, full.Fuel + 7},
		{"fuel that was not used up", vmhost.BudgetError{Budget: vmhost.BudgetFuel, Used: -1, Allowed: -2}, vmhost.Usage{}, full.Fuel, full.Fuel + 1},
		{"memory", vmhost.BudgetError{Budget: vmhost.BudgetMemory, Used: math.MaxInt64}, vmhost.Usage{}, full.Memory, math.MaxInt64},
		{"CPU of more than passed", vmhost.BudgetError{Budget: vmhost.BudgetCPU, Used: math.MaxInt64}, vmhost.Usage{VM: time.Second}, full.CPU.Microseconds(), full.CPU.Microseconds() + 1},
		{"output", vmhost.BudgetError{Budget: vmhost.BudgetOutput, Used: 101}, vmhost.Usage{}, 100, 101},
	} {
		g := loadGuest(t, newHost(t, liar{call: func(context.Context, vmhost.Request) (vmhost.Reply, error) {
			return vmhost.Reply{Usage: c.usage}, &c.said
		}}, vmhost.Options{Slots: 1}), "a")
		_, err := g.Call(t.Context(), request("x"))
		var got *vmhost.BudgetError
		if want := (vmhost.BudgetError{Budget: c.said.Budget, Used: c.used, Allowed: c.allowed}); !errors.As(err, &got) || *got != want {
			t.Errorf("%s: Call = %v, want %+v", c.name, err, want)
		}
	}
}

// TestOverBudgetIsNotBelieved: a guest that hands on the word of a budget has one
// only if it used one up.
func TestOverBudgetIsNotBelieved(t *testing.T) {
	word := &vmhost.GuestError{Code: vmhost.CodeOverBudget, Message: "it says"}
	for calls, spent := range map[int]bool{0: false, 1: false, 2: true, 3: true} {
		g := loadGuest(t, newHost(t, liar{call: func(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
			for range calls {
				_, _ = req.Host(ctx, vmhost.HostCall{Func: "search"})
			}
			return vmhost.Reply{}, word
		}}, vmhost.Options{Slots: 1}), "a")
		req := request("x")
		req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return nil, nil }
		_, err := g.Call(t.Context(), req)
		var guest *vmhost.GuestError
		if !errors.As(err, &guest) || *guest != *word || errors.Is(err, vmhost.ErrHostBudget) != spent {
			t.Errorf("Call after %d of 2 host calls = %v, want the guest's error, and ErrHostBudget: %v", calls, err, spent)
		}
	}
}

// TestNodeMemory: calls that do not fit into the node's memory beside each other,
// and beside what idle machines keep, wait, whoever's they are.
func TestNodeMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := limits().WithDefaults().Reservation()
		driver := &keeper{Driver: fakevm.New(map[string]fakevm.Func{"f": func(context.Context, *fakevm.Call) ([]byte, error) {
			time.Sleep(time.Second)
			return nil, nil
		}})}
		host := newHost(t, driver, vmhost.Options{Slots: 10, Memory: 3 * call})
		rounds := func(calls int) time.Duration {
			start := time.Now()
			var group sync.WaitGroup
			for i := range calls {
				guest := loadGuest(t, host, vmhost.Account(rune('a'+i)))
				group.Go(func() {
					if _, err := guest.Call(t.Context(), request("x")); err != nil {
						t.Errorf("Call: %v", err)
					}
				})
			}
			group.Wait()
			return time.Since(start) / time.Second
		}
		if got := rounds(7); got != 3 {
			t.Errorf("7 calls of a second, of which 3 fit, took %d s, want 3", got)
		}
		driver.keeps.Store(call)
		if got := rounds(6); got != 3 {
			t.Errorf("6 calls of a second, of which 2 fit beside what machines keep, took %d s, want 3", got)
		}
		driver.keeps.Store(1 << 50)
		if got := rounds(2); got != 2 {
			t.Errorf("2 calls on a node that is full took %d s, want 2: one at a time", got)
		}
		if got := vmhost.Reserved(host); got != 0 {
			t.Errorf("%d bytes are reserved when all is over, want none", got)
		}
	})
	small := newHost(t, fakevm.New(nil), vmhost.Options{Slots: 1, Memory: 1 << 20})
	module := fakevm.Module("f")
	_, err := small.Load(t.Context(), vmhost.Source{Module: module, Digest: vmhost.DigestOf(module), Limits: limits()})
	var spent *vmhost.BudgetError
	if !errors.As(err, &spent) || spent.Budget != vmhost.BudgetNodeMemory || !spent.Never || !errors.Is(err, vmhost.ErrRefused) {
		t.Errorf("Load of a program of which no call fits = %v, want ErrRefused and the node's memory", err)
	}
}

// keeper is a driver whose machines keep memory.
type keeper struct {
	vmhost.Driver
	keeps atomic.Int64
}

func (k *keeper) Resident() int64 { return k.keeps.Load() }

// moody is a program that does what each call's input says.
type moody struct{}

func (moody) Close() error { return nil }

func (moody) Ready(ctx context.Context) error {
	if ctx.Value(moodKey{}) == "not ready" {
		return vmhost.ErrUnavailable
	}
	return nil
}

type moodKey struct{}

func (moody) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	time.Sleep(time.Duration(len(req.Input)) * time.Millisecond)
	switch ctx.Value(moodKey{}) {
	case "trap":
		return vmhost.Reply{}, vmhost.ErrTrapped
	case "crash":
		return vmhost.Reply{}, errors.New("of no kind")
	case "fuel":
		return vmhost.Reply{}, &vmhost.BudgetError{Budget: vmhost.BudgetFuel}
	case "hang":
		<-ctx.Done()
		return vmhost.Reply{}, ctx.Err()
	case "output":
		return vmhost.Reply{Output: make([]byte, 1<<20)}, nil
	}
	return vmhost.Reply{}, nil
}

type moods struct{ vmhost.Driver }

func (moods) Load(context.Context, vmhost.Source) (vmhost.Program, error) { return moody{}, nil }
func (moods) Close() error                                                { return nil }

// TestNothingStaysReserved: however calls end, and whenever their callers give up,
// neither a slot nor memory is lost, and no more is reserved than there is.
func TestNothingStaysReserved(t *testing.T) {
	call := limits().WithDefaults().Reservation()
	endings := []string{"", "trap", "crash", "fuel", "hang", "output", "not ready"}
	rapid.Check(t, func(rt *rapid.T) {
		type plan struct {
			account, ending    string
			at, patience, long int
			share              int64
		}
		plans := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) plan {
			return plan{
				account: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "account"), ending: rapid.SampledFrom(endings).Draw(rt, "ending"),
				at: rapid.IntRange(0, 50).Draw(rt, "at"), patience: rapid.IntRange(0, 100).Draw(rt, "patience"), long: rapid.IntRange(1, 40).Draw(rt, "long"),
				share: rapid.Int64Range(0, 4).Draw(rt, "share"),
			}
		}), 1, 30).Draw(rt, "calls")
		synctest.Test(t, func(t *testing.T) {
			host := newHost(t, moods{}, vmhost.Options{Slots: 3, Queue: 5, Memory: 2*call + 1, QueueWait: 60 * time.Millisecond})
			guests := map[string]*vmhost.Guest{}
			for _, account := range []string{"a", "b", "c"} {
				guests[account] = loadGuest(t, host, vmhost.Account(account))
			}
			var group sync.WaitGroup
			for _, p := range plans {
				group.Go(func() {
					time.Sleep(time.Duration(p.at) * time.Millisecond)
					ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), moodKey{}, p.ending), time.Duration(p.patience)*time.Millisecond)
					defer cancel()
					req := request(string(make([]byte, p.long)))
					req.AccountMemory, req.Weight = p.share*call/2, p.at
					_, _ = guests[p.account].Call(ctx, req) // what it gives is for other tests
				})
			}
			watch := time.NewTicker(time.Millisecond)
			defer watch.Stop()
			for range 300 {
				<-watch.C
				if got := vmhost.Reserved(host); got < 0 || got > 2*call || got%call != 0 {
					t.Errorf("%d bytes are reserved, want whole calls of %d, at most two", got, call)
				}
			}
			group.Wait()
			if got := vmhost.Reserved(host); got != 0 {
				t.Errorf("%d bytes are reserved when all calls are over, want none", got)
			}
			var after sync.WaitGroup
			for range 2 {
				after.Go(func() {
					if reply, err := guests["a"].Call(t.Context(), request("x")); err != nil || reply.Usage.Queue != 0 {
						t.Errorf("a call afterwards waited %v, %v, want neither wait nor error", reply.Usage.Queue, err)
					}
				})
			}
			after.Wait()
		})
	})
}
