package plugins_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/catalogtest"
	"github.com/tars-project/tars/plugins/memcatalog"
)

func TestRecentIsACatalog(t *testing.T) {
	catalogtest.Run(t, catalogtest.Harness{New: func(t *testing.T) plugins.Catalog {
		r := plugins.NewRecent(new(memcatalog.Catalog))
		t.Cleanup(r.Close)
		return r
	}})
}

// countingCatalog counts look-ups of versions.
type countingCatalog struct {
	plugins.Catalog
	lookUps int
}

func (c *countingCatalog) Version(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, ref plugins.Ref) (plugins.Version, error) {
	c.lookUps++
	return c.Catalog.Version(ctx, tenant, name, ref)
}

// TestRecentVersions: many calls are one look-up; an alias that this node moves is
// followed at once, one that another moves after a second.
func TestRecentVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(memcatalog.Catalog)
		c := &countingCatalog{Catalog: memory}
		r := plugins.NewRecent(c)
		defer r.Close()
		ctx := t.Context()
		for i := range 2 {
			v := plugins.Version{Name: "p", Digest: plugins.Digest{byte(i)}}
			if _, _, err := r.PutVersion(ctx, "t", v, []byte{byte(i)}, 0); err != nil {
				t.Fatal(err)
			}
		}
		wantLive := func(want int) {
			t.Helper()
			for range 10 {
				if v, err := r.Version(ctx, "t", "p", plugins.Ref{}); err != nil || v.Number != want {
					t.Errorf("Version(live) = %d, %v, want %d", v.Number, err, want)
				}
			}
		}
		if err := r.SetAlias(ctx, "t", "p", plugins.Live, 2); err != nil {
			t.Fatal(err)
		}
		c.lookUps = 0
		wantLive(2)
		if c.lookUps != 1 {
			t.Errorf("ten calls made %d look-ups, want 1", c.lookUps)
		}
		if err := r.SetAlias(ctx, "t", "p", plugins.Live, 1); err != nil {
			t.Fatal(err)
		}
		wantLive(1)
		if err := memory.SetAlias(ctx, "t", "p", plugins.Live, 2); err != nil { // another node's doing
			t.Fatal(err)
		}
		time.Sleep(recent.Stale + time.Millisecond)
		wantLive(2)
	})
}
