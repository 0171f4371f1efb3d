-- What: shares, by which a tenant lets another search what a view of its own shows,
-- and how much each is read.
-- Why policies of their own: these are the only rows that two tenants see. The owner
-- makes, changes and sees its shares; the grantee sees those that are given to it and
-- changes nothing. What is counted is written by background work alone, so that
-- neither side can change it.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE shares (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE, -- the owner
	share_id   text COLLATE "C" NOT NULL UNIQUE CHECK (share_id ~ '^share_[a-z2-7]{16}$'),
	view       text COLLATE "C" NOT NULL,
	-- No reference: which other tenants there are is not for a tenant to find out.
	grantee    text COLLATE "C" NOT NULL CHECK (grantee <> tenant_id),
	note       text NOT NULL DEFAULT '',
	created_by text NOT NULL, -- id of a key
	created_at timestamptz NOT NULL,
	expires_at timestamptz,
	revoked_at timestamptz, -- when it ended before its time: revoked, or with its view
	-- A share that has not ended stands on its view; one that has lets it go.
	standing   text COLLATE "C" GENERATED ALWAYS AS (CASE WHEN revoked_at IS NULL THEN view END) STORED,
	PRIMARY KEY (tenant_id, share_id),
	FOREIGN KEY (tenant_id, standing) REFERENCES views ON DELETE RESTRICT
);
CREATE UNIQUE INDEX shares_standing ON shares (tenant_id, standing, grantee) WHERE standing IS NOT NULL;
CREATE INDEX shares_by_grantee ON shares (grantee, share_id);
SELECT tars.protect('shares');
CREATE POLICY given ON shares FOR SELECT TO tars_app USING (grantee = (SELECT tars.tenant()));
CREATE POLICY all_rows ON shares TO tars_jobs, tars_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (revoked_at), DELETE ON shares TO tars_app;
GRANT SELECT ON shares TO tars_jobs;

-- How much a share was read on one day in UTC, as each process of the service counted
-- it: sums since the process began, so that writing one again changes nothing.
CREATE TABLE share_reads (
	tenant_id text COLLATE "C" NOT NULL, -- the owner
	share_id  text COLLATE "C" NOT NULL,
	grantee   text COLLATE "C" NOT NULL,
	day       date NOT NULL,
	writer    text COLLATE "C" NOT NULL,
	queries   bigint NOT NULL,
	rows      bigint NOT NULL,
	PRIMARY KEY (tenant_id, share_id, day, writer),
	FOREIGN KEY (tenant_id, share_id) REFERENCES shares ON DELETE CASCADE
);
SELECT tars.protect('share_reads');
CREATE POLICY given ON share_reads FOR SELECT TO tars_app USING (grantee = (SELECT tars.tenant()));
CREATE POLICY all_rows ON share_reads TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT ON share_reads TO tars_app;
GRANT SELECT, INSERT, UPDATE (queries, rows) ON share_reads TO tars_jobs;

-- The shares of a view end with it, in the same transaction. Who shares the view just
-- now holds its row, so its share is seen here or finds the view gone.
CREATE FUNCTION tars.end_shares_of_view() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE tars.shares SET revoked_at = clock_timestamp()
	WHERE tenant_id = OLD.tenant_id AND view = OLD.name AND revoked_at IS NULL;
	RETURN OLD;
END $$;
CREATE TRIGGER end_shares BEFORE DELETE ON views FOR EACH ROW EXECUTE FUNCTION tars.end_shares_of_view();

-- Who gets the id of a tenant that is no more gets nothing that was shared with that.
CREATE FUNCTION tars.end_shares_with_tenant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, pg_temp AS $$
BEGIN
	DELETE FROM shares WHERE grantee = OLD.tenant_id;
	RETURN OLD;
END $$;
REVOKE ALL ON FUNCTION tars.end_shares_with_tenant() FROM PUBLIC;
CREATE TRIGGER end_shares BEFORE DELETE ON tenants FOR EACH ROW EXECUTE FUNCTION tars.end_shares_with_tenant();

COMMENT ON SCHEMA tars IS 'version 11';

RESET ROLE;
