package api

import "github.com/prometheus/client_golang/prometheus"

// RecallStats are the figures of measuring recall on live searches, of this node
// since it was started.
type RecallStats struct {
	Measured, Dropped int64   // samples
	Worst             float64 // lowest average recall of a collection in one bucket; 1 without any
}

// RegisterRecall adds the figures that stats returns, which is called at each
// scrape and must be safe for concurrent use. It panics if they are there already.
// Collections and tenants are no labels, for there is no end of them: each one's
// recall is in its health.
func (m *Metrics) RegisterRecall(stats func() RecallStats) {
	m.Register(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tars_recall_samples_total", Help: "Searches that were carried out once more exactly.",
		}, func() float64 { return float64(stats().Measured) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tars_recall_samples_dropped_total", Help: "Searches that were to be, and were not, because others were under way or the database was busy.",
		}, func() float64 { return float64(stats().Dropped) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tars_recall_worst", Help: "Lowest average recall of a collection's searches of one kind within the last hour.",
		}, func() float64 { return stats().Worst }),
	)
}
