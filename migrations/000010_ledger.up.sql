-- What: a row for each plugin call that ran, kept for some weeks, and what each tenant
-- used a day, by key and plugin, kept for ever.
-- Why: a receipt can be looked up after the answer is gone, and what is to be paid for is
-- read from sums that no sweep touches.
--
-- The role tars_jobs writes both, in batches of all tenants together; tars_app reads, each
-- tenant its own.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE plugin_calls (
	tenant_id    text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	call_id      text COLLATE "C" NOT NULL, -- sorts by the time it began, in milliseconds
	key_id       text COLLATE "C" NOT NULL, -- '': work in the background
	plugin       text COLLATE "C" NOT NULL,
	version      int NOT NULL,
	digest       text NOT NULL,
	capability   text NOT NULL,
	tier         text NOT NULL,
	grade        text NOT NULL,
	started_at   timestamptz NOT NULL,
	outcome      text COLLATE "C" NOT NULL, -- 'ok', or why it failed
	queue_us     bigint NOT NULL,
	vm_us        bigint NOT NULL,
	cpu_us       bigint NOT NULL,
	fuel         bigint NOT NULL,
	peak_memory  bigint NOT NULL, -- bytes
	host_calls   bigint NOT NULL,
	host_bytes   bigint NOT NULL,
	host_us      bigint NOT NULL,
	input_bytes  bigint NOT NULL,
	output_bytes bigint NOT NULL,
	rows_read    bigint NOT NULL,
	PRIMARY KEY (tenant_id, call_id)
);
CREATE INDEX plugin_calls_by_plugin ON plugin_calls (tenant_id, plugin, call_id);
CREATE INDEX plugin_calls_failed ON plugin_calls (tenant_id, plugin, call_id) WHERE outcome <> 'ok'; -- few, and looked for
CREATE INDEX plugin_calls_by_age ON plugin_calls (started_at);
SELECT tars.protect('plugin_calls');
GRANT SELECT ON plugin_calls TO tars_app;
CREATE POLICY all_rows ON plugin_calls TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (outcome), DELETE ON plugin_calls TO tars_jobs; -- UPDATE, so that a sweep may hold rows

-- Each column but those of the key is a sum. A row of a plugin has what its calls took;
-- the row with the plugin '' what was read and embedded.
CREATE TABLE usage_days (
	tenant_id       text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	day             date NOT NULL, -- in UTC
	key_id          text COLLATE "C" NOT NULL, -- '': work in the background
	plugin          text COLLATE "C" NOT NULL, -- '': none
	queries         bigint NOT NULL,
	searches        bigint NOT NULL,
	rows_read       bigint NOT NULL,
	embedded_texts  bigint NOT NULL,
	embedded_tokens bigint NOT NULL,
	calls           bigint NOT NULL,
	failed_calls    bigint NOT NULL,
	fuel            bigint NOT NULL,
	vm_us           bigint NOT NULL,
	cpu_us          bigint NOT NULL,
	byte_seconds    bigint NOT NULL, -- peak memory times time in the VM
	host_calls      bigint NOT NULL,
	input_bytes     bigint NOT NULL,
	output_bytes    bigint NOT NULL,
	PRIMARY KEY (tenant_id, day, key_id, plugin)
);
SELECT tars.protect('usage_days');
GRANT SELECT ON usage_days TO tars_app;
CREATE POLICY all_rows ON usage_days TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON usage_days TO tars_jobs;

-- The last batch of each process that writes. A process that does not know whether a
-- batch was committed, because the connection broke, sends it again; by this row, which
-- is written with the batch, it counts once.
CREATE TABLE ledger_writers (
	writer     text COLLATE "C" PRIMARY KEY,
	batch      bigint NOT NULL,
	written_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_writers TO tars_jobs;

COMMENT ON SCHEMA tars IS 'version 10';

RESET ROLE;
