package api

import "github.com/prometheus/client_golang/prometheus"

// LedgerStats are the figures of what this node notes of calls and usage.
type LedgerStats struct {
	Dropped int64 // calls that were not kept, since the node was started
	Waiting int   // calls that are not written yet
	Failing bool  // the last write failed
}

// RegisterLedger adds the figures that stats returns, which is called at each scrape and
// must be safe for concurrent use. It panics if they are there already.
func (m *Metrics) RegisterLedger(stats func() LedgerStats) {
	m.Register(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tars_ledger_calls_dropped_total", Help: "Plugin calls whose rows were given up while the database was away; they are in the usage.",
		}, func() float64 { return float64(stats().Dropped) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tars_ledger_calls_waiting", Help: "Plugin calls that are not written yet.",
		}, func() float64 { return float64(stats().Waiting) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tars_ledger_failing", Help: "1 when the last write of calls and usage failed.",
		}, func() float64 {
			if stats().Failing {
				return 1
			}
			return 0
		}),
	)
}
