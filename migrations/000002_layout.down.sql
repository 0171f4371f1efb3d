-- Undoes 000002: every collection has one place again, rows of a large one are
-- all indexed, and half precision becomes single. Declared fields, and what was
-- quantized, are forgotten; no record is lost.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE POLICY migration ON collections TO tars_owner USING (true) WITH CHECK (true);
CREATE POLICY migration ON records TO tars_owner USING (true) WITH CHECK (true);

DELETE FROM records r USING collections c
WHERE r.placement = c.placement AND r.collection_id = c.collection_id AND r.epoch < c.live_epoch;
UPDATE records r SET placement = c.main FROM collections c
WHERE c.main IS NOT NULL AND r.placement = c.placement AND r.collection_id = c.collection_id;
UPDATE records SET embedding = half::vector, half = NULL WHERE half IS NOT NULL;
UPDATE collections SET
	placement = coalesce(main, placement),
	index_kind = CASE WHEN main IS NULL THEN 'none' ELSE 'hnsw' END,
	generation = generation + 1;
DROP POLICY migration ON collections;
DROP POLICY migration ON records;

DROP POLICY mover ON collections;
DROP POLICY mover ON records;
DO $$
DECLARE
	place int;
BEGIN
	FOR place IN SELECT p.placement FROM places p LOOP
		EXECUTE format('REVOKE ALL ON %I FROM tars_app', 'records_' || place);
	END LOOP;
END $$;
REVOKE ALL ON collections FROM tars_jobs;
REVOKE ALL ON records FROM tars_jobs;
DROP TABLE record_changes;
DROP FUNCTION tars.make_own_place(int);
DROP FUNCTION tars.build_vector_index(int, text, int, text, text, int, int);
DROP FUNCTION tars.build_field_indexes(int, text[]);

ALTER TABLE records
	DROP CONSTRAINT one_vector,
	DROP COLUMN half, DROP COLUMN epoch, DROP COLUMN lexemes,
	DROP COLUMN s1, DROP COLUMN s2, DROP COLUMN s3, DROP COLUMN s4, DROP COLUMN s5, DROP COLUMN s6, DROP COLUMN s7, DROP COLUMN s8,
	DROP COLUMN n1, DROP COLUMN n2, DROP COLUMN n3, DROP COLUMN n4, DROP COLUMN n5, DROP COLUMN n6, DROP COLUMN n7, DROP COLUMN n8,
	DROP COLUMN a1, DROP COLUMN a2, DROP COLUMN a3, DROP COLUMN a4,
	ALTER COLUMN embedding SET NOT NULL;
ALTER TABLE collections
	DROP COLUMN main, DROP COLUMN building, DROP COLUMN epoch, DROP COLUMN pending, DROP COLUMN live_epoch, DROP COLUMN fields, DROP COLUMN precision,
	DROP COLUMN quantization, DROP COLUMN language, DROP COLUMN ttl_seconds, DROP COLUMN recall_target, DROP COLUMN defaults, DROP COLUMN updated_at,
	DROP CONSTRAINT collections_index_kind_check,
	ADD CONSTRAINT collections_index_kind_check CHECK (index_kind IN ('none', 'hnsw'));

CREATE OR REPLACE FUNCTION tars.make_place(place int, is_shared boolean, index_sql text) RETURNS void
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

CREATE OR REPLACE FUNCTION tars.drop_place(place int) RETURNS boolean
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

CREATE OR REPLACE FUNCTION tars.unused_places(age interval) RETURNS SETOF int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = tars, public, pg_temp AS $$
	SELECT p.placement
	FROM places p
	WHERE NOT p.shared
	  AND p.created_at <= now() - age
	  AND NOT EXISTS (SELECT FROM collections c WHERE c.placement = p.placement)
	ORDER BY p.placement
$$;

COMMENT ON SCHEMA tars IS 'version 1';

RESET ROLE;
