package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// fillChunk is how many rows one transaction of FillFields looks at: some 10 ms, for
// which writers of these rows wait.
const fillChunk = 1000

// FillFields implements [knowledge.Collections]. It goes through the records by id in
// short transactions, and rewrites only the rows that lack a value: called again, it
// goes on about where it was. Writers fill the fields that they see, so a record that
// is written meanwhile needs nothing.
func (s *Store) FillFields(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, progress func(done, total int64)) error {
	d, err := s.own(ctx, tenant, name)
	if err != nil || len(d.Filling()) == 0 {
		return err
	}
	c, err := s.counted(ctx, tenant, d)
	if err != nil {
		return err
	}
	f := filling{s: s, tenant: tenant, name: name, fields: c.Filling(), wrong: map[string][]knowledge.RecordID{}}
	for after, done, more := "", int64(0), true; more; {
		n := 0
		if n, after, err = f.chunk(ctx, after); err != nil {
			return fmt.Errorf("fill fields: %w", err)
		}
		done, more = done+int64(n), n == fillChunk
		if progress != nil {
			progress(done, max(done, c.Records))
		}
	}
	main, err := f.finish(ctx)
	if err != nil {
		return fmt.Errorf("fill fields: %w", err)
	}
	if err := s.indexFields(ctx, main); err != nil {
		return fmt.Errorf("fill fields: %w", err)
	}
	return f.faults()
}

// filling is one run of FillFields.
type filling struct {
	s      *Store
	tenant knowledge.TenantID
	name   knowledge.CollectionName
	fields []knowledge.Field               // that were filling when it began
	wrong  map[string][]knowledge.RecordID // by field
}

// fillPageSQL gives the metadata of some rows by id. Rows that a bulk move left
// behind are none; expired ones are, for they stand until they are swept. An id may
// change its place between two pages, but not its order.
const fillPageSQL = `
SELECT r.id, r.metadata
FROM records r
WHERE r.placement = ANY (@places::int[])
  AND r.tenant_id = @tenant
  AND r.collection_id = @collection
  AND (r.placement = @main::int OR r.epoch >= @live_epoch::int)
  AND r.id > @after
ORDER BY r.id
LIMIT @limit`

// fillSQL takes the assignments, and the comparisons that say that one of them
// changes something. It is for the write place first, then for main: a row that is
// carried over between the two is seen by the second.
const fillSQL = `
UPDATE records r SET %s
WHERE r.placement = @place
  AND r.tenant_id = @tenant
  AND r.collection_id = @collection
  AND r.id = ANY (@ids::text[])
  AND (%s)`

// chunk fills the rows after an id, and returns how many there were and the last id.
func (f *filling) chunk(ctx context.Context, after string) (n int, last string, err error) {
	var wrong map[string][]knowledge.RecordID
	err = pgtx.Write(ctx, f.s.app, f.tenant, func(tx pgx.Tx) error {
		d, err := lockCollection(ctx, tx, f.tenant, f.name)
		if err != nil {
			return err
		}
		args := d.args(f.tenant)
		args["after"], args["limit"] = after, fillChunk
		var ids []string
		ids, wrong, err = f.page(ctx, tx, args)
		if err != nil {
			return err
		}
		if n = len(ids); n == 0 {
			return nil
		}
		last = ids[n-1]
		return f.fill(ctx, tx, d, ids, args, wrong)
	})
	for field, ids := range wrong {
		f.wrong[field] = append(f.wrong[field], ids...)
	}
	return n, last, err
}

// page reads some rows and finds those whose values are of another type.
func (f *filling) page(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) (ids []string, wrong map[string][]knowledge.RecordID, err error) {
	rows, err := tx.Query(ctx, fillPageSQL, args)
	if err != nil {
		return nil, nil, err
	}
	wrong = map[string][]knowledge.RecordID{}
	var id string
	var text []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		metadata, err := decodeMetadata(text)
		if err != nil {
			return err
		}
		for _, field := range f.fields {
			if knowledge.CheckFields(metadata, []knowledge.Field{field}) != nil {
				wrong[field.Name] = append(wrong[field.Name], knowledge.RecordID(id))
			}
		}
		ids = append(ids, id)
		return nil
	})
	return ids, wrong, err
}

// fill writes the values of the fields of which no record is known to be wrong.
func (f *filling) fill(ctx context.Context, tx pgx.Tx, d definition, ids []string, args pgx.NamedArgs, wrong map[string][]knowledge.RecordID) error {
	args["ids"] = ids
	set, differs := "", ""
	for i, slot := range d.slots {
		if slot.State != knowledge.FieldFilling || len(wrong[slot.Name])+len(f.wrong[slot.Name]) > 0 ||
			!slices.Contains(f.fields, knowledge.Field{Name: slot.Name, Type: slot.Type, State: slot.State}) {
			continue
		}
		param := fmt.Sprintf("field%d", i)
		args[param] = slot.Name
		value := fieldSQL(slot.Type, "r.metadata", "@"+param+"::text")
		if set != "" {
			set, differs = set+", ", differs+" OR "
		}
		set += slot.Slot + " = " + value
		differs += "r." + slot.Slot + " IS DISTINCT FROM (" + value + ")"
	}
	if set == "" {
		return nil
	}
	filled := int64(0)
	for _, args["place"] = range d.places() {
		tag, err := tx.Exec(ctx, fmt.Sprintf(fillSQL, set, differs), args)
		if err != nil {
			return err
		}
		filled += tag.RowsAffected()
	}
	if filled == 0 || d.building == noMain {
		return nil
	}
	_, err := tx.Exec(ctx, logChangesSQL, args)
	return err
}

// finish makes the fields ready, or undeclares them. It returns main, if there is
// one whose index of a field may be missing.
func (f *filling) finish(ctx context.Context) (main definition, err error) {
	err = pgtx.Write(ctx, f.s.app, f.tenant, func(tx pgx.Tx) error {
		d, err := lockDefinition(ctx, tx, f.tenant, f.name)
		if err != nil {
			return err
		}
		changed := d.Collection
		changed.Fields = nil
		for _, field := range d.Fields {
			if slices.Contains(f.fields, field) { // one that was declared since needs a run of its own
				if len(f.wrong[field.Name]) > 0 {
					continue
				}
				field.State = knowledge.FieldReady
			}
			changed.Fields = append(changed.Fields, field)
		}
		main = d
		return d.write(ctx, tx, f.tenant, changed)
	})
	f.s.definitions.forget(f.tenant)
	return main, err
}

const indexFieldsSQL = `SELECT tars.build_field_indexes(@place, @slots::text[])`

// indexFields builds the indexes of the declared fields of main that are missing.
func (s *Store) indexFields(ctx context.Context, d definition) error {
	slots := indexedSlots(d.slots)
	if d.main == noMain || len(slots) == 0 {
		return nil
	}
	_, err := s.jobs.Exec(ctx, indexFieldsSQL, pgx.NamedArgs{"place": d.main, "slots": slots})
	return pgtx.Kind(ctx, err)
}

// faults returns what was found wrong.
func (f *filling) faults() error {
	var faults []error
	for _, field := range f.fields {
		if ids := f.wrong[field.Name]; len(ids) > 0 {
			faults = append(faults, &knowledge.FieldTypeError{Field: field, Records: ids[:min(len(ids), knowledge.MaxNamedRecords)]})
		}
	}
	return errors.Join(faults...)
}
