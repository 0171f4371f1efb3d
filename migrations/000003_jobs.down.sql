-- Undoes 000003: jobs, with what is known of them, and River's tables.
DROP SCHEMA tars_river CASCADE;
DROP INDEX tars.records_expires;
DROP TABLE tars.jobs;
COMMENT ON SCHEMA tars IS 'version 2';
