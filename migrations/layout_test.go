package migrations_test

import (
	"slices"
	"testing"

	"github.com/tars-project/tars/migrations"
	"github.com/tars-project/tars/migrations/pgtest"
)

// What was written before a collection had two places is there afterwards, and
// after the way back.
func TestLayoutKeepsRecords(t *testing.T) {
	url := pgtest.Empty(t).OwnerURL
	up(t, url)
	back := func() {
		t.Helper()
		for {
			state, err := migrations.Status(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			if state.Version == 1 {
				return
			}
			if err := migrations.Down(t.Context(), url, 1); err != nil {
				t.Fatalf("Down from %d = %v, want nil", state.Version, err)
			}
		}
	}
	back()
	const old = `
		INSERT INTO tars.tenants (tenant_id) VALUES ('alice');
		INSERT INTO tars.collections (tenant_id, name, metric, dimension, embedder, embedder_version, index_kind, hnsw_m, hnsw_ef_construction, placement)
		VALUES ('alice', 'small', 'cosine', 2, 'none', '', 'none', 0, 0, 0),
			('alice', 'large', 'l2', 2, 'none', '', 'hnsw', 16, 64, tars.make_hnsw_place('l2', 2, 16, 64, 10));
		INSERT INTO tars.records (placement, tenant_id, collection_id, id, text, embedding)
		SELECT placement, tenant_id, collection_id, 'r' || n, name, '[1,2]' FROM tars.collections, generate_series(1, 3) AS n`
	if _, err := connect(t, url).Exec(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	up(t, url)
	const placesSQL = `
		SELECT format('%s %s %s', c.name, CASE WHEN r.placement = c.main THEN 'main' ELSE 'written' END, count(*))
		FROM tars.collections c JOIN tars.records r ON r.collection_id = c.collection_id AND r.placement IN (c.placement, c.main)
		GROUP BY c.name, r.placement = c.main ORDER BY 1`
	if got := column(t, url, placesSQL); !slices.Equal(got, []string{"large main 3", "small written 3"}) {
		t.Errorf("records after going on = %q, want each where its collection looks for it", got)
	}
	const written = `
		INSERT INTO tars.records (placement, tenant_id, collection_id, id, text, half)
		SELECT placement, tenant_id, collection_id, 'new', name, '[1,2]' FROM tars.collections`
	if _, err := connect(t, url).Exec(t.Context(), written); err != nil {
		t.Fatal(err)
	}
	back()
	const oldPlacesSQL = `
		SELECT format('%s %s %s %s', c.name, c.index_kind, count(*), count(r.embedding))
		FROM tars.collections c JOIN tars.records r USING (placement, collection_id)
		GROUP BY c.name, c.index_kind ORDER BY 1`
	if got := column(t, url, oldPlacesSQL); !slices.Equal(got, []string{"large hnsw 4 4", "small none 4 4"}) {
		t.Errorf("records after going back = %q, want all, in one place a collection", got)
	}
}
