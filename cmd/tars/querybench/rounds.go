package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// scenario is one kind of query.
type scenario struct {
	name     string
	without  string // the scenario that this is the same as but for a plugin; may be empty
	requests []rig.Request
	must     []byte // that a right answer has in it
}

// scenarios are what is measured, in the order of a round.
func scenarios(s *rig.Server, questions []string) []scenario {
	var parted []string
	for i := range parts {
		parted = append(parted, fmt.Sprintf("part%d", i))
	}
	whole := []string{manual}
	var all []scenario
	for _, x := range []struct {
		name, without string
		candidates    int
		collections   []string
		plugins       []any
		must          string
	}{
		{"search", "", 50, whole, nil, ""},
		{"no-op", "search", 50, whole, []any{plugin("noop", "rank")}, `"plugin":"noop"`},
		{"search of 200", "", ranked, whole, nil, ""},
		{"rerank 200, C", "search of 200", ranked, whole, []any{plugin("rerank-c", "rank")}, `"score_kind":"plugin"`},
		{"rerank 200, Go", "search of 200", ranked, whole, []any{plugin("rerank-go", "rank")}, `"score_kind":"plugin"`},
		{"synthesize", "search", 50, whole, []any{plugin("cited", "synthesize")}, `"results":[{`},
		{"fan-out of 8", "", 50, parted, nil, ""},
		{"8 plugins", "search", 50, whole, several("noop", 8), `"plugin":"noop"`},
		{"32 plugins", "search", 50, whole, several("noop", allCall), `"plugin":"noop"`},
	} {
		requests := make([]rig.Request, len(questions))
		for i, q := range questions {
			requests[i] = rig.NewRequest(s.Addr(), "/v1/query", s.Client.Token, queryOf(q, x.candidates, x.collections, x.plugins...), 10)
		}
		all = append(all, scenario{x.name, x.without, requests, []byte(x.must)})
	}
	return all
}

// client is a connection that looks closer at the answers.
type client struct {
	*rig.HTTPClient
	must []byte
}

// Ask implements load.Client.
func (c client) Ask(n int) error {
	if err := c.HTTPClient.Ask(n); err != nil {
		return err
	}
	if !bytes.Contains(c.Body, c.must) || !bytes.Contains(c.Body, []byte(`"missing":[]`)) {
		return fmt.Errorf("%w: without %s, or with something missing: %.300s", rig.ErrAnswer, c.must, c.Body)
	}
	return nil
}

