-- Takes back 000009_documents.up.sql. The documents are lost; their passages stay,
-- as records like others.
SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE documents;

COMMENT ON SCHEMA tars IS 'version 8';

RESET ROLE;
