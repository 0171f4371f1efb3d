// Package tenancytest holds the tests that every [tenancy.Directory] and every
// [tenancy.Secrets] passes, and the plainest of both, [Memory].
package tenancytest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

const (
	alice = knowledge.TenantID("alice")
	bob   = knowledge.TenantID("bob")
)

// RunDirectory tests the directories that open makes, an empty one for each
// subtest.
func RunDirectory(t *testing.T, open func(t *testing.T) tenancy.Directory) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, tenancy.Directory)
	}{
		{"Tenants", testTenants},
		{"Policies", testPolicies},
		{"ListTenants", testListTenants},
		{"Keys", testKeys},
		{"KeyConflicts", testKeyConflicts},
		{"ListKeys", testListKeys},
		{"RevokeKey", testRevokeKey},
		{"TouchKeys", testTouchKeys},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// wantKind checks what kind of error something gave.
func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// must stops a test that cannot go on.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s = %v, want nil", what, err)
	}
}

func addTenants(t *testing.T, d tenancy.Directory, ids ...knowledge.TenantID) {
	t.Helper()
	for _, id := range ids {
		_, err := d.CreateTenant(t.Context(), tenancy.Tenant{ID: id})
		must(t, fmt.Sprintf("CreateTenant(%s)", id), err)
	}
}

// now is the present at the resolution that directories keep.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func testTenants(t *testing.T, d tenancy.Directory) {
	ctx := t.Context()
	_, err := d.Tenant(ctx, alice)
	wantKind(t, "Tenant before it is made", err, knowledge.ErrNotFound)
	before := now()
	made, err := d.CreateTenant(ctx, tenancy.Tenant{ID: alice, Name: "Älice & Co. '; --"})
	must(t, "CreateTenant", err)
	if made.Created.Before(before.Add(-time.Minute)) || made.Created.After(before.Add(time.Minute)) {
		t.Errorf("Created = %v, want about %v", made.Created, before)
	}
	got, err := d.Tenant(ctx, alice)
	must(t, "Tenant", err)
	if got.ID != alice || got.Name != made.Name || !got.Created.Equal(made.Created) {
		t.Errorf("Tenant = %+v, want %+v", got, made)
	}
	_, err = d.CreateTenant(ctx, tenancy.Tenant{ID: alice, Name: "another"})
	wantKind(t, "CreateTenant of a taken id", err, knowledge.ErrConflict)
	if got, err := d.Tenant(ctx, alice); err != nil || got.Name != made.Name {
		t.Errorf("Tenant after a refused CreateTenant = %+v, %v, want it unchanged", got, err)
	}
}

func testPolicies(t *testing.T, d tenancy.Directory) {
	for id, p := range map[knowledge.TenantID]tenancy.Policy{
		"none":    {},
		"process": {MinIsolation: "process"},
		"all": {
			MinIsolation: "microvm", MaxCollections: 7, MaxPlugins: 3,
			PluginMemory: 1 << 40, PluginWall: 90 * time.Millisecond, PluginSlots: 2,
			Memory: 1 << 41, PluginWeight: 1000,
		},
	} {
		made, err := d.CreateTenant(t.Context(), tenancy.Tenant{ID: id, Policy: p})
		must(t, "CreateTenant", err)
		got, err := d.Tenant(t.Context(), id)
		if err != nil || got.Policy != p || made.Policy != p {
			t.Errorf("policy of %s = %+v, %v, want %+v", id, got.Policy, err, p)
		}
		must(t, "CreateKey", d.CreateKey(t.Context(), key(id, "k"+string(id))))
		if k, err := d.FindKey(t.Context(), "k"+string(id)); err != nil || k.Policy != p {
			t.Errorf("policy with a key of %s = %+v, %v, want %+v", id, k.Policy, err, p)
		}
	}
}

func testListTenants(t *testing.T, d tenancy.Directory) {
	addTenants(t, d, "b", "a-1", "c", "a", "a0")
	for _, tc := range []struct {
		after knowledge.TenantID
		limit int
		want  string
	}{
		{"", 10, "[a a-1 a0 b c]"}, // by byte, not by language
		{"", 2, "[a a-1]"},
		{"a-1", 2, "[a0 b]"},
		{"bb", 10, "[c]"},
		{"c", 10, "[]"},
	} {
		list, err := d.ListTenants(t.Context(), tc.after, tc.limit)
		must(t, "ListTenants", err)
		ids := []knowledge.TenantID{}
		for _, tenant := range list {
			ids = append(ids, tenant.ID)
		}
		if got := fmt.Sprint(ids); got != tc.want {
			t.Errorf("ListTenants(%q, %d) = %s, want %s", tc.after, tc.limit, got, tc.want)
		}
	}
}

// key is one of a tenant, with the prefix as its id too.
func key(tenant knowledge.TenantID, prefix string) tenancy.StoredKey {
	return tenancy.StoredKey{
		Key: tenancy.Key{
			ID: "key_" + prefix, Tenant: tenant, Prefix: prefix, Name: "name of " + prefix,
			Scopes: []tenancy.Scope{tenancy.ScopeRead, tenancy.ScopeWrite}, Created: now(),
		},
		SecretHash: [32]byte{1, 2, 3, 31: byte(len(prefix))},
	}
}

