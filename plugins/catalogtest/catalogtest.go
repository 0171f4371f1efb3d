// Package catalogtest holds the tests that every [plugins.Catalog] passes. They
// say what the contract promises; what a catalog does beyond it is tested beside
// the catalog.
package catalogtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
)

// Harness is how the suite gets at a catalog.
type Harness struct {
	// New returns an empty catalog for one test.
	New func(t *testing.T) plugins.Catalog
	// AddTenant makes a tenant known to the surroundings of the catalog that
	// New returned last. Nil: any tenant will do.
	AddTenant func(t *testing.T, tenant knowledge.TenantID)
}

const (
	alice = knowledge.TenantID("alice")
	bob   = knowledge.TenantID("bob")
)

// Run tests the catalogs that a harness makes, one for each subtest.
func Run(t *testing.T, h Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, plugins.Catalog)
	}{
		{"RoundTrip", testRoundTrip},
		{"Numbers", testNumbers},
		{"SameDigest", testSameDigest},
		{"References", testReferences},
		{"UnknownReferences", testUnknownReferences},
		{"Aliases", testAliases},
		{"MaxNames", testMaxNames},
		{"ListVersions", testListVersions},
		{"ListPlugins", testListPlugins},
		{"Tenants", testTenants},
		{"UnknownTenant", testUnknownTenant},
		{"ConcurrentUploads", testConcurrentUploads},
		{"ConcurrentSame", testConcurrentSame},
		{"ConcurrentNames", testConcurrentNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := h.New(t)
			if h.AddTenant != nil {
				h.AddTenant(t, alice)
				h.AddTenant(t, bob)
			}
			test.run(t, c)
		})
	}
}

// version makes one of a plugin, with a module of its own for each seed.
func version(name plugins.Name, seed string) (plugins.Version, []byte) {
	module := []byte("\x00asm\x01\x00\x00\x00" + seed + "\x00\xff")
	m := plugins.Manifest{Name: name, Capabilities: []plugins.Capability{plugins.Rank}}
	return plugins.Version{
		Name: name, Manifest: m, Digest: plugins.DigestOf(m, module), Size: int64(len(module)),
		Inspection: plugins.Inspection{ModuleDigest: sha256.Sum256(module)},
	}, module
}

// put keeps a version that must be new.
func put(t *testing.T, c plugins.Catalog, tenant knowledge.TenantID, name plugins.Name, seed string) plugins.Version {
	t.Helper()
	v, module := version(name, seed)
	stored, created, err := c.PutVersion(t.Context(), tenant, v, module, 0)
	if err != nil || !created {
		t.Fatalf("PutVersion(%s, %s, %s) = created %v, %v, want true, nil", tenant, name, seed, created, err)
	}
	return stored
}

func wantNotFound(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("%s = %v, want ErrNotFound", what, err)
	}
}

func testRoundTrip(t *testing.T, c plugins.Catalog) {
	module := append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte{0, 1, 0xff, '\n'}, 300_000)...)
	m := plugins.Manifest{
		Name: "ranker", Description: `Ünïcode, "quotes" and '; DROP TABLE plugin_versions; --`,
		Capabilities: []plugins.Capability{plugins.Rank, plugins.Synthesize},
		Grants:       []plugins.Grant{plugins.GrantClock, plugins.GrantLog},
		Limits:       plugins.Limits{Memory: 4 << 20, Wall: 1500 * time.Millisecond, Output: 12345},
	}
	want := plugins.Version{
		Name: "ranker", Manifest: m, Digest: plugins.DigestOf(m, module), Size: int64(len(module)),
		Inspection: plugins.Inspection{
			ModuleDigest: sha256.Sum256(module), Imports: []string{"tars:plugin/host@0.1.0 log"}, Exports: []string{"handle", "memory"},
			Functions: 7, MemoryPages: 1 << 16, Features: []string{"bulk-memory"}, Toolchain: "Go go1.26",
		},
	}
	stored, created, err := c.PutVersion(t.Context(), alice, want, module, 0)
	if err != nil || !created {
		t.Fatalf("PutVersion = created %v, %v, want true, nil", created, err)
	}
	want.Number = 1
	for name, got := range map[string]func() (plugins.Version, error){
		"PutVersion": func() (plugins.Version, error) { return stored, nil },
		"Version by number": func() (plugins.Version, error) {
			return c.Version(t.Context(), alice, "ranker", plugins.Ref{Number: 1})
		},
		"Version by digest": func() (plugins.Version, error) {
			return c.Version(t.Context(), alice, "ranker", plugins.Ref{Digest: &want.Digest})
		},
		"ListVersions": func() (plugins.Version, error) {
			list, err := c.ListVersions(t.Context(), alice, "ranker", 0, 10)
			if len(list) != 1 {
				return plugins.Version{}, fmt.Errorf("%d versions, %w", len(list), err)
			}
			return list[0], err
		},
	} {
		v, err := got()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v.Created.IsZero() || !v.Created.Equal(stored.Created) {
			t.Errorf("%s: Created = %v, want %v", name, v.Created, stored.Created)
		}
		v.Created = time.Time{}
		if got, want := fmt.Sprintf("%+v", v), fmt.Sprintf("%+v", want); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
		if plugins.DigestOf(v.Manifest, module) != v.Digest {
			t.Errorf("%s: the digest is not that of the manifest and module that are kept", name)
		}
	}
	if got, err := c.Module(t.Context(), alice, "ranker", 1); err != nil || !bytes.Equal(got, module) {
		t.Errorf("Module = %d bytes, %v, want the %d that were put", len(got), err, len(module))
	}
	p, err := c.Plugin(t.Context(), alice, "ranker")
	if err != nil || p.Name != "ranker" || p.Newest != 1 || len(p.Aliases) != 0 || !p.Created.Equal(stored.Created) {
		t.Errorf("Plugin = %+v, %v, want ranker with version 1 and no alias", p, err)
	}
}

