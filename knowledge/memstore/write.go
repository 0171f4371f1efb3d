package memstore

import (
	"context"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// PutRecords implements [knowledge.Records].
func (s *Store) PutRecords(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, w knowledge.Write) ([]knowledge.WriteResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.forWriting(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	if err := w.CheckEmbedder(c.Collection); err != nil {
		return nil, err
	}
	results, err := w.Check(func(r knowledge.Record) error { return r.Validate(c.Collection) })
	if err != nil {
		return nil, err
	}
	now := s.timestamp()
	for i, r := range w.Records {
		if results[i].Err != nil {
			continue
		}
		old := c.live(r.ID, now)
		if err := w.Admit(i, old.Version); err != nil {
			if w.OnError != knowledge.Skip {
				return nil, err
			}
			results[i].Err = err
		}
	}
	for i, r := range w.Records {
		if results[i].Err == nil {
			results[i].Version = c.put(r, w.Mode, now)
		}
	}
	return results, nil
}

// live is the record of an id, or the zero record.
func (c *collection) live(id knowledge.RecordID, now time.Time) knowledge.Record {
	if r, ok := c.records[id]; ok && !expired(r, now) {
		return r
	}
	return knowledge.Record{}
}

// put writes one record and returns its version.
func (c *collection) put(r knowledge.Record, mode knowledge.WriteMode, now time.Time) int64 {
	r = clone(r)
	r.Expires = r.Expires.UTC().Truncate(time.Microsecond)
	if mode == knowledge.Restore {
		r.Created, r.Updated = r.Created.UTC().Truncate(time.Microsecond), r.Updated.UTC().Truncate(time.Microsecond)
		c.records[r.ID] = r
		return r.Version
	}
	if r.Expires.IsZero() && c.TTL > 0 {
		r.Expires = now.Add(c.TTL)
	}
	r.Version, r.Created, r.Updated = 1, now, now
	if old := c.live(r.ID, now); old.Version > 0 {
		r.Version, r.Created = old.Version+1, old.Created
	}
	c.records[r.ID] = r
	return r.Version
}

// PatchRecord implements [knowledge.Records].
func (s *Store) PatchRecord(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, p knowledge.Patch) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.forWriting(ctx, tenant, name)
	if err != nil {
		return 0, err
	}
	now := s.timestamp()
	old := c.live(p.ID, now)
	if old.Version == 0 {
		return 0, knowledge.NotFound("record", p.ID)
	}
	r, err := p.Apply(old)
	if err == nil {
		err = r.Validate(c.Collection)
	}
	if err != nil {
		return 0, err
	}
	r = clone(r)
	r.Expires = r.Expires.UTC().Truncate(time.Microsecond)
	r.Version, r.Updated = old.Version+1, now
	c.records[r.ID] = r
	return r.Version, nil
}
