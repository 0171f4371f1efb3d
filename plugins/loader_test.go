package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// fakes has echoes by the names a to f.
func fakes() vmhost.Driver {
	functions := map[string]fakevm.Func{}
	for _, name := range "abcdef" {
		functions[string(name)] = echo
	}
	return fakevm.New(functions)
}

// use calls do with the guest of that name.
func (n *node) use(ctx context.Context, tenant knowledge.TenantID, name string, do func(*vmhost.Guest) error) error {
	m, module := manifest(plugins.Name(name)), fakevm.Module(name)
	bytes := func(ctx context.Context) ([]byte, error) { return module, ctx.Err() }
	return n.loader.Use(ctx, tenant, n.policies[tenant], m, plugins.DigestOf(m, module), bytes, do)
}

// call is a do that calls the guest.
func call(ctx context.Context) func(*vmhost.Guest) error {
	return func(g *vmhost.Guest) error {
		reply, err := g.Call(ctx, vmhost.Request{Capability: "rank", Input: []byte("x")})
		if err == nil && string(reply.Output) != "x" {
			err = fmt.Errorf("output %q", reply.Output)
		}
		return err
	}
}

func nothing(*vmhost.Guest) error { return nil }

func TestLoaderLoadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 4)
		open := make(chan struct{})
		n.driver.set(func(context.Context) error { <-open; return nil })
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				if err := n.use(t.Context(), alice, "a", call(t.Context())); err != nil {
					t.Errorf("use = %v, want nil", err)
				}
			})
		}
		synctest.Wait() // all are waiting now
		if got := n.driver.loads.Load(); got != 1 {
			t.Errorf("16 callers at once: %d loads, want 1", got)
		}
		close(open)
		callers.Wait()
		if err := n.use(t.Context(), alice, "a", call(t.Context())); err != nil || n.driver.loads.Load() != 1 {
			t.Errorf("use again = %v after %d loads, want nil after 1", err, n.driver.loads.Load())
		}
	})
}

func TestLoaderForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 4)
		open := make(chan struct{})
		n.driver.set(func(context.Context) error { <-open; return vmhost.ErrUnavailable })
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if err := n.use(t.Context(), alice, "a", nothing); !errors.Is(err, vmhost.ErrUnavailable) {
					t.Errorf("use = %v, want ErrUnavailable for all who wait", err)
				}
			})
		}
		synctest.Wait()
		close(open)
		callers.Wait()
		n.driver.set(nil)
		if err := n.use(t.Context(), alice, "a", call(t.Context())); err != nil || n.driver.loads.Load() != 2 {
			t.Errorf("use after a failed load = %v after %d loads, want nil after 2", err, n.driver.loads.Load())
		}
	})
}

func TestLoaderEvictsTheLeastRecentlyUsed(t *testing.T) {
	n := newNode(t, fakes(), 2)
	for i, tc := range []struct {
		name          string
		loads, closes int64
	}{{"a", 1, 0}, {"b", 2, 0}, {"a", 2, 0}, {"c", 3, 1}, {"a", 3, 1}, {"b", 4, 2}, {"a", 4, 2}} {
		if err := n.use(t.Context(), alice, tc.name, call(t.Context())); err != nil {
			t.Fatalf("use(%s) = %v, want nil", tc.name, err)
		}
		if loads, closes := n.driver.loads.Load(), n.driver.closes.Load(); loads != tc.loads || closes != tc.closes {
			t.Errorf("step %d, %s: %d loads and %d closes, want %d and %d", i, tc.name, loads, closes, tc.loads, tc.closes)
		}
	}
	if got := n.host.Guests(); got != 2 {
		t.Errorf("%d guests are loaded, want 2", got)
	}
}

// TestLoaderClosesAfterTheLastCall: a guest that was given up serves who has it.
func TestLoaderClosesAfterTheLastCall(t *testing.T) {
	n := newNode(t, fakes(), 1)
	err := n.use(t.Context(), alice, "a", func(g *vmhost.Guest) error {
		return n.use(t.Context(), alice, "a", func(same *vmhost.Guest) error {
			if g != same {
				t.Error("two uses at once have two guests, want one")
			}
			if err := n.use(t.Context(), alice, "b", nothing); err != nil { // a is given up
				return err
			}
			if got := n.driver.closes.Load(); got != 0 {
				t.Errorf("%d closes while the guest is used, want 0", got)
			}
			return call(t.Context())(g)
		})
	})
	if err != nil {
		t.Errorf("use of a guest that was given up = %v, want nil", err)
	}
	if got := n.driver.closes.Load(); got != 1 {
		t.Errorf("%d closes when the last use is over, want 1", got)
	}
}

func TestLoaderGivesUpWhatIsLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 1)
		open := make(chan struct{})
		n.driver.set(func(context.Context) error { <-open; return nil })
		var callers sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			callers.Go(func() {
				if err := n.use(t.Context(), alice, name, call(t.Context())); err != nil {
					t.Errorf("use(%s) = %v, want nil", name, err)
				}
			})
		}
		synctest.Wait()
		close(open)
		callers.Wait()
		synctest.Wait()
		if got := n.host.Guests(); got != 1 {
			t.Errorf("%d guests are loaded, want 1", got)
		}
	})
}

// TestLoaderOutlivesItsFirstCaller: the load belongs to all who wait.
func TestLoaderOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 4)
		open := make(chan struct{})
		n.driver.set(func(ctx context.Context) error {
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			if err := n.use(ctx, alice, "a", nothing); !errors.Is(err, context.Canceled) {
				t.Errorf("use by the first, cancelled caller = %v, want Canceled", err)
			}
		})
		synctest.Wait()
		callers.Go(func() {
			if err := n.use(t.Context(), alice, "a", call(t.Context())); err != nil {
				t.Errorf("use by the second caller = %v, want nil", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait() // the first is gone
		close(open)
		callers.Wait()
		if got := n.driver.loads.Load(); got != 1 {
			t.Errorf("%d loads, want 1", got)
		}
	})
}

// TestLoaderTimesOut: the time of a load is the node's, and no deadline of who
// waits.
func TestLoaderTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 4)
		n.driver.set(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		start := time.Now()
		err := n.use(t.Context(), alice, "a", nothing)
		if !errors.Is(err, vmhost.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != plugins.LoadTimeout {
			t.Errorf("use = %v after %v, want ErrUnavailable after %v", err, time.Since(start), plugins.LoadTimeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if err := n.use(ctx, alice, "b", nothing); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("use by a caller with 1s = %v after %v, want DeadlineExceeded after 1s", err, time.Since(start))
		}
	})
}

func TestLoaderCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 4)
		if err := n.use(t.Context(), alice, "a", nothing); err != nil {
			t.Fatalf("use = %v, want nil", err)
		}
		n.driver.set(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		inUse, end := make(chan struct{}), make(chan struct{})
		var callers sync.WaitGroup
		callers.Go(func() {
			if err := n.use(t.Context(), alice, "b", nothing); !errors.Is(err, vmhost.ErrUnavailable) || errors.Is(err, context.Canceled) {
				t.Errorf("use of what was loading = %v, want ErrUnavailable", err)
			}
		})
		callers.Go(func() {
			err := n.use(t.Context(), alice, "a", func(g *vmhost.Guest) error {
				close(inUse)
				<-end
				return call(t.Context())(g)
			})
			if err != nil {
				t.Errorf("use of what was called = %v, want nil", err)
			}
		})
		<-inUse
		synctest.Wait()
		start := time.Now()
		n.loader.Close()
		n.loader.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v with a load under way, want it to end the load", took)
		}
		if got := n.driver.closes.Load(); got != 0 {
			t.Errorf("%d closes while the guest is used, want 0", got)
		}
		if err := n.use(t.Context(), alice, "a", nothing); !errors.Is(err, vmhost.ErrUnavailable) {
			t.Errorf("use after Close = %v, want ErrUnavailable", err)
		}
		close(end)
		callers.Wait()
		if got := n.driver.closes.Load(); got != 1 {
			t.Errorf("%d closes when the last use is over, want 1", got)
		}
	})
}

// TestLoaderKeepsTenantsApart: the same module is loaded for each, on its own
// account.
func TestLoaderKeepsTenantsApart(t *testing.T) {
	n := newNode(t, fakes(), 4)
	var guests []*vmhost.Guest
	for _, tenant := range []knowledge.TenantID{alice, bob, alice} {
		err := n.use(t.Context(), tenant, "a", func(g *vmhost.Guest) error { guests = append(guests, g); return nil })
		if err != nil {
			t.Fatalf("use = %v, want nil", err)
		}
	}
	if guests[0] == guests[1] || guests[0] != guests[2] || n.driver.loads.Load() != 2 {
		t.Errorf("alice, bob and alice share guests: %v after %d loads", guests, n.driver.loads.Load())
	}
	if s := n.driver.sources; s[0].Account == s[1].Account || s[0].Account != "alice" {
		t.Errorf("accounts are %q and %q, want alice's and bob's", s[0].Account, s[1].Account)
	}
}