func testNumbers(t *testing.T, c plugins.Catalog) {
	for i, tc := range []struct {
		tenant knowledge.TenantID
		name   plugins.Name
		want   int
	}{{alice, "a", 1}, {alice, "b", 1}, {alice, "a", 2}, {bob, "a", 1}, {alice, "a", 3}, {alice, "b", 2}} {
		if v := put(t, c, tc.tenant, tc.name, fmt.Sprint(i)); v.Number != tc.want {
			t.Errorf("version %d: number = %d, want %d", i, v.Number, tc.want)
		}
	}
	p, err := c.Plugin(t.Context(), alice, "a")
	first, _ := c.Version(t.Context(), alice, "a", plugins.Ref{Number: 1})
	if err != nil || p.Newest != 3 || !p.Created.Equal(first.Created) {
		t.Errorf("Plugin = %+v, %v, want version 3, created with the first at %v", p, err, first.Created)
	}
}

func testSameDigest(t *testing.T, c plugins.Catalog) {
	first := put(t, c, alice, "a", "same")
	put(t, c, alice, "a", "later")
	v, module := version("a", "same")
	// Also when the tenant may have no more names.
	for _, most := range []int{0, 1} {
		again, created, err := c.PutVersion(t.Context(), alice, v, module, most)
		if err != nil || created || again.Number != first.Number || !again.Created.Equal(first.Created) {
			t.Errorf("PutVersion again = %+v, created %v, %v, want the first, false, nil", again, created, err)
		}
	}
	if list, err := c.ListVersions(t.Context(), alice, "a", 0, 10); err != nil || len(list) != 2 {
		t.Errorf("ListVersions = %d, %v, want 2", len(list), err)
	}
}

func testReferences(t *testing.T, c plugins.Catalog) {
	one, two := put(t, c, alice, "a", "1"), put(t, c, alice, "a", "2")
	for alias, number := range map[plugins.Alias]int{plugins.Live: 1, "canary": 2} {
		if err := c.SetAlias(t.Context(), alice, "a", alias, number); err != nil {
			t.Fatalf("SetAlias(%s, %d) = %v, want nil", alias, number, err)
		}
	}
	for _, tc := range []struct {
		ref  plugins.Ref
		want int
	}{
		{plugins.Ref{}, 1},
		{plugins.Ref{Alias: plugins.Live}, 1},
		{plugins.Ref{Alias: "canary"}, 2},
		{plugins.Ref{Number: 2}, 2},
		{plugins.Ref{Digest: &one.Digest}, 1},
		{plugins.Ref{Digest: &two.Digest}, 2},
	} {
		if v, err := c.Version(t.Context(), alice, "a", tc.ref); err != nil || v.Number != tc.want {
			t.Errorf("Version(%+v) = %d, %v, want %d", tc.ref, v.Number, err, tc.want)
		}
	}
}

