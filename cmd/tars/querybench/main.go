// Querybench measures queries with plugins against the shipped server, everything
// on: keys, row-level security, jails, meters. `make bench-query` builds and runs it;
// docs/benchmarks/query.md says how, and has the figures.
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
	"syscall"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "querybench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	executable string // the shipped binary
	guests     string // folder of the sample plugins, built
	raw        string // file of all figures
	commit     string
	effort     effort
}

// effort is how long things are measured.
type effort struct {
	Rounds  int           `json:"rounds"`
	Lasts   time.Duration `json:"lasts_ns"` // of a scenario in a round
	Clients []int         `json:"clients"`  // the first is the one of the latencies, the last that of the rate
}

func run(args []string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := options{effort: effort{Rounds: 7, Lasts: 3 * time.Second, Clients: []int{1, 4}}}
	flags := flag.NewFlagSet("querybench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.executable, "tars", "bin/tars", "the shipped binary")
	flags.StringVar(&o.guests, "guests", "bin/guests", "`folder` of the sample plugins")
	flags.StringVar(&o.raw, "raw", "", "`file` for all figures; none if empty")
	flags.StringVar(&o.commit, "commit", "unknown", "what was built")
	short := flags.Bool("short", false, "take less than a minute")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *short {
		o.effort = effort{Rounds: 3, Lasts: 400 * time.Millisecond, Clients: []int{1, 4}}
	}
	var err error
	if o.executable, err = filepath.Abs(o.executable); err != nil {
		return err
	}
	r, err := measure(ctx, o, stdout)
	if err != nil {
		return err
	}
	if o.raw != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(o.raw, append(text, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return json.NewEncoder(stdout).Encode(r.Summary)
}

// report is all that is measured.
type report struct {
	Commit    string   `json:"commit"`
	Date      string   `json:"date"`
	Go        string   `json:"go"`
	CPU       string   `json:"cpu"`
	Kernel    string   `json:"kernel"`
	Cores     int      `json:"cores"`
	Isolation string   `json:"isolation"`
	Effort    effort   `json:"effort"`
	Records   int      `json:"records"`
	Rows      []row    `json:"rows"`
	Streams   []stream `json:"streams"`
	Samples   int      `json:"samples"`
	Summary   summary  `json:"summary"`
}

// summary is the last line. An overhead is the median, over the rounds, of the
// difference to the same query without the plugin in the same round, by one client;
// the rate is that of a query with a plugin that does nothing.
type summary struct {
	Search    float64 `json:"search_p95_ms"`
	Noop      float64 `json:"noop_p95_overhead_ms"`
	Rerank    float64 `json:"rerank200_p95_overhead_ms"` // C
	RerankGo  float64 `json:"rerank200_go_p95_overhead_ms"`
	Synth     float64 `json:"synth_p95_overhead_ms"`
	Fanout    float64 `json:"fanout8_p95_ms"`
	Plugins8  float64 `json:"plugins8_p95_ms"`
	Plugins32 float64 `json:"plugins32_p95_ms"`
	First     float64 `json:"sse_first_event_ms"`
	Rate      float64 `json:"qps"`
	Errors    int     `json:"errors"`
}

// measure starts a server, fills it and puts the load on it.
func measure(ctx context.Context, o options, log io.Writer) (r report, err error) {
	dir, err := os.MkdirTemp("", "tars-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // the database's account passes through
		return r, err
	}
	server, err := rig.Start(ctx, o.executable, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	r = report{
		Commit: o.commit, Date: time.Now().UTC().Format(time.RFC3339), Go: runtime.Version(), CPU: rig.CPUName(), Kernel: rig.Kernel(),
		Cores: runtime.NumCPU(), Isolation: server.Grade, Effort: o.effort,
	}
	fmt.Fprintf(log, "commit %s, %s, %d cores (%s), isolation %s\n", r.Commit, r.Go, r.Cores, r.CPU, r.Isolation)
	questions, records, err := fill(ctx, server.Client)
	if err != nil {
		return r, err
	}
	r.Records = records
	if err := push(ctx, server.Client, o.guests); err != nil {
		return r, err
	}
	b := bench{server: server, effort: o.effort, log: log}
	if r.Rows, err = b.rounds(ctx, scenarios(server, questions)); err != nil {
		return r, err
	}
	if r.Streams, err = b.streams(ctx, questions); err != nil {
		return r, err
	}
	for _, x := range r.Rows {
		r.Samples += x.Samples
	}
	r.Summary = summarise(r.Rows, r.Streams, o.effort.Clients)
	fmt.Fprintf(log, "%d queries, %d errors\n", r.Samples, r.Summary.Errors)
	return r, nil
}
