package main

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tars-project/tars/cmd/tars/rig"
)

// neighbour is a row and its cosine distance.
type neighbour struct {
	row      int32
	distance float32
}

// nearest keeps the k nearest of those offered, nearest first.
type nearest struct {
	k    int
	kept []neighbour
}

func (x *nearest) offer(n neighbour) {
	if len(x.kept) == x.k && n.distance >= x.kept[x.k-1].distance {
		return
	}
	at, _ := slices.BinarySearchFunc(x.kept, n, func(a, b neighbour) int {
		if a.distance < b.distance || a.distance == b.distance && a.row < b.row {
			return -1
		}
		return 1
	})
	if len(x.kept) == x.k {
		x.kept = x.kept[:x.k-1]
	}
	x.kept = slices.Insert(x.kept, at, n)
}

// rows are the rows that were kept, nearest first.
func (x *nearest) rows() []int32 {
	rows := make([]int32, len(x.kept))
	for i, n := range x.kept {
		rows[i] = n.row
	}
	return rows
}

// cosine is the distance of two vectors of length 1.
func cosine(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return 1 - (s0 + s1 + s2 + s3)
}

// scope is a part of a dataset that searches are confined to.
type scope struct {
	below int32    // rows whose bucket is below it
	rows  [2]int32 // rows from the first up to but without the second; all if both are zero
}

var everything = scope{below: buckets}

func (s scope) has(d *dataset, row int) bool {
	return d.bucket[row] < s.below && (s.rows == [2]int32{} || int(s.rows[0]) <= row && row < int(s.rows[1]))
}

// truth says what is right: for each scope and each query, the nearest rows.
type truth map[scope][][]neighbour

// bruteForce compares every query with every row, on all cores, in one pass for
// all scopes.
func bruteForce(d *dataset, scopes ...scope) truth {
	t := truth{}
	for _, s := range scopes {
		t[s] = make([][]neighbour, d.count())
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for n := int(next.Add(1) - 1); n < d.count(); n = int(next.Add(1) - 1) {
				for s, found := range compare(d, d.query(n), scopes) {
					t[scopes[s]][n] = found.kept // a slot of its own
				}
			}
		})
	}
	group.Wait()
	return t
}

// bruteForceEach compares each query with the rows of a scope of its own: the n-th
// query with the n-th scope, from the start again after the last.
func bruteForceEach(d *dataset, scopes []scope) [][]neighbour {
	right := make([][]neighbour, d.count())
	for n := range right {
		s := scopes[n%len(scopes)]
		found := nearest{k: topK}
		for row := int(s.rows[0]); row < int(s.rows[1]); row++ {
			if s.has(d, row) {
				found.offer(neighbour{int32(row), cosine(d.query(n), d.row(row))})
			}
		}
		right[n] = found.kept
	}
	return right
}

// compare searches all scopes by comparing all rows.
func compare(d *dataset, query []float32, scopes []scope) []nearest {
	found := make([]nearest, len(scopes))
	for i := range found {
		found[i].k = topK
	}
	for row := range d.len() {
		distance := cosine(query, d.row(row))
		for i, s := range scopes {
			if s.has(d, row) {
				found[i].offer(neighbour{int32(row), distance})
			}
		}
	}
	return found
}

// same is how far two computations of one distance may lie apart.
const same = 1e-5

// quality is how good the answers of a layer were, over all its queries.
type quality struct {
	ByID       float64 `json:"recall_at_10_by_id"`       // share of the true nearest that were found
	ByDistance float64 `json:"recall_at_10_by_distance"` // share that were found or are as near
	Short      float64 `json:"short_rate"`               // share of answers with fewer rows than there are to find, at most 10
	Queries    int     `json:"queries"`
}

// assess compares answers, rows for each query from the first on, with what is
// right in the scope of each. A row that is outside it is a miss.
func assess(d *dataset, scopes []scope, right [][]neighbour, answers [][]int32) quality {
	wanted, byID, byDistance, short := 0, 0, 0, 0
	for n, rows := range answers {
		wanted += len(right[n])
		if len(rows) < len(right[n]) {
			short++
		}
		id, distance := hits(d, n, scopes[n%len(scopes)], right[n], rows)
		byID += id
		byDistance += min(distance, len(right[n]))
	}
	if wanted == 0 {
		return quality{Queries: len(answers)}
	}
	return quality{
		ByID: rig.Round(float64(byID) / float64(wanted)), ByDistance: rig.Round(float64(byDistance) / float64(wanted)),
		Short: rig.Round(float64(short) / float64(len(answers))), Queries: len(answers),
	}
}

// hits counts the rows that are among the right ones, and those that are as near.
func hits(d *dataset, n int, s scope, right []neighbour, rows []int32) (byID, byDistance int) {
	if len(right) == 0 {
		return 0, 0
	}
	furthest := right[len(right)-1].distance + same
	seen := map[int32]bool{}
	for _, row := range rows {
		if row < 0 || int(row) >= d.len() || seen[row] || !s.has(d, int(row)) {
			continue
		}
		seen[row] = true
		if slices.ContainsFunc(right, func(x neighbour) bool { return x.row == row }) {
			byID++
		}
		if cosine(d.query(n), d.row(int(row))) <= furthest {
			byDistance++
		}
	}
	return byID, byDistance
}
