package answer

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tars-project/tars/plugins/guests/cited/sentence"
)

// What signs weigh in a sentence, against the words that it holds itself.
const (
	underWeight = 0.4  // of words that only the headings above it hold
	leadWeight  = 1.0  // of a title right above it that is the question, against all the question's words
	rankWeight  = 0.05 // of a passage's place: the 20th counts half as much as the first
)

// Limits of what is quoted.
const (
	longestCode  = 240  // bytes of code that may follow "For example:"
	longestQuote = 600  // bytes
	fewestWords  = 4    // of a sentence
	overlap      = 0.55 // of the words of two sentences, from which on the lesser is left out
	enoughOfBest = 0.5  // of the best sentence's score that a further one needs
)

// Quote is a sentence of a passage.
type Quote struct {
	Passage    int // position in the passages that were given
	Start, End int // bytes of its text, half-open, on character boundaries
}

// Answer is a text, and the quotes that its marks [1], [2], … point at.
type Answer struct {
	Text   string
	Quotes []Quote
}

// Of answers the question from the passages, best first, in at most most
// sentences of theirs. The answer is empty if no sentence has to do with the
// question.
func Of(question string, passages []string, most int) Answer {
	q := parse(question)
	readings := make([]reading, len(passages))
	for i, text := range passages {
		readings[i] = q.read(text)
	}
	rarity := q.rarities(readings)
	var all []saying
	for i, r := range readings {
		all = append(all, q.sayings(i, r, rarity)...)
	}
	return compose(passages, choose(passages, all, most))
}

// saying is a sentence that may be quoted.
type saying struct {
	Quote
	score float64
}

// sayings scores the sentences of the passage at a position among the others.
func (q *question) sayings(passage int, r reading, rarity []float64) []saying {
	var out []saying
	headings := q.held(r.between(0, r.body))
	titles := r.titles
	var last title // that stands above the sentence
	for s := range sentence.All(r.text[r.body:]) {
		quote := trimMark(r.text, Quote{passage, r.body + s.Start, r.body + s.End})
		opens := false // the sentence is the first below its title
		for len(titles) > 0 && titles[0].end <= quote.Start {
			last, titles, opens = titles[0], titles[1:], true
		}
		text := r.text[quote.Start:quote.End]
		if words := len(strings.Fields(text)); words < fewestWords || len(text) > longestQuote || isTitle(r.titles, quote) {
			if opens { // the next one may be the first that can be quoted
				titles = append([]title{last}, titles...)
			}
			continue
		}
		title := 0.0
		if opens {
			title = q.match(&r, last, rarity)
		}
		score := q.worth(&r, quote, headings, rarity, title) / (1 + rankWeight*float64(passage))
		if score > 0 {
			out = append(out, saying{withCode(r.text, quote), score})
		}
	}
	return out
}

// isTitle tells whether a quote is within a title.
func isTitle(titles []title, q Quote) bool {
	return slices.ContainsFunc(titles, func(t title) bool { return t.start <= q.Start && q.Start < t.end })
}

// worth says how much a sentence has to do with the question: what it holds of
// it, what the headings above it hold, how much the title right above it is the
// question, and how it is put. A sentence that holds nothing itself is worth
// something only right below such a title.
func (q *question) worth(r *reading, s Quote, headings, rarity []float64, title float64) float64 {
	hits := r.between(s.Start, s.End)
	inside, under, total := 0.0, 0.0, 0.0
	for c, w := range q.held(hits) {
		inside += w * rarity[c]
		under += max(0, headings[c]-w) * rarity[c]
		total += rarity[c]
	}
	if inside == 0 && title == 0 {
		return 0
	}
	sum := inside + underWeight*under + nearWeight*q.nearness(hits, rarity) + leadWeight*title*total
	return sum * q.manner(r.text, s)
}

// manner is a factor for how a sentence is put: whether it stands alone, ends,
// and does what the question asks for.
func (q *question) manner(passage string, s Quote) float64 {
	text := passage[s.Start:s.End]
	head, second := opening(text)
	f := standing(text, head, second)
	switch text[len(text)-1] {
	case '.', '!', ')':
	case ':':
		if withCode(passage, s) == s { // what it announces cannot be quoted
			f *= 0.4
		}
	case '?':
		f *= 0.3
	default: // a heading, a term, a row of a table
		f *= 0.45
	}
	if n := len(strings.Fields(text)); n > 45 || n < 7 {
		f *= 0.8
	}
	switch {
	case q.kind == procedure && (instructions[head] || instructs(text)):
		f *= 1.5
	case q.kind == definition && defines(text):
		f *= 1.3
	}
	return f
}

