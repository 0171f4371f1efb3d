-- What: embedders of tenants' own: which server and model, and the credential for it.
-- Why: a tenant may bring the model that its collections are embedded by. The
-- credential is sealed by the service with a key-encryption key that the database
-- never sees.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

-- Who changes or removes one holds the lock 'tars.collections TENANT', under which
-- collections are made too, and looks for collections that it serves.
CREATE TABLE embedders (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	name       text COLLATE "C" NOT NULL,
	provider   text NOT NULL CHECK (provider IN ('openai')),
	base_url   text NOT NULL,
	model      text NOT NULL,
	space      text NOT NULL, -- version of the vector space, to which collections are pinned
	dimension  int NOT NULL CHECK (dimension BETWEEN 1 AND 16000), -- as the server showed
	options    jsonb NOT NULL DEFAULT '{}',
	key_id     text,  -- which key-encryption key sealed the credential
	sealed_key bytea, -- null: the server wants none
	version    bigint NOT NULL DEFAULT 1, -- of the row, raised by each change
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name),
	CHECK ((key_id IS NULL) = (sealed_key IS NULL))
);
SELECT tars.protect('embedders');
GRANT SELECT, INSERT, DELETE,
	UPDATE (provider, base_url, model, space, dimension, options, key_id, sealed_key, version, updated_at) ON embedders TO tars_app;

COMMENT ON SCHEMA tars IS 'version 8';

RESET ROLE;
