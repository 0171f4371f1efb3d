-- What: search by words.
-- Why functions: under row-level security only leakproof operators reach an index,
-- and @@ is none. So one function, which runs as the owner, looks into the index of
-- a collection's own place, and gives no more than where rows stand. It takes the
-- tenant from the setting alone, and makes sure that the place is the collection's.
-- What is visible, what passes a filter and how it ranks is decided by the query
-- around it, as the application's role. See docs/decisions.md.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

-- In how many records of a place of its own a lexeme is: what makes a term weigh.
-- Lexemes of one record alone are left out; they are most of a language.
CREATE TABLE lexeme_counts (
	tenant_id text COLLATE "C" NOT NULL,
	placement int NOT NULL,
	lexeme    text COLLATE "C" NOT NULL,
	records   int NOT NULL,
	PRIMARY KEY (placement, lexeme)
);
SELECT tars.protect('lexeme_counts');
CREATE POLICY all_rows ON lexeme_counts TO tars_owner USING (true) WITH CHECK (true);
GRANT SELECT ON lexeme_counts TO tars_app;

-- One row for each place of its own that can be searched by words.
CREATE TABLE lexeme_totals (
	tenant_id  text COLLATE "C" NOT NULL,
	placement  int PRIMARY KEY,
	records    bigint NOT NULL,
	bytes      bigint NOT NULL, -- of all texts together
	counted_at timestamptz NOT NULL DEFAULT now()
);
SELECT tars.protect('lexeme_totals');
CREATE POLICY all_rows ON lexeme_totals TO tars_owner USING (true) WITH CHECK (true);
GRANT SELECT ON lexeme_totals TO tars_app;

