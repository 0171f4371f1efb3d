-- What: takes recall_measured away, with all that was measured.

SET LOCAL ROLE tars_owner;

DROP TABLE tars.recall_measured;

COMMENT ON SCHEMA tars IS 'version 5';

RESET ROLE;
