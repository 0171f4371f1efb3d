package memstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// document is a stored document. It is replaced, never changed.
type document struct {
	knowledge.Document
	knowledge.DocumentContent
}

// liveDocument is the document of an id, zero when it is not there or has expired.
func (c *collection) liveDocument(id knowledge.DocumentID, now time.Time) document {
	d := c.documents[id]
	if !d.Expires.IsZero() && !d.Expires.After(now) {
		return document{}
	}
	return d
}

// PutDocument implements [knowledge.Documents].
func (s *Store) PutDocument(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, w knowledge.DocumentWrite) (stored, before knowledge.Document, err error) {
	if w, err = w.Check(); err != nil {
		return stored, before, err
	}
	if err := ctx.Err(); err != nil {
		return stored, before, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.forWriting(ctx, tenant, name)
	if err != nil {
		return stored, before, err
	}
	now := s.timestamp()
	old := c.liveDocument(w.ID, now)
	if err := w.Admit(old.Version); err != nil {
		return stored, before, err
	}
	d := w.Document
	d.Metadata, d.Expires = cloneObject(d.Metadata), d.Expires.UTC().Truncate(time.Microsecond)
	if w.Mode == knowledge.Restore {
		d.Created, d.Updated = d.Created.UTC().Truncate(time.Microsecond), d.Updated.UTC().Truncate(time.Microsecond)
	} else {
		d.Version, d.Created, d.Updated = old.Version+1, now, now
		if old.Version > 0 {
			d.Created = old.Created
		}
		if d.Expires.IsZero() && c.TTL > 0 {
			d.Expires = now.Add(c.TTL)
		}
	}
	c.documents[w.ID] = document{d, knowledge.DocumentContent{Source: slices.Clone(w.Source), Text: slices.Clone(w.Text)}}
	return cloneDocument(d), cloneDocument(old.Document), nil
}

func cloneDocument(d knowledge.Document) knowledge.Document {
	if d.Version > 0 {
		d.Metadata = cloneObject(d.Metadata)
	}
	return d
}

// Document implements [knowledge.Documents].
func (s *Store) Document(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, id knowledge.DocumentID) (knowledge.Document, error) {
	d, err := s.document(ctx, tenant, name, id)
	return d.Document, err
}

// DocumentContent implements [knowledge.Documents].
func (s *Store) DocumentContent(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, id knowledge.DocumentID) (knowledge.Document, knowledge.DocumentContent, error) {
	d, err := s.document(ctx, tenant, name, id)
	d.Source, d.Text = slices.Clone(d.Source), slices.Clone(d.Text)
	return d.Document, d.DocumentContent, err
}

// document finds a document that is to be read.
func (s *Store) document(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, id knowledge.DocumentID) (document, error) {
	if err := ctx.Err(); err != nil {
		return document{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return document{}, err
	}
	d := c.liveDocument(id, s.now())
	if c.view != nil || d.Version == 0 {
		return document{}, knowledge.NotFound("document", id)
	}
	d.Document = cloneDocument(d.Document)
	return d, nil
}

// ListDocuments implements [knowledge.Documents].
func (s *Store) ListDocuments(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, list knowledge.DocumentList) ([]knowledge.Document, error) {
	if err := list.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	found := []knowledge.Document{}
	if c.view != nil {
		return found, nil
	}
	now := s.now()
	for id := range c.documents {
		if d := c.liveDocument(id, now); d.Version > 0 && id > list.After && strings.HasPrefix(string(id), list.Prefix) {
			found = append(found, cloneDocument(d.Document))
		}
	}
	slices.SortFunc(found, func(a, b knowledge.Document) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return found[:min(len(found), list.Limit)], nil
}

// DeleteDocument implements [knowledge.Documents].
func (s *Store) DeleteDocument(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, id knowledge.DocumentID, ifVersion int64) (knowledge.Document, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Document{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.forWriting(ctx, tenant, name)
	if err != nil {
		return knowledge.Document{}, err
	}
	old := c.liveDocument(id, s.now())
	if old.Version == 0 {
		return knowledge.Document{}, knowledge.NotFound("document", id)
	}
	if err := (knowledge.DocumentWrite{IfVersion: ifVersion}).Admit(old.Version); err != nil {
		return knowledge.Document{}, err
	}
	delete(c.documents, id)
	return old.Document, nil
}
