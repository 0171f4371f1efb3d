-- Back: kept replies and checkpoints of imports are lost.
SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE imports;
DROP TABLE idempotency;

COMMENT ON SCHEMA tars IS 'version 3';

RESET ROLE;
