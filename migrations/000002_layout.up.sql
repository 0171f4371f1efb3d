-- What: two places for a large collection, declared fields, half precision.
-- Why: writes into a live HNSW index run at some 600 rows/s, and a bulk build of
-- the same index at some 5,000. So every write goes to the collection's place
-- (a shared one, without a vector index), which is searched exactly, and a job
-- carries the rows over to main, a place of the collection's own with the index,
-- which is searched beside it. See docs/decisions.md.
--
-- Which rows of a collection there are, in any snapshot:
--   those of its placement with epoch >= live_epoch, and all those of main.
-- A row stands in one of the two only. live_epoch lets a bulk build take over
-- any number of rows at once: those it copied are older than the epoch that began
-- with the copy, and go out of sight with one update. They are removed later.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

ALTER TABLE collections
	ADD COLUMN main int REFERENCES places,       -- null: no vector index, all rows are in placement
	ADD COLUMN building int REFERENCES places,   -- being filled by a job; writers log to record_changes meanwhile
	ADD COLUMN epoch int NOT NULL DEFAULT 0,     -- stamped on the rows that are written
	ADD COLUMN pending bigint NOT NULL DEFAULT 0, -- rows of placement when a job last looked, for back-pressure
	ADD COLUMN live_epoch int NOT NULL DEFAULT 0 CHECK (live_epoch <= epoch),
	ADD COLUMN fields jsonb NOT NULL DEFAULT '[]', -- declared fields: [{name, type, slot}]
	ADD COLUMN precision text NOT NULL DEFAULT 'float32' CHECK (precision IN ('float32', 'float16')),
	ADD COLUMN quantization text NOT NULL DEFAULT 'none' CHECK (quantization IN ('none', 'binary')),
	ADD COLUMN language text NOT NULL DEFAULT 'english', -- of its texts: a text search configuration of pg_catalog
	ADD COLUMN ttl_seconds bigint NOT NULL DEFAULT 0,  -- of records that give no expiry; 0: for ever
	ADD COLUMN recall_target real NOT NULL DEFAULT 0.95 CHECK (recall_target BETWEEN 0.5 AND 1),
	ADD COLUMN defaults jsonb NOT NULL DEFAULT '{}', -- of searches and queries: limit, plugins
	ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
	DROP CONSTRAINT collections_index_kind_check,
	ADD CONSTRAINT collections_index_kind_check CHECK (index_kind IN ('auto', 'none', 'hnsw'));
CREATE INDEX collections_by_main ON collections (main) WHERE main IS NOT NULL;
CREATE INDEX collections_by_building ON collections (building) WHERE building IS NOT NULL;

-- Declared fields are typed columns beside the metadata, because under row-level
-- security only leakproof operators reach an index, and those on jsonb are none.
-- A collection's definition says which of its fields is in which. Columns without
-- a value cost a bit.
ALTER TABLE records
	ALTER COLUMN embedding DROP NOT NULL,
	ADD COLUMN half halfvec,              -- instead of embedding, of a collection with half precision
	ADD COLUMN epoch int NOT NULL DEFAULT 0,
	ADD COLUMN lexemes tsvector,          -- of the text, in the collection's language
	ADD COLUMN s1 text COLLATE "C", ADD COLUMN s2 text COLLATE "C", ADD COLUMN s3 text COLLATE "C", ADD COLUMN s4 text COLLATE "C",
	ADD COLUMN s5 text COLLATE "C", ADD COLUMN s6 text COLLATE "C", ADD COLUMN s7 text COLLATE "C", ADD COLUMN s8 text COLLATE "C",
	ADD COLUMN n1 float8, ADD COLUMN n2 float8, ADD COLUMN n3 float8, ADD COLUMN n4 float8,
	ADD COLUMN n5 float8, ADD COLUMN n6 float8, ADD COLUMN n7 float8, ADD COLUMN n8 float8,
	ADD COLUMN a1 text[] COLLATE "C", ADD COLUMN a2 text[] COLLATE "C", ADD COLUMN a3 text[] COLLATE "C", ADD COLUMN a4 text[] COLLATE "C",
	ADD CONSTRAINT one_vector CHECK (num_nonnulls(embedding, half) = 1);

