// Flood is a plugin for tests whose answers are documents of the right kind,
// but far longer than its manifest allows. The member bytes of its
// configuration gives the length of the text in them; default 4 MiB.
package main

import (
	"strings"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var _ = tars.Rank(func(_ *tars.Context, in tars.RankInput) (tars.RankOutput, error) {
	text, err := padding(in.Config)
	if err != nil {
		return tars.RankOutput{}, err
	}
	return tars.RankOutput{Scores: []tars.Score{{Score: 1, Reason: text}}}, nil
})

var _ = tars.Merge(func(_ *tars.Context, in tars.MergeInput) (tars.MergeOutput, error) {
	text, err := padding(in.Config)
	return tars.MergeOutput{Scores: []tars.Score{{Score: 1, Reason: text}}}, err
})

var _ = tars.GuardPre(func(_ *tars.Context, in tars.GuardPreInput) (tars.GuardPreOutput, error) {
	text, err := padding(in.Config)
	return tars.GuardPreOutput{Refuse: text}, err
})

var _ = tars.GuardPost(func(_ *tars.Context, in tars.GuardPostInput) (tars.GuardPostOutput, error) {
	text, err := padding(in.Config)
	return tars.GuardPostOutput{Hide: []tars.Hiding{{Fields: []string{text}}}}, err
})

var _ = tars.Synthesize(func(_ *tars.Context, in tars.SynthesizeInput) (tars.SynthesizeOutput, error) {
	text, err := padding(in.Config)
	return tars.SynthesizeOutput{Answer: text}, err
})

func padding(c tars.Config) (string, error) {
	settings := struct {
		Bytes uint32 `json:"bytes"`
	}{Bytes: 4 << 20}
	err := c.Decode(&settings)
	return strings.Repeat("a", int(settings.Bytes)), err
}

func main() {}
