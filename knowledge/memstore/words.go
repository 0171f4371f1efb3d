package memstore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/tars-project/tars/knowledge"
)

// wordsOf are the words of a text as they are, in lower case: what a search in
// the language "simple" sees. Stems and stop words are left to other stores.
func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

// counts says how often each word occurs.
func counts(words []string) map[string]int {
	n := make(map[string]int, len(words))
	for _, w := range words {
		n[w]++
	}
	return n
}

// clause is what a text may have: words one right after the other, or a word with
// a beginning.
type clause struct {
	words  []string
	prefix bool
}

func (c clause) in(words []string) bool {
	if c.prefix {
		return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, c.words[0]) })
	}
	for i := range len(words) - len(c.words) + 1 {
		if slices.Equal(words[i:i+len(c.words)], c.words) {
			return true
		}
	}
	return false
}

// question is a search by words, taken apart.
type question struct{ required, optional, excluded, terms []clause }

func parse(text string) question {
	var q question
	parsed := knowledge.ParseTextQuery(text)
	add := func(into *[]clause, list []string, prefix bool) {
		for _, item := range list {
			if c := (clause{wordsOf(item), prefix}); len(c.words) > 0 {
				*into = append(*into, c)
			}
		}
	}
	add(&q.required, parsed.Phrases, false)
	add(&q.optional, parsed.Words, false)
	add(&q.optional, parsed.Prefixes, true)
	add(&q.excluded, parsed.WithoutPhrases, false)
	add(&q.excluded, parsed.WithoutWords, false)
	add(&q.excluded, parsed.WithoutPrefixes, true)
	for _, c := range slices.Concat(q.required, q.optional) {
		for _, w := range c.words {
			term := clause{[]string{w}, c.prefix}
			if !slices.ContainsFunc(q.terms, func(t clause) bool { return t.label() == term.label() }) {
				q.terms = append(q.terms, term)
			}
		}
	}
	q.terms = q.terms[:min(len(q.terms), knowledge.MaxTextTerms)]
	return q
}

// text is a record with its words.
type text struct {
	knowledge.Record
	words []string
}

// SearchText implements [knowledge.Records] for words as they are, see wordsOf.
func (s *Store) SearchText(ctx context.Context, tenant knowledge.TenantID, search knowledge.TextSearch) (knowledge.Found, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Found{}, err
	}
	if err := search.Validate(); err != nil {
		return knowledge.Found{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, search.Collection)
	if err != nil {
		return knowledge.Found{}, err
	}
	filter, err := c.narrow(search.Filter)
	if err != nil {
		return knowledge.Found{}, err
	}
	var texts []text
	for r := range s.live(c.collection) {
		texts = append(texts, text{r, wordsOf(r.Text)})
	}
	q := parse(search.Text)
	weighed := texts
	if c.view != nil { // what else is in the collection must not be told by a score
		weighed = slices.DeleteFunc(slices.Clone(texts), func(t text) bool {
			all, some := q.matches(t.words)
			return !some && !all || !filter.Admits(c.Collection, t.Record)
		})
	}
	rank := newBM25(weighed, q.terms)
	strict, loose := []knowledge.Match{}, []knowledge.Match{}
	for _, t := range texts {
		all, some := q.matches(t.words)
		if !some && !all || !filter.Admits(c.Collection, t.Record) {
			continue
		}
		m := knowledge.Match{ID: t.ID, Collection: c.names().Label(), Score: rank.score(t), Text: t.Text, Metadata: cloneObject(c.view.Hide(t.Metadata)), Version: t.Version}
		if search.Vectors {
			m.Vector = slices.Clone(t.Vector)
		}
		loose = append(loose, m)
		if all {
			strict = append(strict, m)
		}
	}
	found := knowledge.Found{Matches: loose, Plan: knowledge.Plan{Method: "words-exact"}}
	if len(strict) >= search.Limit {
		found.Matches = strict
	}
	if search.Explain {
		found.Words = rank.plan(len(strict) >= search.Limit, len(found.Matches))
	}
	slices.SortFunc(found.Matches, func(a, b knowledge.Match) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	found.Matches = found.Matches[:min(len(found.Matches), search.Limit)]
	return found, nil
}

// matches reports whether a text has all that the question asks for, or what it
// cannot do without.
func (q question) matches(words []string) (all, some bool) {
	in := func(c clause) bool { return c.in(words) }
	out := func(c clause) bool { return !c.in(words) }
	if len(q.terms) == 0 || slices.ContainsFunc(q.excluded, in) || slices.ContainsFunc(q.required, out) {
		return false, false
	}
	return !slices.ContainsFunc(q.optional, out), len(q.required) > 0 || slices.ContainsFunc(q.terms, in)
}

// bm25 ranks texts by the terms of a question.
type bm25 struct {
	terms   []clause // rarest first
	have    []int    // how many texts have each
	texts   int
	average float64 // bytes of a text
}

func newBM25(texts []text, terms []clause) bm25 {
	b := bm25{terms: slices.Clone(terms), texts: len(texts)}
	bytes := 0
	have := map[string]int{}
	for _, t := range texts {
		bytes += len(t.Text)
		for _, c := range terms {
			if c.in(t.words) {
				have[c.label()]++
			}
		}
	}
	b.average = max(1, float64(bytes)/float64(max(1, len(texts))))
	slices.SortFunc(b.terms, func(x, y clause) int {
		return cmp.Or(cmp.Compare(have[x.label()], have[y.label()]), cmp.Compare(x.label(), y.label()))
	})
	for _, c := range b.terms {
		b.have = append(b.have, have[c.label()])
	}
	return b
}

// label is how a plan shows a term.
func (c clause) label() string {
	if c.prefix {
		return c.words[0] + "*"
	}
	return c.words[0]
}

// score is that of BM25 with k1 = 1.2 and b = 0.75, the length of a text being
// its bytes. A prefix counts once.
func (b bm25) score(t text) (sum float64) {
	n := counts(t.words)
	for i, c := range b.terms {
		tf := n[c.words[0]]
		if c.prefix && c.in(t.words) {
			tf = 1
		}
		if tf == 0 {
			continue
		}
		have, all := float64(b.have[i]), float64(b.texts)
		idf := math.Log(1 + (all-have+0.5)/(have+0.5))
		sum += idf * 2.2 * float64(tf) / (float64(tf) + 1.2*(0.25+0.75*float64(len(t.Text))/b.average))
	}
	return sum
}

func (b bm25) plan(all bool, ranked int) *knowledge.WordsPlan {
	p := &knowledge.WordsPlan{Records: int64(b.texts), All: all, Ranked: ranked}
	for i, c := range b.terms {
		p.Terms = append(p.Terms, knowledge.TextTerm{Term: c.label(), Records: int64(b.have[i])})
	}
	return p
}
