package api

import "github.com/prometheus/client_golang/prometheus"

// AuditStats are the figures of what this node writes to the audit log.
type AuditStats struct {
	Waiting int   // events that are not written yet
	Dropped int64 // events that the database does not take, since the node was started
	Failing bool  // the last write failed
}

// RegisterAudit adds the figures that stats returns, which is called at each scrape and
// must be safe for concurrent use. It panics if they are there already.
func (m *Metrics) RegisterAudit(stats func() AuditStats) {
	gauge := func(name, help string, value func(AuditStats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(stats()) })
	}
	m.Register(
		gauge("tars_audit_waiting", "Events of the audit log that are not written yet.", func(s AuditStats) float64 { return float64(s.Waiting) }),
		gauge("tars_audit_dropped", "Events of the audit log that the database does not take, since the start.", func(s AuditStats) float64 { return float64(s.Dropped) }),
		gauge("tars_audit_failing", "1 when the last write of the audit log failed.", func(s AuditStats) float64 {
			if s.Failing {
				return 1
			}
			return 0
		}),
	)
}
