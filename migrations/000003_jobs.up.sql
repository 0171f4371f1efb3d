-- What: background work. The schema tars_river, in which River's own migrator makes
-- River's tables after this file (see river.go), and the table of jobs that tenants see.
-- Why two: River's row is a note to look at a job now; what the job is, how far it is
-- and who works on it is ours. So a job that a killed server had under way is taken
-- over when its lease ends, however long jobs may run, and nothing that a tenant can
-- reach depends on another project's tables. See docs/decisions.md.

CREATE SCHEMA tars_river AUTHORIZATION tars_owner;
GRANT USAGE ON SCHEMA tars_river TO tars_jobs; -- and nothing to tars_app

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

ALTER DEFAULT PRIVILEGES FOR ROLE tars_owner IN SCHEMA tars_river GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tars_jobs;
ALTER DEFAULT PRIVILEGES FOR ROLE tars_owner IN SCHEMA tars_river GRANT USAGE ON SEQUENCES TO tars_jobs;

CREATE TABLE jobs (
	tenant_id        text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	job_id           text COLLATE "C" NOT NULL, -- sorts by its time of creation; 80 bits of it are random
	kind             text COLLATE "C" NOT NULL,
	state            text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted')),
	args             jsonb NOT NULL,
	unique_key       text COLLATE "C",
	done             bigint NOT NULL DEFAULT 0,
	total            bigint,                     -- null: not known
	detail           jsonb NOT NULL DEFAULT '{}',
	error            text NOT NULL DEFAULT '',   -- made for the client
	attempt          int NOT NULL DEFAULT 0,
	cancel_requested boolean NOT NULL DEFAULT false,
	runner           text,                       -- which process has the lease
	-- When somebody must look: the end of the lease of a running job; of a queued one,
	-- when it should have begun.
	due_at           timestamptz NOT NULL,
	river_id         bigint,                     -- the note in tars_river.river_job that makes a queued one begin
	created_at       timestamptz NOT NULL DEFAULT now(),
	started_at       timestamptz,
	finished_at      timestamptz,
	updated_at       timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, job_id),
	CHECK ((finished_at IS NULL) = (state IN ('queued', 'running'))),
	CHECK ((runner IS NOT NULL) = (state = 'running'))
);
CREATE UNIQUE INDEX jobs_unique_key ON jobs (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_due ON jobs (due_at) WHERE finished_at IS NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
SELECT tars.protect('jobs');
CREATE POLICY all_rows ON jobs TO tars_jobs, tars_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO tars_jobs;
-- A tenant's request reads its jobs and may cancel one, and nothing else.
GRANT SELECT, UPDATE (cancel_requested, state, finished_at, updated_at) ON jobs TO tars_app;

-- The sweep of expired records looks for them by this. Records that never expire are
-- not in it.
CREATE INDEX records_expires ON records (expires_at) WHERE expires_at IS NOT NULL;

COMMENT ON SCHEMA tars IS 'version 3';

RESET ROLE;
