-- Takes back 000010_ledger.up.sql. All receipts and sums of usage are lost.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE ledger_writers, usage_days, plugin_calls;

COMMENT ON SCHEMA tars IS 'version 9';

RESET ROLE;
