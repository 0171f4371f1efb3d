package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts requests for Prometheus. Make it with [NewMetrics]; safe for
// concurrent use. A nil *Metrics counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// NewMetrics returns metrics of their own registry, with those of the process and
// of Go's runtime.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tars_http_requests_total", Help: "Requests answered, by operation and status.",
		}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tars_http_request_seconds", Help: "Time from the header of a request to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tars_http_requests_in_flight", Help: "Requests being answered now.",
		}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.inFlight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Register adds the metrics of another part. It panics if they are there already.
func (m *Metrics) Register(others ...prometheus.Collector) { m.registry.MustRegister(others...) }

// Handler serves the metrics. It needs no key, so it belongs on a port that only
// the operator reaches.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// begin counts a request that begins, and returns what counts its end.
func (m *Metrics) begin() func(operation string, status int, took time.Duration) {
	if m == nil {
		return func(string, int, time.Duration) {}
	}
	m.inFlight.Inc()
	return func(operation string, status int, took time.Duration) {
		m.inFlight.Dec()
		code := strconv.Itoa(status)
		m.requests.WithLabelValues(operation, code).Inc()
		m.seconds.WithLabelValues(operation, code).Observe(took.Seconds())
	}
}
