package plugins_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// kept fails a test if the catalog has a plugin of alice.
func (n *node) keptNothing(t *testing.T, after string) {
	t.Helper()
	if list, err := n.catalog.ListPlugins(t.Context(), alice, "", 10); err != nil || len(list) != 0 {
		t.Errorf("%s: the catalog has %v, %v, want nothing", after, list, err)
	}
}

func TestUpload(t *testing.T) {
	n := newNode(t, fakes(), 4)
	m, module := manifest("a"), fakevm.Module("a", "log")
	m.Grants = []plugins.Grant{plugins.GrantLog}
	v, created, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, m, module)
	if err != nil || !created || v.Number != 1 || v.Digest != plugins.DigestOf(m, module) || v.Size != int64(len(module)) {
		t.Fatalf("Upload = %+v, created %v, %v, want version 1, true, nil", v, created, err)
	}
	i := v.Inspection
	if i.ModuleDigest != vmhost.DigestOf(module) || len(i.Imports) != 1 || !strings.HasSuffix(i.Imports[0], " log") ||
		!strings.Contains(strings.Join(i.Exports, " "), "handle") || i.Functions == 0 || i.MemoryPages != 16 {
		t.Errorf("Inspection = %+v, want what the module has", i)
	}
	if got, err := n.catalog.Module(t.Context(), alice, "a", 1); err != nil || !bytes.Equal(got, module) {
		t.Errorf("Module = %d bytes, %v, want what was uploaded", len(got), err)
	}
	if _, err := n.catalog.Version(t.Context(), alice, "a", plugins.Ref{}); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Version(live) after an upload = %v, want ErrNotFound: aliases are moved by people", err)
	}
	// The same again is the same version, and costs no load.
	again, created, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, m, module)
	if err != nil || created || again.Number != 1 || n.driver.loads.Load() != 1 {
		t.Errorf("Upload again = %d, created %v, %v after %d loads, want 1, false, nil after 1", again.Number, created, err, n.driver.loads.Load())
	}
	m.Description = "changed"
	if v, created, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, m, module); err != nil || !created || v.Number != 2 {
		t.Errorf("Upload with another manifest = %d, created %v, %v, want 2, true, nil", v.Number, created, err)
	}
}

// falseCount is a module whose type section says that it has 2^32-1 entries.
func falseCount() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00\x01\x05")
	return append(b, 0xff, 0xff, 0xff, 0xff, 0x0f)
}

// TestUploadRefusesModules: with the parser's refusal nothing else has seen a
// byte, and in no case anything is kept.
func TestUploadRefusesModules(t *testing.T) {
	good := fakevm.Module("a")
	component := bytes.Clone(good)
	binary.LittleEndian.PutUint32(component[4:], 0x1000d)
	for _, tc := range []struct {
		name   string
		module []byte
		loads  int64
	}{
		{"nothing", nil, 0},
		{"one byte", []byte{0}, 0},
		{"header alone", good[:8], 0},
		{"a component", component, 0},
		{"zip", append([]byte("PK\x03\x04"), good...), 0},
		{"gzip", append([]byte("\x1f\x8b\x08"), good...), 0},
		{"text", []byte("(module)"), 0},
		{"a false count", falseCount(), 0},
		{"cut", good[:len(good)-20], 0},
		{"trailing", append(bytes.Clone(good), 0), 0},
		{"an import that is not granted", fakevm.Module("a", "log"), 0},
		{"what the driver refuses", fakevm.Module("unknown"), 1},
	} {
		n := newNode(t, fakes(), 4)
		_, created, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, manifest("a"), tc.module)
		var refused *vmhost.RefusedError
		if !errors.As(err, &refused) || !errors.Is(err, vmhost.ErrRefused) || created || refused.Detail == "" {
			t.Errorf("%s: Upload = created %v, %v, want a *RefusedError that says why", tc.name, created, err)
		}
		if got := n.driver.loads.Load(); got != tc.loads {
			t.Errorf("%s: the driver was asked %d times, want %d", tc.name, got, tc.loads)
		}
		if got := n.host.Guests(); got != 0 {
			t.Errorf("%s: %d guests are loaded, want none", tc.name, got)
		}
		n.keptNothing(t, tc.name)
	}
}

