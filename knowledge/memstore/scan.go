package memstore

import (
	"context"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// DeleteRecords implements [knowledge.Records].
func (s *Store) DeleteRecords(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, which knowledge.Selection, most int64) (knowledge.Deleted, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Deleted{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.forWriting(ctx, tenant, name)
	if err != nil {
		return knowledge.Deleted{}, err
	}
	if err := which.Validate(c.Collection); err != nil {
		return knowledge.Deleted{}, err
	}
	ids := which.IDs
	if ids == nil {
		ids = c.matching(which.Filter)
	}
	var deleted knowledge.Deleted
	now := s.now()
	for _, id := range ids {
		if deleted.Count == most && c.live(id, now).Version > 0 {
			deleted.More = true
			break
		}
		if c.live(id, now).Version > 0 {
			deleted.Count++
		}
		delete(c.records, id)
	}
	return deleted, nil
}

// matching are the ids of records that pass the filter, in order.
func (c *collection) matching(f knowledge.Filter) []knowledge.RecordID {
	var ids []knowledge.RecordID
	for id, r := range c.records {
		if admits(f, c.Collection, r) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// CountRecords implements [knowledge.Records]. It always counts.
func (s *Store) CountRecords(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, filter knowledge.Filter, _ bool) (knowledge.Count, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Count{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return knowledge.Count{}, err
	}
	if err := filter.Validate(c.names().Seen()); err != nil {
		return knowledge.Count{}, knowledge.At("filter", err)
	}
	if filter, err = c.view.Narrow(filter); err != nil {
		return knowledge.Count{}, err
	}
	var count knowledge.Count
	now := s.now()
	for _, r := range c.records {
		if !expired(r, now) && admits(filter, c.Collection, r) {
			count.Records++
		}
	}
	return count, nil
}

// ScrollRecords implements [knowledge.Records].
func (s *Store) ScrollRecords(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, scroll knowledge.Scroll) (knowledge.Page, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Page{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return knowledge.Page{}, err
	}
	if err := scroll.Validate(c.names().Seen()); err != nil {
		return knowledge.Page{}, err
	}
	filter, err := c.view.Narrow(scroll.Filter)
	if err != nil {
		return knowledge.Page{}, err
	}
	page := knowledge.Page{Records: []knowledge.Record{}}
	now := s.now()
	for _, id := range c.matching(filter) {
		r := c.records[id]
		if id <= scroll.After || expired(r, now) {
			continue
		}
		if len(page.Records) == scroll.Limit {
			page.More = true
			break
		}
		r.Metadata = c.view.Hide(r.Metadata)
		if r = clone(r); !scroll.Text {
			r.Text = ""
		}
		if !scroll.Vector {
			r.Vector = nil
		}
		if !scroll.Metadata {
			r.Metadata = nil
		}
		page.Records = append(page.Records, r)
	}
	return page, nil
}