-- A query for one lexeme as it is.
CREATE FUNCTION tars.lexeme_query(lexeme text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
$$;

-- A query for the lexemes that begin with a text, or with its stem.
CREATE FUNCTION tars.prefix_query(language regconfig, prefix text) RETURNS tsquery
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN numnode(stem) = 0 OR stem = plain THEN plain ELSE plain || stem END
	FROM (SELECT to_tsquery('pg_catalog.simple', quoted) AS plain, to_tsquery(language, quoted) AS stem
		FROM (SELECT '''' || replace(replace(prefix, '\', '\\'), '''', '''''') || ''':*' AS quoted) q) s
$$;

-- Words, prefixes and phrases as queries; those without a lexeme are left out.
CREATE FUNCTION tars.clause_queries(language regconfig, words text[], prefixes text[], phrases text[]) RETURNS tsquery[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = tars, pg_catalog, pg_temp AS $$
	SELECT coalesce(array_agg(q) FILTER (WHERE numnode(q) > 0), '{}') FROM (
		SELECT plainto_tsquery(language, w) AS q FROM unnest(words) AS w
		UNION ALL SELECT prefix_query(language, p) FROM unnest(prefixes) AS p
		UNION ALL SELECT phraseto_tsquery(language, p) FROM unnest(phrases) AS p
	) c
$$;

-- Several queries as one: all of them, or any; null of none.
CREATE FUNCTION tars.join_queries(queries tsquery[], operator text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT string_agg('(' || q::text || ')', operator)::tsquery FROM unnest(queries) AS q
$$;

-- A question, taken apart by the service, in terms of the index.
CREATE FUNCTION tars.words_question(
	language regconfig, words text[], prefixes text[], phrases text[],
	without_words text[], without_prefixes text[], without_phrases text[], most int,
	OUT every tsquery,     -- what has every clause
	OUT needed tsquery,    -- what has the clauses that a match cannot do without; null: there is none
	OUT phrased boolean,   -- there are such clauses beside those that exclude
	OUT either tsquery,    -- what has at least one term
	OUT terms text[],      -- what ranks, at most so many, the first ones; a prefix ends in *
	OUT queries tsquery[]  -- the query of each term
) LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = tars, pg_catalog, pg_temp AS $$
DECLARE
	must tsquery[] := clause_queries(language, '{}', '{}', phrases);
	may tsquery[] := clause_queries(language, words, prefixes, '{}');
	excluded tsquery := join_queries(clause_queries(language, without_words, without_prefixes, without_phrases), '|');
BEGIN
	SELECT array_agg(t.term ORDER BY t.n, t.term), array_agg(t.query ORDER BY t.n, t.term) INTO terms, queries FROM (
		SELECT lexeme AS term, lexeme_query(lexeme) AS query, min(n) AS n
		FROM unnest(phrases || words) WITH ORDINALITY AS w (word, n), unnest(tsvector_to_array(to_tsvector(language, word))) AS lexeme
		GROUP BY lexeme
		UNION ALL
		SELECT p || '*', prefix_query(language, p), cardinality(phrases) + cardinality(words) + n
		FROM unnest(prefixes) WITH ORDINALITY AS p (p, n)
		ORDER BY n, term
		LIMIT most
	) t;
	phrased := cardinality(must) > 0;
	needed := join_queries(must, '&');
	IF excluded IS NOT NULL THEN
		needed := CASE WHEN needed IS NULL THEN !!excluded ELSE needed && !!excluded END;
	END IF;
	every := join_queries(must || may, '&');
	IF excluded IS NOT NULL THEN
		every := every && !!excluded;
	END IF;
	either := join_queries(queries, '|');
	terms := coalesce(terms, '{}');
	queries := coalesce(queries, '{}');
END $$;

-- Where rows of a collection's own place stand that may match: those that have
-- every clause, and if these are fewer than enough, those that have one of some
-- queries, one after the other; most in all, some perhaps twice.
CREATE FUNCTION tars.words_in_main(collection bigint, place int, every tsquery, singles tsquery[], enough int, most int)
RETURNS TABLE (row_tid tid, complete boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = tars, public, pg_temp SET enable_seqscan = off SET enable_indexscan = off SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
	me text := tenant();
	leaf text;
	wanted tsquery;
	left_over int := most;
	taken int;
BEGIN
	SELECT 'records_' || c.main INTO leaf
	FROM collections c
	WHERE c.tenant_id = me AND c.collection_id = collection AND c.main = place;
	IF NOT FOUND OR every IS NULL THEN
		RETURN;
	END IF;
	RETURN QUERY EXECUTE format('SELECT ctid, true FROM %I WHERE lexemes @@ $1 AND tenant_id = $2 AND collection_id = $3 LIMIT $4', leaf)
		USING every, me, collection, left_over;
	GET DIAGNOSTICS taken = ROW_COUNT;
	IF taken >= enough THEN
		RETURN;
	END IF;
	FOREACH wanted IN ARRAY singles LOOP
		left_over := left_over - taken;
		EXIT WHEN left_over <= 0;
		RETURN QUERY EXECUTE format('SELECT ctid, false FROM %I WHERE lexemes @@ $1 AND tenant_id = $2 AND collection_id = $3 LIMIT $4', leaf)
			USING wanted, me, collection, left_over;
		GET DIAGNOSTICS taken = ROW_COUNT;
	END LOOP;
END $$;
REVOKE ALL ON FUNCTION tars.words_in_main(bigint, int, tsquery, tsquery[], int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.words_in_main(bigint, int, tsquery, tsquery[], int, int) TO tars_app;

-- Counts the lexemes of a place of its own again, and forgets those of places that
-- are no more. Some 2 s for 100,000 short texts.
CREATE FUNCTION tars.count_lexemes(place int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp SET statement_timeout = 0 AS $$
DECLARE
	leaf text := 'records_' || place;
	owner text;
BEGIN
	IF NOT EXISTS (SELECT FROM places WHERE placement = place AND NOT shared) THEN
		RAISE EXCEPTION 'place % is not one of its own', place USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM pg_advisory_xact_lock(hashtextextended('tars.lexemes', place)); -- one at a time
	DELETE FROM lexeme_counts WHERE placement = place OR placement NOT IN (SELECT placement FROM places);
	DELETE FROM lexeme_totals WHERE placement = place OR placement NOT IN (SELECT placement FROM places);
	EXECUTE format('SELECT tenant_id FROM %I LIMIT 1', leaf) INTO owner;
	IF owner IS NULL THEN
		RETURN; -- nothing in it
	END IF;
	EXECUTE format('INSERT INTO lexeme_totals (tenant_id, placement, records, bytes)
		SELECT $1, $2, count(*), coalesce(sum(octet_length(text)), 0) FROM %I', leaf) USING owner, place;
	-- Not by ts_stat: its tree is not balanced, and texts in alphabetical order take a
	-- time that grows with the square of their number.
	EXECUTE format('INSERT INTO lexeme_counts (tenant_id, placement, lexeme, records)
		SELECT $1, $2, word, count(*) FROM %I, unnest(tsvector_to_array(lexemes)) AS word GROUP BY word HAVING count(*) > 1', leaf) USING owner, place;
END $$;
REVOKE ALL ON FUNCTION tars.count_lexemes(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.count_lexemes(int) TO tars_jobs;

-- The same, if the place has grown or shrunk by a tenth since it was counted.
CREATE FUNCTION tars.recount_lexemes(place int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp SET statement_timeout = 0 AS $$
DECLARE
	counted bigint := (SELECT records FROM lexeme_totals WHERE placement = place);
	present bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM places WHERE placement = place AND NOT shared) THEN
		RAISE EXCEPTION 'place % is not one of its own', place USING ERRCODE = 'invalid_parameter_value';
	END IF;
	EXECUTE format('SELECT count(*) FROM %I', 'records_' || place) INTO present;
	IF counted IS NULL OR 10 * abs(present - counted) > counted THEN
		PERFORM count_lexemes(place);
	END IF;
END $$;
REVOKE ALL ON FUNCTION tars.recount_lexemes(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.recount_lexemes(int) TO tars_jobs;

-- Builds the index of the words of a place of its own, unless it is there, and
-- counts its lexemes. The owner, for whom row-level security is forced as well,
-- may read the place from then on: tars.words_in_main runs as the owner. Without
-- fastupdate no search has to go through entries that wait to be sorted in.
CREATE FUNCTION tars.build_words_index(place int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, public, pg_temp SET statement_timeout = 0 AS $$
DECLARE
	leaf text := 'records_' || place;
BEGIN
	IF NOT EXISTS (SELECT FROM places WHERE placement = place AND NOT shared) THEN
		RAISE EXCEPTION 'place % is not one of its own', place USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass('tars.' || leaf) AND polname = 'owner_reads') THEN
		EXECUTE format('CREATE POLICY owner_reads ON %I FOR SELECT TO tars_owner USING (true)', leaf);
	END IF;
	EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I USING gin (lexemes) WITH (fastupdate = off)', leaf || '_lexemes', leaf);
	-- With statistics it is no question that few rows are fetched by where they stand.
	EXECUTE format('ANALYZE %I', leaf);
	PERFORM count_lexemes(place);
END $$;
REVOKE ALL ON FUNCTION tars.build_words_index(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.build_words_index(int) TO tars_jobs;

-- Records that were written before their lexemes were kept.
CREATE POLICY migration ON records TO tars_owner USING (true) WITH CHECK (true);
UPDATE records r SET lexemes = to_tsvector(('pg_catalog.' || c.language)::regconfig, left(r.text, 200000))
FROM collections c
WHERE c.collection_id = r.collection_id AND r.lexemes IS NULL AND r.text <> '';
DROP POLICY migration ON records;
SELECT tars.build_words_index(placement) FROM places WHERE NOT shared;

COMMENT ON SCHEMA tars IS 'version 5';

RESET ROLE;
