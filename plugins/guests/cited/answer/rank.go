package answer

import (
	"math"
	"strings"
)

// Constants of BM25, and what the other signs weigh against it.
const (
	saturation    = 1.2 // k1: how soon more of the same word stops counting
	lengthPenalty = 0.5 // b: how much long texts are held back, from 0 to 1
	headingWeight = 2.5 // of a word in a heading, against one in the text
	nearWeight    = 0.8 // of words that stand as near as in the question
	titleWeight   = 0.6 // of a title that is the question, against all its words
)

// Candidate is a text to rank.
type Candidate struct {
	Text  string
	Score float64 // of the search that found it; higher is better, of any scale
}

// Ranked is what Rank says about a candidate.
type Ranked struct {
	Score  float64 // in [0, 1]; higher is better
	Reason string  // what of the question it holds, for people
}

// Rank scores the candidates for the question, in their order: a sum of how
// well the words fit and of the score that each came with, both scaled to
// [0, 1] over the candidates. The weight of the words is lexical, in [0, 1]. The
// scores that candidates come with must be finite.
func Rank(question string, candidates []Candidate, lexical float64) []Ranked {
	q := parse(question)
	readings := make([]reading, len(candidates))
	size := 0
	for i, c := range candidates {
		readings[i] = q.read(c.Text)
		size += readings[i].size
	}
	mean := math.Max(1, float64(size)/math.Max(1, float64(len(candidates))))
	rarity := q.rarities(readings)
	words, found := make([]float64, len(candidates)), make([]float64, len(candidates))
	for i, r := range readings {
		words[i] = q.fit(r, rarity, mean)
		found[i] = candidates[i].Score
	}
	scale(words, 0) // no word at all is 0, however the others fit
	scale(found, math.Inf(1))
	out := make([]Ranked, len(candidates))
	for i, r := range readings {
		out[i] = Ranked{Score: lexical*words[i] + (1-lexical)*found[i], Reason: q.reason(r)}
	}
	return out
}

// fit is BM25 of the text for the question, with headings and nearness.
func (q *question) fit(r reading, rarity []float64, mean float64) float64 {
	often := make([]float64, len(q.names))
	for _, h := range r.hits {
		w := h.weight
		if h.at < r.body {
			w *= headingWeight
		}
		often[h.concept] += w
	}
	held := saturation * (1 - lengthPenalty + lengthPenalty*float64(r.size)/mean)
	sum, total, best := 0.0, 0.0, 0.0
	for c, n := range often {
		sum += rarity[c] * n * (saturation + 1) / (n + held)
		total += rarity[c]
	}
	for _, t := range r.titles {
		best = max(best, q.match(&r, t, rarity))
	}
	return sum + nearWeight*q.nearness(r.hits, rarity) + titleWeight*best*total
}

// scale maps the values to [0, 1], the highest to 1 and the lowest, or floor if
// that is lower, to 0. Values that are all the same become 0.
func scale(values []float64, floor float64) {
	low, high := floor, math.Inf(-1)
	for _, v := range values {
		low, high = math.Min(low, v), math.Max(high, v)
	}
	for i, v := range values {
		if high > low {
			values[i] = v/(high-low) - low/(high-low)
		} else {
			values[i] = 0
		}
	}
}

// reason names the concepts that a text holds, as they stand in the question.
func (q *question) reason(r reading) string {
	seen := make([]bool, len(q.names))
	var names []string
	for _, h := range r.hits {
		if !seen[h.concept] {
			seen[h.concept] = true
			w, _, _ := nextWord(r.text, h.at)
			names = append(names, strings.ToLower(r.text[w.start:min(w.end, w.start+64)]))
		}
	}
	if len(names) == 0 {
		return "holds no word of the question"
	}
	return strings.ToValidUTF8("holds "+strings.Join(names[:min(len(names), 8)], ", "), "")
}
