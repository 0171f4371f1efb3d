-- What: recordings of plugin calls, for some hours: what a call was given, asked and gave.
-- Why: a call that went wrong can be run again, exactly, with the same version or another.
-- A recording holds texts of the tenant's; it is sealed by the service with a
-- key-encryption key that the database never sees.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE recordings (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	call_id    text COLLATE "C" NOT NULL,
	key_id     text COLLATE "C" NOT NULL, -- who called; '': work in the background
	kek_id     text NOT NULL,
	sealed     bytea NOT NULL,
	size       bigint GENERATED ALWAYS AS (octet_length(sealed)) STORED,
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, call_id)
);
ALTER TABLE recordings ALTER COLUMN sealed SET STORAGE EXTERNAL; -- it is compressed, and does not shrink
CREATE INDEX recordings_by_age ON recordings (expires_at);
SELECT tars.protect('recordings');
GRANT SELECT, INSERT, DELETE ON recordings TO tars_app;
CREATE POLICY all_rows ON recordings TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT (tenant_id, call_id, expires_at), DELETE ON recordings TO tars_jobs; -- not what they hold

COMMENT ON SCHEMA tars IS 'version 12';

RESET ROLE;
