package pgstore

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

const (
	spreadSQL = `
WITH moved AS (
	DELETE FROM records
	WHERE placement = @placement AND tenant_id = @tenant AND collection_id = @collection
	  AND (abs(hashtext(id)::bigint) % 1000) < 1000 * @share::float8
	RETURNING ` + rowColumns + `
)
INSERT INTO records (placement, ` + rowColumns + `) SELECT @to, ` + rowColumns + ` FROM moved`
	setMainSQL = `UPDATE collections SET main = @to, generation = generation + 1 WHERE tenant_id = @tenant AND collection_id = @collection`
	indexesSQL = `SELECT tars.build_field_indexes(@to, @slots), tars.build_vector_index(@to, @metric, @dimension, @precision, @quantization, @m, @ef_construction)`
)

// SpreadForTest carries a share of the collection's records over to a main of its
// own with all indexes, as the mover does, but only so many.
func (s *Store) SpreadForTest(t testing.TB, tenant knowledge.TenantID, name knowledge.CollectionName, share float64) {
	t.Helper()
	d, err := s.fetch(t.Context(), tenant, name)
	if err != nil {
		t.Fatalf("fetch(%s) = %v, want nil", name, err)
	}
	args := d.args(tenant)
	args["share"], args["to"] = share, d.main
	if d.main == noMain {
		if args["to"], err = s.makePlace(t.Context()); err != nil {
			t.Fatalf("makePlace = %v, want nil", err)
		}
	}
	err = pgx.BeginFunc(t.Context(), s.jobs, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), spreadSQL, args); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), setMainSQL, args)
		return err
	})
	if err != nil {
		t.Fatalf("spread %s: %v", name, err)
	}
	slots := []string{} // null is no array
	for _, slot := range d.slots {
		if slot.Type != knowledge.Keywords {
			slots = append(slots, slot.Slot)
		}
	}
	args["slots"], args["metric"], args["dimension"], args["precision"] = slots, string(d.Metric), d.Dimension(), string(d.Precision)
	args["quantization"], args["m"], args["ef_construction"] = string(d.Index.Quantization), d.Index.M, d.Index.EfConstruction
	if _, err := s.jobs.Exec(context.WithoutCancel(t.Context()), indexesSQL, args); err != nil {
		t.Fatalf("index %s: %v", name, err)
	}
	s.definitions.forget(tenant)
}
