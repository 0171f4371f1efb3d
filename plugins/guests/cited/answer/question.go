package answer

import "strings"

// Weights of a word that stands for a word of the question without being it.
const (
	synonymWeight = 0.6 // another word for it
	partWeight    = 0.3 // a part of a name: "work" of "work_mem"
)

// kind is what a question asks for.
type kind int

const (
	other      kind = iota
	procedure       // how do I, how to, how can I
	definition      // what is, what does, what are
)

// question is a question as its concepts: the words that matter, each with the
// stems that stand for it.
type question struct {
	kind   kind
	gaps   []int // words from the concept before to this one, in the question; 0 for the first
	names  []string
	lookup map[string]sense
}

// sense is the concept that a stem stands for, and how well, in (0, 1].
type sense struct {
	concept int
	weight  float64
}

// maxConcepts bounds the work that a question can cause.
const maxConcepts = 32

// parse reads a question. If all its words are stop words they all count.
func parse(text string) question {
	q := question{kind: kindOf(text), lookup: make(map[string]sense)}
	q.addWords(text, func(w string) bool { return !stopWords[w] })
	if len(q.names) == 0 {
		q.addWords(text, func(string) bool { return true })
	}
	for i, name := range q.names {
		for _, other := range synonyms[name] {
			q.add(other, sense{i, synonymWeight})
		}
	}
	return q
}

// addWords makes a concept of each word that counts.
func (q *question) addWords(text string, counts func(string) bool) {
	position, last := 0, 0
	for w, next, ok := nextWord(text, 0); ok && len(q.names) < maxConcepts; w, next, ok = nextWord(text, next) {
		position++
		low := string(lower(nil, text[w.start:w.end]))
		if !counts(low) {
			continue
		}
		s := string(stem([]byte(low)))
		if known, ok := q.lookup[s]; ok && known.weight == 1 {
			continue
		}
		gap := 0
		if len(q.names) > 0 {
			gap = position - last
		}
		last = position
		concept := len(q.names)
		q.names, q.gaps = append(q.names, s), append(q.gaps, gap)
		q.lookup[s] = sense{concept, 1}
		if strings.Contains(s, "_") {
			for part := range strings.SplitSeq(s, "_") {
				q.add(string(stem([]byte(part))), sense{concept, partWeight})
			}
		}
	}
}

// add lets a stem stand for a concept, unless it stands for one already.
func (q *question) add(s string, to sense) {
	if _, ok := q.lookup[s]; !ok && len(s) > 1 {
		q.lookup[s] = to
	}
}

// find returns what a word of a text stands for. The buffer is scratch space,
// and is returned for the next call.
func (q *question) find(w string, buf []byte) (sense, bool, []byte) {
	buf = stem(lower(buf[:0], w))
	s, ok := q.lookup[string(buf)]
	return s, ok, buf[:0]
}

func kindOf(text string) kind {
	low := strings.ToLower(strings.TrimSpace(text))
	for _, opening := range []string{"how do ", "how to ", "how can ", "how should ", "how would ", "how does one "} {
		if strings.HasPrefix(low, opening) {
			return procedure
		}
	}
	for _, opening := range []string{"what is ", "what are ", "what's ", "what does ", "what do ", "define ", "explain "} {
		if strings.HasPrefix(low, opening) {
			return definition
		}
	}
	return other
}
