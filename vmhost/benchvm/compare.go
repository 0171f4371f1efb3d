package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// comparison is how subjects are compared.
type comparison struct {
	rounds  int
	lasts   time.Duration // of one order
	callers []int
	log     io.Writer
}

// row is what one subject did with one plugin at one number of callers.
type row struct {
	Language string  `json:"language"`
	Subject  string  `json:"subject"`
	Callers  int     `json:"callers"`
	Rate     float64 `json:"calls_per_second"` // median of the rounds
	Samples  int     `json:"samples"`
	Errors   int     `json:"errors"`
	First    string  `json:"first_error,omitempty"`
	// Inner is in the machine, Outer what the caller waits, the wire or the
	// closing of the instance included, Restore a part of Inner.
	Inner   series  `json:"inner_us"`
	Outer   series  `json:"outer_us"`
	Restore *series `json:"restore_us,omitempty"`
	RSS     float64 `json:"peak_rss_mb"` // of the process, and of its cell, since their start
	Compile float64 `json:"compile_ms"`

	outerRounds, innerRounds, restoreRounds []time.Duration // p50 of each round
}

// series are percentiles in microseconds. P50 is the median of the rounds'
// own; the others are of all rounds together.
type series struct {
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P9999 float64 `json:"p99_99"`
}

func seriesOf(all, rounds []time.Duration) series {
	slices.Sort(all)
	us := func(d time.Duration) float64 { return round(microseconds(d)) }
	return series{us(median(rounds)), us(quantile(all, 0.95)), us(quantile(all, 0.99)), us(quantile(all, 0.9999))}
}

// language compares all subjects on one plugin. In each round they take turns,
// so that what the machine does besides hits all of them.
func (c comparison) language(ctx context.Context, name string, j job) (rows []row, err error) {
	var children []*child
	defer func() {
		for _, ch := range children {
			err = errors.Join(err, ch.stop())
		}
	}()
	for _, subject := range subjects {
		ch, err := startChild(ctx, subject, j)
		if err != nil {
			return nil, fmt.Errorf("plugin in %s: %w", name, err)
		}
		children = append(children, ch)
		if !bytes.Equal(ch.ready.Output, []byte(ranked)) {
			return nil, fmt.Errorf("plugin in %s: %s answers %.200q, want %q", name, subject, ch.ready.Output, ranked)
		}
	}
	for _, callers := range c.callers {
		some, err := c.turns(name, children, callers)
		if err != nil {
			return nil, fmt.Errorf("plugin in %s, %d callers: %w", name, callers, err)
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// turns are the rounds at one number of callers.
func (c comparison) turns(name string, children []*child, callers int) ([]row, error) {
	rows := make([]row, len(children))
	all := make([]batch, len(children))
	rates := make([][]float64, len(children))
	for n := range c.rounds + 1 {
		lasts := c.lasts
		if n == 0 {
			lasts /= 4 // to warm up, not counted
		}
		for i, ch := range children {
			b, err := ch.order(order{callers, lasts})
			if err != nil {
				return nil, err
			}
			if n == 0 {
				continue
			}
			r := &rows[i]
			r.innerRounds = append(r.innerRounds, median(b.Inner))
			r.outerRounds = append(r.outerRounds, median(b.Outer))
			r.restoreRounds = append(r.restoreRounds, median(b.Restore))
			r.RSS = max(r.RSS, round(float64(b.PeakRSS)/(1<<20)))
			rates[i] = append(rates[i], float64(len(b.Outer))/b.Took.Seconds())
			all[i].add(b)
		}
	}
	for i, ch := range children {
		r, b := &rows[i], all[i]
		r.Language, r.Subject, r.Callers = name, ch.subject, callers
		r.Rate, r.Samples, r.Errors, r.First = round(median(rates[i])), len(b.Outer), b.Errors, b.First
		r.Inner, r.Outer = seriesOf(b.Inner, r.innerRounds), seriesOf(b.Outer, r.outerRounds)
		if ch.subject == oursRestored {
			restore := seriesOf(b.Restore, r.restoreRounds)
			r.Restore = &restore
		}
		r.Compile = round(milliseconds(ch.ready.Compile))
		fmt.Fprintln(c.log, r)
	}
	return rows, nil
}

// String is the row as it is printed.
func (r row) String() string {
	s := fmt.Sprintf("%-8s %-18s %d callers %9.0f/s  inner p50 %9.1f  outer p50 %9.1f p95 %9.1f p99 %9.1f p99.99 %9.1f us  rss %6.1f MB  n %d errors %d",
		r.Language, r.Subject, r.Callers, r.Rate, r.Inner.P50, r.Outer.P50, r.Outer.P95, r.Outer.P99, r.Outer.P9999, r.RSS, r.Samples, r.Errors)
	if r.Restore != nil {
		s += fmt.Sprintf("  restore p50 %.1f us", r.Restore.P50)
	}
	return s
}

// find returns the row of a subject with one caller.
func find(rows []row, language, subject string) (row, error) {
	for _, r := range rows {
		if r.Language == language && r.Subject == subject && r.Callers == 1 {
			return r, nil
		}
	}
	return row{}, fmt.Errorf("no figures of %s with the plugin in %s", subject, language)
}

// ratio is by how much a peer's new instance takes longer than our restored VM:
// the median of what the rounds say. Of the peer it is all that a call costs, the
// end of the instance included; of ours what the cell says.
func ratio(rows []row, language, peer string) (float64, error) {
	ours, err := find(rows, language, oursRestored)
	if err != nil {
		return 0, err
	}
	theirs, err := find(rows, language, peer)
	if err != nil {
		return 0, err
	}
	var ratios []float64
	for i, d := range theirs.outerRounds {
		ratios = append(ratios, float64(d)/float64(ours.innerRounds[i]))
	}
	return round(median(ratios)), nil
}