func testUnknownReferences(t *testing.T, c plugins.Catalog) {
	v := put(t, c, alice, "a", "1")
	other := put(t, c, alice, "b", "2")
	ctx := t.Context()
	// Numbers beyond what a column holds are unknown ones too; a negative
	// one must not be taken for the alias live.
	numbers := []int{-1, 2, 1 << 31, 1<<31 + 1, 1 << 40, -1 << 40, 1<<63 - 1}
	for _, alias := range []plugins.Alias{"", plugins.Live, "canary"} {
		_, err := c.Version(ctx, alice, "a", plugins.Ref{Alias: alias})
		wantNotFound(t, fmt.Sprintf("Version(alias %q)", alias), err)
	}
	if err := c.SetAlias(ctx, alice, "a", plugins.Live, 1); err != nil {
		t.Fatalf("SetAlias = %v, want nil", err)
	}
	for _, n := range numbers {
		_, err := c.Version(ctx, alice, "a", plugins.Ref{Number: n})
		wantNotFound(t, fmt.Sprintf("Version(%d)", n), err)
	}
	for _, n := range append(numbers, 0) {
		_, err := c.Module(ctx, alice, "a", n)
		wantNotFound(t, fmt.Sprintf("Module(%d)", n), err)
		wantNotFound(t, fmt.Sprintf("SetAlias(%d)", n), c.SetAlias(ctx, alice, "a", plugins.Live, n))
	}
	_, err := c.Version(ctx, alice, "a", plugins.Ref{Digest: &other.Digest})
	wantNotFound(t, "Version by the digest of another plugin", err)
	_, err = c.Version(ctx, alice, "b", plugins.Ref{Digest: &v.Digest})
	wantNotFound(t, "Version by the digest of another plugin", err)
	for _, name := range []plugins.Name{"c", "", "A", "a%"} {
		_, err := c.Version(ctx, alice, name, plugins.Ref{Number: 1})
		wantNotFound(t, fmt.Sprintf("Version of %q", name), err)
		_, err = c.Plugin(ctx, alice, name)
		wantNotFound(t, fmt.Sprintf("Plugin(%q)", name), err)
		_, err = c.ListVersions(ctx, alice, name, 0, 10)
		wantNotFound(t, fmt.Sprintf("ListVersions(%q)", name), err)
		wantNotFound(t, fmt.Sprintf("SetAlias of %q", name), c.SetAlias(ctx, alice, name, plugins.Live, 1))
	}
	if got, err := c.Version(ctx, alice, "a", plugins.Ref{}); err != nil || got.Number != 1 {
		t.Errorf("Version(live) = %d, %v after refusals, want 1 still", got.Number, err)
	}
}

func testAliases(t *testing.T, c plugins.Catalog) {
	ctx := t.Context()
	put(t, c, alice, "a", "1")
	put(t, c, alice, "a", "2")
	for _, number := range []int{1, 2, 2, 1} {
		if err := c.SetAlias(ctx, alice, "a", plugins.Live, number); err != nil {
			t.Fatalf("SetAlias(live, %d) = %v, want nil", number, err)
		}
		if v, err := c.Version(ctx, alice, "a", plugins.Ref{}); err != nil || v.Number != number {
			t.Errorf("Version(live) = %d, %v, want %d", v.Number, err, number)
		}
	}
	if err := c.SetAlias(ctx, alice, "a", "canary", 2); err != nil {
		t.Fatalf("SetAlias(canary, 2) = %v, want nil", err)
	}
	p, err := c.Plugin(ctx, alice, "a")
	if err != nil || len(p.Aliases) != 2 || p.Aliases[plugins.Live] != 1 || p.Aliases["canary"] != 2 {
		t.Errorf("Plugin = %+v, %v, want live at 1 and canary at 2", p, err)
	}
	put(t, c, alice, "a", "3")
	if v, err := c.Version(ctx, alice, "a", plugins.Ref{}); err != nil || v.Number != 1 {
		t.Errorf("Version(live) = %d, %v after an upload, want 1 still", v.Number, err)
	}
}

func testMaxNames(t *testing.T, c plugins.Catalog) {
	put(t, c, alice, "a", "1")
	put(t, c, alice, "b", "1")
	put(t, c, bob, "x", "1") // does not count
	for _, tc := range []struct {
		name plugins.Name
		most int
		ok   bool
	}{
		{"c", 2, false},
		{"c", 1, false},
		{"a", 2, true},
		{"b", 1, true}, // the limit was lowered since: a new version adds no name
		{"c", 3, true},
		{"d", 0, true},
	} {
		v, module := version(tc.name, fmt.Sprint("2", tc.most))
		_, created, err := c.PutVersion(t.Context(), alice, v, module, tc.most)
		if tc.ok && (err != nil || !created) || !tc.ok && (!errors.Is(err, knowledge.ErrLimit) || created) {
			t.Errorf("PutVersion(%s) with at most %d names = created %v, %v, want success %v, else ErrLimit", tc.name, tc.most, created, err, tc.ok)
		}
		if !tc.ok {
			_, err := c.Plugin(t.Context(), alice, tc.name)
			wantNotFound(t, "Plugin after ErrLimit", err)
		}
	}
}
