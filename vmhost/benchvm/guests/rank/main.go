// Rank is a plugin of the benchmarks: the job of the sample plugins in
// plugins/guests/languages, done by encoding/json, as plugins in Go usually do.
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
	Index int `json:"index"`
	Score int `json:"score"`
}

type output struct {
	Scores []score `json:"scores"`
}

// words are the words of a text, small.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r < 0x80
	})
}

// rank scores each candidate by how many of a thousand of its words are in the
// query.
var _ = tars.Handle("rank", func(_ *tars.Context, document []byte) ([]byte, error) {
	var in input
	if err := json.Unmarshal(document, &in); err != nil {
		return nil, err
	}
	asked := make(map[string]bool)
	for _, w := range words(in.Query.Text) {
		asked[w] = true
	}
	out := output{Scores: make([]score, 0, len(in.Candidates))}
	for _, c := range in.Candidates {
		all, shared := words(c.Text), 0
		for _, w := range all {
			if asked[w] {
				shared++
			}
		}
		out.Scores = append(out.Scores, score{c.Index, shared * 1000 / max(len(all), 1)})
	}
	return json.Marshal(out)
})

func main() {}
