package lexbench

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/local"
	"github.com/tars-project/tars/knowledge/pgstore"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/migrations/pgtest"
)

// formulas are ways to rank that PostgreSQL's functions allow, of a row d and the
// terms t of a question with their weights idf; q has all of them as one query.
var formulas = []struct{ name, score string }{
	{"ts_rank", "ts_rank(d.lexemes, q.any_term)"},
	{"ts_rank by log length", "ts_rank(d.lexemes, q.any_term, 1)"},
	{"ts_rank_cd", "ts_rank_cd(d.lexemes, q.any_term)"},
	{"ts_rank_cd by log length", "ts_rank_cd(d.lexemes, q.any_term, 1)"},
	{"sum of idf ts_rank", "(SELECT sum(t.idf * ts_rank(d.lexemes, t.term)) FROM t)"},
	{"sum of idf ts_rank by log length", "(SELECT sum(t.idf * ts_rank(d.lexemes, t.term, 1)) FROM t)"},
	{"BM25 of distinct words", bm25SQL("d.distinct_words", "s.distinct_words")},
	{"BM25 of words", bm25SQL("d.words", "s.words")},
	{"BM25 of bytes", bm25SQL("d.bytes", "s.bytes")},
}

func bm25SQL(length, average string) string {
	return fmt.Sprintf(`(SELECT sum(t.idf * 2.2 * u.n / (u.n + 1.2 * (0.25 + 0.75 * %s / %s)))
		FROM t JOIN (SELECT lexeme, cardinality(positions) AS n FROM unnest(d.lexemes)) u ON u.lexeme = t.lexeme)`, length, average)
}

const fillSQL = `
CREATE TEMP TABLE d AS
	SELECT id, section, l AS lexemes, octet_length(text)::float8 AS bytes, length(l)::float8 AS distinct_words,
		(SELECT coalesce(sum(cardinality(positions)), 0) FROM unnest(l))::float8 AS words
	FROM raw, to_tsvector('english', text) AS l;
CREATE TEMP TABLE s AS SELECT count(*) AS n, avg(bytes) AS bytes, avg(words) AS words, avg(distinct_words) AS distinct_words FROM d;
CREATE TEMP TABLE f AS SELECT word, ndoc FROM ts_stat('SELECT lexemes FROM d');
CREATE INDEX ON f (word);
CREATE INDEX ON d USING gin (lexemes);
ANALYZE`

const rankSQL = `
WITH t AS MATERIALIZED (
	SELECT word AS lexeme, ('''' || replace(word, '''', '''''') || '''')::tsquery AS term, ln(1 + (s.n - ndoc + 0.5) / (ndoc + 0.5)) AS idf
	FROM s, f WHERE word = ANY (tsvector_to_array(to_tsvector('english', $1)))
), q AS MATERIALIZED (SELECT string_agg(term::text, ' | ')::tsquery AS any_term FROM t)
SELECT d.section FROM d, q, s WHERE d.lexemes @@ q.any_term ORDER BY %s DESC, d.id LIMIT 10`