// TestUploadOfEveryPrefix: a module that was cut anywhere is refused.
func TestUploadOfEveryPrefix(t *testing.T) {
	n := newNode(t, fakes(), 4)
	good := fakevm.Module("a")
	end := bytes.LastIndex(good, []byte("fakevm")) - 3 // the custom section may be missing whole
	for i := range end {
		if _, _, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, manifest("a"), good[:i]); !errors.Is(err, vmhost.ErrRefused) {
			t.Errorf("Upload of the first %d bytes = %v, want ErrRefused", i, err)
		}
	}
	n.keptNothing(t, "cut modules")
}

func TestUploadRefusesManifests(t *testing.T) {
	module := fakevm.Module("a")
	for _, tc := range []struct {
		name   string
		change func(*plugins.Manifest)
		policy tenancy.Policy
		field  string
	}{
		{"name", func(m *plugins.Manifest) { m.Name = "../a" }, tenancy.Policy{}, "manifest.name"},
		{"capability", func(m *plugins.Manifest) { m.Capabilities = nil }, tenancy.Policy{}, "manifest.capabilities"},
		{"grant", func(m *plugins.Manifest) { m.Grants = []plugins.Grant{"network"} }, tenancy.Policy{}, "manifest.grants"},
		{"memory over the node's", func(m *plugins.Manifest) { m.Limits.Memory = 128<<20 + 64<<10 }, tenancy.Policy{}, "manifest.limits.memory_bytes"},
		{"memory over the node's, under the policy's", func(m *plugins.Manifest) { m.Limits.Memory = 256 << 20 }, tenancy.Policy{PluginMemory: 1 << 40}, "manifest.limits.memory_bytes"},
		{"memory over the policy's", func(m *plugins.Manifest) { m.Limits.Memory = 2 << 20 }, tenancy.Policy{PluginMemory: 1 << 20}, "manifest.limits.memory_bytes"},
		{"wall over the node's", func(m *plugins.Manifest) { m.Limits.Wall = 20*time.Second + time.Millisecond }, tenancy.Policy{PluginWall: time.Hour}, "manifest.limits.wall_ms"},
		{"wall over the policy's", func(m *plugins.Manifest) { m.Limits.Wall = time.Second }, tenancy.Policy{PluginWall: 999 * time.Millisecond}, "manifest.limits.wall_ms"},
		{"negative wall", func(m *plugins.Manifest) { m.Limits.Wall = -time.Second }, tenancy.Policy{}, "manifest.limits.wall_ms"},
		{"fuel over the node's", func(m *plugins.Manifest) { m.Limits.Fuel = 20*10e9 + 1 }, tenancy.Policy{}, "manifest.limits.fuel"},
		{"CPU over the policy's wall", func(m *plugins.Manifest) { m.Limits.CPU = 2 * time.Second }, tenancy.Policy{PluginWall: time.Second}, "manifest.limits.cpu_ms"},
		{"host calls over the node's", func(m *plugins.Manifest) { m.Limits.HostCalls = 11 }, tenancy.Policy{}, "manifest.limits.host_calls"},
		{"host bytes over the node's", func(m *plugins.Manifest) { m.Limits.HostBytes = 64<<20 + 1 }, tenancy.Policy{}, "manifest.limits.host_bytes"},
		{"host time over the node's", func(m *plugins.Manifest) { m.Limits.HostTime = 21 * time.Second }, tenancy.Policy{}, "manifest.limits.host_ms"},
		{"output over the node's", func(m *plugins.Manifest) { m.Limits.Output = 4<<20 + 1 }, tenancy.Policy{}, "manifest.limits.output_bytes"},
	} {
		n := newNode(t, fakes(), 4)
		m := manifest("a")
		tc.change(&m)
		_, _, err := n.registry.Upload(t.Context(), alice, tc.policy, m, module)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != tc.field {
			t.Errorf("%s: Upload = %v, want an *InvalidError at %q", tc.name, err, tc.field)
		}
		if got := n.driver.loads.Load(); got != 0 {
			t.Errorf("%s: the driver was asked %d times, want none", tc.name, got)
		}
		n.keptNothing(t, tc.name)
	}
}

