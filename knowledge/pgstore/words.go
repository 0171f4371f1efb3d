package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Names of the plans of searches by words, see [knowledge.Plan].
const (
	methodWords      = "words"       // main by the index of its words
	methodWordsExact = "words-exact" // every record
)

// How many rows of main are ranked at most. With a filter, which is looked at
// only then, more are taken.
const (
	mostRanked         = 5_000
	mostRankedFiltered = 20_000
)

// SearchText implements [knowledge.Records]. It takes one round trip, and a
// second when the collection has not been searched during the last second, or
// when what the index gave turned out to be too little.
func (s *Store) SearchText(ctx context.Context, tenant knowledge.TenantID, search knowledge.TextSearch) (knowledge.Found, error) {
	if err := search.Validate(); err != nil {
		return knowledge.Found{}, err
	}
	var found knowledge.Found
	err := s.withDefinition(ctx, tenant, search.Collection, func(d definition) (current bool, err error) {
		found, current, err = s.searchWords(ctx, tenant, d, search)
		return current, err
	})
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("search by words: %w", err)
	}
	return found, nil
}

// wordsPlan says how main is searched.
type wordsPlan struct {
	exact        bool
	enough, most int // rows with every clause that are enough; rows that are taken
}

// searchWords tries plans until one gives what there is.
func (s *Store) searchWords(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.TextSearch) (knowledge.Found, bool, error) {
	plan := wordsPlan{exact: search.Exact || d.main == noMain, enough: search.Limit, most: mostRanked}
	if !search.Filter.IsZero() || d.view != nil {
		plan.enough, plan.most = mostRankedFiltered, mostRankedFiltered
	}
	found, seen, err := s.searchWordsAs(ctx, tenant, d, search, plan)
	if err != nil || !seen.current || plan.exact {
		return found, seen.current, err
	}
	if seen.complete >= plan.enough && seen.every < search.Limit && plan.enough < plan.most {
		// Of the rows with every clause some had expired: the others are needed after all.
		plan.enough = plan.most
		if found, seen, err = s.searchWordsAs(ctx, tenant, d, search, plan); err != nil || !seen.current {
			return found, seen.current, err
		}
	}
	if len(found.Matches) < search.Limit && seen.taken >= plan.most {
		// The filter admits too few of the rows that were taken. Where looking
		// at all is affordable there may be more.
		if scanCost(d) <= affordable {
			plan.exact = true
			found, seen, err = s.searchWordsAs(ctx, tenant, d, search, plan)
			return found, seen.current, err
		}
		found.Short = true
	}
	return found, seen.current, nil
}

