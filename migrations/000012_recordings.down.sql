-- Takes back 000012_recordings.up.sql. All recordings are lost.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE recordings;

COMMENT ON SCHEMA tars IS 'version 11';

RESET ROLE;
