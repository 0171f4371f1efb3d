package migrations_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tars-project/tars/migrations/pgtest"
)

// Every table with a tenant's rows, and every leaf of such a table, has
// row-level security on, forced, and a policy that bounds tars_app.
func TestEveryTenantTableIsProtected(t *testing.T) {
	db := pgtest.DB(t)
	if _, err := db.JobsPool(t).Exec(t.Context(), "SELECT tars.make_own_place(10)"); err != nil {
		t.Fatal(err)
	}
	const tablesSQL = `
		SELECT c.relname
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
		WHERE c.relnamespace = 'tars'::regnamespace AND c.relkind IN ('r', 'p')`
	tables := column(t, db.OwnerURL, tablesSQL)
	for _, name := range []string{"tenants", "api_keys", "secrets", "collections", "records", "records_0", "records_3", "records_1000", "plugin_versions", "plugin_aliases", "recall_measured", "jobs", "idempotency", "imports", "aliases", "views", "documents", "embedders", "plugin_calls", "usage_days", "shares", "share_reads", "recordings", "collection_writes", "audit_events", "audit_heads"} {
		if !slices.Contains(tables, name) {
			t.Errorf("tables with tenant_id = %q, want %s among them", tables, name)
		}
	}
	unprotected := column(t, db.OwnerURL, tablesSQL+`
		AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
			SELECT FROM pg_policy p
			WHERE p.polrelid = c.oid AND 'tars_app'::regrole = ANY (p.polroles)
			  AND pg_get_expr(p.polqual, p.polrelid) LIKE '%tenant_id = ( SELECT tars.tenant()%'
			  AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%tenant_id = ( SELECT tars.tenant()%'))`)
	if len(unprotected) > 0 {
		t.Errorf("tables without forced row-level security and the policy of tars_app = %q, want none", unprotected)
	}
	// What is shared with a tenant it may see, and nothing else of another's.
	const given = "given on share_reads: SELECT (grantee = ( SELECT tars.tenant() AS tenant)) "
	loose := column(t, db.OwnerURL, `
		SELECT format('%s on %s: %s %s %s', policyname, tablename, cmd, qual, with_check) FROM pg_policies
		WHERE schemaname = 'tars' AND ('public' = ANY (roles) OR 'tars_app' = ANY (roles)) AND policyname <> 'own_rows'
		ORDER BY tablename`)
	if want := []string{given, strings.Replace(given, "share_reads", "shares", 1)}; !slices.Equal(loose, want) {
		t.Errorf("other policies that admit tars_app = %q, want %q", loose, want)
	}
}

func TestRolesAreBound(t *testing.T) {
	db := pgtest.DB(t)
	for _, test := range []struct{ what, sql string }{
		{"roles with too much power", `
			SELECT rolname FROM pg_roles
			WHERE rolname IN ('tars_owner', 'tars_app', 'tars_jobs')
			  AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolname = 'tars_owner' AND rolcanlogin)`},
		{"relations that tars_app or tars_jobs own", `
			SELECT relname FROM pg_class
			WHERE pg_has_role('tars_app', relowner, 'MEMBER') OR pg_has_role('tars_jobs', relowner, 'MEMBER')`},
		{"leaves that tars_app may write to, or tars_jobs use", `
			SELECT relname FROM pg_class
			WHERE relname ~ '^records_\d+$'
			  AND (has_table_privilege('tars_app', oid, 'INSERT, UPDATE, DELETE') OR has_table_privilege('tars_jobs', oid, 'SELECT, INSERT, UPDATE, DELETE'))`},
		{"relations of River that tars_app may use", `
			SELECT oid::regclass::text FROM pg_class
			WHERE relnamespace = 'tars_river'::regnamespace AND relkind = 'r' AND has_table_privilege('tars_app', oid, 'SELECT, INSERT, UPDATE, DELETE')
			UNION ALL SELECT 'the schema' WHERE has_schema_privilege('tars_app', 'tars_river', 'USAGE')`},
		{"relations of River that tars_jobs may not use, or does own", `
			SELECT oid::regclass::text FROM pg_class
			WHERE relnamespace = 'tars_river'::regnamespace AND relkind = 'r'
			  AND (relowner <> 'tars_owner'::regrole OR NOT (has_table_privilege('tars_jobs', oid, 'SELECT') AND has_table_privilege('tars_jobs', oid, 'INSERT')
			       AND has_table_privilege('tars_jobs', oid, 'UPDATE') AND has_table_privilege('tars_jobs', oid, 'DELETE')))
			UNION ALL SELECT 'none at all' WHERE to_regclass('tars_river.river_job') IS NULL`},
		{"functions with the owner's rights that anyone may call", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			WHERE pronamespace = 'tars'::regnamespace AND prosecdef AND has_function_privilege('public', oid, 'EXECUTE')`},
		{"functions with the owner's rights but a caller's search path", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			WHERE pronamespace = 'tars'::regnamespace AND prosecdef AND NOT coalesce(proconfig::text LIKE '%search_path=tars, %pg_temp%', false)`},
	} {
		if got := column(t, db.OwnerURL, test.sql); len(got) > 0 {
			t.Errorf("%s = %q, want none", test.what, got)
		}
	}
}

