package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/local"
)

// A kind of text that speed is measured with, and how many at once.
type workload struct {
	Name  string   `json:"name"`
	Batch int      `json:"batch"`
	Texts []string `json:"texts"` // taken in turn
}

// errand is what a process of its own is to measure.
type errand struct {
	Embedder  string        `json:"embedder"`
	Lasts     time.Duration `json:"lasts"` // of each workload; zero measures the load alone
	Workloads []workload    `json:"workloads"`
}

// pace is how fast a workload went.
type pace struct {
	Name   string  `json:"name"`
	Batch  int     `json:"batch"`
	Calls  int     `json:"calls"`
	Median float64 `json:"ms_median"` // of a call
	Rate   float64 `json:"texts_per_second"`
	PerCPU float64 `json:"texts_per_cpu_second"`
}

// speed is what such a process found.
type speed struct {
	Embedder string  `json:"embedder"`
	Cores    int     `json:"cores"`
	LoadMS   float64 `json:"load_ms"`         // until it can embed
	FirstMS  float64 `json:"first_ms"`        // of the first text then
	Loaded   float64 `json:"rss_loaded_mb"`   // of the whole process, after the first text
	Peak     float64 `json:"rss_peak_mb"`     // the most that it had
	Started  float64 `json:"rss_at_start_mb"` // before
	Paces    []pace  `json:"paces"`
}

// printTo writes a line for each thing.
func (s speed) printTo(w io.Writer) {
	fmt.Fprintf(w, "%-10s %d core(s): load %.1f ms, first text %.1f ms; RSS %.0f MB loaded, %.0f MB at most\n", s.Embedder, s.Cores, s.LoadMS, s.FirstMS, s.Loaded, s.Peak)
	for _, p := range s.Paces {
		fmt.Fprintf(w, "%-10s %d core(s): %-9s batch %3d: %8.3f ms a call, %9.1f texts/s, %9.1f texts/cpu-s (%d calls)\n", s.Embedder, s.Cores, p.Name, p.Batch, p.Median, p.Rate, p.PerCPU, p.Calls)
	}
}

// measureSpeed has a new process of this program, with so many cores, do an errand.
func measureSpeed(ctx context.Context, e errand, cores int) (s speed, err error) {
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	in, err := json.Marshal(e)
	if err != nil {
		return s, err
	}
	cmd := exec.CommandContext(ctx, self, "-errand")
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cores))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return s, fmt.Errorf("measure the speed of %s: %w", e.Embedder, err)
	}
	return s, json.Unmarshal(out, &s)
}

// doErrand is that process.
func doErrand(ctx context.Context, in io.Reader, out io.Writer) error {
	var e errand
	if err := json.NewDecoder(in).Decode(&e); err != nil {
		return fmt.Errorf("errand: %w", err)
	}
	s := speed{Embedder: e.Embedder, Cores: runtime.GOMAXPROCS(0)}
	var err error
	if s.Started, err = memory("VmRSS"); err != nil {
		return err
	}
	start := time.Now()
	embedder, err := open(e.Embedder)
	if err != nil {
		return err
	}
	s.LoadMS = round(milliseconds(time.Since(start)))
	start = time.Now()
	if _, err := embedder.Embed(ctx, knowledge.EmbedQuery, []string{"How do I restore a backup?"}); err != nil {
		return err
	}
	s.FirstMS = round(milliseconds(time.Since(start)))
	if s.Loaded, err = memory("VmRSS"); err != nil {
		return err
	}
	if e.Lasts > 0 {
		for _, w := range e.Workloads {
			p, err := w.run(ctx, embedder, e.Lasts)
			if err != nil {
				return fmt.Errorf("%s: %w", w.Name, err)
			}
			s.Paces = append(s.Paces, p)
		}
	}
	if s.Peak, err = memory("VmHWM"); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s)
}

// open makes one of the built-in embedders.
func open(id string) (knowledge.Embedder, error) {
	fast, err := local.NewFast()
	if err != nil || id == local.FastID {
		return fast, err
	}
	if id == local.ID {
		return local.New(fast)
	}
	return nil, fmt.Errorf("embedder %q is none of those built in; need %s or %s", id, local.ID, local.FastID)
}

// leastCalls are counted however long they take.
const leastCalls = 3

// run embeds for a while, after a tenth of it that does not count.
func (w workload) run(ctx context.Context, e knowledge.Embedder, lasts time.Duration) (p pace, err error) {
	p = pace{Name: w.Name, Batch: w.Batch}
	if len(w.Texts) == 0 || w.Batch < 1 {
		return p, fmt.Errorf("%d texts in batches of %d; need 1 or more", len(w.Texts), w.Batch)
	}
	next := 0
	call := func() error {
		texts := make([]string, w.Batch)
		for i := range texts {
			texts[i] = w.Texts[next%len(w.Texts)]
			next++
		}
		_, err := e.Embed(ctx, knowledge.EmbedDocument, texts)
		return err
	}
	for warm := time.Now(); time.Since(warm) < lasts/10; {
		if err := call(); err != nil {
			return p, err
		}
	}
	var took []float64
	cpu, err := ownCPU()
	if err != nil {
		return p, err
	}
	start := time.Now()
	for time.Since(start) < lasts || len(took) < leastCalls {
		began := time.Now()
		if err := call(); err != nil {
			return p, err
		}
		took = append(took, milliseconds(time.Since(began)))
	}
	wall := time.Since(start)
	end, err := ownCPU()
	if err != nil {
		return p, err
	}
	texts := float64(len(took) * w.Batch)
	p.Calls, p.Median = len(took), round(median(took))
	p.Rate, p.PerCPU = round(texts/wall.Seconds()), round(texts/(end-cpu).Seconds())
	return p, nil
}

// milliseconds of a duration, with what is below them.
func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
