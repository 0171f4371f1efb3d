package lexbench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgstore"
	"github.com/tars-project/tars/migrations/pgtest"
)

// BenchmarkSpeed measures searches by three words, as the application's role, one
// after the other, for texts of 60 words cut from the manual at random.
func BenchmarkSpeed(b *testing.B) {
	passages, _ := manual(b)
	var words []string
	for _, p := range passages {
		words = append(words, strings.Fields(p.text)...)
	}
	for _, size := range []int{10_000, 100_000} {
		for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
			if size > 10_000 && kind == knowledge.IndexNone {
				continue // a collection of this size has a place of its own
			}
			s, cpu := filled(b, words, size, kind)
			for _, apart := range []int{12, len(words)} {
				name := fmt.Sprintf("rows=%d/index=%s/words=near", size, kind)
				if apart > 12 {
					name = strings.Replace(name, "near", "any", 1)
				}
				b.Run(name, func(b *testing.B) { latency(b, s, cpu, words, apart) })
			}
		}
	}
}

// filled makes a collection of so many texts. It returns what reads the time that
// the server's processes of this database have had of a processor so far.
func filled(b *testing.B, words []string, size int, kind knowledge.IndexKind) (*pgstore.Store, func() time.Duration) {
	b.Helper()
	db := pgtest.DB(b)
	jobs := db.JobsPool(b)
	if _, err := jobs.Exec(b.Context(), "INSERT INTO tenants (tenant_id) VALUES ('alice')"); err != nil {
		b.Fatal(err)
	}
	s := pgstore.New(db.AppPool(b), jobs, pgstore.Options{})
	c, err := knowledge.Collection{Name: "c", Embedder: knowledge.EmbedderInfo{Dimension: 4}, Index: knowledge.Index{Kind: kind}}.Validate()
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := s.PutCollection(b.Context(), "alice", c); err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, uint64(size)))
	batch := make([]knowledge.Record, 1000)
	for n := 0; n < size; n += len(batch) {
		for i := range batch {
			at := r.IntN(len(words) - 60)
			batch[i] = knowledge.Record{
				ID: knowledge.RecordID(fmt.Sprint(n + i)), Text: strings.Join(words[at:at+60], " "),
				Vector: []float32{r.Float32(), r.Float32(), r.Float32(), 1},
			}
		}
		if _, err := s.PutRecords(b.Context(), "alice", "c", knowledge.Write{Records: batch}); err != nil {
			b.Fatal(err)
		}
	}
	if kind == knowledge.IndexHNSW {
		start := time.Now()
		if err := s.Tend(b.Context(), "alice", "c", nil); err != nil {
			b.Fatal(err)
		}
		b.Logf("index of %d built in %v", size, time.Since(start))
	}
	owner := db.OwnerPool(b)
	return s, func() time.Duration {
		rows, err := owner.Query(b.Context(), "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tars_app'")
		if err != nil {
			b.Fatal(err)
		}
		pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			b.Fatal(err)
		}
		var sum time.Duration
		for _, pid := range pids {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
			if err != nil {
				b.Fatal(err)
			}
			var ran time.Duration
			if _, err := fmt.Sscan(string(text), &ran); err != nil {
				b.Fatal(err)
			}
			sum += ran
		}
		return sum
	}
}

// latency asks questions of three words that stand at most so far apart in the
// manual: near each other, some text often has all of them.
func latency(b *testing.B, s *pgstore.Store, cpu func() time.Duration, words []string, apart int) {
	r := rand.New(rand.NewPCG(2, uint64(apart)))
	var took, ran []time.Duration
	all, ranked, bounded := 0, 0, 0
	for b.Loop() {
		at := r.IntN(len(words) - min(apart, len(words)/2))
		pick := func() string { return strings.Trim(words[(at+r.IntN(apart))%len(words)], "\"-*") }
		search := knowledge.TextSearch{Collection: "c", Text: pick() + " " + pick() + " " + pick(), Limit: 10, Explain: true}
		before, start := cpu(), time.Now()
		found, err := s.SearchText(b.Context(), "alice", search)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		ran = append(ran, cpu()-before)
		ranked += found.Words.Ranked
		if found.Words.All {
			all++
		}
		if found.Words.Bounded {
			bounded++
		}
	}
	quantile := func(all []time.Duration, q float64) float64 {
		slices.Sort(all)
		return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(quantile(took, 0.5), "p50-ms")
	b.ReportMetric(quantile(took, 0.95), "p95-ms")
	b.ReportMetric(quantile(ran, 0.5), "server-cpu-p50-ms") // what it takes on a machine that is shared
	b.ReportMetric(quantile(ran, 0.95), "server-cpu-p95-ms")
	b.ReportMetric(100*float64(all)/float64(len(took)), "all-%")
	b.ReportMetric(100*float64(bounded)/float64(len(took)), "bounded-%")
	b.ReportMetric(float64(ranked)/float64(len(took)), "ranked")
	b.ReportMetric(0, "ns/op")
}
