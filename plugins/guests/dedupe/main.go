// Dedupe is a plugin that fuses what the legs of a query found by weighted
// reciprocal ranks, and of candidates whose texts begin alike keeps the best
// one. The member k of its configuration is what is added to each rank, 60 if it
// is not there: the larger, the less the first places count.
package main

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var _ = tars.Merge(merge)

type config struct {
	K float64 `json:"k"`
}

// beginning is how many characters of two folded texts are compared.
const beginning = 80

func merge(_ *tars.Context, in tars.MergeInput) (tars.MergeOutput, error) {
	settings := config{K: 60}
	if err := in.Config.Decode(&settings); err != nil {
		return tars.MergeOutput{}, err
	}
	if settings.K < 0 || settings.K > 1e6 {
		return tars.MergeOutput{}, &tars.Error{Code: tars.CodeBadConfig, Message: "k is not in [0, 1000000]"}
	}
	scores := fuse(in.Lists, len(in.Candidates), settings.K)
	slices.SortStableFunc(scores, func(a, b tars.Score) int { return cmp.Compare(b.Score, a.Score) })
	var out tars.MergeOutput
	seen := map[string]bool{}
	for _, s := range scores {
		text := fold(in.Candidates[s.Index].Text)
		if text != "" && seen[text] {
			continue
		}
		seen[text] = true
		out.Scores = append(out.Scores, s)
	}
	return out, nil
}

// fuse returns the score of each of n candidates: the sum of weight / (k + rank)
// over the lists that hold it, where ranks count from 1.
func fuse(lists []tars.List, n int, k float64) []tars.Score {
	scores := make([]tars.Score, n)
	for i := range scores {
		scores[i].Index = i
	}
	for _, list := range lists {
		for i, entry := range list.Entries {
			scores[entry.Index].Score += list.Weight / (k + float64(i+1))
		}
	}
	return scores
}

// fold returns the beginning of a text with its letters small and a space for
// each run of what is neither letter nor digit. A text of nothing else is empty.
func fold(text string) string {
	var b strings.Builder
	n, gap := 0, false
	for _, r := range text {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			gap = n > 0
			continue
		}
		if gap {
			b.WriteByte(' ')
			n++
		}
		if n >= beginning {
			break
		}
		b.WriteRune(unicode.ToLower(r))
		n, gap = n+1, false
	}
	return b.String()
}

func main() {}
