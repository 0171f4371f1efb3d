package main

import (
	"math"
	"testing"
)

func TestQualityOf(t *testing.T) {
	for _, test := range []struct {
		name   string
		places []int
		want   quality
	}{
		{"none", nil, quality{}},
		{"all first", []int{0, 0}, quality{2, 1, 1, 1}},
		{"first, third, sixth, not found", []int{0, 2, 5, -1}, quality{4, 0.25, 0.5, (1 + 0.5 + 1/math.Log2(7)) / 4}},
		{"tenth and eleventh", []int{9, 10}, quality{2, 0, 0, 1 / math.Log2(11) / 2}},
	} {
		if got := qualityOf(test.places); !near(got, test.want) {
			t.Errorf("%s: qualityOf(%v) = %+v, want %+v", test.name, test.places, got, test.want)
		}
	}
}

func TestMacro(t *testing.T) {
	got := macro([]quality{{90, 1, 1, 1}, {10, 0, 0.5, 0.25}})
	if want := (quality{100, 0.5, 0.75, 0.625}); !near(got, want) {
		t.Errorf("macro = %+v, want %+v: each set counts as much as another", got, want)
	}
}

func near(a, b quality) bool {
	return a.Questions == b.Questions && math.Abs(a.First-b.First) < 1e-12 && math.Abs(a.Five-b.Five) < 1e-12 && math.Abs(a.NDCG-b.NDCG) < 1e-12
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2}} {
		if got := median(test.values); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.values, got, test.want)
		}
	}
}

func TestBySet(t *testing.T) {
	c := corpus{name: "both", passages: make([]string, 3), questions: []question{{"a", "", 0}, {"b", "", 1}, {"a", "", 2}}}
	got := bySet(c, []int{0, -1, 1}, "e", "vector")
	if len(got) != 3 || got[0].Set != "a" || got[0].Questions != 2 || got[0].First != 0.5 || got[1].Set != "b" || got[1].First != 0 || got[2].Set != "both" || got[2].Questions != 3 {
		t.Errorf("bySet = %v, want a with 2 questions, b with 1, both with 3", got)
	}
}
