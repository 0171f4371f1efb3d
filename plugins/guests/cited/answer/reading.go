package answer

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/tars-project/tars/plugins/guests/cited/sentence"
)

// headingLimit is how long a first line may be, in bytes, to be a heading.
const headingLimit = 400

// hit is a word of a text that stands for a concept of the question.
type hit struct {
	sense
	position int // in words from the start of the text
	at       int // offset in bytes
}

// reading is a text as the question sees it.
type reading struct {
	text   string
	body   int     // offset of the text below the heading; 0 if there is none
	hits   []hit   // in order
	size   int     // words
	titles []title // in order
}

// title is a line that says what follows it: the last of the headings, or a
// term that the next line explains.
type title struct {
	start, end int // bytes
	words      int // those that are no stop words
}

// read finds the question's concepts in a text.
func (q *question) read(text string) reading {
	r := reading{text: text, body: headingEnd(text)}
	var buf []byte
	for w, next, ok := nextWord(text, 0); ok; w, next, ok = nextWord(text, next) {
		name := text[w.start:w.end]
		s, known, b := q.find(name, buf)
		buf = b
		if known {
			r.hits = append(r.hits, hit{s, r.size, w.start})
		} else if strings.Contains(name, "_") {
			r.readParts(q, name, w.start, buf)
		}
		r.size++
	}
	r.findTitles()
	return r
}

// longestTerm is how many words a line may have to be a term.
const longestTerm = 10

// findTitles finds the lines that are titles.
func (r *reading) findTitles() {
	if r.body > 0 {
		start := strings.LastIndex(r.text[:r.body], " > ") + 1
		r.addTitle(start, r.body)
	}
	for start := r.body; start < len(r.text); {
		line, rest, _ := strings.Cut(r.text[start:], "\n")
		if isTerm(line) && rest != "" && rest[0] != '\n' {
			r.addTitle(start, start+len(line))
		}
		start += len(line) + 1
	}
}

// isTerm tells whether a line may be a term: short, not code, no sentence.
func isTerm(line string) bool {
	return line != "" && !sentence.IsCode(line) && !strings.HasSuffix(line, ".") && !strings.HasSuffix(line, ":") &&
		!strings.HasPrefix(line, "- ") && len(strings.Fields(line)) <= longestTerm
}

// addTitle adds a title without what stands in parentheses at its end, which is
// a type or an abbreviation.
func (r *reading) addTitle(start, end int) {
	if i := strings.Index(r.text[start:end], " ("); i > 0 {
		end = start + i
	}
	t := title{start: start, end: end}
	for w, next, ok := nextWord(r.text[:end], start); ok; w, next, ok = nextWord(r.text[:end], next) {
		if !stopWords[strings.ToLower(r.text[w.start:w.end])] {
			t.words++
		}
	}
	r.titles = append(r.titles, t)
}

// between returns the hits between two offsets.
func (r *reading) between(start, end int) []hit {
	byOffset := func(h hit, at int) int { return cmp.Compare(h.at, at) }
	from, _ := slices.BinarySearchFunc(r.hits, start, byOffset)
	to, _ := slices.BinarySearchFunc(r.hits, end, byOffset)
	return r.hits[from:to]
}

// match says in [0, 1] how much a title is the question: the part of its words
// that are in the question, times the part of the question that is in it.
func (q *question) match(r *reading, t title, rarity []float64) float64 {
	covered, total, words := 0.0, 0.0, 0.0
	for c, w := range q.held(r.between(t.start, t.end)) {
		covered += w * rarity[c]
		total += rarity[c]
		words += w
	}
	if t.words == 0 {
		return 0
	}
	return min(1, words/float64(t.words)) * covered / total
}

// held returns for each concept how well the best of the hits stands for it.
func (q *question) held(hits []hit) []float64 {
	out := make([]float64, len(q.names))
	for _, h := range hits {
		out[h.concept] = max(out[h.concept], h.weight)
	}
	return out
}

// readParts finds concepts in the parts of a name: a question about recovery
// meets the parameter recovery_target_time.
func (r *reading) readParts(q *question, name string, at int, buf []byte) {
	for part := range strings.SplitSeq(name, "_") {
		s, known, b := q.find(part, buf)
		buf = b
		if known && s.weight > partWeight { // parts of two names have little in common
			s.weight *= partWeight
			r.hits = append(r.hits, hit{s, r.size, at})
		}
	}
}

// headingEnd returns the offset of the text below a heading: a first line
// without a full stop, with a blank line after it.
func headingEnd(text string) int {
	line, _, ok := strings.Cut(text, "\n\n")
	if !ok || len(line) > headingLimit || strings.Contains(line, "\n") || strings.HasSuffix(line, ".") {
		return 0
	}
	return len(line) + 2
}

// rarities returns for each concept how much it tells: the logarithm of how
// rare it is in the texts. What all of them have still counts, for texts that
// were found for a question are alike in what matters most.
func (q *question) rarities(readings []reading) []float64 {
	in := make([]float64, len(q.names))
	for _, r := range readings {
		for i, w := range q.held(r.hits) {
			in[i] += w
		}
	}
	out := make([]float64, len(in))
	for i, n := range in {
		out[i] = math.Log(2 + float64(len(readings))/(n+0.5))
	}
	return out
}

// nearness says how near neighbouring concepts of the question stand to each
// other among the hits: the pair's mean rarity for the distance that they have
// in the question, and less the more it differs, or if they are turned round.
func (q *question) nearness(hits []hit, rarity []float64) float64 {
	sum := 0.0
	last := make([]int, len(q.names)) // index of the last hit by concept, plus 1
	best := make([]float64, len(q.names))
	for i, h := range hits {
		last[h.concept] = i + 1
		for _, c := range [2]int{h.concept, h.concept + 1} { // the pair (c-1, c)
			if c == 0 || c == len(q.names) || last[c-1] == 0 || last[c] == 0 {
				continue
			}
			a, b := hits[last[c-1]-1], hits[last[c]-1]
			best[c] = max(best[c], closeness(b.position-a.position, q.gaps[c])*a.weight*b.weight)
		}
	}
	for c, x := range best {
		if c > 0 {
			sum += x * (rarity[c-1] + rarity[c]) / 2
		}
	}
	return sum
}

// closeness is 1 for a distance as in the question, falling to 0.
func closeness(distance, gap int) float64 {
	if distance < 0 {
		return 0.5 / float64(1+max(0, -distance-gap))
	}
	return 1 / (1 + math.Abs(float64(distance-gap)))
}
