-- Takes back 000008_embedders.up.sql. Tenants' embedders and their credentials are
-- lost; collections that they served keep their vectors, and take no texts.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE embedders;

COMMENT ON SCHEMA tars IS 'version 7';

RESET ROLE;
