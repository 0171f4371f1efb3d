// Cited is a plugin that ranks by the question's words beside the score of the
// search, and answers in sentences of the passages, each with its citation.
// Package answer is how; this package carries it over the ABI.
package main

import (
	"math"

	"github.com/tars-project/tars/plugins/guests/cited/answer"
	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var (
	_ = tars.Rank(rank)
	_ = tars.Synthesize(synthesize)
)

// config is what the caller of a query may set, for both capabilities.
type config struct {
	LexicalWeight float64 `json:"lexical_weight"` // of the words against the search's score, in [0, 1]
	MaxSentences  int     `json:"max_sentences"`  // of an answer, 1 to 8
	MaxPassages   int     `json:"max_passages"`   // that an answer is taken from, the best ones, 1 to 50
}

func read(c tars.Config) (config, error) {
	settings := config{LexicalWeight: 0.6, MaxSentences: 3, MaxPassages: 8}
	if err := c.Decode(&settings); err != nil {
		return settings, err
	}
	switch {
	case settings.LexicalWeight < 0 || settings.LexicalWeight > 1:
		return settings, &tars.Error{Code: tars.CodeBadConfig, Message: "lexical_weight is not in [0, 1]"}
	case settings.MaxSentences < 1 || settings.MaxSentences > 8:
		return settings, &tars.Error{Code: tars.CodeBadConfig, Message: "max_sentences is not 1 to 8"}
	case settings.MaxPassages < 1 || settings.MaxPassages > 50:
		return settings, &tars.Error{Code: tars.CodeBadConfig, Message: "max_passages is not 1 to 50"}
	}
	return settings, nil
}

func rank(_ *tars.Context, in tars.RankInput) (tars.RankOutput, error) {
	settings, err := read(in.Config)
	if err != nil {
		return tars.RankOutput{}, err
	}
	candidates := make([]answer.Candidate, len(in.Candidates))
	for i, c := range in.Candidates {
		candidates[i] = answer.Candidate{Text: c.Text, Score: c.Score}
	}
	out := tars.RankOutput{Scores: make([]tars.Score, len(candidates))}
	for i, r := range answer.Rank(in.Query.Text, candidates, settings.LexicalWeight) {
		out.Scores[i] = tars.Score{Index: in.Candidates[i].Index, Score: math.Round(r.Score*1e6) / 1e6, Reason: r.Reason}
	}
	return out, nil
}

func synthesize(_ *tars.Context, in tars.SynthesizeInput) (tars.SynthesizeOutput, error) {
	settings, err := read(in.Config)
	if err != nil {
		return tars.SynthesizeOutput{}, err
	}
	passages := in.Passages[:min(len(in.Passages), settings.MaxPassages)]
	texts := make([]string, len(passages))
	for i, p := range passages {
		texts[i] = p.Text
	}
	a := answer.Of(in.Query.Text, texts, settings.MaxSentences)
	out := tars.SynthesizeOutput{Answer: a.Text}
	for _, q := range a.Quotes {
		out.Citations = append(out.Citations, tars.Cite(passages[q.Passage], q.Start, q.End))
	}
	return out, nil
}

func main() {}