// wordsSQL takes the filter, the rows of main that may match, the order in which
// terms find these, the vector if it is wanted, and what explains the search.
//
// A term's weight is that of BM25, from the number of records that have it: in the
// write place counted now, in main as last counted; through a view see viewWordsSQL.
// The length of a text is its bytes. How often a text has a term
// follows from ts_rank, which for a single lexeme is a sum of 1/n² over its
// places: @steps are these sums, which is cheaper than taking the tsvector apart.
const wordsSQL = `
WITH q AS MATERIALIZED (
	SELECT * FROM tars.words_question(@language::text::regconfig, @words, @prefixes, @phrases, @without_words, @without_prefixes, @without_phrases, @terms::int)
),
w AS MATERIALIZED (
	SELECT r.id, octet_length(r.text) AS bytes, r.lexemes, coalesce(r.lexemes @@ q.every, false) AS every, r.lexemes @@ q.needed AS needed, %[1]s AS passes
	FROM q, records r
	WHERE ` + writeLiveSQL + `
	  AND r.lexemes @@ q.either
),
size AS MATERIALIZED (
	SELECT w.records + coalesce(m.records, 0) AS records,
		greatest(1, (w.bytes + coalesce(m.bytes, 0))::float8 / greatest(1, w.records + coalesce(m.records, 0))) AS bytes,
		coalesce(m.records, 0) AS main
	FROM (
		SELECT count(*) AS records, coalesce(sum(octet_length(r.text)), 0) AS bytes
		FROM records r
		WHERE ` + writeLiveSQL + `
	) w LEFT JOIN lexeme_totals m ON m.tenant_id = @tenant AND m.placement = @main
),
counted AS MATERIALIZED (
	SELECT t.term, t.query, t.n, t.term LIKE '%%*' AS prefix, (
		SELECT count(*) FROM w WHERE w.lexemes @@ t.query) + CASE
		WHEN size.main = 0 THEN 0
		WHEN t.term LIKE '%%*' THEN least(size.main, coalesce((
			SELECT sum(l.records) FROM lexeme_counts l
			WHERE l.tenant_id = @tenant AND l.placement = @main
			  AND l.lexeme >= left(t.term, -1) AND l.lexeme < left(t.term, -1) || U&'\+10FFFF'), 1))
		ELSE coalesce((
			SELECT l.records FROM lexeme_counts l
			WHERE l.tenant_id = @tenant AND l.placement = @main AND l.lexeme = t.term), 1)
		END::float8 AS have
	FROM q, unnest(q.terms, q.queries) WITH ORDINALITY AS t (term, query, n), size
),
t AS MATERIALIZED (
	SELECT c.term, c.query, c.n, c.prefix, c.have, ln(1 + (greatest(size.records, c.have) - c.have + 0.5) / (c.have + 0.5)) AS weight
	FROM counted c, size
	ORDER BY c.n
),%[2]s
c AS MATERIALIZED (
	SELECT c.id, c.bytes, c.lexemes, c.every
	FROM (SELECT * FROM w UNION ALL SELECT * FROM m) c, q
	WHERE c.passes
	  AND (q.needed IS NULL OR c.needed)
),
seen AS MATERIALIZED (
	SELECT count(*)::int AS ranked, count(*) FILTER (WHERE every)::int AS every FROM c
),%[6]s
best AS MATERIALIZED (
	SELECT c.id, (
		SELECT sum(t.weight * 2.2 * t.times / (t.times + 1.2 * (0.25 + 0.75 * c.bytes / size.bytes)))
		FROM (
			SELECT t.weight, CASE WHEN t.prefix THEN (c.lexemes @@ t.query)::int
				ELSE width_bucket(ts_rank(c.lexemes, t.query), @steps::float4[]) END::float8 AS times
			FROM %[7]st AS t
		) t) AS score
	FROM c, %[7]ssize AS size, seen
	WHERE c.every OR seen.every < @limit
	ORDER BY score DESC, c.id
	LIMIT @limit
)
SELECT b.id, b.text, b.metadata, b.version, b.score, b.vector, seen.ranked, seen.every, %[3]s, %[4]s
FROM collections c
CROSS JOIN seen
LEFT JOIN (
	SELECT r.id, r.text, r.metadata, r.version, best.score, %[5]s AS vector
	FROM best
	JOIN records r ON r.id = best.id
	WHERE ` + liveSQL + `
	  AND r.id = ANY (ARRAY(SELECT id FROM best))
) b ON true
WHERE ` + currentSQL + `
ORDER BY b.score DESC, b.id`

// mainWordsSQL finds rows of main by its index, with the rarest terms first.
const mainWordsSQL = `
taken AS MATERIALIZED (
	SELECT array_agg(row_tid) AS tids, count(*)::int AS taken, count(*) FILTER (WHERE complete)::int AS complete
	FROM tars.words_in_main(@collection, @main, (SELECT every FROM q),
		(SELECT CASE WHEN q.phrased THEN ARRAY[q.needed] ELSE (SELECT array_agg(query ORDER BY have, n) FROM t) END FROM q), @enough::int, @most::int)
),
m AS MATERIALIZED (
	SELECT r.id, octet_length(r.text) AS bytes, r.lexemes, coalesce(r.lexemes @@ q.every, false) AS every, r.lexemes @@ q.needed AS needed, %s AS passes
	FROM q, records r
	WHERE ` + mainLiveSQL + `
	  AND r.ctid = ANY ((SELECT tids FROM taken)::tid[])
),`

// allWordsSQL looks at all rows of main.
const allWordsSQL = `
m AS MATERIALIZED (
	SELECT r.id, octet_length(r.text) AS bytes, r.lexemes, coalesce(r.lexemes @@ q.every, false) AS every, r.lexemes @@ q.needed AS needed, %s AS passes
	FROM q, records r
	WHERE ` + mainLiveSQL + `
	  AND r.lexemes @@ q.either
),`

// viewWordsSQL weighs terms, through a view, by the records that pass and have one of
// them: what else is in the collection must not be told by a score.
const viewWordsSQL = `
view_size AS MATERIALIZED (
	SELECT count(*) AS records, greatest(1, coalesce(avg(c.bytes), 1))::float8 AS bytes FROM c
),
view_t AS MATERIALIZED (
	SELECT t.term, t.query, t.n, t.prefix, h.have, ln(1 + (s.records - h.have + 0.5) / (h.have + 0.5)) AS weight
	FROM t, view_size s, LATERAL (SELECT count(*)::float8 AS have FROM c WHERE c.lexemes @@ t.query) h
),`

