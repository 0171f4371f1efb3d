-- Takes back 000013_audit.up.sql. The audit log is lost: export it before.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP TABLE audit_events, audit_heads;
DROP FUNCTION tars.audit_head(), tars.audit_extend();

COMMENT ON SCHEMA tars IS 'version 12';

RESET ROLE;
