package query

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tars-project/tars/knowledge"
)

func scored(id string, score float64) knowledge.Match {
	return knowledge.Match{ID: knowledge.RecordID(id), Collection: "c", Score: score}
}

// listOf makes a list of "id score" pairs.
func listOf(mode Mode, full bool, pairs ...any) Retrieved {
	l := Retrieved{Mode: mode, Weight: 1, Full: full}
	for i := 0; i < len(pairs); i += 2 {
		l.Matches = append(l.Matches, scored(pairs[i].(string), pairs[i+1].(float64)))
	}
	return l
}

// line is the candidates with their scores.
func line(candidates []Candidate) string {
	var b strings.Builder
	for _, c := range candidates {
		fmt.Fprintf(&b, "%s:%.4f ", c.ID, c.Score)
	}
	return strings.TrimSpace(b.String())
}

func fusion(t testing.TB, f Fusion) Fusion {
	t.Helper()
	f, err := f.validate()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFuse compares with sums made by hand.
func TestFuse(t *testing.T) {
	vector := listOf(Vector, true, "a", 0.9, "b", 0.7, "c", 0.5)
	words := listOf(Lexical, false, "b", 6.0, "d", 3.0)
	other := words
	other.Leg = 1
	heavy := words
	heavy.Weight = 3
	for _, test := range []struct {
		name   string
		fusion Fusion
		lists  []Retrieved
		want   string
		kind   ScoreKind
	}{
		{"one list keeps its scores", Fusion{}, []Retrieved{vector}, "a:0.9000 b:0.7000 c:0.5000", ScoreMetric},
		{"one list of words", Fusion{Method: RRF}, []Retrieved{words}, "b:6.0000 d:3.0000", ScoreBM25},
		{"rrf", Fusion{Method: RRF, K: 1}, []Retrieved{vector, words}, "b:0.8333 a:0.5000 d:0.3333 c:0.2500", ScoreRRF}, // 1/3+1/2, 1/2, 1/3, 1/4
		{"several legs are rrf", Fusion{K: 1}, []Retrieved{vector, other}, "b:0.8333 a:0.5000 d:0.3333 c:0.2500", ScoreRRF},
		{"weights", Fusion{Method: RRF, K: 1}, []Retrieved{vector, heavy}, "b:1.8333 d:1.0000 a:0.5000 c:0.2500", ScoreRRF},
		// vector: (s - 0.5) / 0.4; words: s / 6, for what lacks the words has 0.
		{"minmax", Fusion{}, []Retrieved{vector, words}, "b:1.5000 a:1.0000 d:0.5000 c:0.0000", ScoreSum},
		// vector: deviation of 0.9 0.7 0.5 is 0.1633; words: of 6 3 0 is 2.4495.
		{"zscore", Fusion{Method: Sum, Normalize: ZScore}, []Retrieved{vector, words}, "b:3.6742 a:2.4495 d:1.2247 c:0.0000", ScoreSum},
		{"words cut off", Fusion{}, []Retrieved{vector, listOf(Lexical, true, "b", 6.0, "d", 3.0)}, "b:1.5000 a:1.0000 c:0.0000 d:0.0000", ScoreSum},
		{"all alike", Fusion{}, []Retrieved{listOf(Vector, true, "a", 0.5, "b", 0.5), listOf(Lexical, true)}, "a:1.0000 b:1.0000", ScoreSum},
		{"one word match", Fusion{Normalize: ZScore}, []Retrieved{listOf(Vector, true), listOf(Lexical, false, "a", 2.0)}, "a:2.0000", ScoreSum},
		{"nothing", Fusion{}, []Retrieved{listOf(Vector, false), listOf(Lexical, false)}, "", ScoreSum},
	} {
		got, kind := fusion(t, test.fusion).fuse(test.lists)
		if line(got) != test.want || kind != test.kind {
			t.Errorf("%s: fuse = %s (%s), want %s (%s)", test.name, line(got), kind, test.want, test.kind)
		}
	}
	got, _ := fusion(t, Fusion{}).fuse([]Retrieved{vector, words})
	if want := []LegScore{{Mode: Vector, Rank: 2, Score: 0.7}, {Mode: Lexical, Rank: 1, Score: 6}}; !slices.Equal(got[0].Legs, want) {
		t.Errorf("Legs of b = %+v, want %+v", got[0].Legs, want)
	}
}

// drawList makes a list, best first.
func drawList(t *rapid.T, label string, mode Mode, least float64) Retrieved {
	scores := rapid.MapOf(rapid.StringMatching(`[a-h]`), rapid.Float64Range(least, 10)).Draw(t, label)
	l := Retrieved{Mode: mode, Weight: rapid.Float64Range(0.1, 5).Draw(t, label+" weight"), Full: rapid.Bool().Draw(t, label+" full")}
	for id, score := range scores {
		l.Matches = append(l.Matches, scored(id, score))
	}
	slices.SortFunc(l.Matches, func(a, b knowledge.Match) int {
		if a.Score != b.Score {
			return map[bool]int{true: -1, false: 1}[a.Score > b.Score]
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return l
}

func drawLists(t *rapid.T) []Retrieved {
	return []Retrieved{drawList(t, "vector", Vector, -10), drawList(t, "words", Lexical, 0.001), drawList(t, "more", Vector, -10)}
}

// TestFuseProperties: the order of the lists is nothing to the result, each record
// comes once, and to be found by one more list is never to a record's harm.
func TestFuseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Fusion{Method: rapid.SampledFrom([]FusionMethod{RRF, Sum}).Draw(t, "method"), Normalize: rapid.SampledFrom([]Normalization{ZScore, MinMax}).Draw(t, "normalize"), K: 60}
		lists := drawLists(t)
		first, _ := f.fuse(lists)
		shuffled := rapid.Permutation(lists).Draw(t, "order")
		second, _ := f.fuse(shuffled)
		if line(first) != line(second) {
			t.Fatalf("fuse = %s, of the same lists in another order %s", line(first), line(second))
		}
		seen := map[knowledge.RecordID]bool{}
		for i, c := range first {
			if seen[c.ID] || math.IsNaN(c.Score) || math.IsInf(c.Score, 0) || c.Score < 0 {
				t.Fatalf("candidate %d = %s %v, want each once with a finite score from 0", i, c.ID, c.Score)
			}
			seen[c.ID] = true
		}
		fewer, _ := f.fuse(append(slices.Clone(lists[:1]), Retrieved{Mode: Vector}))
		for _, before := range fewer {
			for _, after := range first {
				if after.ID == before.ID && after.Score < before.Score-1e-9 {
					t.Fatalf("%s scores %v with more lists, %v with one", before.ID, after.Score, before.Score)
				}
			}
		}
	})
}

func at(score float64, id string, vector ...float32) Candidate {
	return Candidate{Match: knowledge.Match{ID: knowledge.RecordID(id), Collection: "c", Vector: vector}, Score: score}
}

func TestDiversify(t *testing.T) {
	pool := []Candidate{at(1, "a", 1, 0), at(0.9, "a2", 1, 0.01), at(0.8, "a3", 1, 0.02), at(0.5, "b", 0, 1), at(0.4, "none")}
	for _, test := range []struct {
		lambda     float64
		candidates int
		want       string
	}{
		{1, 50, "a a2 a3 b none"},
		{0.5, 50, "a b none a2 a3"},
		{0, 50, "a b none a3 a2"},
		{0.5, 3, "a a2 a3 b none"}, // among the first three there is nothing unlike
		{0.5, 1, "a a2 a3 b none"},
	} {
		d, err := Diversify{Lambda: &test.lambda, Candidates: test.candidates}.validate()
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, c := range d.apply(slices.Clone(pool), 10) {
			ids = append(ids, string(c.ID))
		}
		if got := strings.Join(ids, " "); got != test.want {
			t.Errorf("lambda %v of %d: %s, want %s", test.lambda, test.candidates, got, test.want)
		}
	}
}

// TestDiversifyProperties: nothing is lost, lambda 1 changes nothing, and what is
// not asked for does not matter to what is.
func TestDiversifyProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "n")
		pool := make([]Candidate, n)
		for i := range pool {
			pool[i] = at(float64(n-i), fmt.Sprintf("%02d", i), rapid.SliceOfN(rapid.Float32Range(-1, 1), 3, 3).Draw(t, "vector")...)
		}
		lambda := rapid.Float64Range(0, 1).Draw(t, "lambda")
		d := Diversify{Lambda: &lambda, Candidates: rapid.IntRange(1, 40).Draw(t, "candidates")}
		all := d.apply(slices.Clone(pool), n)
		sorted := slices.Clone(all)
		sortCandidates(sorted)
		if line(sorted) != line(pool) {
			t.Fatalf("diversified %s, of %s", line(all), line(pool))
		}
		one := 1.0
		if same := (Diversify{Lambda: &one, Candidates: d.Candidates}).apply(slices.Clone(pool), n); line(same) != line(pool) {
			t.Fatalf("lambda 1 gives %s, of %s", line(same), line(pool))
		}
		want := rapid.IntRange(0, n).Draw(t, "want")
		if some := d.apply(slices.Clone(pool), want); line(some[:want]) != line(all[:want]) {
			t.Fatalf("the first %d = %s, want %s", want, line(some[:want]), line(all[:want]))
		}
	})
}

