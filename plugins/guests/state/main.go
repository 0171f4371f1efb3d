// State is a plugin for tests that counts its calls in a package variable. Its
// memory is back at its image before each call, so that the count, which is the
// score of each candidate and the answer to each question, is always 1.
package main

import (
	"strconv"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

// calls is how many calls this memory has seen.
var calls int

var _ = tars.Rank(func(_ *tars.Context, in tars.RankInput) (tars.RankOutput, error) {
	calls++
	var out tars.RankOutput
	for _, c := range in.Candidates {
		out.Scores = append(out.Scores, tars.Score{Index: c.Index, Score: float64(calls)})
	}
	return out, nil
})

var _ = tars.Synthesize(func(*tars.Context, tars.SynthesizeInput) (tars.SynthesizeOutput, error) {
	calls++
	return tars.SynthesizeOutput{Answer: strconv.Itoa(calls)}, nil
})

func main() {}
