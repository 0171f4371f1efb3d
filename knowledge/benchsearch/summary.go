package main

import "github.com/tars-project/tars/cmd/tars/rig"

// summary is the last line: one figure for each thing that is promised, of the
// words, at the headline's number of clients.
type summary struct {
	Recall         float64 `json:"recall_at_10"`
	Short          float64 `json:"short_rate"`
	REST           float64 `json:"qps_rest"`
	Pgx            float64 `json:"qps_pgx"`
	Pgbench        float64 `json:"qps_pgbench"`
	Ratio          float64 `json:"ratio_rest_vs_pgx"`
	P95            float64 `json:"p95_ms"`
	P99            float64 `json:"p99_ms"`
	FilteredRecall float64 `json:"filtered_1pct_recall"`
	FilteredRatio  float64 `json:"filtered_1pct_ratio"`
	Ingest         float64 `json:"ingest_rows_per_s"`
	Errors         int     `json:"errors"` // of everything over REST: failed searches and batches, and searches that were due and not sent

	ErrorRate    float64 `json:"error_rate"` // of the searches over REST
	RecallPgx    float64 `json:"recall_at_10_pgx"`
	RecallHalf   float64 `json:"recall_at_10_pgx_half"`
	Half         float64 `json:"qps_pgx_half"`
	RatioHalf    float64 `json:"ratio_rest_vs_pgx_half"`
	RatioPgbench float64 `json:"ratio_pgx_vs_pgbench"`
	RESTBytes    float64 `json:"qps_rest_base64"`
	RatioBytes   float64 `json:"ratio_rest_base64_vs_pgx"`
	// What the ratio would be on a machine that does nothing else: of the processor
	// time of a search, all processes together, at the headline's clients.
	CPURatio     float64 `json:"cpu_ratio_rest_vs_pgx"`
	CPURatioHalf float64 `json:"cpu_ratio_rest_vs_pgx_half"`

	Foreign         float64         `json:"foreign_cpu_share"` // what others had of the machine meanwhile
	Rows            int             `json:"rows"`
	RatioByClients  map[int]float64 `json:"ratio_rest_vs_pgx_by_clients"`
	OpenP99         float64         `json:"open_loop_p99_ms"` // at 70 % of qps_rest
	TenantsRate     float64         `json:"qps_tenants"`
	TenantsRecall   float64         `json:"tenants_recall"`
	IngestBytes     float64         `json:"ingest_base64_rows_per_s"`
	IngestHNSW      float64         `json:"ingest_hnsw_rows_per_s"`
	Ready           float64         `json:"index_ready_s"` // from the first row over REST to an index over all of them
	Copy            float64         `json:"copy_rows_per_s"`
	CopyLive        float64         `json:"copy_live_hnsw_rows_per_s"`
	Build           float64         `json:"index_build_s"`
	ServerMB        float64         `json:"server_rss_mb"`
	PostgresMB      float64         `json:"postgres_rss_mb"`
	ClusteredRecall float64         `json:"clustered_recall_at_10"`
	ClusteredRatio  float64         `json:"clustered_ratio_rest_vs_pgx"`
	BruteForce      float64         `json:"qps_brute_force"`
	PeerHNSW        float64         `json:"qps_coder_hnsw"`
	PeerHNSWRecall  float64         `json:"recall_coder_hnsw"`
	PeerChromem     float64         `json:"qps_chromem"`
	Samples         int             `json:"samples"`
	Isolation       string          `json:"isolation"`
	Commit          string          `json:"commit"`
}

// summarise takes the figures from the rows.
func summarise(r *report) (s summary, err error) {
	s.Isolation, s.Commit, s.ServerMB, s.PostgresMB = r.Machine.Isolation, r.Machine.Commit, r.ServerMB, r.PostgresMB
	at := func(dataset, layer, loop string, clients int) row {
		found, missing := find(r.Rows, dataset, layer, loop, clients)
		if err == nil {
			err = missing
		}
		return found
	}
	words := func(layer string) row { return at(datasetWords, layer, "closed", headline) }
	rest, pgx, half, bytes := words(layerREST), words(layerPgx), words(layerPgxHalf), words(layerRESTBytes)
	s.Recall, s.Short, s.REST, s.P95, s.P99 = rest.ByID, rest.Short, rest.Rate, rest.P95, rest.P99
	s.Pgx, s.RecallPgx, s.Ratio = pgx.Rate, pgx.ByID, ratio(rest, pgx)
	s.Half, s.RecallHalf, s.RatioHalf = half.Rate, half.ByID, ratio(rest, half)
	s.CPURatio, s.CPURatioHalf, s.Foreign = rig.Round(pgx.cpu()/rest.cpu()), rig.Round(half.cpu()/rest.cpu()), rest.Foreign
	s.RESTBytes, s.RatioBytes = bytes.Rate, ratio(bytes, pgx)
	s.Pgbench, s.RatioPgbench = words(layerPgbench).Rate, ratio(pgx, words(layerPgbench))
	s.RatioByClients = map[int]float64{}
	for _, c := range allClients {
		s.RatioByClients[c] = ratio(at(datasetWords, layerREST, "closed", c), at(datasetWords, layerPgx, "closed", c))
	}
	filtered, tenants := words(layerFiltered(10)), words(layerTenants)
	s.FilteredRecall, s.FilteredRatio = filtered.ByID, ratio(filtered, rest)
	s.TenantsRate, s.TenantsRecall = tenants.Rate, tenants.ByID
	s.OpenP99 = at(datasetWords, layerREST, "open", 0).P99
	s.BruteForce = words(layerBrute).Rate
	c := at(datasetClusters, layerREST, "closed", headline)
	s.ClusteredRecall, s.ClusteredRatio = c.ByID, ratio(c, at(datasetClusters, layerPgx, "closed", headline))
	s.count(r)
	s.fromIngest(r)
	s.fromPeers(r)
	return s, err
}

// count adds up what was searched over REST.
func (s *summary) count(r *report) {
	for _, x := range r.Rows {
		if x.Layer == layerBrute || x.Layer == layerPgbench || x.Layer == layerPgx || x.Layer == layerPgxHalf {
			continue
		}
		s.Samples += x.Samples
		s.Errors += x.Errors + x.Late
	}
	s.ErrorRate = float64(s.Errors) / float64(max(1, s.Errors+s.Samples))
	for _, x := range r.Ingest {
		s.Errors += x.Errors
	}
}

func (s *summary) fromIngest(r *report) {
	for _, x := range r.Ingest {
		switch {
		case x.Dataset != datasetWords:
		case x.Index == indexHNSW:
			s.IngestHNSW, s.Ready = x.Rate, x.Ready
		case x.Coding == asBase64:
			s.IngestBytes = x.Rate
		default:
			s.Ingest = x.Rate
		}
	}
	for _, x := range r.Loaded {
		if x.Dataset == datasetWords {
			s.Rows = x.Rows
			s.Copy, s.CopyLive, s.Build = x.Copy, x.CopyLive, x.Build
		}
	}
}

func (s *summary) fromPeers(r *report) {
	for _, p := range r.Peers {
		for _, x := range p.Rows {
			if p.Dataset != datasetWords || x.Clients != headline {
				continue
			}
			if p.Name == peerHNSW {
				s.PeerHNSW, s.PeerHNSWRecall = x.Rate, x.ByID
			} else {
				s.PeerChromem = x.Rate
			}
		}
	}
}
