// Rank is a plugin of the benchmarks: it decodes a document with encoding/json,
// counts for each candidate how many words of the query it has, and encodes the
// scores.
package main

import (
	"encoding/json"
	"strings"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

type input struct {
	Query struct {
		Text string `json:"text"`
	} `json:"query"`
	Candidates []struct {
		Index int    `json:"index"`
		Text  string `json:"text"`
	} `json:"candidates"`
}

type score struct {
	Index int     `json:"index"`
	Score float64 `json:"score"`
}

type output struct {
	Scores []score `json:"scores"`
}

var _ = tars.Handle("rank", func(_ *tars.Context, document []byte) ([]byte, error) {
	var in input
	if err := json.Unmarshal(document, &in); err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ToLower(in.Query.Text))
	var out output
	for _, c := range in.Candidates {
		text, n := strings.ToLower(c.Text), 0
		for _, w := range words {
			if strings.Contains(text, w) {
				n++
			}
		}
		out.Scores = append(out.Scores, score{c.Index, float64(n) / float64(max(len(words), 1))})
	}
	return json.Marshal(out)
})

func main() {}