func testKeys(t *testing.T, d tenancy.Directory) {
	ctx := t.Context()
	addTenants(t, d, alice, bob)
	_, err := d.FindKey(ctx, "aaa")
	wantKind(t, "FindKey before it is made", err, knowledge.ErrNotFound)
	want := key(alice, "aaa")
	want.Expires, want.Views = now().Add(time.Hour), []knowledge.CollectionName{"v", "w"}
	must(t, "CreateKey", d.CreateKey(ctx, want))
	must(t, "CreateKey", d.CreateKey(ctx, key(bob, "bbb")))
	got, err := d.FindKey(ctx, "aaa")
	must(t, "FindKey", err)
	if got.Tenant != alice || got.ID != want.ID || got.Prefix != "aaa" || got.SecretHash != want.SecretHash ||
		!reflect.DeepEqual(got.Scopes, want.Scopes) || !reflect.DeepEqual(got.Views, want.Views) || !got.Expires.Equal(want.Expires) || !got.Revoked.IsZero() {
		t.Errorf("FindKey(aaa) = %+v, want %+v", got, want)
	}
	if got, err := d.FindKey(ctx, "bbb"); err != nil || got.Tenant != bob || !got.Expires.IsZero() || got.Views != nil {
		t.Errorf("FindKey(bbb) = %+v, %v, want bob's, that never expires and is not limited", got, err)
	}
	if list, err := d.ListKeys(ctx, alice, "", 10); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0].Views, want.Views) {
		t.Errorf("ListKeys = %+v, %v, want the one with its views", list, err)
	}
	// Limited to nothing is not the same as not limited.
	none := key(alice, "ccc")
	none.Views = []knowledge.CollectionName{}
	must(t, "CreateKey", d.CreateKey(ctx, none))
	if got, err := d.FindKey(ctx, "ccc"); err != nil || got.Views == nil || len(got.Views) != 0 {
		t.Errorf("FindKey(ccc) = %+v, %v, want no view, but limited", got, err)
	}
	for _, prefix := range []string{"", "a", "aaaa", "AAA", "a%", "' OR 1=1 --"} {
		_, err := d.FindKey(ctx, prefix)
		wantKind(t, fmt.Sprintf("FindKey(%q)", prefix), err, knowledge.ErrNotFound)
	}
}

func testKeyConflicts(t *testing.T, d tenancy.Directory) {
	ctx := t.Context()
	addTenants(t, d, alice, bob)
	wantKind(t, "CreateKey of no tenant", d.CreateKey(ctx, key("nobody", "aaa")), knowledge.ErrNotFound)
	must(t, "CreateKey", d.CreateKey(ctx, key(alice, "aaa")))
	wantKind(t, "CreateKey twice", d.CreateKey(ctx, key(alice, "aaa")), knowledge.ErrConflict)
	wantKind(t, "CreateKey with another's prefix", d.CreateKey(ctx, key(bob, "aaa")), knowledge.ErrConflict)
	if got, err := d.FindKey(ctx, "aaa"); err != nil || got.Tenant != alice {
		t.Errorf("FindKey(aaa) = %+v, %v, want alice's still", got, err)
	}
}

func testListKeys(t *testing.T, d tenancy.Directory) {
	ctx := t.Context()
	addTenants(t, d, alice, bob)
	for _, k := range []tenancy.StoredKey{key(alice, "c"), key(alice, "a"), key(bob, "b"), key(alice, "d")} {
		must(t, "CreateKey", d.CreateKey(ctx, k))
	}
	for _, tc := range []struct {
		tenant knowledge.TenantID
		after  string
		limit  int
		want   string
	}{
		{alice, "", 10, "[a c d]"},
		{alice, "", 2, "[a c]"},
		{alice, "key_a", 1, "[c]"},
		{alice, "key_d", 10, "[]"},
		{bob, "", 10, "[b]"},
		{"nobody", "", 10, "[]"},
	} {
		list, err := d.ListKeys(ctx, tc.tenant, tc.after, tc.limit)
		must(t, "ListKeys", err)
		prefixes := []string{}
		for _, k := range list {
			prefixes = append(prefixes, k.Prefix)
			if k.Tenant != tc.tenant || k.Name != "name of "+k.Prefix || len(k.Scopes) != 2 || k.Created.IsZero() {
				t.Errorf("ListKeys(%s) has %+v, want all of the key", tc.tenant, k)
			}
		}
		if got := fmt.Sprint(prefixes); got != tc.want {
			t.Errorf("ListKeys(%s, %q, %d) = %s, want %s", tc.tenant, tc.after, tc.limit, got, tc.want)
		}
	}
}

