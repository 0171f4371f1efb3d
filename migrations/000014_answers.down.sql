-- Takes back 000014_answers.up.sql. No collection keeps answers any more.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE collection_writes;
ALTER TABLE collections DROP COLUMN answers_distance, DROP COLUMN answers_age;

COMMENT ON SCHEMA tars IS 'version 13';

RESET ROLE;
