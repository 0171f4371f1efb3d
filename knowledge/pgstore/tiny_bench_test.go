package pgstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/migrations/pgtest"
)

// What BenchmarkTinyCollections makes.
const (
	tinyTenants     = 1000
	tinyCollections = 100 // of a tenant
	tinyRecords     = 10  // of a collection
	tinyDimension   = 64
	tinySearches    = 4000
	tinyWriters     = 4
)

// BenchmarkTinyCollections makes 100,000 collections of 10 records in one database,
// and tells what they cost, and what a search among them costs beside a search among
// ten. It takes some ten minutes: run it with -benchtime 1x -timeout 1h. TINY_TENANTS
// makes it smaller. The last line is JSON.
func BenchmarkTinyCollections(b *testing.B) {
	for b.Loop() {
		newTiny(b).run(b)
	}
}

type tiny struct {
	*Store
	db      *pgtest.Database
	tenants int
	figures map[string]any
}

func newTiny(b *testing.B) *tiny {
	b.Helper()
	tenants := tinyTenants
	if text := os.Getenv("TINY_TENANTS"); text != "" {
		var err error
		if tenants, err = strconv.Atoi(text); err != nil || tenants < 10 {
			b.Fatalf("TINY_TENANTS = %q, want a number of at least 10", text)
		}
	}
	db := pgtest.DB(b)
	pools := [2]*pgxpool.Pool{}
	for i, url := range []string{db.AppURL, db.JobsURL} {
		pool, err := Open(b.Context(), Config{URL: url})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		pools[i] = pool
	}
	return &tiny{New(pools[0], pools[1], Options{}), db, tenants, map[string]any{}}
}

// ref names one of the collections, counted through.
func (x *tiny) ref(i int) (knowledge.TenantID, knowledge.CollectionName) {
	return knowledge.TenantID(fmt.Sprintf("t%04d", i%x.tenants)), knowledge.CollectionName(fmt.Sprintf("c%05d", i/x.tenants))
}

func (x *tiny) run(b *testing.B) {
	total := x.tenants * tinyCollections
	for i := range x.tenants {
		tenant, _ := x.ref(i)
		addTenant(b, x.Store, string(tenant))
	}
	x.make(b, 0, 10)
	x.settle(b)
	ten := func(r *rand.Rand) int { return r.IntN(10) }
	all := func(r *rand.Rand) int { return r.IntN(total) }
	x.search(b, "warm_up", ten)
	x.search(b, "among_ten", ten)
	x.memory(b, "with_ten")

	start := time.Now()
	created, written := x.make(b, 10, total)
	x.figures["made_s"] = time.Since(start).Seconds()
	x.tell("create", created)
	x.tell("write_ten_records", written)
	x.settle(b)
	x.search(b, "warm_up", all)
	x.search(b, "among_all", all)
	x.search(b, "the_ten_among_all", ten)
	x.list(b)
	x.memory(b, "with_all")
	x.sizes(b)
	x.figures["collections"], x.figures["records"] = total, total*tinyRecords
	delete(x.figures, "warm_up_p50_ms")
	delete(x.figures, "warm_up_p95_ms")
	text, err := json.Marshal(x.figures)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Println(string(text))
}

// make makes the collections from and up to to, and returns the times that each took
// to create and to fill.
func (x *tiny) make(b *testing.B, from, to int) (created, written []time.Duration) {
	b.Helper()
	created, written = make([]time.Duration, to-from), make([]time.Duration, to-from)
	var writers sync.WaitGroup
	for w := range tinyWriters {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), uint64(from)))
			for i := from + w; i < to; i += tinyWriters {
				tenant, name := x.ref(i)
				c := knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{Dimension: tinyDimension}}
				start := time.Now()
				if _, _, err := x.PutCollection(b.Context(), tenant, c); err != nil {
					b.Errorf("PutCollection(%s, %s) = %v", tenant, name, err)
					return
				}
				middle := time.Now()
				if _, err := x.PutRecords(b.Context(), tenant, name, knowledge.Write{Records: randomRecords(r, tinyRecords, tinyDimension)}); err != nil {
					b.Errorf("PutRecords(%s, %s) = %v", tenant, name, err)
					return
				}
				created[i-from], written[i-from] = middle.Sub(start), time.Since(middle)
			}
		})
	}
	writers.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return created, written
}

// settle does what autovacuum would have done by the time that it matters.
func (x *tiny) settle(b *testing.B) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), x.db.OwnerURL)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	for _, sql := range []string{"VACUUM (ANALYZE) tars.records", "VACUUM (ANALYZE) tars.collections", "CHECKPOINT"} {
		if _, err := conn.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
}

func (x *tiny) search(b *testing.B, name string, pick func(*rand.Rand) int) {
	b.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	queries := randomRecords(r, 64, tinyDimension)
	times := make([]time.Duration, tinySearches)
	for i := range times {
		tenant, collection := x.ref(pick(r))
		start := time.Now()
		found, err := x.Search(b.Context(), tenant, knowledge.Search{Collection: collection, Vector: queries[i%len(queries)].Vector, Limit: 5})
		if err != nil || len(found.Matches) != 5 {
			b.Fatalf("Search(%s, %s) = %d matches, %v", tenant, collection, len(found.Matches), err)
		}
		times[i] = time.Since(start)
	}
	x.tell(name, times)
}

func (x *tiny) list(b *testing.B) {
	b.Helper()
	times := make([]time.Duration, 200)
	for i := range times {
		tenant, _ := x.ref(i)
		start := time.Now()
		list, err := x.ListCollections(b.Context(), tenant, "", 50)
		if err != nil || len(list) != 50 || list[0].Records != tinyRecords {
			b.Fatalf("ListCollections(%s) = %d, %v", tenant, len(list), err)
		}
		times[i] = time.Since(start)
	}
	x.tell("list_50", times)
}

func (x *tiny) tell(name string, times []time.Duration) {
	slices.Sort(times)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	x.figures[name+"_p50_ms"] = milliseconds(times[len(times)/2])
	x.figures[name+"_p95_ms"] = milliseconds(times[len(times)*95/100])
}

func (x *tiny) sizes(b *testing.B) {
	b.Helper()
	var records, collections int64
	err := x.db.OwnerPool(b).QueryRow(b.Context(), `
		SELECT (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('tars.records')), pg_total_relation_size('tars.collections')`).Scan(&records, &collections)
	if err != nil {
		b.Fatal(err)
	}
	x.figures["records_table_mib"], x.figures["collections_table_mib"] = records>>20, collections>>20
}

// memory adds the resident size of this process, and what those of the server have
// between them, shared buffers counted once.
func (x *tiny) memory(b *testing.B, when string) {
	b.Helper()
	x.figures["process_rss_mib_"+when] = kilobytes(b, "/proc/self/smaps_rollup", "Rss:") >> 10
	var backend int
	if err := x.jobs.QueryRow(b.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		b.Fatal(err)
	}
	parent := kilobytes(b, fmt.Sprintf("/proc/%d/status", backend), "PPid:")
	pss := int64(0)
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, status := range statuses {
		folder := filepath.Dir(status)
		if text, err := os.ReadFile(status); err == nil && (strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", parent)) || folder == fmt.Sprintf("/proc/%d", parent)) {
			pss += kilobytes(b, filepath.Join(folder, "smaps_rollup"), "Pss:")
		}
	}
	x.figures["postgres_pss_mib_"+when] = pss >> 10
}

// kilobytes reads a number from a file of /proc; 0 when it is gone.
func kilobytes(b *testing.B, file, key string) int64 {
	b.Helper()
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	return 0
}
