package api

import "github.com/prometheus/client_golang/prometheus"

// JobCount is how often background work of one kind came out in one way on this node,
// since the server was started.
type JobCount struct {
	Kind, Outcome string
	N             int64
}

// RegisterJobs adds the figures that count returns, which is called at each scrape and
// must be safe for concurrent use. It panics if they are there already.
func (m *Metrics) RegisterJobs(count func() []JobCount) { m.Register(jobCounts{count}) }

type jobCounts struct{ count func() []JobCount }

var jobsDesc = prometheus.NewDesc("tars_jobs_total", "Jobs, and periodic work of the node, by kind and by what came of an attempt.", []string{"kind", "outcome"}, nil)

// Describe implements [prometheus.Collector].
func (c jobCounts) Describe(out chan<- *prometheus.Desc) { out <- jobsDesc }

// Collect implements [prometheus.Collector].
func (c jobCounts) Collect(out chan<- prometheus.Metric) {
	for _, n := range c.count() {
		out <- prometheus.MustNewConstMetric(jobsDesc, prometheus.CounterValue, float64(n.N), n.Kind, n.Outcome)
	}
}
