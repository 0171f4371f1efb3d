-- What: documents, each whole, as it was brought, with the text that was read of it.
-- Why here: its passages are ordinary records, written in the same transaction as its
-- row, so that nobody sees the passages of one version beside those of another; and a
-- citation of a passage is led back to the bytes of the document.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE documents (
	tenant_id     text COLLATE "C" NOT NULL,
	collection_id bigint NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
	id            text COLLATE "C" NOT NULL CHECK (octet_length(id) BETWEEN 1 AND 500),
	title         text NOT NULL,
	media_type    text NOT NULL,
	chunker       text NOT NULL, -- how it was cut into passages
	metadata      jsonb NOT NULL DEFAULT '{}',
	size          bigint NOT NULL, -- bytes of source
	hash          bytea NOT NULL CHECK (octet_length(hash) = 32), -- SHA-256 of source
	passages      int NOT NULL, -- records ID#0 to ID#(passages - 1)
	source        bytea NOT NULL,
	text          bytea NOT NULL, -- what knowledge/document encoded; nothing else reads it
	version       bigint NOT NULL DEFAULT 1,
	expires_at    timestamptz,
	created_at    timestamptz NOT NULL DEFAULT now(),
	updated_at    timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (collection_id, id)
);
CREATE INDEX documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
SELECT tars.protect('documents');
GRANT SELECT, INSERT, UPDATE, DELETE ON documents TO tars_app;
CREATE POLICY all_rows ON documents TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, DELETE, UPDATE (expires_at) ON documents TO tars_jobs; -- UPDATE, so that a sweep may hold rows

COMMENT ON SCHEMA tars IS 'version 9';

RESET ROLE;
