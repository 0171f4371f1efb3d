package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// documentColumns are what scanDocument reads of row d.
const documentColumns = `d.id, d.title, d.media_type, d.size, d.hash, d.chunker, d.metadata, d.passages, d.expires_at, d.version, d.created_at, d.updated_at`

// scanDocument reads them, after more.
func scanDocument(row pgx.Row, more ...any) (knowledge.Document, error) {
	var d knowledge.Document
	var hash, metadata []byte
	var expires *time.Time
	err := row.Scan(append(more, &d.ID, &d.Title, &d.MediaType, &d.Size, &hash, &d.Chunker, &metadata, &d.Passages, &expires,
		&d.Version, &d.Created, &d.Updated)...)
	if err != nil {
		return knowledge.Document{}, err
	}
	copy(d.Hash[:], hash)
	d.Created, d.Updated = d.Created.UTC(), d.Updated.UTC()
	if expires != nil {
		d.Expires = expires.UTC()
	}
	d.Metadata, err = decodeMetadata(metadata)
	return d, err
}

// holdDocumentSQL gives a document, expired or not, and holds it to the end of the
// transaction.
const holdDocumentSQL = `
SELECT coalesce(d.expires_at <= now(), false), ` + documentColumns + `
FROM documents d
WHERE d.tenant_id = @tenant AND d.collection_id = @collection AND d.id = @id
FOR UPDATE`

// putDocumentSQL writes a document. Where one is there that was not @found, another
// transaction wrote it meanwhile: then there is no row.
const putDocumentSQL = `
INSERT INTO documents AS d (tenant_id, collection_id, id, title, media_type, chunker, metadata, size, hash, passages, source, text,
	version, expires_at, created_at, updated_at)
VALUES (@tenant, @collection, @id, @title, @media_type, @chunker, @metadata::jsonb, @size, @hash, @passages, @source, @text,
	@version, coalesce(@expires, now() + nullif(@ttl::float8, 0) * interval '1 second'), coalesce(@created, now()), coalesce(@updated, now()))
ON CONFLICT (collection_id, id) DO UPDATE SET
	title = excluded.title,
	media_type = excluded.media_type,
	chunker = excluded.chunker,
	metadata = excluded.metadata,
	size = excluded.size,
	hash = excluded.hash,
	passages = excluded.passages,
	source = excluded.source,
	text = excluded.text,
	version = excluded.version,
	expires_at = excluded.expires_at,
	created_at = excluded.created_at,
	updated_at = excluded.updated_at
WHERE d.tenant_id = @tenant AND @found
RETURNING ` + documentColumns

// PutDocument implements [knowledge.Documents].
func (s *Store) PutDocument(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, w knowledge.DocumentWrite) (stored, before knowledge.Document, err error) {
	if w, err = w.Check(); err != nil {
		return stored, before, err
	}
	metadata, err := encodeMetadata(w.Metadata)
	if err != nil {
		return stored, before, err
	}
	err = s.write(ctx, tenant, func(tx pgx.Tx) error {
		d, err := s.lockForWrite(ctx, tx, tenant, collection)
		if err != nil {
			return err
		}
		args := d.args(tenant)
		args["id"] = string(w.ID)
		var found bool
		if before, found, err = holdDocument(ctx, tx, args); err != nil {
			return err
		}
		if err := w.Admit(before.Version); err != nil {
			return err
		}
		args["title"], args["media_type"], args["chunker"], args["metadata"] = w.Title, w.MediaType, w.Chunker, metadata
		args["size"], args["hash"], args["passages"], args["source"], args["text"] = w.Size, w.Hash[:], w.Passages, orEmpty(w.Source), orEmpty(w.Text)
		args["version"], args["created"], args["updated"], args["found"] = before.Version+1, timeOrNil(before.Created), nil, found
		args["expires"], args["ttl"] = timeOrNil(w.Expires), d.TTL.Seconds()
		if w.Mode == knowledge.Restore {
			args["version"], args["created"], args["updated"], args["ttl"] = w.Version, timeOrNil(w.Created), timeOrNil(w.Updated), 0.0
		}
		stored, err = scanDocument(tx.QueryRow(ctx, putDocumentSQL, args))
		if errors.Is(err, pgx.ErrNoRows) {
			return errRaced
		}
		return err
	})
	if err != nil {
		return knowledge.Document{}, knowledge.Document{}, fmt.Errorf("put document: %w", err)
	}
	return stored, before, nil
}

// orEmpty is never nil, which would be null.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// timeOrNil is nil for the zero time, which SQL makes up for.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// holdDocument holds the document of the arguments, if there is one, and returns it,
// zero when it has expired.
func holdDocument(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) (d knowledge.Document, found bool, err error) {
	var expired bool
	d, err = scanDocument(tx.QueryRow(ctx, holdDocumentSQL, args), &expired)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return knowledge.Document{}, false, nil
	case err != nil || expired:
		return knowledge.Document{}, err == nil, err
	}
	return d, true, nil
}

// liveDocumentSQL holds for the documents d of a collection that have not expired.
const liveDocumentSQL = `d.tenant_id = @tenant AND d.collection_id = @collection AND (d.expires_at IS NULL OR d.expires_at > now())`

