package pgtenancy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/pgtenancy"
	"github.com/tars-project/tars/knowledge/tenancy/tenancytest"
	"github.com/tars-project/tars/migrations/pgtest"
)

func open(t *testing.T) (*pgtenancy.Directory, *pgtest.Database) {
	t.Helper()
	db := pgtest.DB(t)
	return pgtenancy.New(db.AppPool(t), db.JobsPool(t)), db
}

func TestDirectory(t *testing.T) {
	tenancytest.RunDirectory(t, func(t *testing.T) tenancy.Directory {
		d, _ := open(t)
		return d
	})
}

func TestSecrets(t *testing.T) {
	tenancytest.RunSecrets(t, func(t *testing.T) (tenancy.Secrets, tenancy.Directory) {
		d, _ := open(t)
		return d, d
	})
}

// TestRowsOfOthers asks as the role of the application, with statements that
// forget the tenant: row-level security is the second lock.
func TestRowsOfOthers(t *testing.T) {
	d, db := open(t)
	app, ctx := db.AppPool(t), t.Context()
	for _, id := range []knowledge.TenantID{"alice", "bob"} {
		if _, err := d.CreateTenant(ctx, tenancy.Tenant{ID: id}); err != nil {
			t.Fatalf("CreateTenant = %v, want nil", err)
		}
		k := tenancy.StoredKey{Key: tenancy.Key{ID: "key_1", Tenant: id, Prefix: string(id), Scopes: tenancy.TenantScopes(), Created: time.Now()}}
		if err := d.CreateKey(ctx, k); err != nil {
			t.Fatalf("CreateKey = %v, want nil", err)
		}
		if err := d.PutSecret(ctx, id, "s", tenancy.Sealed{KeyID: "k", Bytes: []byte(id)}); err != nil {
			t.Fatalf("PutSecret = %v, want nil", err)
		}
	}
	for _, table := range []string{"tenants", "api_keys", "secrets"} {
		var owners []string
		err := pgtx.Read(ctx, app, "alice", `SELECT tenant_id FROM `+table, nil, func(rows pgx.Rows) (err error) {
			owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil || len(owners) != 1 || owners[0] != "alice" {
			t.Errorf("alice sees rows of %v in %s, %v, want her own alone", owners, table, err)
		}
	}
	// Nor may requests make tenants and keys, whatever goes wrong above.
	for _, sql := range []string{
		`INSERT INTO tenants (tenant_id) VALUES ('alice')`,
		`UPDATE tenants SET policy = '{}'`,
		`UPDATE api_keys SET revoked_at = NULL`,
		`DELETE FROM api_keys`,
	} {
		err := pgtx.Write(ctx, app, "alice", func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err })
		if err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s as the application = %v, want insufficient_privilege", sql, err)
		}
	}
}

// TestOnlyHashesAreKept looks for a token's secret in all that the database
// holds of keys.
func TestOnlyHashesAreKept(t *testing.T) {
	d, db := open(t)
	ctx := t.Context()
	ring, err := tenancy.NewRing(make([]byte, tenancy.RingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := tenancy.NewKeys(d, ring, strings.Repeat("a", tenancy.MinAdminKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.CreateTenant(ctx, tenancy.Tenant{ID: "alice"}); err != nil {
		t.Fatalf("CreateTenant = %v, want nil", err)
	}
	key, token, err := keys.IssueKey(ctx, "alice", "name", nil, time.Time{})
	if err != nil {
		t.Fatalf("IssueKey = %v, want nil", err)
	}
	if p, err := keys.Authenticate(ctx, token); err != nil || p.Tenant != "alice" || p.KeyID != key.ID {
		t.Errorf("Authenticate = %+v, %v, want alice by %s", p, err, key.ID)
	}
	secret := token[len(token)-52:]
	var row string
	if err := db.OwnerPool(t).QueryRow(ctx, `SELECT string_agg(k::text || encode(secret_hash, 'escape'), ' ') FROM tars.api_keys k`).Scan(&row); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(row, key.Prefix) || strings.Contains(row, secret[:16]) {
		t.Errorf("api_keys holds %q, want the prefix %s and nothing of the secret", row, key.Prefix)
	}
	if err := d.RevokeKey(ctx, "alice", key.ID); err != nil {
		t.Fatalf("RevokeKey = %v, want nil", err)
	}
	if _, err := keys.Authenticate(ctx, token); !errors.Is(err, tenancy.ErrUnauthenticated) {
		t.Errorf("Authenticate at once after RevokeKey = %v, want ErrUnauthenticated", err)
	}
	if err := keys.FlushUse(ctx); err != nil {
		t.Fatalf("FlushUse = %v, want nil", err)
	}
	if list, err := keys.ListKeys(ctx, "alice", "", 10); err != nil || len(list) != 1 || list[0].LastUsed.IsZero() {
		t.Errorf("ListKeys = %+v, %v, want the key with its last use", list, err)
	}
}

func TestUnavailable(t *testing.T) {
	d, db := open(t)
	ctx := t.Context()
	if _, err := db.OwnerPool(t).Exec(ctx, `ALTER TABLE tars.tenants RENAME TO away`); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Tenant(ctx, "alice"); err == nil || errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Tenant without its table = %v, want an error, and not ErrNotFound", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.FindKey(cancelled, "aaa"); !errors.Is(err, context.Canceled) {
		t.Errorf("FindKey when cancelled = %v, want Canceled", err)
	}
}
