package catalogtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
)

func testListVersions(t *testing.T, c plugins.Catalog) {
	for i := range 4 {
		put(t, c, alice, "a", fmt.Sprint(i))
	}
	put(t, c, alice, "b", "other")
	for _, tc := range []struct {
		below, limit int
		want         string
	}{
		{0, 10, "[4 3 2 1]"},
		{0, 2, "[4 3]"},
		{3, 10, "[2 1]"},
		{100, 1, "[4]"},
		{1, 10, "[]"},
	} {
		list, err := c.ListVersions(t.Context(), alice, "a", tc.below, tc.limit)
		numbers := []int{}
		for _, v := range list {
			numbers = append(numbers, v.Number)
		}
		if got := fmt.Sprint(numbers); err != nil || got != tc.want {
			t.Errorf("ListVersions(below %d, limit %d) = %s, %v, want %s", tc.below, tc.limit, got, err, tc.want)
		}
	}
}

func testListPlugins(t *testing.T, c plugins.Catalog) {
	for i, name := range []plugins.Name{"b", "a_b", "a-b", "a", "a0"} {
		put(t, c, alice, name, fmt.Sprint(i))
	}
	put(t, c, alice, "a", "second")
	put(t, c, bob, "aa", "bob's")
	if err := c.SetAlias(t.Context(), alice, "a", plugins.Live, 2); err != nil {
		t.Fatalf("SetAlias = %v, want nil", err)
	}
	for _, tc := range []struct {
		after plugins.Name
		limit int
		want  string
	}{
		{"", 10, "[a a-b a0 a_b b]"}, // by byte, not by language
		{"", 2, "[a a-b]"},
		{"a-b", 2, "[a0 a_b]"},
		{"b", 10, "[]"},
	} {
		list, err := c.ListPlugins(t.Context(), alice, tc.after, tc.limit)
		names := []plugins.Name{}
		for _, p := range list {
			names = append(names, p.Name)
			if p.Name == "a" && (p.Newest != 2 || p.Aliases[plugins.Live] != 2) || p.Created.IsZero() {
				t.Errorf("ListPlugins has %+v, want all of the plugin", p)
			}
		}
		if got := fmt.Sprint(names); err != nil || got != tc.want {
			t.Errorf("ListPlugins(after %q, limit %d) = %s, %v, want %s", tc.after, tc.limit, got, err, tc.want)
		}
	}
}

// testTenants: what another tenant has is answered as what is not there.
func testTenants(t *testing.T, c plugins.Catalog) {
	ctx := t.Context()
	v := put(t, c, alice, "a", "1")
	if err := c.SetAlias(ctx, alice, "a", plugins.Live, 1); err != nil {
		t.Fatalf("SetAlias = %v, want nil", err)
	}
	for _, ref := range []plugins.Ref{{}, {Number: 1}, {Digest: &v.Digest}} {
		_, err := c.Version(ctx, bob, "a", ref)
		wantNotFound(t, "Version of another tenant", err)
	}
	_, err := c.Module(ctx, bob, "a", 1)
	wantNotFound(t, "Module of another tenant", err)
	_, err = c.Plugin(ctx, bob, "a")
	wantNotFound(t, "Plugin of another tenant", err)
	_, err = c.ListVersions(ctx, bob, "a", 0, 10)
	wantNotFound(t, "ListVersions of another tenant", err)
	wantNotFound(t, "SetAlias of another tenant", c.SetAlias(ctx, bob, "a", plugins.Live, 1))
	if list, err := c.ListPlugins(ctx, bob, "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListPlugins(bob) = %v, %v, want none", list, err)
	}
	// The same upload is bob's own version, with its own alias.
	if got := put(t, c, bob, "a", "1"); got.Digest != v.Digest {
		t.Errorf("digest = %v, want %v", got.Digest, v.Digest)
	}
	_, err = c.Version(ctx, bob, "a", plugins.Ref{})
	wantNotFound(t, "Version(live) of bob", err)
	put(t, c, alice, "a", "2")
	if list, err := c.ListVersions(ctx, bob, "a", 0, 10); err != nil || len(list) != 1 {
		t.Errorf("ListVersions(bob) = %d, %v, want 1", len(list), err)
	}
}

func testUnknownTenant(t *testing.T, c plugins.Catalog) {
	ctx := t.Context()
	const nobody = knowledge.TenantID("nobody")
	_, err := c.Plugin(ctx, nobody, "a")
	wantNotFound(t, "Plugin of no tenant", err)
	if list, err := c.ListPlugins(ctx, nobody, "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListPlugins of no tenant = %v, %v, want none", list, err)
	}
}

// testConcurrentUploads: uploads of one name at once get all numbers, each once.
func testConcurrentUploads(t *testing.T, c plugins.Catalog) {
	const uploads = 12
	var wg sync.WaitGroup
	numbers := make([]int, uploads)
	for i := range uploads {
		wg.Go(func() {
			v, module := version("a", fmt.Sprint(i))
			stored, created, err := c.PutVersion(t.Context(), alice, v, module, 0)
			if err != nil || !created {
				t.Errorf("PutVersion = created %v, %v, want true, nil", created, err)
			}
			numbers[i] = stored.Number
		})
	}
	wg.Wait()
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("numbers = %v, want 1 to %d", numbers, uploads)
		}
	}
}

// testConcurrentSame: of the same upload many times at once one is kept.
func testConcurrentSame(t *testing.T, c plugins.Catalog) {
	const uploads = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	creations := 0
	for range uploads {
		wg.Go(func() {
			v, module := version("a", "same")
			stored, created, err := c.PutVersion(t.Context(), alice, v, module, 0)
			if err != nil || stored.Number != 1 {
				t.Errorf("PutVersion = %d, %v, want 1, nil", stored.Number, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if created {
				creations++
			}
		})
	}
	wg.Wait()
	if creations != 1 {
		t.Errorf("%d of %d uploads said that they made the version, want 1", creations, uploads)
	}
}

// testConcurrentNames: the limit of names holds when many are made at once.
func testConcurrentNames(t *testing.T, c plugins.Catalog) {
	const uploads, most = 8, 3
	var wg sync.WaitGroup
	for i := range uploads {
		wg.Go(func() {
			v, module := version(plugins.Name(fmt.Sprint("n", i)), "x")
			if _, _, err := c.PutVersion(t.Context(), alice, v, module, most); err != nil && !errors.Is(err, knowledge.ErrLimit) {
				t.Errorf("PutVersion = %v, want nil or ErrLimit", err)
			}
		})
	}
	wg.Wait()
	if list, err := c.ListPlugins(t.Context(), alice, "", 100); err != nil || len(list) != most {
		t.Errorf("ListPlugins = %d, %v, want %d", len(list), err, most)
	}
}