// BenchmarkFormulas compares ways to rank. One iteration is all questions.
func BenchmarkFormulas(b *testing.B) {
	passages, questions := manual(b)
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, pgtest.DB(b).OwnerURL)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE raw (id text, section text, text text)"); err != nil {
		b.Fatal(err)
	}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"raw"}, []string{"id", "section", "text"}, pgx.CopyFromSlice(len(passages), func(i int) ([]any, error) {
		return []any{passages[i].id, passages[i].section, passages[i].text}, nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(ctx, fillSQL); err != nil {
		b.Fatal(err)
	}
	for _, formula := range formulas {
		b.Run(formula.name, func(b *testing.B) {
			var total quality
			for b.Loop() {
				for _, q := range questions {
					rows, err := conn.Query(ctx, fmt.Sprintf(rankSQL, formula.score), q.text)
					if err != nil {
						b.Fatal(err)
					}
					sections, err := pgx.CollectRows(rows, pgx.RowTo[string])
					if err != nil {
						b.Fatal(err)
					}
					total.add(q, sections)
				}
			}
			total.report(b)
		})
	}
}

// stored is the set in a store of the test's own, with its vectors by the built-in
// embedder.
type stored struct {
	engine    *query.Engine
	section   map[knowledge.RecordID]string
	questions []question
	vectors   [][]float32 // of the questions
}

// store fills a collection. Embedding takes some minutes: VECTORS names a file
// that keeps the vectors for the next time.
func store(b *testing.B) stored {
	b.Helper()
	passages, questions := manual(b)
	embedder, err := local.NewFast()
	if err != nil {
		b.Fatal(err)
	}
	set, err := embed.NewSet(embedder)
	if err != nil {
		b.Fatal(err)
	}
	db := pgtest.DB(b)
	jobs := db.JobsPool(b)
	if _, err := jobs.Exec(b.Context(), "INSERT INTO tenants (tenant_id) VALUES ('alice')"); err != nil {
		b.Fatal(err)
	}
	s := pgstore.New(db.AppPool(b), jobs, pgstore.Options{})
	c, err := knowledge.Collection{Name: "manual", Embedder: embedder.Info(), Index: knowledge.Index{Kind: knowledge.IndexHNSW}}.Validate()
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := s.PutCollection(b.Context(), "alice", c); err != nil {
		b.Fatal(err)
	}
	var texts []string
	for _, p := range passages {
		texts = append(texts, p.text)
	}
	for _, q := range questions {
		texts = append(texts, q.text)
	}
	vectors := vectorsOf(b, embedder, texts)
	out := stored{
		engine:  &query.Engine{Store: s, Embedders: set, Parallel: 2, Timeout: time.Minute},
		section: map[knowledge.RecordID]string{}, questions: questions, vectors: vectors[len(passages):],
	}
	var batch []knowledge.Record
	for i, p := range passages {
		out.section[knowledge.RecordID(p.id)] = p.section
		batch = append(batch, knowledge.Record{ID: knowledge.RecordID(p.id), Text: p.text, Vector: vectors[i]})
		if len(batch) == 1000 || i == len(passages)-1 {
			if _, err := s.PutRecords(b.Context(), "alice", "manual", knowledge.Write{Records: batch}); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
	if err := s.Tend(b.Context(), "alice", "manual", nil); err != nil {
		b.Fatal(err)
	}
	return out
}

func vectorsOf(b *testing.B, embedder knowledge.Embedder, texts []string) [][]float32 {
	b.Helper()
	size := embedder.Info().Dimension
	name := os.Getenv("VECTORS")
	vectors := make([][]float32, 0, len(texts))
	if kept, err := os.ReadFile(name); err == nil && len(kept) == 4*size*len(texts) {
		for len(kept) > 0 {
			v := make([]float32, size)
			for i := range v {
				v[i] = math.Float32frombits(binary.LittleEndian.Uint32(kept[4*i:]))
			}
			vectors, kept = append(vectors, v), kept[4*size:]
		}
		return vectors
	}
	var kept []byte
	for len(vectors) < len(texts) {
		made, err := embedder.Embed(b.Context(), knowledge.EmbedDocument, texts[len(vectors):min(len(vectors)+64, len(texts))])
		if err != nil {
			b.Fatal(err)
		}
		vectors = append(vectors, made...)
	}
	for _, v := range vectors {
		for _, x := range v {
			kept = binary.LittleEndian.AppendUint32(kept, math.Float32bits(x))
		}
	}
	if name != "" {
		if err := os.WriteFile(name, kept, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return vectors
}

// BenchmarkFusion compares the modes and ways to fuse, end to end through the
// engine and the store. One iteration is all questions.
func BenchmarkFusion(b *testing.B) {
	s := store(b)
	weight := func(w float64) *float64 { return &w }
	for _, variant := range []struct {
		name   string
		mode   query.Mode
		fusion query.Fusion
	}{
		{"vector", query.Vector, query.Fusion{}},
		{"lexical", query.Lexical, query.Fusion{}},
		{"rrf", query.Hybrid, query.Fusion{Method: query.RRF}},
		{"sum zscore", query.Hybrid, query.Fusion{Method: query.Sum, Normalize: query.ZScore}},
		{"sum minmax", query.Hybrid, query.Fusion{Method: query.Sum, Normalize: query.MinMax}},
		{"rrf words 2", query.Hybrid, query.Fusion{Method: query.RRF, LexicalWeight: weight(2)}},
		{"sum zscore words 2", query.Hybrid, query.Fusion{Method: query.Sum, Normalize: query.ZScore, LexicalWeight: weight(2)}},
		{"sum minmax words 2", query.Hybrid, query.Fusion{Method: query.Sum, Normalize: query.MinMax, LexicalWeight: weight(2)}},
	} {
		b.Run(variant.name, func(b *testing.B) {
			var total quality
			for b.Loop() {
				for i, q := range s.questions {
					search := query.SearchText{
						Search: knowledge.Search{Collection: "manual", Limit: 10, Exact: true}, Mode: variant.mode, Text: q.text, Candidates: 100,
						Stages: query.Stages{Fusion: variant.fusion},
					}
					if variant.mode != query.Lexical {
						search.Vector = s.vectors[i]
					}
					if variant.mode == query.Vector {
						search.Text = ""
					}
					found, err := s.engine.Search(b.Context(), "alice", search)
					if err != nil {
						b.Fatal(err)
					}
					total.add(q, sectionsOf(found.Matches, func(c query.Candidate) knowledge.RecordID { return c.ID }, s.section))
				}
			}
			total.report(b)
		})
	}
}