// Documents do not move as records do: what a statement must be sure of is that the
// collection is still the one of its name, which a deletion takes its documents with.
const (
	documentSQL = `
SELECT ` + documentColumns + `
FROM documents d
WHERE ` + liveDocumentSQL + ` AND d.id = @id`

	documentContentSQL = `
SELECT d.source, d.text, ` + documentColumns + `
FROM documents d
WHERE ` + liveDocumentSQL + ` AND d.id = @id`

	listDocumentsSQL = `
SELECT ` + documentColumns + `
FROM documents d
WHERE ` + liveDocumentSQL + ` AND d.id > @after AND d.id >= @prefix AND d.id <= @last
ORDER BY d.id
LIMIT @limit`
)

// readDocuments runs a statement on the documents of a collection. Under a name that
// shows none the statement is not run.
func (s *Store) readDocuments(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, sql string, args pgx.NamedArgs, read func(pgx.Row) error) error {
	d, _, err := s.resolve(ctx, tenant, collection, false)
	if err != nil || d.view != nil {
		return err
	}
	for name, value := range d.args(tenant) {
		args[name] = value
	}
	return pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, sql, args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := read(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// Document implements [knowledge.Documents].
func (s *Store) Document(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.DocumentID) (knowledge.Document, error) {
	var found knowledge.Document
	err := s.readDocuments(ctx, tenant, collection, documentSQL, pgx.NamedArgs{"id": string(id)}, func(row pgx.Row) (err error) {
		found, err = scanDocument(row)
		return err
	})
	if err != nil {
		return knowledge.Document{}, fmt.Errorf("document: %w", err)
	}
	if found.Version == 0 {
		return knowledge.Document{}, knowledge.NotFound("document", id)
	}
	return found, nil
}

// DocumentContent implements [knowledge.Documents].
func (s *Store) DocumentContent(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.DocumentID) (knowledge.Document, knowledge.DocumentContent, error) {
	var found knowledge.Document
	var content knowledge.DocumentContent
	err := s.readDocuments(ctx, tenant, collection, documentContentSQL, pgx.NamedArgs{"id": string(id)}, func(row pgx.Row) (err error) {
		found, err = scanDocument(row, &content.Source, &content.Text)
		return err
	})
	if err != nil {
		return knowledge.Document{}, knowledge.DocumentContent{}, fmt.Errorf("document: %w", err)
	}
	if found.Version == 0 {
		return knowledge.Document{}, knowledge.DocumentContent{}, knowledge.NotFound("document", id)
	}
	return found, content, nil
}

// ListDocuments implements [knowledge.Documents].
func (s *Store) ListDocuments(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, list knowledge.DocumentList) ([]knowledge.Document, error) {
	if err := list.Validate(); err != nil {
		return nil, err
	}
	found := []knowledge.Document{}
	args := pgx.NamedArgs{"after": string(list.After), "prefix": list.Prefix, "last": list.Last(), "limit": list.Limit}
	err := s.readDocuments(ctx, tenant, collection, listDocumentsSQL, args, func(row pgx.Row) error {
		d, err := scanDocument(row)
		found = append(found, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list documents: %w", err)
	}
	return found, nil
}

const deleteDocumentSQL = `DELETE FROM documents WHERE tenant_id = @tenant AND collection_id = @collection AND id = @id`

// DeleteDocument implements [knowledge.Documents].
func (s *Store) DeleteDocument(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.DocumentID, ifVersion int64) (knowledge.Document, error) {
	var before knowledge.Document
	gone := false
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		d, err := lockCollection(ctx, tx, tenant, collection)
		if err != nil {
			return err
		}
		args := d.args(tenant)
		args["id"] = string(id)
		before, _, err = holdDocument(ctx, tx, args)
		gone = before.Version == 0 // an expired one is swept away, and was gone before
		if err != nil || gone {
			return err
		}
		if err := (knowledge.DocumentWrite{IfVersion: ifVersion}).Admit(before.Version); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, deleteDocumentSQL, args)
		return err
	})
	if err == nil && gone {
		err = knowledge.NotFound("document", id)
	}
	if err != nil {
		return knowledge.Document{}, fmt.Errorf("delete document: %w", err)
	}
	return before, nil
}

// sweptDocuments is how many documents one transaction of the sweep deletes at most.
const sweptDocuments = 100

// sweepDocumentsSQL deletes documents of any tenant whose time is over. It waits for
// nobody: what another holds is left for the next time.
const sweepDocumentsSQL = `
DELETE FROM documents
WHERE ctid = ANY (ARRAY(
	SELECT ctid FROM documents
	WHERE expires_at <= now()
	ORDER BY expires_at
	LIMIT @most
	FOR UPDATE SKIP LOCKED))`

// SweepDocuments deletes the documents that have expired, of all tenants, and returns
// how many. Their passages are records, which [Store.SweepExpired] deletes.
func (s *Store) SweepDocuments(ctx context.Context) (int64, error) {
	for total := int64(0); ; {
		tag, err := s.jobs.Exec(ctx, sweepDocumentsSQL, pgx.NamedArgs{"most": sweptDocuments})
		if err != nil {
			return total, fmt.Errorf("sweep expired documents: %w", pgtx.Kind(ctx, err))
		}
		if total += tag.RowsAffected(); tag.RowsAffected() < sweptDocuments {
			return total, nil
		}
	}
}
