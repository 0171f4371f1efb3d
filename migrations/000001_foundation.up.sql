-- What: roles, tenants and their keys and secrets, collections, records, plugins.
-- Why in one file: these are the decisions that are costly to change later, and
-- each leans on the others. See docs/decisions.md.
--
-- Tenancy has two locks. Every statement of the service names tenant_id; and
-- row-level security, forced on every tenant table and every leaf, compares it
-- with the setting tars.tenant, which the service sets for one transaction at a
-- time. Without the setting every access is an error, not an empty result.

CREATE SCHEMA tars;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

-- Three roles. tars_owner owns everything and cannot log in; tars_app serves
-- requests and owns nothing; tars_jobs creates tenants, keys and places, and runs
-- background work. Roles belong to the cluster, not to this database: they may be
-- there already, and the down migration leaves them.
DO $$
DECLARE
	wanted record;
	setting text;
BEGIN
	-- Several databases of one cluster may be migrated at once, each under a lock of
	-- its own. Who loses the race for a row of the shared catalogues tries again.
	FOR attempt IN 1..20 LOOP
		BEGIN
			FOR wanted IN SELECT * FROM (VALUES
				('tars_owner', 'NOLOGIN', '{}'::text[]),
				-- Generic plans over partitions start parallel workers for queries of 1 ms,
				-- which costs 13 ms; and only a custom plan prunes partitions while planning.
				('tars_app', 'LOGIN', '{search_path=tars\, public, max_parallel_workers_per_gather=0, plan_cache_mode=force_custom_plan,
					jit=off, statement_timeout=30s, lock_timeout=5s, idle_in_transaction_session_timeout=30s}'),
				('tars_jobs', 'LOGIN', '{search_path=tars\, public, lock_timeout=5s, idle_in_transaction_session_timeout=5min}')
			) AS r(name, login, settings) LOOP
				IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
					EXECUTE format('CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION', wanted.name, wanted.login);
				END IF;
				FOREACH setting IN ARRAY wanted.settings LOOP
					CONTINUE WHEN (SELECT setting = ANY(rolconfig) FROM pg_roles WHERE rolname = wanted.name);
					EXECUTE format('ALTER ROLE %I SET %s = %s', wanted.name, split_part(setting, '=', 1),
						(SELECT string_agg(quote_literal(trim(v)), ', ') FROM unnest(string_to_array(split_part(setting, '=', 2), ',')) AS v));
				END LOOP;
			END LOOP;
			IF NOT pg_has_role(current_user, 'tars_owner', 'MEMBER') THEN
				EXECUTE format('GRANT tars_owner TO %I', current_user);
			END IF;
			RETURN;
		EXCEPTION WHEN duplicate_object OR unique_violation OR internal_error THEN -- the last: "tuple concurrently updated"
			IF attempt = 20 THEN
				RAISE;
			END IF;
			PERFORM pg_sleep(0.05);
		END;
	END LOOP;
END $$;

ALTER SCHEMA tars OWNER TO tars_owner;
GRANT USAGE ON SCHEMA tars TO tars_app, tars_jobs;
GRANT USAGE ON SCHEMA public TO tars_owner, tars_app, tars_jobs;

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

-- The tenant of this transaction. An unset or empty setting is an error: it can
-- only be a fault of the service, and an empty result would hide it.
CREATE FUNCTION tars.tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	t text := current_setting('tars.tenant', true);
BEGIN
	IF t IS NULL OR t = '' THEN
		RAISE EXCEPTION 'the setting tars.tenant is empty' USING ERRCODE = 'insufficient_privilege';
	END IF;
	RETURN t;
END $$;

