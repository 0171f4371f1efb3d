package memstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// ChangeCollection implements [knowledge.Collections].
func (s *Store) ChangeCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, ifVersion int64, change func(knowledge.Collection) (knowledge.Collection, error)) (knowledge.Collection, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Collection{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.own(ctx, tenant, name)
	if err != nil {
		return knowledge.Collection{}, err
	}
	if ifVersion != 0 && ifVersion != c.Version {
		return knowledge.Collection{}, fmt.Errorf("collection %q: %w", name, knowledge.ErrPrecondition)
	}
	old := s.describe(resolved{collection: c})
	changed, err := change(old)
	if err == nil {
		changed, err = knowledge.CheckChange(old, changed, len(c.records) == 0)
	}
	if err != nil {
		return knowledge.Collection{}, err
	}
	if old.SameDefinition(changed) {
		return old, nil
	}
	changed.Name, changed.Version, changed.Created, changed.Updated, changed.Records = old.Name, old.Version+1, old.Created, s.timestamp(), 0
	c.Collection, c.writes = changed, lastWrite.Add(1)
	return s.describe(resolved{collection: c}), nil
}

// FillFields implements [knowledge.Collections]. There is nothing to fill here, but
// the types have to be right.
func (s *Store) FillFields(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, progress func(done, total int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.own(ctx, tenant, name)
	if err != nil {
		return err
	}
	var faults []error
	var fields []knowledge.Field
	for _, f := range c.Fields {
		if f.State == knowledge.FieldFilling {
			if wrong := wrongType(c, f); len(wrong) > 0 {
				faults = append(faults, &knowledge.FieldTypeError{Field: f, Records: wrong})
				continue
			}
			f.State = knowledge.FieldReady
		}
		fields = append(fields, f)
	}
	if len(c.Filling()) > 0 {
		c.Fields, c.Version, c.Updated = fields, c.Version+1, s.timestamp()
	}
	if progress != nil {
		progress(int64(len(c.records)), int64(len(c.records)))
	}
	return errors.Join(faults...)
}

// wrongType returns the first records whose value of the field is of another type.
func wrongType(c *collection, f knowledge.Field) []knowledge.RecordID {
	var wrong []knowledge.RecordID
	for id, r := range c.records {
		if knowledge.CheckFields(r.Metadata, []knowledge.Field{f}) != nil {
			wrong = append(wrong, id)
		}
	}
	slices.Sort(wrong)
	return wrong[:min(len(wrong), knowledge.MaxNamedRecords)]
}

// DeleteCollection implements [knowledge.Collections].
func (s *Store) DeleteCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	return s.deleteCollection(ctx, tenant, name, false)
}

// DeleteCollectionAndAliases implements [knowledge.Collections].
func (s *Store) DeleteCollectionAndAliases(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	return s.deleteCollection(ctx, tenant, name, true)
}

func (s *Store) deleteCollection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, dropAliases bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.own(ctx, tenant, name); err != nil {
		return err
	}
	var aliases, views []knowledge.CollectionName
	for key, a := range s.aliases {
		if key.tenant == tenant && a.Collection == name {
			aliases = append(aliases, a.Name)
		}
	}
	for key, v := range s.views {
		if key.tenant == tenant && (v.Collection == name || slices.Contains(aliases, v.Collection)) {
			views = append(views, v.Name)
		}
	}
	kept := aliases
	if dropAliases {
		kept = nil
	}
	if err := knowledge.StillStandsOn("collection", name, kept, views); err != nil {
		return err
	}
	for _, alias := range aliases {
		delete(s.aliases, collectionKey{tenant, alias})
	}
	delete(s.collections, collectionKey{tenant, name})
	return nil
}
