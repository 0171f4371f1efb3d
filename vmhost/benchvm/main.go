// Benchvm compares what it costs to run a plugin with fresh state: in the shipped
// binary, in bare wazero, in Extism and in wasmtime; and what the shipped server
// makes of it over HTTP. `make bench-vm` builds and runs it.
//
// It is a module of its own so that what it compares with is no dependency of
// the project.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/tars-project/tars/vmhost/cell"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "benchvm:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	executable string // the shipped binary
	languages  string // folder of the compiled plugins
	raw        string // file of all figures
	plot       string // file of the plot
	commit     string
	short      bool
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(args) == 1 && args[0] == childFlag {
		return runChild(ctx, stdin, stdout)
	}
	var o options
	flags := flag.NewFlagSet("benchvm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.executable, "tars", "bin/tars", "the shipped binary")
	flags.StringVar(&o.languages, "languages", "bin/guests/languages", "folder of the plugins that make languages built")
	flags.StringVar(&o.raw, "raw", "", "file for all figures; none if empty")
	flags.StringVar(&o.plot, "plot", "", "file for the plot; none if empty")
	flags.StringVar(&o.commit, "commit", "unknown", "what was built")
	flags.BoolVar(&o.short, "short", false, "take less than a minute: the same figures from fewer samples")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.executable, err = filepath.Abs(o.executable); err != nil {
		return err
	}
	r, err := measure(ctx, o, stdout)
	if err != nil {
		return err
	}
	if err := r.write(o); err != nil {
		return err
	}
	line, err := json.Marshal(r.Summary)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, string(line))
	return err
}

// report is everything that was measured.
type report struct {
	Summary summary  `json:"summary"`
	Machine machine  `json:"machine"`
	Calls   []row    `json:"calls"`
	HTTP    []webRow `json:"http"`
}

// machine says what was measured where.
type machine struct {
	Commit    string            `json:"commit"`
	Date      string            `json:"date"`
	Go        string            `json:"go"`
	Cores     int               `json:"cores"`
	Isolation string            `json:"isolation"` // of the cells
	HTTP      string            `json:"http_isolation"`
	Short     bool              `json:"short"`
	Modules   map[string]string `json:"modules"` // versions of what is compared
}

// effort is how long is measured.
type effort struct {
	rounds     int           // of the comparison
	lasts      time.Duration // of a subject in a round
	web        time.Duration
	cold       int // first calls
	coldGo     int
	spawns     int
	hostCalls  int // calls that call the host 500 times
	efficiency int // calls of 5 ms
	meter      time.Duration
	idles      int // cells that rest
}

func effortOf(short bool) effort {
	if short {
		return effort{rounds: 3, lasts: 60 * time.Millisecond, web: 3 * time.Second, cold: 7, coldGo: 2, spawns: 7, hostCalls: 10, efficiency: 100, meter: 50 * time.Millisecond, idles: 1}
	}
	return effort{rounds: 5, lasts: time.Second, web: time.Minute, cold: 50, coldGo: 15, spawns: 50, hostCalls: 100, efficiency: 600, meter: 300 * time.Millisecond, idles: 5}
}

// measure does all of it.
func measure(ctx context.Context, o options, log io.Writer) (*report, error) {
	grade, err := isolation(o.executable)
	if err != nil {
		return nil, err
	}
	r := &report{Machine: machine{
		Commit: o.commit, Date: time.Now().UTC().Format(time.RFC3339), Go: runtime.Version(), Cores: runtime.NumCPU(),
		Isolation: grade, Short: o.short, Modules: peers(),
	}}
	fmt.Fprintf(log, "commit %s, %s, %d cores, isolation %s, %v\n", o.commit, runtime.Version(), runtime.NumCPU(), grade, r.Machine.Modules)
	jobs := make(map[string]job)
	for _, language := range languages {
		if jobs[language], err = readJob(o.languages, language, o.executable); err != nil {
			return nil, err
		}
	}
	e := effortOf(o.short)
	c := comparison{rounds: e.rounds, lasts: e.lasts, log: log}
	for _, language := range languages {
		if c.callers = []int{1, 2, 8}; o.short && language != langC && language != langGo {
			c.callers = c.callers[:1]
		}
		rows, err := c.language(ctx, language, jobs[language])
		if err != nil {
			return nil, err
		}
		r.Calls = append(r.Calls, rows...)
	}
	if r.HTTP, r.Machine.HTTP, err = (web{lasts: e.web, log: log}).run(ctx, jobs[langC]); err != nil {
		return nil, err
	}
	r.Summary, err = summarise(ctx, r, jobs, e)
	return r, err
}

// isolation is what the cells of this host have.
func isolation(executable string) (string, error) {
	d, err := cell.New(cell.Options{Executable: executable, MinGrade: cell.GradeJailLite})
	if err != nil {
		return "", err
	}
	return d.Tier().String() + " (" + d.Grade() + ")", d.Close()
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
		case "github.com/tetratelabs/wazero", "github.com/extism/go-sdk", "github.com/bytecodealliance/wasmtime-go/v37":
			versions[m.Path] = m.Version
		}
	}
	return versions
}

// write keeps all figures and draws the plot, as far as it was told where.
func (r *report) write(o options) error {
	if o.raw != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.raw, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if o.plot == "" {
		return nil
	}
	return draw(r.Calls, o.plot)
}
