package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// pgbench runs a table's statement by pgbench -M prepared: the least that a
// search over a connection can cost, for the client is in C and looks at nothing.
type pgbench struct {
	program string
	db      *database
	table   table
	dir     string          // for its script and its logs
	rates   map[int]float64 // of the last run, by clients
}

// firstRate is what the first run goes by: low, for it only makes that run short.
const firstRate = 100

// run keeps clients busy for about so long: pgbench takes whole seconds or a
// number of searches, which follows from the last run's rate.
func (p *pgbench) run(ctx context.Context, clients int, lasts time.Duration) (r load.Result, err error) {
	dir, err := os.MkdirTemp(p.dir, "pgbench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	script := filepath.Join(dir, "search.sql")
	text := fmt.Sprintf("\\set n random(0, %d)\n%s;\n", p.table.data.count()-1, p.table.sql(pgbenchSQL))
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		return r, err
	}
	u, err := url.Parse(p.db.server.URL)
	if err != nil {
		return r, err
	}
	rate, known := p.rates[clients]
	if !known {
		rate = firstRate
	}
	each := max(10, int(rate*lasts.Seconds())/clients)
	cmd := exec.CommandContext(ctx, p.program, "-n", "-M", "prepared", "-f", script,
		"-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(clients, 2)), "-t", strconv.Itoa(each),
		"-l", "--log-prefix="+filepath.Join(dir, "log"),
		"-h", u.Query().Get("host"), "-p", u.Query().Get("port"), "-U", reader, "postgres")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PGOPTIONS=-c hnsw.ef_search=%d", p.table.data.ef), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	if r, err = readPgbench(dir, string(out)); err == nil {
		p.rates[clients] = r.Rate()
	}
	return r, err
}

// readPgbench takes latencies from the logs and the rate from what pgbench said.
func readPgbench(dir, out string) (r load.Result, err error) {
	rate := 0.0
	for line := range strings.Lines(out) {
		if after, ok := strings.CutPrefix(line, "tps = "); ok {
			word, _, _ := strings.Cut(after, " ")
			if rate, err = strconv.ParseFloat(word, 64); err != nil {
				return r, fmt.Errorf("pgbench said %q", line)
			}
		}
		if after, ok := strings.CutPrefix(line, "number of failed transactions: "); ok {
			word, _, _ := strings.Cut(after, " ")
			if r.Errors, err = strconv.Atoi(word); err != nil {
				return r, fmt.Errorf("pgbench said %q", line)
			}
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil {
		return r, err
	}
	for _, name := range logs {
		latencies, err := readLatencies(name)
		if err != nil {
			return r, err
		}
		r.Latencies = append(r.Latencies, latencies...)
	}
	if rate <= 0 || len(r.Latencies) == 0 {
		return r, fmt.Errorf("pgbench gave no figures: %s", out)
	}
	slices.Sort(r.Latencies)
	r.Took = time.Duration(float64(len(r.Latencies)) / rate * float64(time.Second))
	return r, nil
}

// readLatencies reads the third column, in microseconds, of a log of pgbench.
func readLatencies(name string) ([]time.Duration, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []time.Duration
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 3 {
			return nil, fmt.Errorf("pgbench logged %q", lines.Text())
		}
		us, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("pgbench logged %q", lines.Text())
		}
		all = append(all, time.Duration(us)*time.Microsecond)
	}
	return all, lines.Err()
}