-- Forces row-level security on a tenant table or leaf and admits the tenant's own rows.
CREATE FUNCTION tars.protect(target regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
	EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
	-- The sub-select makes it one evaluation a query instead of one a row.
	EXECUTE format('CREATE POLICY own_rows ON %s TO tars_app
		USING (tenant_id = (SELECT tars.tenant())) WITH CHECK (tenant_id = (SELECT tars.tenant()))', target);
END $$;

CREATE TABLE tenants (
	tenant_id  text COLLATE "C" PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	name       text NOT NULL DEFAULT '',
	-- Limits and floors of the tenant; knowledge/tenancy.Policy. A missing key means the node's default.
	policy     jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now()
);
SELECT tars.protect('tenants');
CREATE POLICY all_rows ON tenants TO tars_jobs, tars_owner USING (true) WITH CHECK (true);
GRANT SELECT ON tenants TO tars_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO tars_jobs;

-- API keys. Only a keyed hash of the secret is kept; the prefix, which is public,
-- finds the row.
CREATE TABLE api_keys (
	tenant_id    text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	key_id       text COLLATE "C" NOT NULL,
	prefix       text COLLATE "C" NOT NULL UNIQUE,
	secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
	name         text NOT NULL DEFAULT '',
	scopes       text[] NOT NULL,
	created_at   timestamptz NOT NULL DEFAULT now(),
	expires_at   timestamptz,
	revoked_at   timestamptz,
	last_used_at timestamptz,
	PRIMARY KEY (tenant_id, key_id)
);
SELECT tars.protect('api_keys');
CREATE POLICY all_rows ON api_keys TO tars_jobs, tars_owner USING (true) WITH CHECK (true);
GRANT SELECT ON api_keys TO tars_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO tars_jobs;

-- The one look-up that happens before a tenant is known. It takes a whole prefix,
-- which is unguessable only together with the secret, and gives one row at most.
CREATE FUNCTION tars.key_by_prefix(wanted text)
RETURNS TABLE (tenant_id text, key_id text, secret_hash bytea, scopes text[], expires_at timestamptz, revoked_at timestamptz, policy jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = tars, pg_temp AS $$
	SELECT k.tenant_id, k.key_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, t.policy
	FROM api_keys k JOIN tenants t USING (tenant_id)
	WHERE k.prefix = wanted
$$;
REVOKE ALL ON FUNCTION tars.key_by_prefix(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.key_by_prefix(text) TO tars_app;

-- Secrets of tenants (credentials of embedders and plugins), sealed by the service
-- with a key-encryption key that the database never sees.
CREATE TABLE secrets (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	name       text COLLATE "C" NOT NULL,
	kek_id     text NOT NULL, -- which key-encryption key sealed it, for rotation
	sealed     bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name)
);
SELECT tars.protect('secrets');
GRANT SELECT, INSERT, UPDATE, DELETE ON secrets TO tars_app;

-- Places are the partitions of records. Small collections share the first few,
-- which have no vector index; a collection with an index has a place of its own.
CREATE TABLE places (
	placement  int PRIMARY KEY,
	shared     boolean NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE own_places AS int START 1000 MINVALUE 1000; -- below: shared places
GRANT SELECT ON places TO tars_app, tars_jobs;

CREATE TABLE collections (
	-- Not ON DELETE CASCADE: records, which have no foreign key, would stay behind.
	tenant_id        text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE RESTRICT,
	name             text COLLATE "C" NOT NULL,
	collection_id    bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
	metric           text NOT NULL CHECK (metric IN ('cosine', 'l2', 'ip')),
	dimension        int NOT NULL CHECK (dimension BETWEEN 1 AND 16000),
	embedder         text NOT NULL,
	embedder_version text NOT NULL,
	index_kind       text NOT NULL CHECK (index_kind IN ('none', 'hnsw')),
	hnsw_m           int NOT NULL DEFAULT 0,
	hnsw_ef_construction int NOT NULL DEFAULT 0,
	placement        int NOT NULL REFERENCES places,
	generation       bigint NOT NULL DEFAULT 1, -- raised when the placement changes
	created_at       timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name)
);
CREATE INDEX collections_by_placement ON collections (placement);
SELECT tars.protect('collections');
-- Writers take the collection's row FOR SHARE, which needs the right to update
-- some column of it. Nothing else of a definition ever changes.
GRANT SELECT, INSERT, UPDATE (generation), DELETE ON collections TO tars_app;
-- The functions about places run as the owner, to whom row-level security is forced as well.
CREATE POLICY owner_reads ON collections FOR SELECT TO tars_owner USING (true);

-- Records. placement is the partition key. Vectors have no dimension in their type:
-- collections of all dimensions share places; every index and query casts alike.
CREATE TABLE records (
	placement     int NOT NULL,
	tenant_id     text COLLATE "C" NOT NULL,
	collection_id bigint NOT NULL,
	id            text COLLATE "C" NOT NULL,
	text          text NOT NULL,
	embedding     vector NOT NULL,
	metadata      jsonb NOT NULL DEFAULT '{}',
	version       bigint NOT NULL DEFAULT 1,
	expires_at    timestamptz,
	created_at    timestamptz NOT NULL DEFAULT now(),
	updated_at    timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (placement, collection_id, id)
) PARTITION BY LIST (placement);
SELECT tars.protect('records');
GRANT SELECT, INSERT, UPDATE, DELETE ON records TO tars_app;

-- Makes the leaf of one placement: filled and indexed while detached, so that the
-- parent is locked only for the attachment, which the CHECK makes instant.
-- The leaf gets its own policy, for it can be addressed directly.
CREATE FUNCTION tars.make_place(place int, is_shared boolean, index_sql text) RETURNS void
LANGUAGE plpgsql SET search_path = tars, public, pg_temp AS $$
DECLARE
	leaf text := 'records_' || place;
BEGIN
	INSERT INTO places (placement, shared) VALUES (place, is_shared);
	-- toast_tuple_target keeps a vector of up to some 1,900 components in its row,
	-- beside the text: an exact scan would otherwise fetch each from elsewhere.
	EXECUTE format('CREATE TABLE %I (LIKE records INCLUDING DEFAULTS, PRIMARY KEY (placement, collection_id, id),
		CONSTRAINT place CHECK (placement = %s)) WITH (toast_tuple_target = 8160)', leaf, place);
	PERFORM protect(leaf::regclass);
	IF index_sql IS NOT NULL THEN
		EXECUTE format(index_sql, leaf);
	END IF;
	EXECUTE format('ALTER TABLE records ATTACH PARTITION %I FOR VALUES IN (%s)', leaf, place);
	EXECUTE format('ALTER TABLE %I DROP CONSTRAINT place', leaf);
END $$;
REVOKE ALL ON FUNCTION tars.make_place(int, boolean, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION tars.protect(regclass) FROM PUBLIC;

SELECT tars.make_place(place, true, NULL) FROM generate_series(0, 3) AS place;

-- Makes a place of its own for one collection with an HNSW index, and returns its
-- number. Refuses when there are most_places already.
--
-- What is indexed depends on the metric. Cosine knows directions only: they are
-- normalised, so that half precision fits whatever their length was; it loses no
-- recall (measured), is a third smaller and faster. l2 and ip depend on magnitudes,
-- which half precision cuts at 65504 and rounds to 3 digits: they keep single
-- precision as far as an index can, to 2000 dimensions.
CREATE FUNCTION tars.make_hnsw_place(metric text, dimension int, m int, ef_construction int, most_places int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
DECLARE
	place int := nextval('own_places');
	indexed text := CASE
		WHEN metric = 'cosine' AND dimension <= 4000 THEN format('(l2_normalize(embedding)::halfvec(%s)) halfvec_cosine_ops', dimension)
		WHEN metric IN ('l2', 'ip') AND dimension <= 2000 THEN format('(embedding::vector(%s)) vector_%s_ops', dimension, metric)
		WHEN metric IN ('l2', 'ip') AND dimension <= 4000 THEN format('(embedding::halfvec(%s)) halfvec_%s_ops', dimension, metric)
	END;
BEGIN
	IF indexed IS NULL OR dimension < 1 OR m NOT BETWEEN 2 AND 100 OR ef_construction NOT BETWEEN 4 AND 1000 THEN
		RAISE EXCEPTION 'bad index definition' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF (SELECT count(*) FROM places WHERE NOT shared) >= most_places THEN
		RAISE EXCEPTION 'there are % places of their own already', most_places USING ERRCODE = 'configuration_limit_exceeded';
	END IF;
	PERFORM make_place(place, false, format(
		'CREATE INDEX ON %%I USING hnsw (%s) WITH (m = %s, ef_construction = %s)', indexed, m, ef_construction));
	RETURN place;
END $$;
REVOKE ALL ON FUNCTION tars.make_hnsw_place(text, int, int, int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.make_hnsw_place(text, int, int, int, int) TO tars_jobs;

-- Drops a place of its own that no collection refers to any more. Returns false
-- when one still does, or when there is nothing to drop. Dropping a leaf locks all
-- records for a moment: who waits for that lock holds up every query behind it, so
-- it waits 200 ms at most and leaves trying again to the caller.
CREATE FUNCTION tars.drop_place(place int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp SET lock_timeout = '200ms' AS $$
BEGIN
	-- Against this lock stands that of the foreign key of a collection being made.
	PERFORM FROM places WHERE placement = place AND NOT shared FOR UPDATE;
	IF NOT FOUND OR EXISTS (SELECT FROM collections WHERE placement = place) THEN
		RETURN false;
	END IF;
	EXECUTE format('DROP TABLE %I', 'records_' || place);
	DELETE FROM places WHERE placement = place;
	RETURN true;
END $$;
REVOKE ALL ON FUNCTION tars.drop_place(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.drop_place(int) TO tars_jobs;

-- Places of their own to which no collection refers, older than an age: a place is
-- made a moment before its collection.
CREATE FUNCTION tars.unused_places(age interval) RETURNS SETOF int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
	SELECT p.placement
	FROM places p
	WHERE NOT p.shared
	  AND p.created_at <= now() - age
	  AND NOT EXISTS (SELECT FROM collections c WHERE c.placement = p.placement)
	ORDER BY p.placement
$$;
REVOKE ALL ON FUNCTION tars.unused_places(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.unused_places(interval) TO tars_jobs;

-- Plugins. A version is immutable; what changes is which version an alias names.
CREATE TABLE plugin_versions (
	tenant_id  text COLLATE "C" NOT NULL REFERENCES tenants ON DELETE CASCADE,
	name       text COLLATE "C" NOT NULL,
	version    int NOT NULL CHECK (version > 0),
	digest     bytea NOT NULL CHECK (octet_length(digest) = 32), -- of manifest and module together
	manifest   jsonb NOT NULL,
	inspection jsonb NOT NULL,
	module     bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name, version),
	UNIQUE (tenant_id, name, digest)
);
ALTER TABLE plugin_versions ALTER COLUMN module SET STORAGE EXTERNAL; -- WebAssembly hardly compresses, and reads should not pay for it
SELECT tars.protect('plugin_versions');
GRANT SELECT, INSERT, DELETE ON plugin_versions TO tars_app;

CREATE TABLE plugin_aliases (
	tenant_id  text COLLATE "C" NOT NULL,
	name       text COLLATE "C" NOT NULL,
	alias      text COLLATE "C" NOT NULL,
	version    int NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, name, alias),
	FOREIGN KEY (tenant_id, name, version) REFERENCES plugin_versions ON DELETE RESTRICT
);
SELECT tars.protect('plugin_aliases');
GRANT SELECT, INSERT, UPDATE, DELETE ON plugin_aliases TO tars_app;

-- The last migration applied, written with it in one transaction: the truth when a
-- migrator was killed, and what a server checks when it connects.
COMMENT ON SCHEMA tars IS 'version 1';

RESET ROLE;