func testRevokeKey(t *testing.T, d tenancy.Directory) {
	ctx := t.Context()
	addTenants(t, d, alice, bob)
	must(t, "CreateKey", d.CreateKey(ctx, key(alice, "aaa")))
	for _, id := range []string{"key_bbb", "", "aaa", "key_aaa\x00", "\xff", "key_%"} {
		wantKind(t, fmt.Sprintf("RevokeKey(%q)", id), d.RevokeKey(ctx, alice, id), knowledge.ErrNotFound)
	}
	wantKind(t, "RevokeKey of another tenant's key", d.RevokeKey(ctx, bob, "key_aaa"), knowledge.ErrNotFound)
	if k, err := d.FindKey(ctx, "aaa"); err != nil || !k.Revoked.IsZero() {
		t.Errorf("FindKey after another tenant's RevokeKey = %+v, %v, want it not revoked", k, err)
	}
	must(t, "RevokeKey", d.RevokeKey(ctx, alice, "key_aaa"))
	first, err := d.FindKey(ctx, "aaa")
	must(t, "FindKey of a revoked key", err)
	if first.Revoked.IsZero() {
		t.Error("FindKey says that a revoked key is not")
	}
	must(t, "RevokeKey again", d.RevokeKey(ctx, alice, "key_aaa"))
	if again, err := d.FindKey(ctx, "aaa"); err != nil || !again.Revoked.Equal(first.Revoked) {
		t.Errorf("Revoked = %v, %v after the second time, want the first %v", again.Revoked, err, first.Revoked)
	}
	if list, err := d.ListKeys(ctx, alice, "", 10); err != nil || len(list) != 1 || !list[0].Revoked.Equal(first.Revoked) {
		t.Errorf("ListKeys = %+v, %v, want the key, revoked", list, err)
	}
}

func testTouchKeys(t *testing.T, d tenancy.Directory) {
	ctx := t.Context()
	addTenants(t, d, alice, bob)
	must(t, "CreateKey", d.CreateKey(ctx, key(alice, "a")))
	must(t, "CreateKey", d.CreateKey(ctx, key(alice, "b")))
	early, late := now().Add(-time.Hour), now()
	must(t, "TouchKeys of none", d.TouchKeys(ctx, nil))
	must(t, "TouchKeys", d.TouchKeys(ctx, []tenancy.LastUse{
		{Tenant: alice, KeyID: "key_a", At: late},
		{Tenant: alice, KeyID: "key_gone", At: late},
		{Tenant: bob, KeyID: "key_b", At: late}, // not bob's
	}))
	must(t, "TouchKeys", d.TouchKeys(ctx, []tenancy.LastUse{{Tenant: alice, KeyID: "key_a", At: early}}))
	list, err := d.ListKeys(ctx, alice, "", 10)
	must(t, "ListKeys", err)
	var used []time.Time
	for _, k := range list {
		used = append(used, k.LastUsed)
	}
	if len(used) != 2 || !used[0].Equal(late) || !used[1].IsZero() {
		t.Errorf("last uses of a and b = %v, want %v and none", used, late)
	}
}

// RunSecrets tests the secrets that open makes, empty ones for each subtest.
// Beside them it returns a directory for the tenants they belong to.
func RunSecrets(t *testing.T, open func(t *testing.T) (tenancy.Secrets, tenancy.Directory)) {
	s, d := open(t)
	ctx := t.Context()
	addTenants(t, d, alice, bob)
	first := tenancy.Sealed{KeyID: "k1", Bytes: []byte{0, 1, 0xff, 0}}
	second := tenancy.Sealed{KeyID: "k2", Bytes: []byte{9}}
	wantKind(t, "PutSecret of no tenant", s.PutSecret(ctx, "nobody", "n", first), knowledge.ErrNotFound)
	must(t, "PutSecret", s.PutSecret(ctx, alice, "n", first))
	must(t, "PutSecret", s.PutSecret(ctx, bob, "other", second))
	same := func(a, b tenancy.Sealed) bool { return a.KeyID == b.KeyID && slices.Equal(a.Bytes, b.Bytes) }
	if got, err := s.Secret(ctx, alice, "n"); err != nil || !same(got, first) {
		t.Errorf("Secret = %v, %v, want %v", got, err, first)
	}
	must(t, "PutSecret over it", s.PutSecret(ctx, alice, "n", second))
	if got, err := s.Secret(ctx, alice, "n"); err != nil || !same(got, second) {
		t.Errorf("Secret = %v, %v, want %v", got, err, second)
	}
	_, err := s.Secret(ctx, bob, "n")
	wantKind(t, "Secret of another tenant", err, knowledge.ErrNotFound)
	wantKind(t, "DeleteSecret of another tenant", s.DeleteSecret(ctx, bob, "n"), knowledge.ErrNotFound)
	must(t, "DeleteSecret", s.DeleteSecret(ctx, alice, "n"))
	_, err = s.Secret(ctx, alice, "n")
	wantKind(t, "Secret after DeleteSecret", err, knowledge.ErrNotFound)
	wantKind(t, "DeleteSecret again", s.DeleteSecret(ctx, alice, "n"), knowledge.ErrNotFound)
	if got, err := s.Secret(ctx, bob, "other"); err != nil || !same(got, second) {
		t.Errorf("Secret of bob = %v, %v, want %v", got, err, second)
	}
}
