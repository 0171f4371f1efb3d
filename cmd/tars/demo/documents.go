package demo

// The documents of the REST API that the demo reads, as openapi.yaml defines them.
type (
	answer struct {
		Matches []struct {
			ID       string  `json:"id"`
			Score    float64 `json:"score"`
			Text     string  `json:"text"`
			Metadata struct {
				Heading string `json:"heading"`
				URL     string `json:"url"`
			} `json:"metadata"`
		} `json:"matches"`
		Results  []result  `json:"results"`
		Missing  []missing `json:"missing"`
		Receipts []Receipt `json:"receipts"`
		TookMS   float64   `json:"took_ms"`
	}
	result struct {
		Plugin    string     `json:"plugin"`
		Text      string     `json:"text"`
		Citations []Citation `json:"citations"`
		Grounded  bool       `json:"grounded"`
	}
	missing struct {
		Source string `json:"source"`
		Reason string `json:"reason"`
		Detail string `json:"detail"`
	}
)

// Citation is a passage that an answer rests on.
type Citation struct {
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Version    int64  `json:"version"`
	Start      int    `json:"start"`
	End        int    `json:"end"`
	Quote      string `json:"quote"`
	Verified   bool   `json:"verified"`
}

// Receipt is what one plugin call ran and cost.
type Receipt struct {
	Plugin     string `json:"plugin"`
	Version    int    `json:"version"`
	Digest     string `json:"digest"`
	Capability string `json:"capability"`
	Tier       string `json:"tier"`
	Grade      string `json:"grade"`
	QueueUS    int64  `json:"queue_us"`
	VMUS       int64  `json:"vm_us"`
	Fuel       int64  `json:"fuel"`
	PeakMemory int64  `json:"peak_memory_bytes"`
	HostCalls  int    `json:"host_calls"`
}
