package pgcatalog_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/catalogtest"
	"github.com/tars-project/tars/plugins/pgcatalog"
)

func addTenant(t *testing.T, db *pgtest.Database, tenant knowledge.TenantID) {
	t.Helper()
	if _, err := db.JobsPool(t).Exec(t.Context(), `INSERT INTO tenants (tenant_id) VALUES ($1)`, string(tenant)); err != nil {
		t.Fatalf("add tenant %s: %v", tenant, err)
	}
}

func TestCatalog(t *testing.T) {
	var db *pgtest.Database // of the subtest that runs
	catalogtest.Run(t, catalogtest.Harness{
		New: func(t *testing.T) plugins.Catalog {
			db = pgtest.DB(t)
			return pgcatalog.New(db.AppPool(t))
		},
		AddTenant: func(t *testing.T, tenant knowledge.TenantID) { addTenant(t, db, tenant) },
	})
}

// put keeps a small version as a tenant.
func put(t *testing.T, c *pgcatalog.Catalog, tenant knowledge.TenantID) error {
	t.Helper()
	m := plugins.Manifest{Name: "a", Capabilities: []plugins.Capability{plugins.Rank}}
	_, _, err := c.PutVersion(t.Context(), tenant, plugins.Version{Name: "a", Manifest: m, Digest: plugins.DigestOf(m, nil)}, []byte{1}, 0)
	return err
}

// TestRowsOfOthers asks as the role of the application, with statements that
// forget the tenant: row-level security is the second lock.
func TestRowsOfOthers(t *testing.T) {
	db := pgtest.DB(t)
	app, ctx := db.AppPool(t), t.Context()
	c := pgcatalog.New(app)
	for _, tenant := range []knowledge.TenantID{"alice", "bob"} {
		addTenant(t, db, tenant)
		if err := put(t, c, tenant); err != nil {
			t.Fatalf("PutVersion = %v, want nil", err)
		}
		if err := c.SetAlias(ctx, tenant, "a", plugins.Live, 1); err != nil {
			t.Fatalf("SetAlias = %v, want nil", err)
		}
	}
	for _, table := range []string{"plugin_versions", "plugin_aliases"} {
		var owners []string
		err := pgtx.Read(ctx, app, "alice", `SELECT tenant_id FROM `+table, nil, func(rows pgx.Rows) (err error) {
			owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil || len(owners) != 1 || owners[0] != "alice" {
			t.Errorf("alice sees rows of %v in %s, %v, want her own alone", owners, table, err)
		}
	}
	// A version is immutable, also by accident.
	err := pgtx.Write(ctx, app, "alice", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE plugin_versions SET module = ''`)
		return err
	})
	if err == nil {
		t.Error("UPDATE of a version as the application = nil, want a refusal")
	}
}

func TestErrors(t *testing.T) {
	db := pgtest.DB(t)
	addTenant(t, db, "alice")
	c := pgcatalog.New(db.AppPool(t))
	if err := put(t, c, "nobody"); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("PutVersion of no tenant = %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Plugin(ctx, "alice", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Plugin when cancelled = %v, want Canceled", err)
	}
	// What is kept by a newer server, and not known to this one, is no wrong
	// request.
	if err := put(t, c, "alice"); err != nil {
		t.Fatalf("PutVersion = %v, want nil", err)
	}
	if _, err := db.OwnerPool(t).Exec(t.Context(), `UPDATE tars.plugin_versions SET manifest = manifest || '{"abi": 2}'`); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Version(t.Context(), "alice", "a", plugins.Ref{Number: 1}); err == nil || errors.Is(err, knowledge.ErrInvalid) || errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Version with a manifest of abi 2 = %v, want an internal error", err)
	}
}