// opening returns the first two words of a text in lower case.
func opening(text string) (head, second string) {
	w, next, _ := nextWord(text, 0)
	head = strings.ToLower(text[w.start:w.end])
	w, _, _ = nextWord(text, next)
	return head, strings.ToLower(text[w.start:w.end])
}

// standing is a factor for how well a sentence that opens with these words
// stands alone: one that goes on from the one before it says little.
func standing(text, head, second string) float64 {
	switch {
	case stopWords[head] && strings.HasPrefix(text, head): // no capital: the rest of a sentence
		return 0.3
	case leaning[head], text[0] == '(':
		return 0.65
	case second == "this", second == "these", second == "that", second == "such":
		return 0.75
	}
	return 1
}

// instructs tells whether a sentence says what its reader can or should do.
func instructs(text string) bool {
	low := strings.ToLower(text)
	for _, sign := range []string{"you can ", "you must ", "you should ", "you need ", "you may ", "just ", "to do ", "is to ", "can be used to", "must be ", "by setting ", "by using ", "use "} {
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}

// defines tells whether a sentence says what something is.
func defines(text string) bool {
	words := strings.Fields(text)
	for _, w := range words[:min(len(words), 8)] {
		switch w {
		case "is", "are", "means", "specifies", "sets", "controls", "determines", "refers", "provides", "returns", "Specifies", "Sets", "Controls", "Determines", "Returns", "Enables":
			return true
		}
	}
	return false
}

// trimMark leaves out the mark of a list item.
func trimMark(text string, q Quote) Quote {
	s := text[q.Start:q.End]
	rest := strings.TrimPrefix(s, "- ")
	if digits := strings.TrimLeft(s, "0123456789"); digits != s {
		if after, ok := strings.CutPrefix(digits, ". "); ok {
			rest = after
		}
	}
	q.Start += len(s) - len(strings.TrimLeft(rest, " "))
	return q
}

// withCode returns the quote with the code that it announces, if there is some
// and it is short; else the quote itself.
func withCode(text string, q Quote) Quote {
	after, ok := strings.CutPrefix(text[q.End:], "\n\n")
	if !ok || text[q.End-1] != ':' || !sentence.IsCode(after) {
		return q
	}
	code, _, _ := strings.Cut(after, "\n\n")
	code = strings.TrimRight(code, " \n")
	if len(code) > longestCode {
		return q
	}
	q.End += len("\n\n") + len(code)
	return q
}

// choose takes the best sentences that are not alike, in the order in which
// they are to be read: those of the best one's passage first, then by passage.
func choose(passages []string, all []saying, most int) []saying {
	slices.SortStableFunc(all, func(a, b saying) int { return cmp.Compare(b.score, a.score) })
	var out []saying
	var bags []map[string]bool
	for _, s := range all {
		if len(out) == most || len(out) > 0 && s.score < enoughOfBest*out[0].score {
			break
		}
		words := bag(passages[s.Passage][s.Start:s.End])
		if !slices.ContainsFunc(bags, func(b map[string]bool) bool { return alike(b, words) }) {
			out, bags = append(out, s), append(bags, words)
		}
	}
	if len(out) == 0 {
		return nil
	}
	lead := out[0].Passage
	slices.SortStableFunc(out, func(a, b saying) int {
		return cmp.Or(cmp.Compare(place(a, lead), place(b, lead)), cmp.Compare(a.Start, b.Start))
	})
	return out
}

// place orders passages: the one that leads, then by position.
func place(s saying, lead int) int {
	if s.Passage == lead {
		return -1
	}
	return s.Passage
}

// bag returns the stems of a text's words, without stop words.
func bag(text string) map[string]bool {
	m := make(map[string]bool)
	for w, next, ok := nextWord(text, 0); ok; w, next, ok = nextWord(text, next) {
		low := lower(nil, text[w.start:w.end])
		if !stopWords[string(low)] {
			m[string(stem(low))] = true
		}
	}
	return m
}

// alike tells whether much of the shorter text is in the longer.
func alike(a, b map[string]bool) bool {
	both := 0
	for w := range a {
		if b[w] {
			both++
		}
	}
	return float64(both) > overlap*float64(min(len(a), len(b)))
}

// compose writes the sentences, each with its mark.
func compose(passages []string, chosen []saying) Answer {
	var a Answer
	var w strings.Builder
	for i, s := range chosen {
		text := passages[s.Passage][s.Start:s.End]
		if i > 0 {
			w.WriteByte(' ')
		}
		w.WriteString(text)
		if strings.Contains(text, "\n") { // the mark is not part of the code
			w.WriteString("\n\n")
		} else {
			w.WriteByte(' ')
		}
		w.WriteString("[" + strconv.Itoa(i+1) + "]")
		a.Quotes = append(a.Quotes, s.Quote)
	}
	a.Text = w.String()
	return a
}
