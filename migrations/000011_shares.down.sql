-- Takes back 000011_shares.up.sql. The shares are lost, and with them what was shared.
SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TRIGGER end_shares ON tenants;
DROP TRIGGER end_shares ON views;
DROP FUNCTION tars.end_shares_with_tenant();
DROP FUNCTION tars.end_shares_of_view();
DROP TABLE share_reads;
DROP TABLE shares;

COMMENT ON SCHEMA tars IS 'version 10';

RESET ROLE;
