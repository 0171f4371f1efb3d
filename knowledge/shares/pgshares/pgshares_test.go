package pgshares_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgstore"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/shares"
	"github.com/tars-project/tars/knowledge/shares/pgshares"
	"github.com/tars-project/tars/knowledge/shares/sharestest"
	"github.com/tars-project/tars/migrations/pgtest"
)

func open(t *testing.T) (sharestest.Harness, *pgtest.Database) {
	t.Helper()
	db := pgtest.DB(t)
	app, jobs := db.AppPool(t), db.JobsPool(t)
	return sharestest.Harness{
		Store: pgshares.New(app, jobs), Knowledge: pgstore.New(app, jobs, pgstore.Options{}),
		AddTenant: func(t testing.TB, tenant knowledge.TenantID) {
			t.Helper()
			if _, err := jobs.Exec(t.Context(), "INSERT INTO tenants (tenant_id) VALUES ($1)", string(tenant)); err != nil {
				t.Fatalf("add tenant %s: %v", tenant, err)
			}
		},
	}, db
}

func TestStore(t *testing.T) {
	sharestest.Run(t, func(t *testing.T) sharestest.Harness {
		h, _ := open(t)
		return h
	})
}

// shared has alice share a view with bob, read once.
func shared(t *testing.T) (*pgtest.Database, sharestest.Harness, knowledge.Share) {
	t.Helper()
	h, db := open(t)
	ctx := t.Context()
	for _, tenant := range []knowledge.TenantID{"alice", "bob", "carol"} {
		h.AddTenant(t, tenant)
	}
	c := knowledge.Collection{Name: "docs", Metric: knowledge.Cosine, Embedder: knowledge.EmbedderInfo{ID: knowledge.NoEmbedder, Dimension: 2}}
	if _, _, err := h.Knowledge.PutCollection(ctx, "alice", c); err != nil {
		t.Fatalf("PutCollection = %v, want nil", err)
	}
	if _, _, err := h.Knowledge.PutView(ctx, "alice", knowledge.View{Name: "v", Collection: "docs", Filter: knowledge.Filter{Op: knowledge.OpAnd}}); err != nil {
		t.Fatalf("PutView = %v, want nil", err)
	}
	s, err := h.Store.Grant(ctx, "alice", knowledge.Share{ID: shares.NewID(), View: "v", Grantee: "bob", CreatedBy: "key_1"})
	if err != nil {
		t.Fatalf("Grant = %v, want nil", err)
	}
	read := shares.DayReads{Owner: "alice", Grantee: "bob", Share: s.ID, Day: s.Created, Reads: shares.Reads{Queries: 1, Rows: 2}}
	if err := h.Store.WriteReads(ctx, "w", []shares.DayReads{read}); err != nil {
		t.Fatalf("WriteReads = %v, want nil", err)
	}
	return db, h, s
}

// TestSharesOfOthers asks as the role of the application, with statements that forget
// the tenant: the grantee sees what is given to it and changes nothing, others see
// nothing, and nobody changes what was counted.
func TestSharesOfOthers(t *testing.T) {
	db, h, s := shared(t)
	app, ctx := db.AppPool(t), t.Context()
	for tenant, want := range map[knowledge.TenantID]int{"alice": 1, "bob": 1, "carol": 0} {
		for _, table := range []string{"shares", "share_reads"} {
			seen := -1
			err := pgtx.Read(ctx, app, tenant, `SELECT share_id FROM `+table, nil, func(rows pgx.Rows) error {
				ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
				seen = len(ids)
				return err
			})
			if err != nil || seen != want {
				t.Errorf("%s sees %d rows of %s, %v, want %d", tenant, seen, table, err, want)
			}
		}
	}
	for _, tenant := range []knowledge.TenantID{"bob", "carol"} {
		for _, sql := range []string{
			`UPDATE shares SET revoked_at = NULL`, `UPDATE shares SET revoked_at = now()`, `DELETE FROM shares`,
		} {
			err := pgtx.Write(ctx, app, tenant, func(tx pgx.Tx) error {
				tag, err := tx.Exec(ctx, sql)
				if tag.RowsAffected() != 0 {
					t.Errorf("%s as %s touched %d rows, want none", sql, tenant, tag.RowsAffected())
				}
				return err
			})
			if err != nil {
				t.Errorf("%s as %s = %v, want nothing to do", sql, tenant, err)
			}
		}
	}
	for tenant, forbidden := range map[knowledge.TenantID][]string{
		"bob": {
			`INSERT INTO shares (tenant_id, share_id, view, grantee, created_by, created_at) VALUES ('alice', 'share_aaaaaaaaaaaaaaaa', 'v', 'bob', 'k', now())`,
			`INSERT INTO share_reads VALUES ('alice', '` + string(s.ID) + `', 'bob', now(), 'x', 1, 1)`,
			`UPDATE share_reads SET queries = 0`, `UPDATE shares SET grantee = 'carol'`,
		},
		"alice": {
			`INSERT INTO share_reads VALUES ('alice', '` + string(s.ID) + `', 'bob', now(), 'x', 1, 1)`,
			`UPDATE share_reads SET queries = 0`, `DELETE FROM share_reads`, `UPDATE shares SET view = 'w'`, `UPDATE shares SET expires_at = NULL`,
		},
	} {
		for _, sql := range forbidden {
			err := pgtx.Write(ctx, app, tenant, func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err })
			if err == nil || !strings.Contains(err.Error(), "42501") {
				t.Errorf("%s as %s = %v, want insufficient_privilege", sql, tenant, err)
			}
		}
	}
	if got, err := h.Store.Shared(ctx, "bob", "alice", "v"); err != nil || got.ID != s.ID {
		t.Errorf("Shared after that = %+v, %v, want %s", got, err, s.ID)
	}
}

// TestGranteeDeleted: who gets the id of a tenant that is no more gets nothing that was
// shared with that.
func TestGranteeDeleted(t *testing.T) {
	db, h, _ := shared(t)
	jobs, ctx := db.JobsPool(t), t.Context()
	if _, err := jobs.Exec(ctx, "DELETE FROM tenants WHERE tenant_id = 'bob'"); err != nil {
		t.Fatal(err)
	}
	h.AddTenant(t, "bob")
	if got, err := h.Store.Shared(ctx, "bob", "alice", "v"); err == nil {
		t.Errorf("Shared with another bob = %+v, want an error", got)
	}
	if given, err := h.Store.Given(ctx, "alice", "", 10); err != nil || len(given) != 0 {
		t.Errorf("Given = %+v, %v, want none", given, err)
	}
}

// TestSharedByIndex: a look-up reads by the index, as the application.
func TestSharedByIndex(t *testing.T) {
	db, _, s := shared(t)
	var plan []string
	err := pgtx.Write(t.Context(), db.AppPool(t), "bob", func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL enable_seqscan = off"); err != nil {
			return err
		}
		rows, err := tx.Query(t.Context(), `EXPLAIN SELECT share_id FROM shares WHERE tenant_id = $1 AND standing = $2 AND grantee = $3`, string(s.Owner), string(s.View), string(s.Grantee))
		if err != nil {
			return err
		}
		plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if text := strings.Join(plan, "\n"); err != nil || !strings.Contains(text, "shares_standing") || !strings.Contains(text, "Index Cond: ((tenant_id") {
		t.Errorf("plan = %s, %v, want the index shares_standing by the owner", text, err)
	}
}