var present = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func TestBoost(t *testing.T) {
	number := func(x float64) *float64 { return &x }
	c := Candidate{Score: 2, Match: knowledge.Match{ID: "a", Metadata: map[string]any{
		"year": 2020.0, "changed": "2026-05-31T00:00:00Z", "likes": 3.0, "less": -5.0, "lang": "go", "list": []any{1.0},
	}}}
	day := Decay{Field: "changed", Scale: 86400}
	year := Decay{Field: "year", Number: number(2022), Scale: 2}
	likes := ValueFactor{Field: "likes", Modifier: Log1p}
	isGo := MatchBoost{Filter: knowledge.Filter{Op: knowledge.OpEq, Field: "lang", Values: []any{"go"}}}
	with := func(d Decay, change func(*Decay)) *Decay { change(&d); return &d }
	for _, test := range []struct {
		name    string
		combine Combine
		boost   Boost
		score   float64
		want    float64
	}{
		{"a day old", Multiply, Boost{Decay: &day}, 2, 1},
		{"softer", Multiply, Boost{Decay: &day, Weight: 0.5}, 2, 2 * math.Sqrt(0.5)},
		{"added", Add, Boost{Decay: &day, Weight: 3}, 2, 3.5},
		{"of a negative score", Multiply, Boost{Decay: &day}, -2, -4},
		{"number", Multiply, Boost{Decay: &year}, 2, 1},
		{"gauss at two scales", Multiply, Boost{Decay: with(year, func(d *Decay) { d.Shape, d.Scale = Gaussian, 1 })}, 2, 2.0 / 16},
		{"linear at half a scale", Multiply, Boost{Decay: with(year, func(d *Decay) { d.Shape, d.Scale = Linear, 4 })}, 2, 1.5},
		{"linear far away", Add, Boost{Decay: with(year, func(d *Decay) { d.Shape, d.Scale = Linear, 0.1 })}, 2, 2},
		{"within the offset", Multiply, Boost{Decay: with(year, func(d *Decay) { d.Offset = 2 })}, 2, 2},
		{"other decay", Multiply, Boost{Decay: with(year, func(d *Decay) { d.At = 0.25 })}, 2, 0.5},
		{"origin", Multiply, Boost{Decay: with(day, func(d *Decay) { d.Time = present.AddDate(0, 0, -1) })}, 2, 2},
		{"no such field", Multiply, Boost{Decay: with(day, func(d *Decay) { d.Field = "none" })}, 2, 2},
		{"not a time", Multiply, Boost{Decay: with(day, func(d *Decay) { d.Field = "lang" })}, 2, 2},
		{"not a number", Add, Boost{Decay: with(year, func(d *Decay) { d.Field = "lang" })}, 2, 2},
		{"log1p", Multiply, Boost{Value: &likes}, 2, 2 * math.Log(4)},
		{"value", Add, Boost{Value: &ValueFactor{Field: "likes", Factor: 2}, Weight: 0.5}, 2, 5},
		{"sqrt", Add, Boost{Value: &ValueFactor{Field: "likes", Factor: 3, Modifier: Sqrt}}, 2, 5},
		{"below 0", Add, Boost{Value: &ValueFactor{Field: "less"}}, 2, 2},
		{"of 0 a factor is small and not none", Multiply, Boost{Value: &ValueFactor{Field: "less"}}, 2, 2e-9},
		{"missing", Add, Boost{Value: &ValueFactor{Field: "none", Missing: number(4)}}, 2, 6},
		{"missing, no default", Multiply, Boost{Value: &ValueFactor{Field: "none"}}, 2, 2},
		{"match", Multiply, Boost{Match: &isGo, Weight: 3}, 2, 6},
		{"match added", Add, Boost{Match: &isGo, Weight: 3}, 2, 5},
		{"no match", Multiply, Boost{Match: &MatchBoost{Filter: knowledge.Filter{Op: knowledge.OpNot, Terms: []knowledge.Filter{isGo.Filter}}}, Weight: 3}, 2, 2},
	} {
		b, err := Boosting{Combine: test.combine, Boosts: []Boost{test.boost}}.validate()
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		c.Score = test.score
		if got := b.apply([]Candidate{c}, present)[0].Score; math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%s: score = %v, want %v", test.name, got, test.want)
		}
	}
}