func TestLimitsOfCalls(t *testing.T) {
	n := newNode(t, fakes(), 8)
	const page = 1 << 20 // as much as the module needs
	m, module := manifest("a"), fakevm.Module("a")
	for _, tc := range []struct {
		name   string
		asked  plugins.Limits
		policy tenancy.Policy
		want   plugins.Limits
	}{
		{"defaults", plugins.Limits{}, tenancy.Policy{}, plugins.Limits{Memory: 64 << 20, Wall: 10 * time.Second, Output: 1 << 20}},
		{"manifest", plugins.Limits{Memory: page, Wall: time.Second, Output: 7}, tenancy.Policy{}, plugins.Limits{Memory: page, Wall: time.Second, Output: 7}},
		{"lower policy", plugins.Limits{}, tenancy.Policy{PluginMemory: 3*page + 1, PluginWall: time.Second}, plugins.Limits{Memory: 3 * page, Wall: time.Second, Output: 1 << 20}},
		{"policy lowered since", plugins.Limits{Memory: 8 * page, Wall: 2 * time.Second}, tenancy.Policy{PluginMemory: 4 * page, PluginWall: time.Millisecond}, plugins.Limits{Memory: 4 * page, Wall: time.Millisecond, Output: 1 << 20}},
		{"higher policy", plugins.Limits{}, tenancy.Policy{PluginMemory: 1 << 40, PluginWall: time.Hour}, plugins.Limits{Memory: 64 << 20, Wall: 10 * time.Second, Output: 1 << 20}},
	} {
		m.Limits = tc.asked
		bytes := func(context.Context) ([]byte, error) { return module, nil }
		err := n.loader.Use(t.Context(), alice, tc.policy, m, plugins.DigestOf(m, module), bytes, func(g *vmhost.Guest) error {
			l := g.Limits()
			if got := (plugins.Limits{Memory: l.Memory, Wall: l.Wall, Output: l.Output}); got != tc.want || l.Input != 1<<20 || l.Logs != 4<<10 {
				t.Errorf("%s: limits = %+v, want %+v", tc.name, l, tc.want)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: use = %v, want nil", tc.name, err)
		}
	}
}

func TestGrants(t *testing.T) {
	n := newNode(t, fakes(), 4)
	m, module := manifest("a"), fakevm.Module("a")
	bytes := func(context.Context) ([]byte, error) { return module, nil }
	for _, tc := range []struct {
		grants []plugins.Grant
		want   vmhost.Grants
	}{
		{nil, vmhost.Grants{}},
		{[]plugins.Grant{plugins.GrantLog}, vmhost.Grants{Log: true}},
		{[]plugins.Grant{plugins.GrantClock}, vmhost.Grants{Clock: true}},
		{[]plugins.Grant{plugins.GrantSearch, plugins.GrantEmbed, plugins.GrantVectors, "other"}, vmhost.Grants{Search: true, Embed: true, Vectors: true}},
	} {
		m.Grants = tc.grants
		if err := n.loader.Use(t.Context(), alice, tenancy.Policy{}, m, plugins.DigestOf(m, module), bytes, nothing); err != nil {
			t.Fatalf("use = %v, want nil", err)
		}
		if got := n.driver.sources[len(n.driver.sources)-1].Grants; got != tc.want {
			t.Errorf("grants of %v = %+v, want %+v", tc.grants, got, tc.want)
		}
	}
}

// TestLoaderHammered: many callers of more guests than there is room for, with
// loads that fail and callers that give up. No call may meet a closed guest, and
// every guest is closed once.
func TestLoaderHammered(t *testing.T) {
	n := newNode(t, fakes(), 2)
	flaky := errors.New("flaky")
	n.driver.set(func(context.Context) error {
		if rand.IntN(10) == 0 {
			return fmt.Errorf("%w: %w", vmhost.ErrUnavailable, flaky)
		}
		return nil
	})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 150 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(5) == 0 {
					cancel()
				}
				tenant := []knowledge.TenantID{alice, bob}[rand.IntN(2)]
				err := n.use(ctx, tenant, string("abc"[rand.IntN(3)]), call(ctx))
				if err != nil && !errors.Is(err, flaky) && !errors.Is(err, context.Canceled) {
					t.Errorf("use = %v, want nil or its own reason", err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	n.loader.Close()
	if got := n.host.Guests(); got != 0 {
		t.Errorf("%d guests are left, want none", got)
	}
	if loads, closes := n.driver.loads.Load(), n.driver.closes.Load(); closes == 0 || closes > loads {
		t.Errorf("%d closes of %d loads", closes, loads)
	}
}