-- What was written or deleted while a place is being built: the copies of these
-- are stale.
CREATE TABLE record_changes (
	tenant_id     text COLLATE "C" NOT NULL,
	collection_id bigint NOT NULL,
	id            text COLLATE "C" NOT NULL
);
CREATE INDEX record_changes_by_collection ON record_changes (collection_id);
SELECT tars.protect('record_changes');
CREATE POLICY all_rows ON record_changes TO tars_jobs, tars_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON record_changes TO tars_app;
GRANT SELECT, DELETE ON record_changes TO tars_jobs;

-- The mover works through collections and records of all tenants.
CREATE POLICY mover ON collections TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (main, building, epoch, live_epoch, pending, generation) ON collections TO tars_jobs;
CREATE POLICY mover ON records TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON records TO tars_jobs;

-- A leaf needs the constraints of its parent as well, from now on.
CREATE OR REPLACE FUNCTION tars.make_place(place int, is_shared boolean, index_sql text) RETURNS void
LANGUAGE plpgsql SET search_path = tars, public, pg_temp AS $$
DECLARE
	leaf text := 'records_' || place;
BEGIN
	INSERT INTO places (placement, shared) VALUES (place, is_shared);
	-- toast_tuple_target keeps a vector of up to some 1,900 components in its row,
	-- beside the text: an exact scan would otherwise fetch each from elsewhere.
	EXECUTE format('CREATE TABLE %I (LIKE records INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (placement, collection_id, id),
		CONSTRAINT place CHECK (placement = %s)) WITH (toast_tuple_target = 8160)', leaf, place);
	PERFORM protect(leaf::regclass);
	IF index_sql IS NOT NULL THEN
		EXECUTE format(index_sql, leaf);
	END IF;
	EXECUTE format('ALTER TABLE records ATTACH PARTITION %I FOR VALUES IN (%s)', leaf, place);
	EXECUTE format('ALTER TABLE %I DROP CONSTRAINT place', leaf);
	-- Searches name the leaf, and are planned once instead of for each call. Its own
	-- policy keeps tenants apart.
	EXECUTE format('GRANT SELECT ON %I TO tars_app', leaf);
END $$;
DO $$
DECLARE
	place int;
BEGIN
	FOR place IN SELECT p.placement FROM places p LOOP
		EXECUTE format('GRANT SELECT ON %I TO tars_app', 'records_' || place);
	END LOOP;
END $$;

