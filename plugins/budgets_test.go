package plugins_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// wantBudget checks that a failure of a plugin has the figures of a budget.
func wantBudget(t *testing.T, err error, want query.BudgetUse) {
	t.Helper()
	var fault *query.PluginError
	if !errors.As(err, &fault) || fault.Budget == nil || *fault.Budget != want {
		t.Errorf("error = %#v, want a *PluginError about %+v", err, want)
	}
}

// TestBudgetsOfCalls: a call that used up a budget says so in a word, with the
// figures of the limit that held.
func TestBudgetsOfCalls(t *testing.T) {
	fails := func(b vmhost.Budget, used int64) fakevm.Func {
		return func(context.Context, *fakevm.Call) ([]byte, error) {
			return nil, &vmhost.BudgetError{Budget: b, Used: used}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakevm.New(map[string]fakevm.Func{
			"fuel": fails(vmhost.BudgetFuel, 1001), "memory": fails(vmhost.BudgetMemory, 1<<30), "output": func(context.Context, *fakevm.Call) ([]byte, error) {
				return make([]byte, 2<<20), nil
			},
			"cpu": func(context.Context, *fakevm.Call) ([]byte, error) {
				time.Sleep(3 * time.Second)
				return nil, &vmhost.BudgetError{Budget: vmhost.BudgetCPU, Used: 1 << 60} // more than passed
			},
			"loop": func(ctx context.Context, _ *fakevm.Call) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}), 8)
		for _, tc := range []struct {
			name, reason string
			want         query.BudgetUse
		}{
			{"fuel", "fuel", query.BudgetUse{Name: "fuel", Used: 1001, Allowed: 1000, Unit: "fuel"}},
			{"memory", "memory", query.BudgetUse{Name: "memory", Used: 1 << 30, Allowed: 64 << 20, Unit: "bytes"}},
			{"output", "output", query.BudgetUse{Name: "output", Used: 2 << 20, Allowed: 1 << 20, Unit: "bytes"}},
			{"cpu", "cpu", query.BudgetUse{Name: "cpu", Used: 3_000_000, Allowed: 2_000_000, Unit: "us"}},
			{"loop", "deadline", query.BudgetUse{Name: "wall", Used: 10_000_000, Allowed: 10_000_000, Unit: "us"}},
		} {
			m := manifest(plugins.Name(tc.name))
			m.Limits.Fuel, m.Limits.CPU = 1000, 2*time.Second
			n.upload(t, alice, m, fakevm.Module(tc.name))
			_, err := n.runner.Invoke(t.Context(), alice, m.Name, plugins.Ref{Alias: plugins.Live}, "rank", []byte("{}"), false)
			if got := reason(t, tc.name, err); got != tc.reason {
				t.Errorf("%s: reason %q, want %q", tc.name, got, tc.reason)
			}
			wantBudget(t, err, tc.want)
		}
		_, _, err := n.rank(t.Context(), alice, query.PluginCall{Name: "loop", Capability: query.Rank, Timeout: time.Second}, "q", candidates())
		wantBudget(t, err, query.BudgetUse{Name: "wall", Used: 1_000_000, Allowed: 1_000_000, Unit: "us"})
	})
}

