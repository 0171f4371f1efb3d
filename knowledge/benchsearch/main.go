// Benchsearch measures retrieval by the shipped server, on real vectors and on
// made ones, beside the same searches by pgx, by pgbench, by brute force and by
// indexes that live in a Go process. `make bench-search` builds and runs it.
//
// It is a module of its own so that what it compares with is no dependency of
// the project.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "benchsearch:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	executable string // the shipped binary
	cache      string // folder of the vectors
	raw        string // file of all figures
	commit     string
	short      bool
	hold       bool
	rows       int
}

func run(args []string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flags := flag.NewFlagSet("benchsearch", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.executable, "tars", "bin/tars", "the shipped binary")
	flags.StringVar(&o.cache, "cache", "", "folder for the vectors; default: tars-bench in the user's cache")
	flags.StringVar(&o.raw, "raw", "", "file for all figures; none if empty")
	flags.StringVar(&o.commit, "commit", "unknown", "what was built")
	flags.BoolVar(&o.short, "short", false, "take less than a minute: the same figures from less data and fewer samples")
	flags.BoolVar(&o.hold, "hold", false, "load the words, say how to reach the server and the database, and wait: for profiling")
	flags.IntVar(&o.rows, "rows", 0, "most vectors of a dataset, queries too; 0 for all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.executable, err = filepath.Abs(o.executable); err != nil {
		return err
	}
	if o.cache == "" {
		if o.cache, err = os.UserCacheDir(); err != nil {
			return err
		}
		o.cache = filepath.Join(o.cache, "tars-bench")
	}
	r, err := measure(ctx, o, stdout)
	if err != nil {
		return errors.Join(err, r.keep(o.raw)) // what there is of an hour's run
	}
	if o.hold {
		return nil
	}
	return errors.Join(r.keep(o.raw), r.print(stdout))
}

// report is everything that was measured.
type report struct {
	Summary    summary    `json:"summary"`
	Machine    machine    `json:"machine"`
	Loaded     []loaded   `json:"loaded"`
	Ingest     []ingested `json:"ingest"`
	Rows       []row      `json:"rows"`
	Peers      []peer     `json:"peers"`
	ServerMB   float64    `json:"server_rss_mb"`   // proportional, when the loads were over
	PostgresMB float64    `json:"postgres_rss_mb"` // the same, of all its processes: shared memory once
}

// machine says what was measured where.
type machine struct {
	Commit    string            `json:"commit"`
	Date      string            `json:"date"`
	Go        string            `json:"go"`
	CPU       string            `json:"cpu"`
	Cores     int               `json:"cores"`
	Kernel    string            `json:"kernel"`
	Isolation string            `json:"isolation"` // of plugins, on the server that was measured
	Database  string            `json:"database"`
	Settings  map[string]string `json:"database_settings"` // other than the defaults
	Short     bool              `json:"short"`
	Modules   map[string]string `json:"modules"` // versions of what is compared
}

// effort is how much is measured.
type effort struct {
	words, clusters int // vectors
	tenantRows      int // of 100 tenants together
	live            int // rows copied into a live index
	rounds          int
	lasts           time.Duration // of a layer with so many clients in a round
	open            time.Duration
	queries, slow   int // whose answers are looked at; of a slow layer
	batch           int // rows in a request
}

func effortOf(o options) effort {
	e := effort{words: gloveWords, clusters: 101_000, tenantRows: 50_000, live: 5_000, rounds: 5, lasts: 2 * time.Second, open: 20 * time.Second, queries: queries, slow: 200, batch: 5_000}
	if o.short {
		e = effort{words: 20_000, clusters: 5_000, tenantRows: 5_000, live: 500, rounds: 2, lasts: 100 * time.Millisecond, open: time.Second, queries: 200, slow: 40, batch: 1_000}
	}
	if o.rows > 0 {
		e.words, e.clusters = min(e.words, o.rows), min(e.clusters, o.rows)
	}
	return e
}

// Names of the datasets, and of their collections and tables.
const (
	datasetWords    = "words"
	datasetClusters = "clusters"
)

// The ef with which each reaches a recall of 0.95 at full size.
const (
	wordsEf    = 200
	clustersEf = 100
)

// measure does all of it.
func measure(ctx context.Context, o options, log io.Writer) (r *report, err error) {
	e := effortOf(o)
	vectors, err := glove(ctx, o.cache, e.words, log)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tars-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the database's account passes through
		return nil, err
	}
	defer func() { err = first(err, os.RemoveAll(dir)) }()
	db, err := startDatabase(ctx, filepath.Join(dir, "postgres"), os.Stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, db.stop(ctx)) }()
	s, err := startServer(ctx, o.executable, dir, db)
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, s.stop()) }()
	r = &report{Machine: describe(o, s, db)}
	m := r.Machine
	fmt.Fprintf(log, "commit %s, %s, %s, %d cores (%s), isolation %s, %v\n", m.Commit, m.Go, m.Database, m.Cores, m.CPU, m.Isolation, m.Modules)
	b := bench{db: db, server: s, dir: dir}
	if b.client, err = s.makeTenant(ctx, "bench"); err != nil {
		return nil, err
	}
	sets := []*dataset{newDataset(datasetWords, gloveDim, wordsEf, vectors)}
	if o.hold {
		return r, b.hold(ctx, sets[0], e, log)
	}
	sets = append(sets, newDataset(datasetClusters, 384, clustersEf, clustered(e.clusters, 384)))
	for _, d := range sets {
		if err := b.measure(ctx, d, e, r, log); err != nil {
			return r, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	r.Summary, err = summarise(r)
	return r, err
}

// first keeps the first of two errors.
func first(err, then error) error {
	if err != nil {
		return err
	}
	return then
}

// hold loads a dataset and waits.
func (b bench) hold(ctx context.Context, d *dataset, e effort, log io.Writer) error {
	if _, err := ingest(ctx, b, d.name, d, asBase64, indexHNSW, e.batch, log); err != nil {
		return err
	}
	if _, err := (table{d, "bench." + d.name}).load(ctx, b.db.super, e.live); err != nil {
		return err
	}
	fmt.Fprintf(log, "server %s, process %d, token %s; database %s\nCtrl-C ends.\n", b.server.url, b.server.cmd.Process.Pid, b.client.Token, b.db.server.URL)
	<-ctx.Done()
	return nil
}

// describe says what is measured where.
func describe(o options, s *server, db *database) machine {
	return machine{
		Commit: o.commit, Date: time.Now().UTC().Format(time.RFC3339), Go: runtime.Version(), CPU: rig.CPUName(), Cores: runtime.NumCPU(), Kernel: rig.Kernel(),
		Isolation: s.grade, Database: db.version, Settings: serverSettings, Short: o.short, Modules: peers(),
	}
}

// peers are the versions of what is compared, as they are built in.
func peers() map[string]string {
	versions := make(map[string]string)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/jackc/pgx/v5", "github.com/coder/hnsw", "github.com/philippgille/chromem-go":
			versions[m.Path] = m.Version
		}
	}
	return versions
}

// keep writes all figures to a file, if it is named and there are any.
func (r *report) keep(file string) error {
	if r == nil || file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// print writes the last line.
func (r *report) print(w io.Writer) error {
	line, err := json.Marshal(r.Summary)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, string(line))
	return err
}
