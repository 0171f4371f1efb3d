package main

import (
	"errors"
	"testing"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var found = []tars.Passage{
	{Index: 0, Text: "Geometry\n\nA point is a pair of numbers.", Score: 0.9},
	{Index: 1, Text: "Recovery\n\nYou can restore the cluster to any point in time – “PITR”. It needs the log.", Score: 0.8},
}

const question = "how do I restore to a point in time?"

func TestRankScoresEachCandidateOnce(t *testing.T) {
	out, err := rank(&tars.Context{}, tars.RankInput{Query: tars.Query{Text: question}, Candidates: found})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Scores) != 2 || out.Scores[0].Index != 0 || out.Scores[1].Index != 1 {
		t.Fatalf("rank = %+v, want a score for each candidate", out)
	}
	if out.Scores[1].Score <= out.Scores[0].Score {
		t.Errorf("rank = %+v, want the second candidate above the first", out.Scores)
	}
}

func TestSynthesizeCitesExactly(t *testing.T) {
	out, err := synthesize(&tars.Context{}, tars.SynthesizeInput{Query: tars.Query{Text: question}, Passages: found})
	if err != nil {
		t.Fatal(err)
	}
	want := tars.Citation{Index: 1, Start: 10, End: 74, Quote: "You can restore the cluster to any point in time – “PITR”."}
	if len(out.Citations) == 0 || out.Citations[0] != want {
		t.Fatalf("synthesize = %+v, want the first citation %+v", out, want)
	}
}

func TestSynthesizeOfNoPassages(t *testing.T) {
	out, err := synthesize(&tars.Context{}, tars.SynthesizeInput{Query: tars.Query{Text: question}})
	if err != nil || out.Answer != "" || len(out.Citations) != 0 {
		t.Errorf("synthesize of nothing = %+v, %v; want no answer", out, err)
	}
}

func TestConfig(t *testing.T) {
	for _, text := range []string{`{"lexical_weight":0,"max_sentences":1,"max_passages":50}`, `{}`, ``, `null`} {
		if _, err := read(tars.Config(text)); err != nil {
			t.Errorf("read(%s) fails: %v", text, err)
		}
	}
	for _, text := range []string{
		`{"lexical_weight":-0.1}`, `{"lexical_weight":1.1}`, `{"max_sentences":0}`, `{"max_sentences":9}`,
		`{"max_passages":0}`, `{"max_passages":51}`, `{"nosuch":1}`, `{"max_sentences":"3"}`, `[]`,
	} {
		_, err := read(tars.Config(text))
		var e *tars.Error
		if !errors.As(err, &e) || e.Code != tars.CodeBadConfig {
			t.Errorf("read(%s) error = %v, want the code %s", text, err, tars.CodeBadConfig)
		}
	}
}