// TestMemoryOfATenant: calls of a tenant that do not fit into its memory beside
// each other wait for each other, another tenant's do not, and what does not fit
// alone is refused.
func TestMemoryOfATenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakevm.New(map[string]fakevm.Func{"sleep": func(context.Context, *fakevm.Call) ([]byte, error) {
			time.Sleep(time.Second)
			return []byte("{}"), nil
		}}), 8)
		m, module := manifest("sleep"), fakevm.Module("sleep")
		call := (vmhost.Limits{Wall: 1, Memory: 64 << 20}).WithDefaults().Reservation()
		n.policies[alice] = tenancy.Policy{Memory: 2*call + 1}
		n.upload(t, alice, m, module)
		n.upload(t, bob, m, module)
		start := time.Now()
		var group sync.WaitGroup
		invoke := func(tenant string, after time.Duration) {
			group.Go(func() {
				who := alice
				if tenant == "bob" {
					who = bob
				}
				_, err := n.runner.Invoke(t.Context(), who, "sleep", plugins.Ref{Alias: plugins.Live}, "rank", []byte("{}"), false)
				if took := time.Since(start); err != nil || took != after {
					t.Errorf("%s: Invoke ended after %v, %v, want %v, nil", tenant, took, err, after)
				}
			})
			synctest.Wait()
		}
		for i := range 4 {
			invoke("alice", time.Second*time.Duration(1+i/2))
		}
		for range 3 {
			invoke("bob", time.Second)
		}
		hurried := query.PluginCall{Name: "sleep", Capability: query.Rank, Timeout: time.Second / 2}
		_, _, err := n.rank(t.Context(), alice, hurried, "q", candidates())
		if got := reason(t, "Rank", err); got != "busy" {
			t.Errorf("Rank that waits for memory = %q, want busy", got)
		}
		wantBudget(t, err, query.BudgetUse{Name: "account_memory", Used: 3 * call, Allowed: 2*call + 1, Unit: "bytes"})
		group.Wait()

		n.policies[alice] = tenancy.Policy{Memory: call - 1}
		_, err = n.runner.Invoke(t.Context(), alice, "sleep", plugins.Ref{Alias: plugins.Live}, "rank", []byte("{}"), false)
		if got := reason(t, "Invoke", err); got != "refused" {
			t.Errorf("Invoke of a call larger than the tenant's memory = %q, want refused", got)
		}
		wantBudget(t, err, query.BudgetUse{Name: "account_memory", Used: call, Allowed: call - 1, Unit: "bytes"})
		m.Description = "another version"
		if _, _, err := n.registry.Upload(t.Context(), alice, n.policies[alice], m, module); !errors.Is(err, vmhost.ErrRefused) {
			t.Errorf("Upload of a plugin larger than the tenant's memory = %v, want ErrRefused", err)
		}
	})
}

// TestBudgetsOfManifests: what a manifest asks for is what its calls get, and what
// it leaves out follows from its wall-clock limit.
func TestBudgetsOfManifests(t *testing.T) {
	n := newNode(t, fakes(), 8)
	m, module := manifest("a"), fakevm.Module("a")
	for _, tc := range []struct {
		name   string
		asked  plugins.Limits
		policy tenancy.Policy
		want   vmhost.Limits // of which Fuel, CPU, HostBytes and HostTime are looked at
	}{
		{"nothing", plugins.Limits{}, tenancy.Policy{}, vmhost.Limits{Fuel: 10 * 10e9, CPU: 10 * time.Second, HostBytes: 64 << 20, HostTime: 10 * time.Second}},
		{
			"all",
			plugins.Limits{Fuel: 7, CPU: time.Second, HostBytes: 8, HostTime: 2 * time.Second},
			tenancy.Policy{},
			vmhost.Limits{Fuel: 7, CPU: time.Second, HostBytes: 8, HostTime: 2 * time.Second},
		},
		{"less wall", plugins.Limits{}, tenancy.Policy{PluginWall: time.Second}, vmhost.Limits{Fuel: 10e9, CPU: time.Second, HostBytes: 64 << 20, HostTime: time.Second}},
	} {
		m.Limits = tc.asked
		bytes := func(context.Context) ([]byte, error) { return module, nil }
		err := n.loader.Use(t.Context(), alice, tc.policy, m, plugins.DigestOf(m, module), bytes, func(g *vmhost.Guest) error {
			l := g.Limits()
			if got := (vmhost.Limits{Fuel: l.Fuel, CPU: l.CPU, HostBytes: l.HostBytes, HostTime: l.HostTime}); got != tc.want {
				t.Errorf("%s: limits = %+v, want %+v", tc.name, got, tc.want)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: use = %v, want nil", tc.name, err)
		}
	}
}
