package main

import (
	"errors"
	"math"
	"testing"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

func TestCosine(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b []float32
		want float64
		ok   bool
	}{
		{"same direction", []float32{1, 2}, []float32{2, 4}, 1, true},
		{"opposite", []float32{1, 0}, []float32{-3, 0}, -1, true},
		{"at right angles", []float32{1, 0}, []float32{0, 5}, 0, true},
		{"45 degrees", []float32{1, 0}, []float32{1, 1}, math.Sqrt2 / 2, true},
		{"large", []float32{1e30, 0}, []float32{1e30, 1e30}, math.Sqrt2 / 2, true},
		{"zero", []float32{0, 0}, []float32{1, 1}, 0, false},
		{"other length", []float32{1}, []float32{1, 1}, 0, false},
		{"none", []float32{1}, nil, 0, false},
		{"nothing at all", nil, nil, 0, false},
	} {
		if got, ok := cosine(tt.a, tt.b); math.Abs(got-tt.want) > 1e-12 || ok != tt.ok {
			t.Errorf("%s: cosine = %v, %v; want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestByVector(t *testing.T) {
	candidates := []tars.Passage{{Index: 0}, {Index: 1}, {Index: 2}}
	out := byVector([]float32{1, 0}, candidates, [][]float32{{0, 1}, nil, {2, 0}})
	want := []tars.Score{{Index: 0, Score: 0}, {Index: 2, Score: 1}}
	if len(out.Scores) != 2 || out.Scores[0] != want[0] || out.Scores[1] != want[1] {
		t.Errorf("byVector = %+v, want %+v: none for the candidate without a vector", out.Scores, want)
	}
}

func TestByText(t *testing.T) {
	out, err := rank(&tars.Context{}, tars.RankInput{
		Query:  tars.Query{Text: "Öl the pump"},
		Config: tars.Config(`{"by":"text"}`),
		Candidates: []tars.Passage{
			{Index: 0, Text: "nothing of it"}, {Index: 1, Text: "the PUMP, öl: öl"}, {Index: 2, Text: "Pump, the Öl!"}, {Index: 3},
		},
	})
	want := []float64{0, 4 / math.Sqrt(18), 1, 0}
	if err != nil || len(out.Scores) != len(want) {
		t.Fatalf("rank = %+v, %v; want a score for each candidate", out, err)
	}
	for i, s := range out.Scores {
		if s.Index != i || math.Abs(s.Score-want[i]) > 1e-12 {
			t.Errorf("score %d = %+v, want %v", i, s, want[i])
		}
	}
}

func TestConfig(t *testing.T) {
	for config, code := range map[string]string{
		`{"by":"luck"}`: tars.CodeBadConfig, `{"by":1}`: tars.CodeBadConfig, `{"buy":"text"}`: tars.CodeBadConfig,
		`{}`: tars.CodeUnavailable, ``: tars.CodeUnavailable, // by vector, for which there is no host here
	} {
		_, err := rank(&tars.Context{}, tars.RankInput{Config: tars.Config(config)})
		var e *tars.Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("rank with the config %s fails with %v, want the code %s", config, err, code)
		}
	}
}
