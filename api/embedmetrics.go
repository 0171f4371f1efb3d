package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tars-project/tars/knowledge/embed"
)

// RegisterEmbedders adds the figures of embedders and, unless cache is nil, of the
// memory of questions. Both are called at each scrape and must be safe for concurrent
// use. It panics if they are there already.
func (m *Metrics) RegisterEmbedders(used func() []embed.Used, cache func() embed.CacheStats) {
	m.Register(embedCounts{used, cache})
}

type embedCounts struct {
	used  func() []embed.Used
	cache func() embed.CacheStats
}

func embedDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tars_embed_"+name, help, labels, nil)
}

var (
	embedCallsDesc   = embedDesc("calls_total", "Calls of embedders, by scope, provider and outcome.", "scope", "provider", "outcome")
	embedTextsDesc   = embedDesc("texts_total", "Texts that were embedded.", "scope", "provider")
	embedBytesDesc   = embedDesc("bytes_total", "Bytes of the texts that were embedded.", "scope", "provider")
	embedTokensDesc  = embedDesc("tokens_total", "Tokens that embedding servers counted.", "scope", "provider")
	queryLookupsDesc = embedDesc("query_cache_lookups_total", "Questions whose vector was looked for in memory.", "outcome")
	queryBytesDesc   = embedDesc("query_cache_bytes", "Bytes of the vectors of questions in memory.")
	queryVectorsDesc = embedDesc("query_cache_vectors", "Vectors of questions in memory.")
)

// Describe implements [prometheus.Collector].
func (c embedCounts) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{embedCallsDesc, embedTextsDesc, embedBytesDesc, embedTokensDesc, queryLookupsDesc, queryBytesDesc, queryVectorsDesc} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c embedCounts) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, u := range c.used() {
		count(embedCallsDesc, u.Calls-u.Failures, u.Scope, u.Provider, "ok")
		count(embedCallsDesc, u.Failures, u.Scope, u.Provider, "failed")
		count(embedTextsDesc, int64(u.Texts), u.Scope, u.Provider)
		count(embedBytesDesc, u.Bytes, u.Scope, u.Provider)
		count(embedTokensDesc, u.Tokens, u.Scope, u.Provider)
	}
	if c.cache == nil {
		return
	}
	s := c.cache()
	count(queryLookupsDesc, s.Hits, "hit")
	count(queryLookupsDesc, s.Misses, "miss")
	out <- prometheus.MustNewConstMetric(queryBytesDesc, prometheus.GaugeValue, float64(s.Bytes))
	out <- prometheus.MustNewConstMetric(queryVectorsDesc, prometheus.GaugeValue, float64(s.Entries))
}
