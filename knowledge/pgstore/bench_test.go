package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

const benchDimension = 384

// benchStore has one collection of n records for each kind of index.
func benchStore(b *testing.B, n int, kind knowledge.IndexKind) (*Store, definition, []knowledge.Record) {
	b.Helper()
	s, _ := newStore(b, Options{})
	c := knowledge.Collection{
		Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: benchDimension}, Index: knowledge.Index{Kind: kind},
	}
	random := rand.New(rand.NewPCG(1, 1))
	records := randomRecords(random, n, benchDimension)
	for i := range records {
		records[i].Text = fmt.Sprintf("passage %d", i)
	}
	d := fill(b, s, "alice", c, records)
	return s, d, randomRecords(random, 100, benchDimension)
}

// BenchmarkSearch compares a search with the same plan's bare SQL, sent by pgx
// with the setting of the tenant in the same batch, which is the least that a
// tenant's search can cost.
func BenchmarkSearch(b *testing.B) {
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		s, d, queries := benchStore(b, 10_000, kind)
		b.Run(string(kind)+"/store", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				found, err := s.Search(b.Context(), "alice", knowledge.Search{Collection: "c", Vector: queries[i%len(queries)].Vector, Limit: 10})
				if err != nil || len(found.Matches) != 10 {
					b.Fatalf("Search = %d matches, %v, want 10", len(found.Matches), err)
				}
			}
		})
		b.Run(string(kind)+"/pgx", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if n, err := bareSearch(b.Context(), s, d, queries[i%len(queries)].Vector); n != 10 || err != nil {
					b.Fatalf("bare search = %d rows, %v, want 10", n, err)
				}
			}
		})
	}
}

// bareSearch is what one would write by hand for this one collection.
func bareSearch(ctx context.Context, s *Store, d definition, vector []float32) (rows int, err error) {
	const settingsSQL = `SELECT set_config('tars.tenant', 'alice', true), set_config('hnsw.ef_search', '100', true), set_config('enable_sort', $1, true)`
	order, enableSort := "embedding <=> $4::float4[]::vector", "on"
	if d.Index.Kind == knowledge.IndexHNSW {
		order = fmt.Sprintf("l2_normalize(embedding)::halfvec(%[1]d) <=> l2_normalize($4::float4[]::vector)::halfvec(%[1]d)", benchDimension)
		enableSort = "off"
	}
	batch := &pgx.Batch{}
	batch.Queue(settingsSQL, enableSort)
	batch.Queue("SELECT id, text, metadata, version, embedding <=> $4::float4[]::vector FROM records WHERE placement = $1 AND tenant_id = $2 AND collection_id = $3 ORDER BY "+order+" LIMIT 10",
		d.placement, "alice", d.id, vector).Query(func(r pgx.Rows) error {
		var id, text string
		var metadata map[string]any
		var version int64
		var distance float64
		_, err := pgx.ForEachRow(r, []any{&id, &text, &metadata, &version, &distance}, func() error { rows++; return nil })
		return err
	})
	return rows, s.app.SendBatch(ctx, batch).Close()
}

// BenchmarkPutRecords compares a batch of 1,000 new records with COPY of the
// same into the same table.
func BenchmarkPutRecords(b *testing.B) {
	s, d, _ := benchStore(b, 1, knowledge.IndexNone)
	records := randomRecords(rand.New(rand.NewPCG(2, 2)), 1000, benchDimension)
	batch := 0 // goes on over runs of -count: a repeated id would be an update
	rename := func() {
		batch++
		for j := range records {
			records[j].ID = knowledge.RecordID(fmt.Sprintf("%d-%d", batch, j))
		}
	}
	b.Run("store", func(b *testing.B) {
		for b.Loop() {
			rename()
			if _, err := s.PutRecords(b.Context(), "alice", "c", knowledge.Write{Records: records}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("copy", func(b *testing.B) {
		for b.Loop() {
			rename()
			if err := bareCopy(b.Context(), s, d, records); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}

// bareCopy loads the records by way of a temporary table, as COPY knows no
// row-level security and no casts.
func bareCopy(ctx context.Context, s *Store, d definition, records []knowledge.Record) error {
	return pgx.BeginFunc(ctx, s.app, func(tx pgx.Tx) error {
		const beginSQL = `SELECT set_config('tars.tenant', 'alice', true)`
		if _, err := tx.Exec(ctx, beginSQL); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "CREATE TEMP TABLE loaded (id text, embedding float4[]) ON COMMIT DROP"); err != nil {
			return err
		}
		source := pgx.CopyFromSlice(len(records), func(i int) ([]any, error) {
			return []any{"copy" + string(records[i].ID), records[i].Vector}, nil
		})
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"loaded"}, []string{"id", "embedding"}, source); err != nil {
			return err
		}
		const insertSQL = `INSERT INTO records (placement, tenant_id, collection_id, id, text, embedding) SELECT $1, 'alice', $2, id, '', embedding::vector FROM loaded`
		_, err := tx.Exec(ctx, insertSQL, d.placement, d.id)
		return err
	})
}
