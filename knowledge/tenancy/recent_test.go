package tenancy_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/tenancytest"
)

func TestRecentIsADirectory(t *testing.T) {
	tenancytest.RunDirectory(t, func(t *testing.T) tenancy.Directory { return newRecent(t, tenancytest.NewMemory()) })
}

func newRecent(t *testing.T, d tenancy.Directory) *tenancy.Recent {
	r := tenancy.NewRecent(d)
	t.Cleanup(r.Close)
	return r
}

// counting counts look-ups of keys, which take a moment.
type counting struct {
	tenancy.Directory
	finds atomic.Int64
}

func (c *counting) FindKey(ctx context.Context, prefix string) (tenancy.StoredKey, error) {
	c.finds.Add(1)
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		return tenancy.StoredKey{}, ctx.Err()
	}
	return c.Directory.FindKey(ctx, prefix)
}

// TestRecentRemembersForASecond: many requests are one look-up; what this node
// revokes is over at once, what another revokes after a second.
func TestRecentRemembersForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := tenancytest.NewMemory()
		c := &counting{Directory: memory}
		r := newRecent(t, c)
		ctx := t.Context()
		if _, err := r.CreateTenant(ctx, tenancy.Tenant{ID: "t"}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b"} {
			if err := r.CreateKey(ctx, tenancy.StoredKey{Key: tenancy.Key{ID: id, Tenant: "t", Prefix: "p" + id}}); err != nil {
				t.Fatal(err)
			}
		}
		revoked := func(prefix string) bool {
			t.Helper()
			k, err := r.FindKey(ctx, prefix)
			if err != nil {
				t.Fatalf("FindKey(%s): %v", prefix, err)
			}
			return !k.Revoked.IsZero()
		}
		// The first of those who wait gives up; the others have their answer.
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { _, _ = r.FindKey(short, "pa") })
		synctest.Wait()
		for range 20 {
			group.Go(func() {
				if _, err := r.FindKey(ctx, "pa"); err != nil {
					t.Errorf("FindKey beside one that gave up: %v", err)
				}
			})
		}
		group.Wait()
		if got := c.finds.Load(); got != 1 {
			t.Errorf("21 requests made %d look-ups, want 1", got)
		}
		if err := r.RevokeKey(ctx, "t", "a"); err != nil {
			t.Fatal(err)
		}
		if !revoked("pa") {
			t.Error("a key that this node revoked is still good")
		}
		if revoked("pb") {
			t.Error("a key that nobody revoked is not good")
		}
		if err := memory.RevokeKey(ctx, "t", "b"); err != nil { // another node's doing
			t.Fatal(err)
		}
		time.Sleep(recent.Stale + time.Millisecond)
		if !revoked("pb") {
			t.Error("a key that another node revoked is still good after a second")
		}
		if _, err := r.FindKey(ctx, "unknown"); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("FindKey of an unknown prefix: %v, want ErrNotFound", err)
		}
	})
}
