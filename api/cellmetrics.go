package api

import "github.com/prometheus/client_golang/prometheus"

// CellStats are the figures of the cells that plugins run in. Those of cells and
// modules are of now, the others since the server was started.
type CellStats struct {
	Cells, Blanks, Quarantined           int
	Adoptions, ColdStarts, BlankFailures int64
	Deaths                               map[string]int64 // by cause
}

// RegisterCells adds the figures that stats returns, which is called at each
// scrape and must be safe for concurrent use. It panics if they are there already.
func (m *Metrics) RegisterCells(stats func() CellStats) {
	gauge := func(name, help string, value func(CellStats) int) {
		m.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value(stats())) }))
	}
	counter := func(name, help string, value func(CellStats) int64) {
		m.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(value(stats())) }))
	}
	gauge("tars_cells", "Cells that belong to a plugin.", func(s CellStats) int { return s.Cells })
	gauge("tars_cells_blank", "Cells that are ready and belong to nobody.", func(s CellStats) int { return s.Blanks })
	gauge("tars_modules_quarantined", "Modules that are not run because they kept killing their cells.", func(s CellStats) int { return s.Quarantined })
	counter("tars_cell_adoptions_total", "Cells that were given to a plugin.", func(s CellStats) int64 { return s.Adoptions })
	counter("tars_cell_cold_starts_total", "Cells that were started for a plugin because no blank one was ready.", func(s CellStats) int64 { return s.ColdStarts })
	counter("tars_cell_blank_failures_total", "Blank cells that could not be started, died or did not answer.", func(s CellStats) int64 { return s.BlankFailures })
	m.Register(deaths{stats})
}

// deaths counts cells that died, by cause.
type deaths struct{ stats func() CellStats }

var deathsDesc = prometheus.NewDesc("tars_cell_deaths_total", "Cells that died, by cause.", []string{"cause"}, nil)

// Describe implements [prometheus.Collector].
func (d deaths) Describe(out chan<- *prometheus.Desc) { out <- deathsDesc }

// Collect implements [prometheus.Collector].
func (d deaths) Collect(out chan<- prometheus.Metric) {
	for cause, n := range d.stats().Deaths {
		out <- prometheus.MustNewConstMetric(deathsDesc, prometheus.CounterValue, float64(n), cause)
	}
}
