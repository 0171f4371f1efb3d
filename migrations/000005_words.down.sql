-- Undoes 000005: indexes of words go, and what was counted; no record changes.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

DO $$
DECLARE
	leaf text;
BEGIN
	FOR leaf IN SELECT 'records_' || placement FROM places WHERE NOT shared LOOP
		EXECUTE format('DROP INDEX IF EXISTS %I', leaf || '_lexemes');
		EXECUTE format('DROP POLICY IF EXISTS owner_reads ON %I', leaf);
	END LOOP;
END $$;

DROP FUNCTION tars.build_words_index(int);
DROP FUNCTION tars.recount_lexemes(int);
DROP FUNCTION tars.count_lexemes(int);
DROP FUNCTION tars.words_in_main(bigint, int, tsquery, tsquery[], int, int);
DROP FUNCTION tars.words_question(regconfig, text[], text[], text[], text[], text[], text[], int);
DROP FUNCTION tars.join_queries(tsquery[], text);
DROP FUNCTION tars.clause_queries(regconfig, text[], text[], text[]);
DROP FUNCTION tars.prefix_query(regconfig, text);
DROP FUNCTION tars.lexeme_query(text);
DROP TABLE lexeme_totals;
DROP TABLE lexeme_counts;

COMMENT ON SCHEMA tars IS 'version 4';

RESET ROLE;
