-- What: other names of collections (aliases, views), keys limited to views, and
-- definitions that change.
-- Why: a new version of a collection takes the place of the old one when an alias
-- moves, in one step and without a word to its readers; and a key can be given to
-- who may see a part of a collection alone.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

-- main_index: how the index of main was built, {m, ef_construction, quantization},
-- while the definition says otherwise: a rebuild is due, and searches go by this one
-- until then. Null: as the definition says.
ALTER TABLE collections
	ADD COLUMN version bigint NOT NULL DEFAULT 1, -- of the definition, raised by each change
	ADD COLUMN main_index jsonb;
GRANT UPDATE (index_kind, hnsw_m, hnsw_ef_construction, quantization, fields, language, ttl_seconds, recall_target, defaults,
	version, updated_at, main_index, building) ON collections TO tars_app;
GRANT UPDATE (main_index) ON collections TO tars_jobs;

-- Names of collections, aliases and views of a tenant are one space: who makes one
-- holds the lock 'tars.collections TENANT' and looks into all three tables. What a
-- name stands on cannot go away under it.
CREATE TABLE aliases (
	tenant_id  text COLLATE "C" NOT NULL,
	name       text COLLATE "C" NOT NULL,
	collection text COLLATE "C" NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name),
	FOREIGN KEY (tenant_id, collection) REFERENCES collections ON DELETE RESTRICT
);
CREATE INDEX aliases_by_collection ON aliases (tenant_id, collection);
SELECT tars.protect('aliases');
GRANT SELECT, INSERT, UPDATE (collection, updated_at), DELETE ON aliases TO tars_app;

CREATE TABLE views (
	tenant_id  text COLLATE "C" NOT NULL,
	name       text COLLATE "C" NOT NULL,
	collection text COLLATE "C", -- or else
	alias      text COLLATE "C",
	filter     jsonb NOT NULL,   -- knowledge.Filter
	hidden     text[] NOT NULL DEFAULT '{}',
	defaults   jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name),
	CHECK (num_nonnulls(collection, alias) = 1),
	FOREIGN KEY (tenant_id, collection) REFERENCES collections ON DELETE RESTRICT,
	FOREIGN KEY (tenant_id, alias) REFERENCES aliases ON DELETE RESTRICT
);
CREATE INDEX views_by_collection ON views (tenant_id, collection);
CREATE INDEX views_by_alias ON views (tenant_id, alias);
SELECT tars.protect('views');
GRANT SELECT, INSERT, UPDATE (collection, alias, filter, hidden, defaults, updated_at), DELETE ON views TO tars_app;

-- A key with views sees these and nothing else of its tenant's collections. They are
-- names, not references: without such a view there is nothing to be seen.
ALTER TABLE api_keys ADD COLUMN views text[] COLLATE "C"; -- null: not limited
DROP FUNCTION tars.key_by_prefix(text);
CREATE FUNCTION tars.key_by_prefix(wanted text)
RETURNS TABLE (tenant_id text, key_id text, secret_hash bytea, scopes text[], views text[], expires_at timestamptz, revoked_at timestamptz, policy jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = tars, pg_temp AS $$
	SELECT k.tenant_id, k.key_id, k.secret_hash, k.scopes, k.views, k.expires_at, k.revoked_at, t.policy
	FROM api_keys k JOIN tenants t USING (tenant_id)
	WHERE k.prefix = wanted
$$;
REVOKE ALL ON FUNCTION tars.key_by_prefix(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.key_by_prefix(text) TO tars_app;

COMMENT ON SCHEMA tars IS 'version 7';

RESET ROLE;
