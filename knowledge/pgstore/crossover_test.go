package pgstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/migrations/pgtest"
)

// BenchmarkCrossover measures where one plan begins to cost less than another, on
// GloVe vectors if make bench-search has fetched them into the user's cache, and on
// a clustered set. costs.go has its figures. One run takes some minutes:
//
//	tars pg exec -- go test -run xxx -bench Crossover -benchtime 1x ./knowledge/pgstore
func BenchmarkCrossover(b *testing.B) {
	if vectors := gloveVectors(b, 150_000); vectors != nil {
		b.Run("glove-100d-150k", func(b *testing.B) { crossover(b, vectors) })
	}
	b.Run("clustered-384d-60k", func(b *testing.B) { crossover(b, clusteredVectors(60_000, 384)) })
}

// gloveVectors are the first of a fixed order, or nil where the file is not there.
func gloveVectors(b *testing.B, n int) [][]float32 {
	const dim = 100
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(filepath.Join(cache, "tars-bench", "glove-100.f32"))
	if err != nil {
		b.Logf("without GloVe: %v", err)
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		b.Fatal(err)
	}
	order := rand.New(rand.NewPCG(1, 1)).Perm(len(raw) / dim / 4)[:n]
	vectors := make([][]float32, n)
	for i, at := range order {
		vectors[i] = make([]float32, dim)
		for j := range dim {
			vectors[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(raw[(at*dim+j)*4:]))
		}
	}
	return vectors
}

func clusteredVectors(n, dim int) [][]float32 {
	r := rand.New(rand.NewPCG(2, 2))
	draw := func(around []float32, spread float64) []float32 {
		v := make([]float32, dim)
		for i := range v {
			v[i] = float32(spread * r.NormFloat64())
			if around != nil {
				v[i] += around[i]
			}
		}
		return v
	}
	centres := make([][]float32, 256)
	for i := range centres {
		centres[i] = draw(nil, 1)
	}
	vectors := make([][]float32, n)
	for i := range vectors {
		vectors[i] = draw(centres[r.IntN(len(centres))], 1)
	}
	return vectors
}

// crossover compares the plans at each selectivity, one query after the other by
// all of them, so that what else the machine does meets all alike.
func crossover(b *testing.B, vectors [][]float32) {
	const queries = 30
	s, d, _ := crossoverStore(b, vectors[queries:])
	rows := float64(len(vectors) - queries)
	b.Logf("%.0f rows of %d dimensions, main has %d MB", rows, d.Dimension(), d.bytes>>20)
	for _, ppm := range []float64{100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000} {
		filter := is("draw", knowledge.OpLt, ppm)
		if ppm == 1_000_000 {
			filter = knowledge.Filter{}
		}
		exact := knowledge.Plan{Method: methodExact}
		e, err := s.estimate(b.Context(), "alice", d, filter)
		if err != nil {
			b.Fatal(err)
		}
		plans := []knowledge.Plan{exact, {Method: methodFiltered}}
		search := knowledge.Search{Collection: d.Name, Limit: 10, Filter: filter}
		plans = append(plans, s.annPlan(search, e, tuning{}))
		if !filter.IsZero() {
			plans = append(plans, knowledge.Plan{Method: methodIterative, Ef: 100, MaxScan: plans[2].MaxScan})
		}
		times, hits := make([][]time.Duration, len(plans)), make([]int, len(plans))
		total := 0
		for _, q := range vectors[:queries] {
			search.Vector = q
			var last float64
			for i, plan := range plans {
				start := time.Now()
				found, _, err := s.searchAs(b.Context(), "alice", d, search, plan)
				if err != nil {
					b.Fatal(err)
				}
				times[i] = append(times[i], time.Since(start))
				if i == 0 {
					if last = -2; len(found.Matches) > 0 {
						last = found.Matches[len(found.Matches)-1].Score
					}
					total += len(found.Matches)
				}
				for _, m := range found.Matches {
					if m.Score >= last {
						hits[i]++
					}
				}
			}
		}
		chosen := s.choose(d, search, e, tuning{})
		line := fmt.Sprintf("%8.3f %% estimated %7d:", ppm/10_000, e.rows)
		for i, plan := range plans {
			slices.Sort(times[i])
			line += fmt.Sprintf("  %s ef %d: %.2f ms, recall %.3f;", plan.Method, plan.Ef, times[i][queries/2].Seconds()*1000, float64(hits[i])/float64(max(total, 1)))
		}
		b.Logf("%s  chosen %s", line, chosen.Method)
	}
}

// crossoverStore loads vectors straight into main, for speed. The field draw is
// uniform from 0 to a million.
func crossoverStore(b *testing.B, vectors [][]float32) (*Store, definition, *pgtest.Database) {
	b.Helper()
	s, db := newStore(b, Options{})
	ctx, dim := b.Context(), len(vectors[0])
	c := knowledge.Collection{
		Name: "x", Embedder: knowledge.EmbedderInfo{Dimension: dim}, Index: knowledge.Index{Kind: knowledge.IndexHNSW},
		Fields: []knowledge.Field{{Name: "draw", Type: knowledge.Number}},
	}
	fill(b, s, "alice", c, randomRecords(rand.New(rand.NewPCG(3, 3)), 1, dim))
	d := promote(b, s, "x")
	owner := db.OwnerPool(b)
	conn, err := owner.Acquire(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	run := func(sql string, args ...any) {
		b.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
	run("SET maintenance_work_mem = '1500MB'")
	run(fmt.Sprintf("DROP INDEX tars.records_%d_vector", d.main))
	run("CREATE TEMP TABLE loaded (id text, draw float8, v float4[])")
	r := rand.New(rand.NewPCG(4, 4))
	source := pgx.CopyFromSlice(len(vectors), func(i int) ([]any, error) {
		return []any{fmt.Sprintf("v%d", i), r.Float64() * 1e6, vectors[i]}, nil
	})
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"loaded"}, []string{"id", "draw", "v"}, source); err != nil {
		b.Fatal(err)
	}
	run(fmt.Sprintf(`INSERT INTO tars.records (placement, tenant_id, collection_id, id, text, embedding, metadata, n1)
		SELECT %d, 'alice', %d, id, 'a text of the usual kind, some words long', v::public.vector, jsonb_build_object('draw', draw), draw FROM loaded`, d.main, d.id))
	start := time.Now()
	run(fmt.Sprintf("SELECT tars.build_vector_index(%d, 'cosine', %d, 'float32', 'none', 16, 64)", d.main, dim))
	b.Logf("index built in %.0f s", time.Since(start).Seconds())
	run(fmt.Sprintf("VACUUM ANALYZE tars.records_%d", d.main))
	s.definitions.forget("alice")
	d, err = s.fetch(context.WithoutCancel(ctx), "alice", "x")
	if err != nil {
		b.Fatal(err)
	}
	return s, d, db
}
