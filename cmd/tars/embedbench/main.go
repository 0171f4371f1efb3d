// Embedbench measures the built-in embedders: how well the shipped server finds the
// section that stands under a heading, over REST, by meaning, by words and by both;
// and how fast the embedders are, in processes of their own. `make bench-embed`
// builds and runs it; docs/benchmarks/embed.md says how, and has the figures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/knowledge/query"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "embedbench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	executable string // the shipped binary
	data       string // folder of the embedders' data
	cache      string // folder of what is fetched
	raw        string // file of all figures
	commit     string
	embedders  []string
	short      bool
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flags := flag.NewFlagSet("embedbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.executable, "tars", "bin/tars", "the shipped binary")
	flags.StringVar(&o.data, "data", "knowledge/embed/local/data", "`folder` of the embedders' data, whose size is told")
	flags.StringVar(&o.cache, "cache", "", "`folder` for what is fetched; default: tars-bench in the user's cache")
	flags.StringVar(&o.raw, "raw", "", "`file` for all figures; none if empty")
	flags.StringVar(&o.commit, "commit", "unknown", "what was built")
	flags.BoolVar(&o.short, "short", false, "take about a minute: the same figures from a few of the sections")
	embedders := flags.String("embedders", "local,local-fast", "their ids, the first the one that lexical searches use the collection of")
	folders := flags.String("folders", "", "write the sets for \"tars ingest\" into this `folder`, and measure nothing")
	errand := flags.Bool("errand", false, "used by the program itself: measure the speed that stdin asks for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *errand {
		return doErrand(ctx, stdin, stdout)
	}
	o.embedders = strings.Split(*embedders, ",")
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
	s := shelf{o.cache, stderr}
	if *folders != "" {
		return s.writeFolders(ctx, *folders)
	}
	r := &report{}
	if err := r.measure(ctx, o, s, stdout); err != nil {
		if len(r.Retrieval) > 0 { // what there is of a long run
			err = errors.Join(err, r.keep(o.raw))
		}
		return err
	}
	return errors.Join(r.keep(o.raw), r.print(stdout))
}

// manualsName is the corpus of all manuals.
const manualsName = "manuals"

// modes of searches.
var modes = []string{string(query.Vector), string(query.Lexical), string(query.Hybrid)}

// measure does all of it.
func (r *report) measure(ctx context.Context, o options, s shelf, log io.Writer) (err error) {
	docs, sources, err := s.readManuals(ctx)
	if err != nil {
		return err
	}
	cwe, is, err := s.readCWE(ctx)
	if err != nil {
		return err
	}
	r.Sources = append(sources, is)
	work := workloads(docs)
	if o.short {
		docs, cwe = docs.sample(20), cwe.sample(4)
	}
	dir, err := os.MkdirTemp("", "tars-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // the database's account passes through
		return err
	}
	srv, err := rig.Start(ctx, o.executable, dir)
	if err != nil {
		return err
	}
	r.Machine = describe(o.commit, srv.Grade, o.short)
	m := r.Machine
	fmt.Fprintf(log, "commit %s, %s, %d cores (%s), isolation %s\n", m.Commit, m.Go, m.Cores, m.CPU, m.Isolation)
	for _, c := range []corpus{docs, cwe} {
		if err = r.retrieve(ctx, srv, c, o.embedders, log); err != nil {
			break
		}
	}
	// The server is gone before speed is measured.
	if err = errors.Join(err, srv.Stop()); err != nil {
		return err
	}
	r.averages(o.embedders)
	for _, a := range r.Macro {
		fmt.Fprintln(log, a)
	}
	if err := r.hurry(ctx, o, work, log); err != nil {
		return err
	}
	if r.Bytes, err = sizesOf(o.executable, o.data); err != nil {
		return err
	}
	fmt.Fprintf(log, "binary %.1f MB, of which data of the embedders %.1f MB\n", float64(r.Bytes.Binary)/1e6, float64(r.Bytes.Data)/1e6)
	return r.summarise()
}

// retrieve writes a corpus with each embedder and asks its questions in each mode.
func (r *report) retrieve(ctx context.Context, srv *rig.Server, c corpus, embedders []string, log io.Writer) error {
	size := sizeOf(c)
	r.Corpora = append(r.Corpora, size)
	fmt.Fprintf(log, "%s: %d passages of %d words on average, questions %v\n", c.name, size.Passages, size.Words/max(size.Passages, 1), size.Questions)
	for n, e := range embedders {
		i, err := ingest(ctx, srv, c, e)
		if err != nil {
			return err
		}
		r.Ingest = append(r.Ingest, i)
		fmt.Fprintln(log, i)
		for _, mode := range modes {
			if mode == string(query.Lexical) && n > 0 {
				continue // asks no embedder: the same again
			}
			places, err := placesOf(ctx, srv, c, e, mode)
			if err != nil {
				return err
			}
			for _, a := range bySet(c, places, e, mode) {
				r.Retrieval = append(r.Retrieval, a)
				fmt.Fprintln(log, a)
			}
		}
	}
	return nil
}

// hurry measures load time and speed.
func (r *report) hurry(ctx context.Context, o options, work []workload, log io.Writer) error {
	lasts, loads := 3*time.Second, 9
	if o.short {
		lasts, loads = 500*time.Millisecond, 3
	}
	for _, e := range o.embedders {
		for range loads {
			s, err := measureSpeed(ctx, errand{Embedder: e}, 1)
			if err != nil {
				return err
			}
			r.Loads = append(r.Loads, s)
		}
		cores := []int{1}
		if n := runtime.NumCPU(); n > 1 {
			cores = append(cores, n)
		}
		for _, n := range cores {
			s, err := measureSpeed(ctx, errand{e, lasts, work}, n)
			if err != nil {
				return err
			}
			r.Speed = append(r.Speed, s)
			s.printTo(log)
		}
	}
	return nil
}
