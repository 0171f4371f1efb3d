-- What: replies to requests that must have their effect once, and how far imports
-- have come.
-- Why here: both are written in the transaction of the effect that they are about.
-- A crash leaves either both or neither.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE idempotency (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	key        text COLLATE "C" NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	route      text NOT NULL, -- what was done to what
	principal  text NOT NULL, -- id of the credential
	body_hash  bytea NOT NULL CHECK (octet_length(body_hash) = 32),
	status     int NOT NULL,
	header     jsonb NOT NULL,
	body       bytea NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
SELECT tars.protect('idempotency');
-- DELETE: a key is free again after its life, whether it was swept or not.
GRANT SELECT, INSERT, DELETE ON idempotency TO tars_app;
CREATE POLICY all_rows ON idempotency TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON idempotency TO tars_jobs;

CREATE TABLE imports (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	import_id  text COLLATE "C" NOT NULL,
	collection text COLLATE "C" NOT NULL, -- empty: of a whole tenant
	mode       text NOT NULL CHECK (mode IN ('upsert', 'insert_only', 'update_only', 'restore')),
	on_error   text NOT NULL CHECK (on_error IN ('fail', 'skip')),
	key        text COLLATE "C" NOT NULL, -- Idempotency-Key, empty without
	principal  text NOT NULL, -- id of the credential
	state      text NOT NULL CHECK (state IN ('running', 'interrupted', 'failed', 'finished')),
	attempt    int NOT NULL DEFAULT 1, -- raised by each resumption; another one's writes are refused
	lines      bigint NOT NULL DEFAULT 0,
	bytes      bigint NOT NULL DEFAULT 0,
	digest     bytea NOT NULL DEFAULT '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' -- SHA-256 of these bytes
		CHECK (octet_length(digest) = 32),
	into_collection text NOT NULL DEFAULT '', -- of a whole tenant: where records go
	written    bigint NOT NULL DEFAULT 0,
	failed     bigint NOT NULL DEFAULT 0,
	faults     jsonb NOT NULL DEFAULT '[]', -- of the first bad lines: [{line, field, detail, code}]
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, import_id)
);
CREATE UNIQUE INDEX imports_by_key ON imports (tenant_id, key) WHERE key <> '';
CREATE INDEX imports_by_age ON imports (updated_at);
SELECT tars.protect('imports');
GRANT SELECT, INSERT, UPDATE ON imports TO tars_app;
CREATE POLICY all_rows ON imports TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON imports TO tars_jobs;

COMMENT ON SCHEMA tars IS 'version 4';

RESET ROLE;