// row is what one scenario did with so many clients. Latencies are the medians of
// the rounds'.
type row struct {
	Scenario string  `json:"scenario"`
	Clients  int     `json:"clients"`
	Rate     float64 `json:"queries_per_second"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
	// Overhead is the median of the rounds' differences to the query without.
	OverheadP50 float64 `json:"p50_overhead_ms,omitempty"`
	OverheadP95 float64 `json:"p95_overhead_ms,omitempty"`
	CPU         float64 `json:"cpu_ms"` // of all but the load generator, a query
	Samples     int     `json:"samples"`
	Errors      int     `json:"errors"`
	First       string  `json:"first_error,omitempty"`
}

// String is the row as it is printed.
func (r row) String() string {
	over := ""
	if r.OverheadP95 != 0 {
		over = fmt.Sprintf("  over the query without: p50 %+.2f p95 %+.2f ms", r.OverheadP50, r.OverheadP95)
	}
	return fmt.Sprintf("%-15s %2d clients %7.1f/s  p50 %6.2f p95 %6.2f p99 %6.2f ms  cpu %5.2f ms  n %d errors %d%s %s",
		r.Scenario, r.Clients, r.Rate, r.P50, r.P95, r.P99, r.CPU, r.Samples, r.Errors, over, r.First)
}

// bench is a server under measurement.
type bench struct {
	server *rig.Server
	effort effort
	log    io.Writer
}

// measured is what the rounds of a scenario gave.
type measured struct {
	rates, p50, p95, p99 []float64
	samples, errors      int
	first                error
	used                 rig.Usage
}

// rounds has the scenarios take turns, each round beginning with another, so that
// what the machine does besides meets all alike.
func (b bench) rounds(ctx context.Context, all []scenario) (rows []row, err error) {
	for _, clients := range b.effort.Clients {
		got := make([]measured, len(all))
		for round := -1; round < b.effort.Rounds; round++ { // the first is to warm up
			for turn := range all {
				i := (turn + max(round, 0)) % len(all)
				lasts := b.effort.Lasts
				if round < 0 {
					lasts /= 2
				}
				m, err := b.one(ctx, all[i], clients, lasts)
				if err != nil {
					return rows, err
				}
				if round >= 0 {
					got[i].add(m)
				}
			}
		}
		for i, s := range all {
			r := got[i].row(s.name, clients)
			if at := slices.IndexFunc(all, func(o scenario) bool { return o.name == s.without }); at >= 0 {
				r.OverheadP50, r.OverheadP95 = over(got[i].p50, got[at].p50), over(got[i].p95, got[at].p95)
			}
			rows = append(rows, r)
			fmt.Fprintln(b.log, r)
		}
	}
	return rows, nil
}

// one puts the load of one scenario on the server for a while.
func (b bench) one(ctx context.Context, s scenario, clients int, lasts time.Duration) (m measured, err error) {
	open := make([]load.Client, clients)
	for i := range open {
		c, err := rig.DialHTTP(ctx, b.server.Addr(), s.requests)
		if err != nil {
			return m, err
		}
		open[i] = client{c, s.must}
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	clocks := rig.Clocks{Server: b.server.PID(), Postgres: b.server.PID()}
	before, err := clocks.Start()
	if err != nil {
		return m, err
	}
	r, err := load.Closed(ctx, open, 0, lasts)
	if err != nil {
		return m, err
	}
	if m.used, err = clocks.Stop(before); err != nil {
		return m, err
	}
	ms := func(q float64) []float64 { return []float64{rig.Milliseconds(rig.Quantile(r.Latencies, q))} }
	m.rates, m.p50, m.p95, m.p99 = []float64{r.Rate()}, ms(0.5), ms(0.95), ms(0.99)
	m.samples, m.errors, m.first = len(r.Latencies), r.Errors, r.First
	return m, nil
}

func (m *measured) add(n measured) {
	m.rates, m.p50, m.p95, m.p99 = append(m.rates, n.rates...), append(m.p50, n.p50...), append(m.p95, n.p95...), append(m.p99, n.p99...)
	m.samples, m.errors, m.used = m.samples+n.samples, m.errors+n.errors, m.used.Plus(n.used)
	if m.first == nil {
		m.first = n.first
	}
}

func (m measured) row(name string, clients int) row {
	r := row{
		Scenario: name, Clients: clients, Rate: rig.Round(rig.Median(m.rates)),
		P50: rig.Round(rig.Median(m.p50)), P95: rig.Round(rig.Median(m.p95)), P99: rig.Round(rig.Median(m.p99)),
		CPU:     rig.Round(rig.Milliseconds(m.used.Machine-m.used.Client) / float64(max(1, m.samples+m.errors))),
		Samples: m.samples, Errors: m.errors,
	}
	if m.first != nil {
		r.First = m.first.Error()
	}
	return r
}

// over is the median difference of two scenarios' rounds.
func over(with, without []float64) float64 {
	differences := make([]float64, len(with))
	for i := range with {
		differences[i] = with[i] - without[i]
	}
	return rig.Round(rig.Median(differences))
}

// summarise picks the figures of the last line.
func summarise(rows []row, streams []stream, clients []int) summary {
	find := func(name string, clients int) row {
		for _, r := range rows {
			if r.Scenario == name && r.Clients == clients {
				return r
			}
		}
		return row{}
	}
	one, most := clients[0], clients[len(clients)-1]
	s := summary{
		Search: find("search", one).P95, Noop: find("no-op", one).OverheadP95, Rerank: find("rerank 200, C", one).OverheadP95,
		RerankGo: find("rerank 200, Go", one).OverheadP95, Synth: find("synthesize", one).OverheadP95, Fanout: find("fan-out of 8", one).P95,
		Plugins8: find("8 plugins", one).P95, Plugins32: find("32 plugins", one).P95, Rate: find("no-op", most).Rate,
	}
	for _, r := range rows {
		s.Errors += r.Errors
	}
	for _, x := range streams {
		s.Errors += x.Errors
		if x.Query == streamSynthesize {
			s.First = x.First
		}
	}
	return s
}
