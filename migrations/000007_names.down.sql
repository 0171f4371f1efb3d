-- Takes back 000007_names.up.sql. Aliases, views and what keys were limited to are
-- lost: such keys are revoked, for they would see everything.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DROP FUNCTION tars.key_by_prefix(text);
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE views IS NOT NULL;
ALTER TABLE api_keys DROP COLUMN views;
CREATE FUNCTION tars.key_by_prefix(wanted text)
RETURNS TABLE (tenant_id text, key_id text, secret_hash bytea, scopes text[], expires_at timestamptz, revoked_at timestamptz, policy jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = tars, pg_temp AS $$
	SELECT k.tenant_id, k.key_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, t.policy
	FROM api_keys k JOIN tenants t USING (tenant_id)
	WHERE k.prefix = wanted
$$;
REVOKE ALL ON FUNCTION tars.key_by_prefix(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.key_by_prefix(text) TO tars_app;

DROP TABLE views;
DROP TABLE aliases;
REVOKE UPDATE (main_index) ON collections FROM tars_jobs;
REVOKE UPDATE (index_kind, hnsw_m, hnsw_ef_construction, quantization, fields, language, ttl_seconds, recall_target, defaults,
	version, updated_at, main_index, building) ON collections FROM tars_app;
ALTER TABLE collections DROP COLUMN version, DROP COLUMN main_index;

COMMENT ON SCHEMA tars IS 'version 2';

RESET ROLE;
