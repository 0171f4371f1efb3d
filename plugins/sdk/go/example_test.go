package tars_test

import (
	"fmt"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

// shortest ranks short candidates first.
func shortest(_ *tars.Context, in tars.RankInput) (tars.RankOutput, error) {
	var out tars.RankOutput
	for _, c := range in.Candidates {
		out.Scores = append(out.Scores, tars.Score{Index: c.Index, Score: -float64(len(c.Text))})
	}
	return out, nil
}

// A plugin is a function and its registration, and can be tested as such.
func ExampleRank() {
	_ = tars.Rank(shortest)

	out, err := shortest(&tars.Context{}, tars.RankInput{Candidates: []tars.Passage{
		{Index: 0, Text: "a long text"},
		{Index: 1, Text: "short"},
	}})
	fmt.Println(out.Scores, err)
	// Output: [{0 -11 } {1 -5 }] <nil>
}

// firstWords answers with the first sentence of the best passage.
func firstWords(_ *tars.Context, in tars.SynthesizeInput) (tars.SynthesizeOutput, error) {
	p := in.Passages[0]
	end := min(len(p.Text), 33)
	return tars.SynthesizeOutput{Answer: p.Text[:end] + " [1]", Citations: []tars.Citation{tars.Cite(p, 0, end)}}, nil
}

func ExampleSynthesize() {
	_ = tars.Synthesize(firstWords)

	out, err := firstWords(&tars.Context{}, tars.SynthesizeInput{Passages: []tars.Passage{
		{Text: "Stop the server, if it's running. Then restore it."},
	}})
	fmt.Println(out.Answer, out.Citations[0].Start, out.Citations[0].End, err)
	// Output: Stop the server, if it's running. [1] 0 33 <nil>
}
