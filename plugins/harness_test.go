package plugins_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/memcatalog"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
	"github.com/tars-project/tars/vmhost/wasm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice = knowledge.TenantID("alice")
	bob   = knowledge.TenantID("bob")
)

func defaults() plugins.Defaults {
	return plugins.Defaults{
		Memory: 64 << 20, MaxMemory: 128 << 20, Wall: 10 * time.Second, MaxWall: 20 * time.Second,
		Input: 1 << 20, Output: 1 << 20, MaxOutput: 4 << 20, Logs: 4 << 10, MaxHostCalls: 10,
	}
}

// driver counts what is asked of the driver below it, and can stand in the way of
// loads.
type driver struct {
	vmhost.Driver
	loads, closes atomic.Int64

	mu      sync.Mutex
	sources []vmhost.Source             // as loaded, without modules
	onLoad  func(context.Context) error // nil: nothing
	seeds   [][32]byte                  // of the deterministic calls
}

func (d *driver) Load(ctx context.Context, src vmhost.Source) (vmhost.Program, error) {
	d.loads.Add(1)
	d.mu.Lock()
	hook := d.onLoad
	kept := src
	kept.Module = nil
	d.sources = append(d.sources, kept)
	d.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return nil, err
		}
	}
	p, err := d.Driver.Load(ctx, src)
	if err != nil {
		return nil, err
	}
	return &program{Program: p, driver: d}, nil
}

func (d *driver) set(hook func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onLoad = hook
}

type program struct {
	vmhost.Program
	driver *driver
}

func (p *program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	if req.Deterministic {
		p.driver.mu.Lock()
		p.driver.seeds = append(p.driver.seeds, req.Seed)
		p.driver.mu.Unlock()
	}
	return p.Program.Call(ctx, req)
}

func (p *program) Close() error {
	p.driver.closes.Add(1)
	return p.Program.Close()
}

// node is all that plugins run on.
type node struct {
	driver   *driver
	host     *vmhost.Host
	loader   *plugins.Loader
	catalog  *memcatalog.Catalog
	registry *plugins.Registry
	runner   *plugins.Runner
	policies policies
}

// policies has those of tenants; every tenant is there.
type policies map[knowledge.TenantID]tenancy.Policy

func (p policies) Tenant(_ context.Context, id knowledge.TenantID) (tenancy.Tenant, error) {
	return tenancy.Tenant{ID: id, Policy: p[id]}, nil
}

// newNode makes a node above a driver, with at most so many guests. It is closed,
// and must then be empty, when the test ends.
func newNode(t *testing.T, below vmhost.Driver, most int) *node {
	t.Helper()
	n := &node{driver: &driver{Driver: below}, catalog: new(memcatalog.Catalog), policies: policies{}}
	var err error
	n.host, err = vmhost.New(n.driver, vmhost.Options{Slots: 8, MaxLimits: vmhost.Limits{
		Wall: time.Minute, Memory: 1 << 30, Input: 8 << 20, Output: 8 << 20, Logs: 1 << 20, HostCalls: 10,
	}})
	if err != nil {
		t.Fatalf("vmhost.New = %v, want nil", err)
	}
	n.loader = plugins.NewLoader(n.host, defaults(), most)
	limits := wasm.DefaultLimits()
	n.registry = &plugins.Registry{Catalog: n.catalog, Loader: n.loader, Defaults: defaults(), WASM: limits}
	n.runner = &plugins.Runner{Catalog: n.catalog, Loader: n.loader, Policies: n.policies, Tier: vmhost.TierProcess, REST: rest{}}
	t.Cleanup(n.close(t))
	return n
}

func (n *node) close(t *testing.T) func() {
	return func() {
		n.loader.Close()
		if left := n.host.Guests(); left != 0 {
			t.Errorf("%d guests are left when the loader is closed, want none", left)
		}
		if err := n.host.Close(context.Background()); err != nil {
			t.Errorf("Host.Close = %v, want nil", err)
		}
	}
}

// rest is what plugins have in common with the REST API, which these tests need
// little of: a filter is {"field":…,"eq":…}.
type rest struct{}

func (rest) Filter(f knowledge.Filter) []byte {
	return fmt.Appendf(nil, `{"eq":%q,"field":%q}`, f.Values[0], f.Field)
}

func (rest) ParseFilter(document []byte) (knowledge.Filter, error) {
	var f struct {
		Field string
		Eq    any
	}
	if err := json.Unmarshal(document, &f); err != nil || f.Eq == nil {
		return knowledge.Filter{}, knowledge.Invalid("", "is no filter")
	}
	return knowledge.Filter{Op: knowledge.OpEq, Field: f.Field, Values: []any{f.Eq}}, nil
}

func (rest) Search(context.Context, knowledge.TenantID, []byte) ([]byte, error) {
	return nil, errors.New("nothing searches here")
}

// rank has a plugin rank candidates.
func (n *node) rank(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall, text string, candidates []query.Candidate) ([]query.Scored, query.Receipt, error) {
	return n.runner.Rank(ctx, query.Task{Tenant: tenant, Call: call, Handout: &query.Handout{Text: text, Candidates: candidates}})
}

// synthesize has a plugin answer from passages.
func (n *node) synthesize(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall, text string, passages []query.Candidate) (query.Draft, query.Receipt, error) {
	return n.runner.Synthesize(ctx, query.Task{Tenant: tenant, Call: call, Handout: &query.Handout{Text: text, Candidates: passages}})
}

// manifest is one that may be called for the capabilities of queries.
func manifest(name plugins.Name) plugins.Manifest {
	return plugins.Manifest{Name: name, Capabilities: []plugins.Capability{plugins.Rank, plugins.Synthesize}}
}

// upload keeps a plugin for a tenant, and makes it live.
func (n *node) upload(t *testing.T, tenant knowledge.TenantID, m plugins.Manifest, module []byte) plugins.Version {
	t.Helper()
	v, created, err := n.registry.Upload(t.Context(), tenant, n.policies[tenant], m, module)
	if err != nil || !created {
		t.Fatalf("Upload(%s) = created %v, %v, want true, nil", m.Name, created, err)
	}
	if err := n.catalog.SetAlias(t.Context(), tenant, m.Name, plugins.Live, v.Number); err != nil {
		t.Fatalf("SetAlias = %v, want nil", err)
	}
	return v
}

// echo is a fake guest.
func echo(_ context.Context, c *fakevm.Call) ([]byte, error) { return c.Input, nil }