// TestUploadUnderAPolicy: what a manifest leaves open is as the policy allows.
func TestUploadUnderAPolicy(t *testing.T) {
	n := newNode(t, fakes(), 4)
	policy := tenancy.Policy{PluginMemory: 1 << 20, PluginWall: time.Second}
	if _, created, err := n.registry.Upload(t.Context(), alice, policy, manifest("a"), fakevm.Module("a")); err != nil || !created {
		t.Errorf("Upload without limits under a policy = created %v, %v, want true, nil", created, err)
	}
	if l := n.driver.sources[0].Limits; l.Memory != 1<<20 || l.Wall != time.Second {
		t.Errorf("it was tried with %+v, want the policy's limits", l)
	}
	// And where the module needs more, it is refused.
	policy.PluginMemory = 1<<20 - 1
	if _, _, err := n.registry.Upload(t.Context(), bob, policy, manifest("b"), fakevm.Module("b")); !errors.Is(err, vmhost.ErrRefused) {
		t.Errorf("Upload of a module over the policy's memory = %v, want ErrRefused", err)
	}
}

func TestUploadUpToTheLimitOfNames(t *testing.T) {
	n := newNode(t, fakes(), 4)
	policy := tenancy.Policy{MaxPlugins: 2}
	for i, tc := range []struct {
		name string
		ok   bool
	}{{"a", true}, {"b", true}, {"c", false}, {"a", true}} {
		m := manifest(plugins.Name(tc.name))
		m.Description = fmt.Sprint(i)
		_, created, err := n.registry.Upload(t.Context(), alice, policy, m, fakevm.Module("a"))
		if created != tc.ok || !tc.ok && !errors.Is(err, knowledge.ErrLimit) {
			t.Errorf("Upload of %s with at most 2 names = created %v, %v, want %v, else ErrLimit", tc.name, created, err, tc.ok)
		}
	}
	if _, err := n.catalog.Plugin(t.Context(), alice, "c"); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Plugin(c) = %v, want ErrNotFound", err)
	}
}

func TestUploadFails(t *testing.T) {
	n := newNode(t, fakes(), 4)
	n.driver.set(func(context.Context) error { return fmt.Errorf("%w: no cell", vmhost.ErrUnavailable) })
	if _, _, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, manifest("a"), fakevm.Module("a")); !errors.Is(err, vmhost.ErrUnavailable) {
		t.Errorf("Upload without machines = %v, want ErrUnavailable", err)
	}
	n.keptNothing(t, "no machines")

	ctx, cancel := context.WithCancel(t.Context())
	n.driver.set(func(context.Context) error { cancel(); return nil }) // the caller goes away in the middle
	if _, _, err := n.registry.Upload(ctx, alice, tenancy.Policy{}, manifest("a"), fakevm.Module("a")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Upload whose caller left = %v, want Canceled, or nil if it was too late", err)
	}
	n.driver.set(nil)
	if _, _, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, manifest("a"), fakevm.Module("a")); err != nil {
		t.Errorf("Upload afterwards = %v, want nil", err)
	}
	if list, err := n.catalog.ListVersions(t.Context(), alice, "a", 0, 10); err != nil || len(list) != 1 {
		t.Errorf("ListVersions = %d, %v, want 1", len(list), err)
	}
}
