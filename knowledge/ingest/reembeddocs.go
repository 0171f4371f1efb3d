package ingest

import (
	"context"
	"errors"

	"github.com/tars-project/tars/knowledge"
)

// documents carries documents as they are: their passages are records, and are carried
// as such.
func (p *pass) documents(ctx context.Context, session reembedSession) error {
	list := knowledge.DocumentList{Limit: reembedPage}
	for {
		found, err := session.ListDocuments(ctx, p.tenant, p.From, list)
		if err != nil {
			return err
		}
		for _, d := range found {
			if err := p.document(ctx, session, d); err != nil {
				return err
			}
		}
		if len(found) < list.Limit {
			break
		}
		list.After = found[len(found)-1].ID
	}
	return p.removeDocuments(ctx, session)
}

// document carries one document, unless To has it.
func (p *pass) document(ctx context.Context, session reembedSession, d knowledge.Document) error {
	have, err := session.Document(ctx, p.tenant, p.To, d.ID)
	if err != nil && !errors.Is(err, knowledge.ErrNotFound) || err == nil && have.Version == d.Version {
		return err
	}
	there := err == nil
	if p.changed++; p.most > 0 && p.changed > p.most {
		return errRestless
	}
	d, content, err := session.DocumentContent(ctx, p.tenant, p.From, d.ID)
	if errors.Is(err, knowledge.ErrNotFound) { // it was deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	return p.transact(ctx, func(session knowledge.Session) error {
		if there {
			if _, err := session.DeleteDocument(ctx, p.tenant, p.To, d.ID, 0); err != nil && !errors.Is(err, knowledge.ErrNotFound) {
				return err
			}
		}
		_, _, err := session.PutDocument(ctx, p.tenant, p.To, knowledge.DocumentWrite{Document: d, DocumentContent: content, Mode: knowledge.Restore})
		return err
	})
}

// removeDocuments removes those of To that From does not have.
func (p *pass) removeDocuments(ctx context.Context, session reembedSession) error {
	list := knowledge.DocumentList{Limit: reembedPage}
	for {
		found, err := session.ListDocuments(ctx, p.tenant, p.To, list)
		if err != nil {
			return err
		}
		for _, d := range found {
			_, err := session.Document(ctx, p.tenant, p.From, d.ID)
			if !errors.Is(err, knowledge.ErrNotFound) {
				if err != nil {
					return err
				}
				continue
			}
			p.changed++
			err = p.transact(ctx, func(session knowledge.Session) error {
				_, err := session.DeleteDocument(ctx, p.tenant, p.To, d.ID, 0)
				return err
			})
			if err != nil && !errors.Is(err, knowledge.ErrNotFound) {
				return err
			}
		}
		if len(found) < list.Limit {
			return nil
		}
		list.After = found[len(found)-1].ID
	}
}
