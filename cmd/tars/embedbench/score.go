package main

import (
	"math"
	"slices"
)

// depth is how many matches of an answer are looked at.
const depth = 10

// quality is how good the answers to some questions are, each of which one passage
// answers; shares of 1.
type quality struct {
	Questions int     `json:"questions"`
	First     float64 `json:"recall_at_1"`
	Five      float64 `json:"recall_at_5"`
	NDCG      float64 `json:"ndcg_at_10"`
}

// qualityOf adds up the places at which the right passages were found, 0 for the
// first; a place of depth or more, or below 0, is not found.
func qualityOf(places []int) quality {
	q := quality{Questions: len(places)}
	for _, place := range places {
		if place < 0 || place >= depth {
			continue
		}
		if place == 0 {
			q.First++
		}
		if place < 5 {
			q.Five++
		}
		q.NDCG += 1 / math.Log2(float64(place)+2)
	}
	n := float64(max(len(places), 1))
	q.First, q.Five, q.NDCG = q.First/n, q.Five/n, q.NDCG/n
	return q
}

// macro is the mean over sets, each counting as much as another.
func macro(sets []quality) (m quality) {
	for _, q := range sets {
		m.Questions += q.Questions
		m.First += q.First
		m.Five += q.Five
		m.NDCG += q.NDCG
	}
	n := float64(max(len(sets), 1))
	m.First, m.Five, m.NDCG = m.First/n, m.Five/n, m.NDCG/n
	return m
}

// median returns the middle of values in any order, the lower one of two; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}

// round keeps four significant digits: more were never measured.
func round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
