package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestFlatten: the vectors of the package's form come out one after the other,
// without the two numbers that are none of the vector.
func TestFlatten(t *testing.T) {
	word := func(first float64) string {
		numbers := make([]string, gloveNumbers)
		for i := range numbers {
			numbers[i] = fmt.Sprint(first + float64(i)/4)
		}
		return "[" + strings.Join(numbers, ",") + "]"
	}
	text := `{"precision":8,"words":["a","b"],"vectors":{"a":` + word(1) + `,"b":` + word(-500) + `},"unkVector":[1,2]}`
	var out bytes.Buffer
	n, err := flatten(strings.NewReader(text), &out)
	if err != nil || n != 2 || out.Len() != 2*4*gloveDim {
		t.Fatalf("flatten = %d words, %d bytes, %v, want 2 words of %d numbers", n, out.Len(), err, gloveDim)
	}
	got := make([]float32, 2*gloveDim)
	if err := binary.Read(&out, binary.LittleEndian, got); err != nil {
		t.Fatal(err)
	}
	if got[0] != 1 || got[gloveDim-1] != 1+99./4 || got[gloveDim] != -500 {
		t.Errorf("flatten gave %v, %v, %v, want 1, 25.75, -500", got[0], got[gloveDim-1], got[gloveDim])
	}
	for _, bad := range []string{`{"vectors":{"a":[1,2]}}`, `{"vectors":{"a":` + word(1), `[`, `{"vectors":{"a":"x"}}`} {
		if _, err := flatten(strings.NewReader(bad), &out); err == nil {
			t.Errorf("flatten(%.30s) = nil, want an error", bad)
		}
	}
}

// TestDatasetIsTheSameEachTime, with queries that are none of its rows, and all of
// length 1.
func TestDatasetIsTheSameEachTime(t *testing.T) {
	made := func() *dataset { return newDataset("x", 8, 10, clustered(3000, 8)) }
	d, again := made(), made()
	if !slices.Equal(d.rows, again.rows) || !slices.Equal(d.queries, again.queries) || !slices.Equal(d.bucket, again.bucket) {
		t.Error("two datasets of the same seed differ")
	}
	if d.count() != queries || d.len() != 2000 {
		t.Errorf("%d queries and %d rows, want %d and 2000", d.count(), d.len(), queries)
	}
	seen := map[string]bool{}
	for n := range d.count() {
		seen[fmt.Sprint(d.query(n))] = true
	}
	for i := range d.len() {
		if seen[fmt.Sprint(d.row(i))] {
			t.Fatalf("row %d is a query too", i)
		}
		var sum float64
		for _, x := range d.row(i) {
			sum += float64(x) * float64(x)
		}
		if math.Abs(sum-1) > 1e-5 {
			t.Fatalf("row %d has length %v, want 1", i, math.Sqrt(sum))
		}
	}
}

// TestBruteForce compares with sorting all.
func TestBruteForce(t *testing.T) {
	d := newDataset("x", 5, 10, clustered(800, 5))
	scopes := []scope{everything, {below: 100}, {below: 1}, {below: buckets, rows: [2]int32{50, 90}}}
	right := bruteForce(d, scopes...)
	for _, s := range scopes {
		for n := range d.count() {
			var all []neighbour
			for row := range d.len() {
				if d.bucket[row] < s.below && (s.rows[1] == 0 || row >= int(s.rows[0]) && row < int(s.rows[1])) {
					all = append(all, neighbour{int32(row), cosine(d.query(n), d.row(row))})
				}
			}
			slices.SortStableFunc(all, func(a, b neighbour) int {
				switch {
				case a.distance < b.distance:
					return -1
				case a.distance > b.distance:
					return 1
				}
				return 0
			})
			if want := all[:min(topK, len(all))]; !slices.Equal(right[s][n], want) {
				t.Fatalf("bruteForce, scope %v, query %d = %v, want %v", s, n, right[s][n], want)
			}
		}
	}
	part := scopes[3]
	if got := bruteForceEach(d, []scope{part}); !slices.EqualFunc(got, right[part], slices.Equal[[]neighbour]) {
		t.Error("bruteForceEach differs from bruteForce")
	}
}

// TestAssess: what is missing, doubled or outside the scope counts as a miss; what
// is as near as the last counts by distance alone.
func TestAssess(t *testing.T) {
	d := &dataset{dim: 2, queries: []float32{1, 0}, rows: []float32{1, 0, 0, 1, 0, -1, -1, 0}, bucket: []int32{0, 0, 999, 0}}
	s := scope{below: buckets}
	right := [][]neighbour{{{0, 0}, {1, 1}}} // row 2 is as near as row 1
	for _, c := range []struct {
		rows                     []int32
		scope                    scope
		byID, byDistance, shorts float64
	}{
		{[]int32{0, 1}, s, 1, 1, 0},
		{[]int32{0, 2}, s, 0.5, 1, 0},
		{[]int32{0, 2}, scope{below: 999}, 0.5, 0.5, 0},
		{[]int32{0, 0}, s, 0.5, 0.5, 0},
		{[]int32{3, 1}, s, 0.5, 0.5, 0},
		{[]int32{0}, s, 0.5, 0.5, 1},
		{[]int32{-1, 4}, s, 0, 0, 0},
		{nil, s, 0, 0, 1},
	} {
		got := assess(d, []scope{c.scope}, right, [][]int32{c.rows})
		if got.ByID != c.byID || got.ByDistance != c.byDistance || got.Short != c.shorts {
			t.Errorf("assess(%v, %v) = %+v, want %v by id, %v by distance, %v short", c.rows, c.scope, got, c.byID, c.byDistance, c.shorts)
		}
	}
}

// TestZipf: parts lie one after the other, within the rows, each smaller.
func TestZipf(t *testing.T) {
	parts := zipf(manyTenants, 50_000)
	at := int32(0)
	for i, p := range parts {
		if p.rows[0] != at || p.rows[1] <= at {
			t.Fatalf("part %d is %v, want it to begin at %d", i, p.rows, at)
		}
		at = p.rows[1]
	}
	if at > 50_000 || at < 49_000 {
		t.Errorf("the parts have %d rows, want about 50,000", at)
	}
	first, tenth := parts[0].rows[1]-parts[0].rows[0], parts[9].rows[1]-parts[9].rows[0]
	if first < 9*tenth || first > 11*tenth {
		t.Errorf("the first part has %d rows and the tenth %d, want ten times as many", first, tenth)
	}
}