-- Makes a place of its own, without an index yet, and returns its number. Refuses
-- when there are most_places already.
DROP FUNCTION tars.make_hnsw_place(text, int, int, int, int);
CREATE FUNCTION tars.make_own_place(most_places int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
DECLARE
	place int := nextval('own_places');
BEGIN
	IF (SELECT count(*) FROM places WHERE NOT shared) >= most_places THEN
		RAISE EXCEPTION 'there are % places of their own already', most_places USING ERRCODE = 'configuration_limit_exceeded';
	END IF;
	PERFORM make_place(place, false, NULL);
	RETURN place;
END $$;
REVOKE ALL ON FUNCTION tars.make_own_place(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.make_own_place(int) TO tars_jobs;

-- Builds the HNSW index of a place of its own, unless it is there. The place must
-- hold all the rows that the index should be built of in bulk.
--
-- What is indexed depends on the metric. Cosine knows directions only: they are
-- normalised, so that half precision fits whatever their length was; it loses no
-- recall (measured), is a third smaller and faster. l2 and ip depend on magnitudes,
-- which half precision cuts at 65504 and rounds to 3 digits: they keep single
-- precision as far as an index can, to 2000 dimensions. Binary quantization keeps
-- one bit a dimension, of any number; what it finds is compared again.
CREATE FUNCTION tars.build_vector_index(place int, metric text, dimension int, stored text, quantization text, m int, ef_construction int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
DECLARE
	vec text := CASE stored WHEN 'float16' THEN 'half' ELSE 'embedding' END;
	indexed text := CASE
		WHEN quantization = 'binary' THEN format('(binary_quantize(%s)::bit(%s)) bit_hamming_ops', vec, dimension)
		WHEN metric = 'cosine' AND dimension <= 4000 THEN format('(l2_normalize(%s)::halfvec(%s)) halfvec_cosine_ops', vec, dimension)
		WHEN metric IN ('l2', 'ip') AND dimension <= 2000 AND stored = 'float32' THEN format('(embedding::vector(%s)) vector_%s_ops', dimension, metric)
		WHEN metric IN ('l2', 'ip') AND dimension <= 4000 THEN format('(%s::halfvec(%s)) halfvec_%s_ops', vec, dimension, metric)
	END;
BEGIN
	IF indexed IS NULL OR dimension < 1 OR m NOT BETWEEN 2 AND 100 OR ef_construction NOT BETWEEN 4 AND 1000
		OR NOT EXISTS (SELECT FROM places WHERE placement = place AND NOT shared) THEN
		RAISE EXCEPTION 'bad index definition' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I USING hnsw (%s) WITH (m = %s, ef_construction = %s)',
		'records_' || place || '_vector', 'records_' || place, indexed, m, ef_construction);
END $$;
REVOKE ALL ON FUNCTION tars.build_vector_index(int, text, int, text, text, int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.build_vector_index(int, text, int, text, text, int, int) TO tars_jobs;

-- Builds the indexes of the declared fields of a place of its own: slots are
-- columns s1…s8 and n1…n8.
CREATE FUNCTION tars.build_field_indexes(place int, slots text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
DECLARE
	slot text;
BEGIN
	IF NOT EXISTS (SELECT FROM places WHERE placement = place AND NOT shared) THEN
		RAISE EXCEPTION 'place % is not one of its own', place USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOREACH slot IN ARRAY slots LOOP
		IF slot !~ '^[sn][1-8]$' THEN
			RAISE EXCEPTION 'slot % is none', slot USING ERRCODE = 'invalid_parameter_value';
		END IF;
		EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (%I)', 'records_' || place || '_' || slot, 'records_' || place, slot);
	END LOOP;
	EXECUTE format('ANALYZE %I', 'records_' || place);
END $$;
REVOKE ALL ON FUNCTION tars.build_field_indexes(int, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.build_field_indexes(int, text[]) TO tars_jobs;

-- The functions about places know the two more columns that refer to them.
CREATE OR REPLACE FUNCTION tars.drop_place(place int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp SET lock_timeout = '200ms' AS $$
BEGIN
	-- Against this lock stands that of the foreign key of a collection being made.
	PERFORM FROM places WHERE placement = place AND NOT shared FOR UPDATE;
	IF NOT FOUND OR EXISTS (SELECT FROM collections WHERE place IN (placement, main, building)) THEN
		RETURN false;
	END IF;
	EXECUTE format('DROP TABLE %I', 'records_' || place);
	DELETE FROM places WHERE placement = place;
	RETURN true;
END $$;

CREATE OR REPLACE FUNCTION tars.unused_places(age interval) RETURNS SETOF int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
	SELECT p.placement
	FROM places p
	WHERE NOT p.shared
	  AND p.created_at <= now() - age
	  AND NOT EXISTS (SELECT FROM collections c WHERE c.placement = p.placement)
	  AND NOT EXISTS (SELECT FROM collections c WHERE c.main = p.placement)
	  AND NOT EXISTS (SELECT FROM collections c WHERE c.building = p.placement)
	ORDER BY p.placement
$$;

-- A collection with an index had one place, its own: that becomes main, and its
-- writes go to a shared place from now on.
CREATE POLICY migration ON collections TO tars_owner USING (true) WITH CHECK (true);
UPDATE collections c SET
	main = placement,
	placement = (SELECT p.placement FROM places p WHERE p.shared ORDER BY hashtextextended(c.tenant_id, p.placement) LIMIT 1),
	generation = generation + 1
WHERE index_kind = 'hnsw';
DROP POLICY migration ON collections;

COMMENT ON SCHEMA tars IS 'version 2';

RESET ROLE;
