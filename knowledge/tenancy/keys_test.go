package tenancy_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/tenancytest"
)

const adminKey = "operator-operator-operator-operator"

// directory is a [tenancytest.Memory] that counts look-ups and can fail.
type directory struct {
	*tenancytest.Memory

	mu        sync.Mutex
	finds     int
	touches   int
	err       error  // of FindKey and TouchKeys
	meanwhile func() // called by TouchKeys, if not nil
}

func (d *directory) FindKey(ctx context.Context, prefix string) (tenancy.StoredKey, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finds++
	if d.err != nil {
		return tenancy.StoredKey{}, d.err
	}
	return d.Memory.FindKey(ctx, prefix)
}

func (d *directory) TouchKeys(ctx context.Context, uses []tenancy.LastUse) error {
	if d.meanwhile != nil {
		d.meanwhile()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touches++
	if d.err != nil {
		return d.err
	}
	return d.Memory.TouchKeys(ctx, uses)
}

func ring(t testing.TB, seeds ...string) *tenancy.Ring {
	t.Helper()
	var keys [][]byte
	for _, s := range seeds {
		sum := sha256.Sum256([]byte(s))
		keys = append(keys, sum[:])
	}
	r, err := tenancy.NewRing(keys...)
	if err != nil {
		t.Fatalf("NewRing = %v, want nil", err)
	}
	return r
}

// deployment returns keys over a directory with the tenant acme.
func deployment(t testing.TB) (*tenancy.Keys, *directory) {
	t.Helper()
	d := &directory{Memory: tenancytest.NewMemory()}
	keys, err := tenancy.NewKeys(d, ring(t, "one"), adminKey)
	if err != nil {
		t.Fatalf("NewKeys = %v, want nil", err)
	}
	if _, err := keys.CreateTenant(t.Context(), tenancy.Tenant{ID: "acme", Policy: tenancy.Policy{MaxPlugins: 3}}); err != nil {
		t.Fatalf("CreateTenant = %v, want nil", err)
	}
	return keys, d
}

func issue(t testing.TB, keys *tenancy.Keys, scopes []tenancy.Scope, expires time.Time) (tenancy.Key, string) {
	t.Helper()
	key, token, err := keys.IssueKey(t.Context(), "acme", "name", scopes, expires)
	if err != nil {
		t.Fatalf("IssueKey = %v, want nil", err)
	}
	return key, token
}

func TestAuthenticate(t *testing.T) {
	keys, _ := deployment(t)
	key, token := issue(t, keys, []tenancy.Scope{tenancy.ScopeWrite, tenancy.ScopeRead, tenancy.ScopeRead}, time.Time{})
	p, err := keys.Authenticate(t.Context(), token)
	if err != nil || p.Tenant != "acme" || p.KeyID != key.ID || p.Policy.MaxPlugins != 3 {
		t.Errorf("Authenticate = %+v, %v, want acme by %s with its policy", p, err, key.ID)
	}
	if want := []tenancy.Scope{tenancy.ScopeRead, tenancy.ScopeWrite}; !slices.Equal(p.Scopes, want) || !slices.Equal(key.Scopes, want) {
		t.Errorf("scopes = %v of %v, want %v", p.Scopes, key.Scopes, want)
	}
	for scope, want := range map[tenancy.Scope]bool{tenancy.ScopeRead: true, tenancy.ScopePlugins: false, tenancy.ScopeAdmin: false, "": false} {
		if got := p.May(scope); got != want {
			t.Errorf("May(%q) = %v, want %v", scope, got, want)
		}
	}
	_, token = issue(t, keys, nil, time.Time{})
	if p, err := keys.Authenticate(t.Context(), token); err != nil || !slices.Equal(slices.Sorted(slices.Values(p.Scopes)), slices.Sorted(slices.Values(tenancy.TenantScopes()))) {
		t.Errorf("scopes of a key that asked for none = %v, %v, want all of a tenant", p.Scopes, err)
	}
}

func TestAuthenticateOperator(t *testing.T) {
	keys, d := deployment(t)
	p, err := keys.Authenticate(t.Context(), adminKey)
	if err != nil || p.Tenant != "" || !slices.Equal(p.Scopes, []tenancy.Scope{tenancy.ScopeAdmin}) {
		t.Errorf("Authenticate(admin key) = %+v, %v, want no tenant and the scope admin alone", p, err)
	}
	if d.finds != 0 {
		t.Errorf("the admin key was looked up in the directory")
	}
	for _, token := range []string{adminKey + " ", adminKey[1:], adminKey + adminKey, strings.ToUpper(adminKey), adminKey + "\x00"} {
		if p, err := keys.Authenticate(t.Context(), token); !errors.Is(err, tenancy.ErrUnauthenticated) {
			t.Errorf("Authenticate(%q) = %+v, %v, want ErrUnauthenticated", token, p, err)
		}
	}
	for _, key := range []string{"", "short", strings.Repeat("a", tenancy.MinAdminKey-1)} {
		if _, err := tenancy.NewKeys(d, ring(t, "one"), key); err == nil {
			t.Errorf("NewKeys with an admin key of %d bytes = nil, want an error", len(key))
		}
	}
}

// flip changes the character of a token at i to another of the alphabet.
func flip(token string, i int) string {
	b := []byte(token)
	if b[i] = 'q'; token[i] == 'q' {
		b[i] = 'a'
	}
	return string(b)
}

// TestAuthenticateRefuses: nothing of the answer tells the ways apart, and those
// that a stranger can try with well-formed tokens take the same look-up.
func TestAuthenticateRefuses(t *testing.T) {
	keys, d := deployment(t)
	now := time.Now().Truncate(time.Microsecond)
	keys.SetNow(func() time.Time { return now })
	key, good := issue(t, keys, nil, time.Time{})
	_, expiring := issue(t, keys, nil, now.Add(time.Hour))
	revoked, revokedToken := issue(t, keys, nil, time.Time{})
	if err := keys.RevokeKey(t.Context(), "acme", revoked.ID); err != nil {
		t.Fatalf("RevokeKey = %v, want nil", err)
	}
	_, other := issue(t, keys, nil, time.Time{})
	if _, err := keys.Authenticate(t.Context(), expiring); err != nil {
		t.Errorf("Authenticate before the end = %v, want nil", err)
	}
	now = now.Add(time.Hour) // the very moment
	for _, tc := range []struct {
		name, token string
		finds       int
	}{
		{"unknown prefix", flip(good, 5), 1},
		{"first byte of the secret", flip(good, 18), 1},
		{"middle of the secret", flip(good, 40), 1},
		{"secret of another key", "tars_" + key.Prefix + other[17:], 1},
		{"all zeros", "tars_" + key.Prefix + "_" + strings.Repeat("a", 52), 1},
		{"expired", expiring, 1},
		{"revoked", revokedToken, 1},
		{"malformed", good + "a", 0},
		{"empty", "", 0},
		{"prefix alone", "tars_" + key.Prefix + "_", 0},
		{"huge", strings.Repeat("a", 1<<20), 0},
	} {
		d.finds = 0
		p, err := keys.Authenticate(t.Context(), tc.token)
		if err == nil || err.Error() != tenancy.ErrUnauthenticated.Error() || !errors.Is(err, tenancy.ErrUnauthenticated) || p.Tenant != "" || p.Scopes != nil {
			t.Errorf("%s: Authenticate = %+v, %v, want just ErrUnauthenticated", tc.name, p, err)
		}
		if d.finds != tc.finds {
			t.Errorf("%s: Authenticate asked the directory %d times, want %d", tc.name, d.finds, tc.finds)
		}
	}
	if _, err := keys.Authenticate(t.Context(), good); err != nil {
		t.Errorf("Authenticate(good token) = %v, want nil", err)
	}
	d.err = fmt.Errorf("%w: gone", knowledge.ErrUnavailable)
	if _, err := keys.Authenticate(t.Context(), good); !errors.Is(err, knowledge.ErrUnavailable) || errors.Is(err, tenancy.ErrUnauthenticated) {
		t.Errorf("Authenticate without directory = %v, want ErrUnavailable alone", err)
	}
}

func TestRotation(t *testing.T) {
	d := &directory{Memory: tenancytest.NewMemory()}
	with := func(seeds ...string) *tenancy.Keys {
		keys, err := tenancy.NewKeys(d, ring(t, seeds...), adminKey)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	before := with("old")
	if _, err := before.CreateTenant(t.Context(), tenancy.Tenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	_, oldToken := issue(t, before, nil, time.Time{})
	during := with("new", "old")
	_, newToken := issue(t, during, nil, time.Time{})
	for _, tc := range []struct {
		name  string
		keys  *tenancy.Keys
		token string
		good  bool
	}{
		{"old key, both on the ring", during, oldToken, true},
		{"new key, both on the ring", during, newToken, true},
		{"new key, old ring", before, newToken, false},
		{"old key, new ring", with("new"), oldToken, false},
		{"new key, new ring", with("new"), newToken, true},
	} {
		if _, err := tc.keys.Authenticate(t.Context(), tc.token); (err == nil) != tc.good {
			t.Errorf("%s: Authenticate = %v, want success %v", tc.name, err, tc.good)
		}
	}
}

func TestHashOfKeys(t *testing.T) {
	keys, d := deployment(t)
	key, token := issue(t, keys, nil, time.Time{})
	stored, err := d.Memory.FindKey(t.Context(), key.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := tenancy.SplitToken(token)
	for name, known := range map[string][32]byte{
		"its SHA-256": sha256.Sum256([]byte(secret)), "that of the token": sha256.Sum256([]byte(token)), "zeros": {},
	} {
		if stored.SecretHash == known {
			t.Errorf("what is kept of a secret is %s, want a keyed hash", name)
		}
	}
	if strings.Contains(secret, string(stored.SecretHash[:4])) || strings.Contains(fmt.Sprintf("%+v", stored), secret) {
		t.Error("what is kept of a key holds its secret")
	}
}

func TestIssueKeyRefuses(t *testing.T) {
	keys, d := deployment(t)
	past := time.Now().Add(-time.Second)
	for _, tc := range []struct {
		name    string
		label   string
		scopes  []tenancy.Scope
		expires time.Time
		field   string
	}{
		{"long name", strings.Repeat("n", 201), nil, time.Time{}, "name"},
		{"name with NUL", "a\x00", nil, time.Time{}, "name"},
		{"scope admin", "", []tenancy.Scope{tenancy.ScopeRead, tenancy.ScopeAdmin}, time.Time{}, "scopes"},
		{"unknown scope", "", []tenancy.Scope{"root"}, time.Time{}, "scopes"},
		{"past", "", nil, past, "expires_at"},
	} {
		_, token, err := keys.IssueKey(t.Context(), "acme", tc.label, tc.scopes, tc.expires)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != tc.field || token != "" {
			t.Errorf("%s: IssueKey = %q, %v, want an *InvalidError at %q", tc.name, token, err, tc.field)
		}
	}
	if _, token, err := keys.IssueKey(t.Context(), "nobody", "", nil, time.Time{}); !errors.Is(err, knowledge.ErrNotFound) || token != "" {
		t.Errorf("IssueKey for no tenant = %q, %v, want ErrNotFound", token, err)
	}
	if list, err := d.ListKeys(t.Context(), "acme", "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListKeys = %v, %v after refusals, want none", list, err)
	}
}

// TestIssueKeyIsWhatIsKept: the times that a caller is shown are those that a
// directory gives back later.
func TestIssueKeyIsWhatIsKept(t *testing.T) {
	keys, _ := deployment(t)
	at := time.Date(2030, 1, 2, 3, 4, 5, 123456789, time.UTC)
	keys.SetNow(func() time.Time { return at })
	key, _ := issue(t, keys, nil, at.Add(time.Hour))
	if want := at.Truncate(time.Microsecond); !key.Created.Equal(want) || !key.Expires.Equal(want.Add(time.Hour)) {
		t.Errorf("times = %v and %v, want them to the microsecond", key.Created, key.Expires)
	}
}

func TestCreateTenantRefuses(t *testing.T) {
	keys, d := deployment(t)
	policy := func(p tenancy.Policy) tenancy.Tenant { return tenancy.Tenant{ID: "new", Policy: p} }
	for _, tc := range []struct {
		tenant tenancy.Tenant
		field  string
	}{
		{tenancy.Tenant{ID: ""}, "id"},
		{tenancy.Tenant{ID: "A"}, "id"},
		{tenancy.Tenant{ID: "a/../b"}, "id"},
		{tenancy.Tenant{ID: "new", Name: strings.Repeat("n", 201)}, "name"},
		{tenancy.Tenant{ID: "new", Name: "\xff"}, "name"},
		{policy(tenancy.Policy{MinIsolation: "inproc"}), "policy.min_isolation"},
		{policy(tenancy.Policy{MinIsolation: "Process"}), "policy.min_isolation"},
		{policy(tenancy.Policy{MaxCollections: -1}), "policy.max_collections"},
		{policy(tenancy.Policy{MaxPlugins: -1}), "policy.max_plugins"},
		{policy(tenancy.Policy{PluginMemory: -1}), "policy.plugin_memory_bytes"},
		{policy(tenancy.Policy{PluginWall: -time.Second}), "policy.plugin_wall_ms"},
		{policy(tenancy.Policy{PluginWall: time.Microsecond}), "policy.plugin_wall_ms"}, // kept as 0, it would lift the limit
		{policy(tenancy.Policy{PluginSlots: -1}), "policy.plugin_slots"},
		{policy(tenancy.Policy{Memory: -1}), "policy.memory_bytes"},
		{policy(tenancy.Policy{PluginWeight: -1}), "policy.plugin_weight"},
		{policy(tenancy.Policy{PluginWeight: 1001}), "policy.plugin_weight"},
	} {
		_, err := keys.CreateTenant(t.Context(), tc.tenant)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != tc.field {
			t.Errorf("CreateTenant(%+v) = %v, want an *InvalidError at %q", tc.tenant, err, tc.field)
		}
	}
	if list, err := d.ListTenants(t.Context(), "", 10); err != nil || len(list) != 1 {
		t.Errorf("ListTenants = %v, %v after refusals, want acme alone", list, err)
	}
	if _, err := keys.CreateTenant(t.Context(), tenancy.Tenant{ID: "acme"}); !errors.Is(err, knowledge.ErrConflict) {
		t.Errorf("CreateTenant(acme) = %v, want ErrConflict", err)
	}
}

func TestTenantsOfKeys(t *testing.T) {
	keys, _ := deployment(t)
	key, _ := issue(t, keys, nil, time.Time{})
	if tenant, err := keys.Tenant(t.Context(), "acme"); err != nil || tenant.ID != "acme" {
		t.Errorf("Tenant(acme) = %+v, %v, want acme", tenant, err)
	}
	if list, err := keys.ListTenants(t.Context(), "", 10); err != nil || len(list) != 1 {
		t.Errorf("ListTenants = %v, %v, want acme", list, err)
	}
	if list, err := keys.ListKeys(t.Context(), "acme", "", 10); err != nil || len(list) != 1 || list[0].ID != key.ID {
		t.Errorf("ListKeys = %v, %v, want %s", list, err, key.ID)
	}
	if _, err := keys.ListKeys(t.Context(), "nobody", "", 10); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("ListKeys(nobody) = %v, want ErrNotFound", err)
	}
}

func lastUse(t *testing.T, d *directory, id string) time.Time {
	t.Helper()
	list, err := d.ListKeys(t.Context(), "acme", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range list {
		if k.ID == id {
			return k.LastUsed
		}
	}
	t.Fatalf("no key %s", id)
	return time.Time{}
}

func TestFlushUse(t *testing.T) {
	keys, d := deployment(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	keys.SetNow(func() time.Time { return now })
	a, tokenA := issue(t, keys, nil, time.Time{})
	b, tokenB := issue(t, keys, nil, time.Time{})
	authenticate := func(token string) {
		t.Helper()
		if _, err := keys.Authenticate(t.Context(), token); err != nil {
			t.Fatalf("Authenticate = %v, want nil", err)
		}
	}
	if err := keys.FlushUse(t.Context()); err != nil || d.touches != 0 {
		t.Errorf("FlushUse of nothing = %v with %d writes, want nil with none", err, d.touches)
	}
	first := now
	authenticate(tokenA)
	authenticate(tokenB)
	d.meanwhile = func() { // a is used again while the flush is under way, which then fails
		now = now.Add(time.Minute)
		authenticate(tokenA)
		d.err = knowledge.ErrUnavailable
	}
	if err := keys.FlushUse(t.Context()); !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("FlushUse without directory = %v, want ErrUnavailable", err)
	}
	d.err, d.meanwhile = nil, nil
	if _, err := keys.Authenticate(t.Context(), flip(tokenB, 30)); err == nil {
		t.Fatal("Authenticate of a wrong secret = nil")
	}
	if err := keys.FlushUse(t.Context()); err != nil {
		t.Errorf("FlushUse = %v, want nil", err)
	}
	if got := lastUse(t, d, a.ID); !got.Equal(now) {
		t.Errorf("last use of a = %v, want the later one %v", got, now)
	}
	if got := lastUse(t, d, b.ID); !got.Equal(first) {
		t.Errorf("last use of b = %v, want %v: kept from the flush that failed, and no more by a wrong secret", got, first)
	}
	touches := d.touches
	if err := keys.FlushUse(t.Context()); err != nil || d.touches != touches {
		t.Errorf("FlushUse again = %v with %d more writes, want nil with none", err, d.touches-touches)
	}
}

func TestKeysConcurrently(t *testing.T) {
	keys, d := deployment(t)
	var tokens []string
	var ids []string
	for range 8 {
		key, token := issue(t, keys, nil, time.Time{})
		tokens, ids = append(tokens, token), append(ids, key.ID)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if _, err := keys.Authenticate(t.Context(), tokens[(i+j)%8]); err != nil {
					t.Errorf("Authenticate = %v, want nil", err)
				}
				if j%10 == 0 {
					if err := keys.FlushUse(t.Context()); err != nil {
						t.Errorf("FlushUse = %v, want nil", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := keys.FlushUse(t.Context()); err != nil {
		t.Errorf("FlushUse = %v, want nil", err)
	}
	for _, id := range ids {
		if lastUse(t, d, id).IsZero() {
			t.Errorf("%s was used, but has no last use", id)
		}
	}
}
