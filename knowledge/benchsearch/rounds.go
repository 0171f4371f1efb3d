package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// row is what one layer did with so many clients, over all rounds.
type row struct {
	Dataset   string    `json:"dataset"`
	Layer     string    `json:"layer"`
	Loop      string    `json:"loop"` // "closed" or "open"
	Clients   int       `json:"clients"`
	Offered   float64   `json:"offered_per_second,omitempty"`
	Rate      float64   `json:"searches_per_second"` // median of the rounds
	Rounds    []float64 `json:"rounds,omitempty"`    // the rate of each
	P50       float64   `json:"p50_ms"`
	P95       float64   `json:"p95_ms"`
	P99       float64   `json:"p99_ms"`
	Samples   int       `json:"samples"` // right answers
	Errors    int       `json:"errors"`
	Late      int       `json:"late,omitempty"` // due and not sent
	ErrorRate float64   `json:"error_rate"`
	First     string    `json:"first_error,omitempty"`
	// Processor time of a search, in ms, by who took it; and what share of the
	// machine others had meanwhile.
	ClientMS   float64 `json:"client_cpu_ms"`
	ServerMS   float64 `json:"server_cpu_ms"`
	PostgresMS float64 `json:"postgres_cpu_ms"`
	Foreign    float64 `json:"foreign_cpu_share"`
	quality
}

// String is the row as it is printed.
func (r row) String() string {
	return fmt.Sprintf("%-9s %-22s %-6s c=%-2d %8.1f/s  p50 %7.2f p95 %7.2f p99 %7.2f ms  cpu/search: client %.3f server %.3f postgres %.3f ms, others %2.0f %%  recall %.4f short %.3f  n %d errors %d %s",
		r.Dataset, r.Layer, r.Loop, r.Clients, r.Rate, r.P50, r.P95, r.P99, r.ClientMS, r.ServerMS, r.PostgresMS, 100*r.Foreign, r.ByID, r.Short, r.Samples, r.Errors+r.Late, r.First)
}

// cpu is the processor time of a search, in ms, client's, server's and database's.
func (r row) cpu() float64 { return r.ClientMS + r.ServerMS + r.PostgresMS }

// rounds measures layers in turns, so that noise of the machine hits all alike.
type rounds struct {
	n      int
	lasts  time.Duration
	clocks rig.Clocks
	cores  int
	log    io.Writer
}

// run measures all layers of a dataset, each with all its numbers of clients,
// in every round; each round begins with another layer.
func (m rounds) run(ctx context.Context, layers []*layer) ([]row, error) {
	for _, l := range layers {
		l.rates, l.sums = map[int][]float64{}, map[int]*aggregate{}
		for _, c := range l.clients {
			l.sums[c] = &aggregate{}
		}
	}
	for n := range m.n {
		start := n * len(layers) / m.n
		for _, l := range slices.Concat(layers[start:], layers[:start]) {
			for _, c := range l.clients {
				if err := m.measure(ctx, l, c); err != nil {
					return nil, err
				}
			}
		}
	}
	var rows []row
	for _, l := range layers {
		for _, c := range l.clients {
			rows = append(rows, m.row(l, c, "closed", 0, l.rates[c], *l.sums[c]))
			fmt.Fprintln(m.log, rows[len(rows)-1])
		}
	}
	return rows, nil
}

// measure warms up and makes one closed loop.
func (m rounds) measure(ctx context.Context, l *layer, clients int) error {
	if l.outside == nil {
		if _, err := l.run(ctx, clients, m.lasts/8); err != nil {
			return err
		}
	}
	before, err := m.clocks.Start()
	if err != nil {
		return err
	}
	r, err := l.run(ctx, clients, m.lasts)
	if err != nil {
		return err
	}
	taken, err := m.clocks.Stop(before)
	if err != nil {
		return err
	}
	sum := l.sums[clients]
	sum.add(r, taken)
	l.rates[clients] = append(l.rates[clients], r.Rate())
	return nil
}

func (a *aggregate) add(r load.Result, u rig.Usage) {
	a.result.Took += r.Took
	a.result.Latencies = append(a.result.Latencies, r.Latencies...)
	a.result.Errors += r.Errors
	a.result.Late += r.Late
	if a.result.First == nil {
		a.result.First = r.First
	}
	a.used = a.used.Plus(u)
}

// openLoop offers a layer a constant rate, over at most so many clients.
func (m rounds) openLoop(ctx context.Context, l *layer, clients int, rate float64, lasts time.Duration) (row, error) {
	some, err := l.dial(ctx, clients)
	if err != nil {
		return row{}, err
	}
	before, err := m.clocks.Start()
	if err != nil {
		return row{}, err
	}
	r, err := load.Open(ctx, some, rate, lasts)
	if err != nil {
		return row{}, err
	}
	taken, err := m.clocks.Stop(before)
	if err != nil {
		return row{}, err
	}
	var a aggregate
	a.add(r, taken)
	found := m.row(l, clients, "open", rate, []float64{r.Rate()}, a)
	fmt.Fprintln(m.log, found)
	return found, nil
}

func (m rounds) row(l *layer, clients int, loop string, offered float64, rates []float64, a aggregate) row {
	slices.Sort(a.result.Latencies)
	ms := func(q float64) float64 { return rig.Round(rig.Milliseconds(rig.Quantile(a.result.Latencies, q))) }
	each := func(d time.Duration) float64 {
		return rig.Round(rig.Milliseconds(d) / float64(max(1, len(a.result.Latencies)+a.result.Errors)))
	}
	r := row{
		Dataset: l.data.name, Layer: l.name, Loop: loop, Clients: clients, Offered: rig.Round(offered), Rate: rig.Round(rig.Median(rates)),
		P50: ms(0.5), P95: ms(0.95), P99: ms(0.99),
		Samples: len(a.result.Latencies), Errors: a.result.Errors, Late: a.result.Late, ErrorRate: a.result.ErrorRate(),
		ClientMS: each(a.used.Client), ServerMS: each(a.used.Server), PostgresMS: each(a.used.Postgres),
		Foreign: rig.Round(a.used.Foreign().Seconds() / (a.used.Wall.Seconds() * float64(m.cores))),
		quality: l.quality,
	}
	if loop == "closed" {
		for _, rate := range rates {
			r.Rounds = append(r.Rounds, rig.Round(rate))
		}
	}
	if a.result.First != nil {
		r.First = a.result.First.Error()
	}
	return r
}

// find returns a row.
func find(rows []row, dataset, layer, loop string, clients int) (row, error) {
	for _, r := range rows {
		if r.Dataset == dataset && r.Layer == layer && r.Loop == loop && (clients == 0 || r.Clients == clients) {
			return r, nil
		}
	}
	return row{}, fmt.Errorf("no figures of %s, %s, %s loop, %d clients", dataset, layer, loop, clients)
}

// ratio is the median of the rounds' ratios of rates.
func ratio(a, b row) float64 {
	var all []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		if b.Rounds[i] > 0 {
			all = append(all, a.Rounds[i]/b.Rounds[i])
		}
	}
	return rig.Round(rig.Median(all))
}