// TestBoostProperties: scores stay finite, and a factor above 1 never makes one
// worse.
func TestBoostProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		metadata := map[string]any{"x": rapid.Float64Range(-1e15, 1e15).Draw(t, "x")}
		number := rapid.Float64Range(-1e15, 1e15).Draw(t, "origin")
		b, err := Boosting{Combine: rapid.SampledFrom([]Combine{Multiply, Add}).Draw(t, "combine"), Boosts: []Boost{
			{Decay: &Decay{Field: "x", Number: &number, Scale: rapid.Float64Range(1e-15, 1e15).Draw(t, "scale"), Shape: rapid.SampledFrom([]Shape{Exponential, Gaussian, Linear}).Draw(t, "shape")}, Weight: rapid.Float64Range(0.01, 100).Draw(t, "weight")},
			{Value: &ValueFactor{Field: "x", Factor: rapid.Float64Range(1e-6, 1e6).Draw(t, "factor")}},
		}}.validate()
		if err != nil {
			t.Fatal(err)
		}
		score := rapid.Float64Range(-1e300, 1e300).Draw(t, "score")
		got := b.apply([]Candidate{{Score: score, Match: knowledge.Match{Metadata: metadata}}}, present)[0].Score
		if math.IsNaN(got) || math.IsInf(got, 0) {
			t.Fatalf("score = %v, want it finite", got)
		}
		up := Boosting{Boosts: []Boost{{Match: &MatchBoost{Filter: knowledge.Filter{Op: knowledge.OpAnd}}, Weight: rapid.Float64Range(1, 100).Draw(t, "up")}}}
		if got := up.apply([]Candidate{{Score: score}}, present)[0].Score; got < score {
			t.Fatalf("boosted %v to %v, want no less", score, got)
		}
	})
}