// seed gives two tenants a record each, in the same leaf.
func seed(t *testing.T, db *pgtest.Database) {
	t.Helper()
	_, err := connect(t, db.OwnerURL).Exec(t.Context(), `
		INSERT INTO tars.tenants (tenant_id) VALUES ('alice'), ('bob');
		INSERT INTO tars.collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, placement)
		SELECT t, 'c', 'l2', 2, 'none', '', 'none', 0 FROM unnest(ARRAY['alice', 'bob']) AS t;
		INSERT INTO tars.records (placement, tenant_id, collection_id, id, text, embedding)
		SELECT 0, tenant_id, collection_id, tenant_id, 'of ' || tenant_id, '[1,2]' FROM tars.collections;
		INSERT INTO tars.documents (tenant_id, collection_id, id, title, media_type, chunker, size, hash, passages, source, text)
		SELECT tenant_id, collection_id, 'd', '', 'text/plain', 'c', 0, sha256(''), 1, '', '' FROM tars.collections;
		INSERT INTO tars.plugin_calls SELECT tenant_id, 'call', '', 'p', 1, '', '', '', '', now(), 'ok', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM tars.tenants;
		INSERT INTO tars.usage_days SELECT tenant_id, now(), '', '', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM tars.tenants;
		INSERT INTO tars.collection_writes (tenant_id, collection_id) SELECT tenant_id, collection_id FROM tars.collections;
		INSERT INTO tars.recordings (tenant_id, call_id, key_id, kek_id, sealed, expires_at) SELECT tenant_id, 'call', '', '', '', now() + '1 hour' FROM tars.tenants;
		INSERT INTO tars.views (tenant_id, name, collection, filter) SELECT tenant_id, 'v', name, '{}' FROM tars.collections;
		INSERT INTO tars.shares (tenant_id, share_id, view, grantee, created_by, created_at)
		VALUES ('alice', 'share_aaaaaaaaaaaaaaaa', 'v', 'bob', 'k', now()), ('bob', 'share_bbbbbbbbbbbbbbbb', 'v', 'carol', 'k', now());
		INSERT INTO tars.share_reads SELECT tenant_id, share_id, grantee, now(), 'w', 1, 1 FROM tars.shares;
		INSERT INTO tars.audit_heads (tenant_id) SELECT tenant_id FROM tars.tenants;
		INSERT INTO tars.audit_events SELECT tenant_id, 1, 'e', now(), '', '', '', '', '', 200, 'ok', '', '{}', hash, sha256('') FROM tars.audit_heads;
		GRANT SELECT, INSERT, UPDATE, DELETE ON tars.records_0 TO tars_app -- by mistake: the leaf has its own lock`)
	if err != nil {
		t.Fatal(err)
	}
}

const insufficientPrivilege = "42501"

func wantDenied(t *testing.T, what string, err error) {
	t.Helper()
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != insufficientPrivilege {
		t.Errorf("%s = %v, want SQLSTATE %s", what, err, insufficientPrivilege)
	}
}

