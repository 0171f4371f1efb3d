package main

import (
	"errors"
	"math"
	"strings"
	"testing"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

// list makes a list of candidates by their indices.
func list(weight float64, indices ...int) tars.List {
	l := tars.List{Weight: weight}
	for _, i := range indices {
		l.Entries = append(l.Entries, tars.Entry{Index: i, Score: 1})
	}
	return l
}

func TestMerge(t *testing.T) {
	in := tars.MergeInput{
		Candidates: []tars.Passage{
			{Index: 0, Text: "Oil the pump once a year."},
			{Index: 1, Text: "Something else"},
			{Index: 2, Text: "OIL  the pump, once a year!"},
			{Index: 3},
			{Index: 4, Text: "…"},
		},
		Lists:  []tars.List{list(1, 0, 1, 3, 4), list(2, 2, 1)},
		Config: tars.Config(`{"k":1}`),
	}
	out, err := merge(&tars.Context{}, in)
	want := []tars.Score{{Index: 1, Score: 1.0/3 + 2.0/3}, {Index: 2, Score: 1}, {Index: 3, Score: 0.25}, {Index: 4, Score: 0.2}}
	if err != nil || len(out.Scores) != len(want) {
		t.Fatalf("merge = %+v, %v; want %+v: without the pump's second text, with both that have no words", out.Scores, err, want)
	}
	for i, s := range out.Scores {
		if s.Index != want[i].Index || math.Abs(s.Score-want[i].Score) > 1e-12 {
			t.Errorf("score %d = %+v, want %+v", i, s, want[i])
		}
	}
}

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		" –!\n":                          "",
		"  A\tB,, c ":                    "a b c",
		"ÄÖ 7":                           "äö 7",
		strings.Repeat("Ö", 79) + " end": strings.Repeat("ö", 79) + " ",
		strings.Repeat("Ö", 78) + " end": strings.Repeat("ö", 78) + " e",
		strings.Repeat("Ö", 90):          strings.Repeat("ö", beginning),
	} {
		if got := fold(text); got != want {
			t.Errorf("fold(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, config := range []string{`{"k":-1}`, `{"k":2e6}`, `{"k":"60"}`, `{"q":1}`} {
		_, err := merge(&tars.Context{}, tars.MergeInput{Config: tars.Config(config)})
		var e *tars.Error
		if !errors.As(err, &e) || e.Code != tars.CodeBadConfig {
			t.Errorf("merge with the config %s fails with %v, want the code %s", config, err, tars.CodeBadConfig)
		}
	}
}