func TestGroup(t *testing.T) {
	of := func(id string, value any) Candidate {
		return Candidate{Match: knowledge.Match{ID: knowledge.RecordID(id), Metadata: map[string]any{"k": value}}}
	}
	candidates := []Candidate{
		of("a", "x"), of("b", 1.0), of("c", "x"), of("d", nil), of("e", []any{"x", "y", "x", nil}), of("f", true), of("g", map[string]any{}), of("h", "x"), of("i", "z"), {},
	}
	for _, test := range []struct {
		groups, size int
		want         string
	}{
		{10, 3, "x:a c e | 1:b | y:e | true:f | z:i"},
		{10, 1, "x:a | 1:b | y:e | true:f | z:i"},
		{2, 10, "x:a c e h | 1:b"},
	} {
		g, err := GroupBy{Field: "k", Groups: test.groups, Size: test.size}.validate()
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, group := range g.apply(candidates) {
			var ids []string
			for _, m := range group.Matches {
				ids = append(ids, string(m.ID))
			}
			parts = append(parts, fmt.Sprintf("%v:%s", group.Value, strings.Join(ids, " ")))
		}
		if got := strings.Join(parts, " | "); got != test.want {
			t.Errorf("groups %d of %d = %s, want %s", test.groups, test.size, got, test.want)
		}
	}
}

func TestThresholdAndWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Candidate
		for i, score := range rapid.SliceOf(rapid.Float64Range(-2, 2)).Draw(t, "scores") {
			all = append(all, at(score, fmt.Sprint(i)))
		}
		minimum := rapid.Float64Range(-2, 2).Draw(t, "minimum")
		kept := 0
		for _, c := range atLeast(all, minimum) {
			if kept++; c.Score < minimum {
				t.Fatalf("kept %v, want %v or more", c.Score, minimum)
			}
		}
		for _, c := range all {
			if c.Score >= minimum {
				kept--
			}
		}
		if kept != 0 {
			t.Fatalf("kept %d more than there are", kept)
		}
		// Pages put together are the whole.
		size := rapid.IntRange(1, 5).Draw(t, "size")
		var pages []Candidate
		for offset := 0; offset < len(all)+size; offset += size {
			pages = append(pages, window(all, offset, size)...)
		}
		if line(pages) != line(all) {
			t.Fatalf("pages = %s, want %s", line(pages), line(all))
		}
	})
}

func TestAverage(t *testing.T) {
	c := knowledge.Collection{Metric: knowledge.Cosine, Embedder: knowledge.EmbedderInfo{Dimension: 2}}
	l2 := c
	l2.Metric = knowledge.L2
	for _, test := range []struct {
		c                  knowledge.Collection
		positive, negative [][]float32
		want               []float32
	}{
		{c, [][]float32{{3, 0}, {0, 5}}, nil, []float32{0.5, 0.5}},
		{c, [][]float32{{2, 0}}, [][]float32{{0, 7}}, []float32{2, -1}},
		{c, [][]float32{{1, 0}, {-1, 0}}, nil, nil},
		{c, [][]float32{{1, 0}}, [][]float32{{1, 0}}, []float32{1, 0}},
		{l2, [][]float32{{4, 0}, {0, 2}}, nil, []float32{2, 1}},
		{l2, [][]float32{{4, 0}}, [][]float32{{1, 1}}, []float32{7, -1}},
	} {
		got, err := average(test.c, test.positive, test.negative)
		if (err == nil) != (test.want != nil) || !slices.Equal(got, test.want) {
			t.Errorf("average(%v, %v) = %v, %v, want %v", test.positive, test.negative, got, err, test.want)
		}
	}
}