// The second lock holds when the service forgets the first: statements without
// a tenant in them see and touch only the rows of the setting's.
func TestRowLevelSecurity(t *testing.T) {
	db := pgtest.DB(t)
	seed(t, db)
	conn := connect(t, db.AppURL)
	inTransaction := func(tenant string, do func(pgx.Tx)) {
		t.Helper()
		err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SELECT set_config('tars.tenant', $1, true)", tenant); err != nil {
				t.Fatal(err)
			}
			do(tx)
			return context.Canceled // roll back
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("transaction = %v, want a rollback", err)
		}
	}
	for _, table := range []string{"records", "records_0", "collections", "tenants", "api_keys", "secrets", "plugin_versions", "plugin_aliases", "recall_measured", "jobs", "idempotency", "imports", "aliases", "views", "documents", "embedders", "plugin_calls", "usage_days", "shares", "share_reads", "recordings", "collection_writes", "audit_events", "audit_heads"} {
		_, err := conn.Exec(t.Context(), "SELECT count(*) FROM tars."+table)
		wantDenied(t, "SELECT without a tenant from "+table, err)
		inTransaction("", func(tx pgx.Tx) {
			_, err := tx.Exec(t.Context(), "SELECT count(*) FROM tars."+table)
			wantDenied(t, "SELECT with an empty tenant from "+table, err)
		})
	}
	for _, table := range []string{"records", "records_0", "collections", "tenants", "documents", "plugin_calls", "usage_days", "audit_events", "audit_heads"} {
		inTransaction("alice", func(tx pgx.Tx) {
			rows, err := tx.Query(t.Context(), "SELECT tenant_id FROM tars."+table)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); !slices.Equal(got, []string{"alice"}) || err != nil {
				t.Errorf("tenants seen in %s = %q, %v, want alice alone", table, got, err)
			}
		})
	}
	for _, table := range []string{"records", "records_0"} {
		for _, change := range []string{"UPDATE tars." + table + " SET text = 'changed'", "DELETE FROM tars." + table} {
			inTransaction("alice", func(tx pgx.Tx) {
				if tag, err := tx.Exec(t.Context(), change); tag.RowsAffected() != 1 || err != nil {
					t.Errorf("%s touched %d rows, %v, want her one", change, tag.RowsAffected(), err)
				}
			})
		}
		for _, theft := range []string{
			"UPDATE tars." + table + " SET tenant_id = 'bob'",
			"INSERT INTO tars." + table + " (placement, tenant_id, collection_id, id, text, embedding) VALUES (0, 'bob', 1, 'x', '', '[1]')",
		} {
			inTransaction("alice", func(tx pgx.Tx) {
				_, err := tx.Exec(t.Context(), theft)
				wantDenied(t, theft, err)
			})
		}
	}
	for _, forbidden := range []string{
		"INSERT INTO tars.tenants (tenant_id) VALUES ('eve')", "DELETE FROM tars.tenants", "UPDATE tars.api_keys SET scopes = '{}'",
		"UPDATE tars.collections SET placement = 0", "DELETE FROM tars.jobs", "UPDATE tars.jobs SET args = '{}'", "SELECT FROM tars_river.river_job",
		"TRUNCATE tars.records", "SELECT tars.drop_place(0)",
		"DELETE FROM tars.plugin_calls", "UPDATE tars.plugin_calls SET outcome = 'ok'", "UPDATE tars.usage_days SET calls = 0", "DELETE FROM tars.usage_days",
		"UPDATE tars.audit_events SET actor = ''", "DELETE FROM tars.audit_events", "TRUNCATE tars.audit_events",
		"UPDATE tars.audit_heads SET seq = 0", "DELETE FROM tars.audit_heads", "INSERT INTO tars.audit_heads (tenant_id) VALUES ('alice')",
		"SELECT FROM tars.ledger_writers", "SET ROLE tars_owner",
		"SELECT tars.make_own_place(10)", "ALTER TABLE tars.records_0 DISABLE ROW LEVEL SECURITY",
	} {
		inTransaction("alice", func(tx pgx.Tx) {
			_, err := tx.Exec(t.Context(), forbidden)
			wantDenied(t, forbidden, err)
		})
	}
}
