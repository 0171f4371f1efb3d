package api

import "github.com/prometheus/client_golang/prometheus"

// AnswerStats are the figures of the cache of answers, of this node since it was
// started.
type AnswerStats struct {
	Hits, Misses, Stale int64 // stale ones are misses too
	Answers             int
	Bytes               int64
}

// RegisterAnswers adds the figures that stats returns, which is called at each scrape
// and must be safe for concurrent use. It panics if they are there already.
func (m *Metrics) RegisterAnswers(stats func() AnswerStats) {
	counter := func(name, help string, value func(AnswerStats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(stats())) })
	}
	m.Register(
		counter("tars_answers_hits_total", "Queries whose answer had been kept.", func(s AnswerStats) int64 { return s.Hits }),
		counter("tars_answers_misses_total", "Queries of collections that keep answers, without one that still holds.", func(s AnswerStats) int64 { return s.Misses }),
		counter("tars_answers_stale_total", "Those of the misses for which there was an answer that rested on what has changed.", func(s AnswerStats) int64 { return s.Stale }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tars_answers_bytes", Help: "Bytes of kept answers, about."}, func() float64 { return float64(stats().Bytes) }),
	)
}