// wordsExplainSQL tells the terms and their counts as arrays.
const wordsExplainSQL = `(SELECT records FROM %[1]ssize), (SELECT array_agg(term ORDER BY have, term) FROM %[1]st), (SELECT array_agg(have::bigint ORDER BY have, term) FROM %[1]st)`

// wordsStatement gives the SQL of a plan and adds its parameters to args.
func wordsStatement(d definition, search knowledge.TextSearch, plan wordsPlan, args pgx.NamedArgs) (string, error) {
	asked := knowledge.ParseTextQuery(search.Text)
	args["language"], args["terms"], args["limit"] = languageOf(d.Language), knowledge.MaxTextTerms, search.Limit
	args["words"], args["prefixes"], args["phrases"] = list(asked.Words), list(asked.Prefixes), list(asked.Phrases)
	args["without_words"], args["without_prefixes"], args["without_phrases"] = list(asked.WithoutWords), list(asked.WithoutPrefixes), list(asked.WithoutPhrases)
	args["enough"], args["most"], args["steps"] = plan.enough, plan.most, rankSteps()
	where, err := d.where(search.Filter, args)
	if err != nil {
		return "", err
	}
	main, taken := fmt.Sprintf(mainWordsSQL, where), "(SELECT taken FROM taken), (SELECT complete FROM taken)"
	if plan.exact {
		main, taken = fmt.Sprintf(allWordsSQL, where), "0, 0"
	}
	explained, vector := "NULL::bigint, NULL::text[], NULL::bigint[]", "NULL::bytea"
	weighed, by := "", ""
	if d.view != nil {
		weighed, by = viewWordsSQL, "view_"
	}
	if search.Explain {
		explained = fmt.Sprintf(wordsExplainSQL, by)
	}
	if search.Vectors {
		vector = sentVector(d.vector())
	}
	return fmt.Sprintf(wordsSQL, where, main, taken, explained, vector, weighed, by), nil
}

// list is never null to the database.
func list(s []string) []string { return append([]string{}, s...) }

// rankSteps are what ts_rank gives for one lexeme that occurs once, twice, …, a
// little less for its rounding. More than the last make no difference.
func rankSteps() []float32 {
	const weight, limit = 0.1, 1.64493406685 // ts_rank's, of a lexeme without a weight; the sum's limit
	steps := make([]float32, 64)
	sum := 0.0
	for i := range steps {
		n := float64(i + 1)
		sum += 1 / (n * n)
		steps[i] = float32(weight*sum/limit - 1e-6)
	}
	return steps
}

// wordsSeen is what a search by words tells beside what it found.
type wordsSeen struct {
	current         bool // the definition was; the rest is of no use otherwise
	ranked, every   int  // rows that pass; of these, with every clause
	taken, complete int  // rows that the index gave; of these, with every clause
}

func (s *Store) searchWordsAs(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.TextSearch, plan wordsPlan) (found knowledge.Found, seen wordsSeen, err error) {
	args := d.args(tenant)
	sql, err := wordsStatement(d, search, plan, args)
	if err != nil {
		return found, seen, err
	}
	var (
		records *int64
		terms   []string
		counts  []int64
	)
	label := d.names().Label()
	err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, sql, args, func(rows pgx.Rows) error {
		found.Matches = []knowledge.Match{}
		for rows.Next() {
			seen.current = true
			m := knowledge.Match{Collection: label}
			var id, text *string
			var metadata []byte
			var version *int64
			var score *float64
			err := rows.Scan(&id, &text, &metadata, &version, &score, (*sentFloats)(&m.Vector), &seen.ranked, &seen.every, &seen.taken, &seen.complete, &records, &terms, &counts)
			if err != nil || id == nil {
				return err
			}
			m.ID, m.Text, m.Version, m.Score = knowledge.RecordID(*id), *text, *version, *score
			if m.Metadata, err = decodeMetadata(metadata); err != nil {
				return err
			}
			m.Metadata = d.view.Hide(m.Metadata)
			found.Matches = append(found.Matches, m)
		}
		return rows.Err()
	})
	if err != nil || !seen.current {
		return found, seen, err
	}
	found.Plan.Method = methodWords
	if plan.exact {
		found.Plan.Method = methodWordsExact
	}
	if search.Explain {
		found.Words = &knowledge.WordsPlan{All: seen.every >= search.Limit, Ranked: seen.ranked, Bounded: !plan.exact && seen.taken >= plan.most}
		if found.Words.All {
			found.Words.Ranked = seen.every
		}
		if records != nil {
			found.Words.Records = *records
		}
		for i, term := range terms {
			found.Words.Terms = append(found.Words.Terms, knowledge.TextTerm{Term: term, Records: counts[i]})
		}
	}
	return found, seen, nil
}
