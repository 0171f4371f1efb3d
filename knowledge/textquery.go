package knowledge

import (
	"slices"
	"strings"
	"unicode"
)

// Bounds of a search by words.
const (
	MaxTextBytes   = 8_000 // of the question
	MaxTextClauses = 256   // words, prefixes and phrases of a question that count; the first ones
	MaxTextTerms   = 64    // of them that rank, and that find where not all need to be there; the first ones
	MinPrefix      = 2     // characters before the star; a shorter prefix is taken for a word
)

// TextQuery is a question in words, as a person types it:
//
//	word           in any of its forms, in the collection's language
//	"two words"    one right after the other
//	begin*         any word that begins so
//	-word          not; also -"two words" and -begin*
//
// Everything else in it, operators of other languages too, is words or nothing.
// What it lists is distinct, in the order of the question, as it was typed: to
// bring words to their stems and to drop what says nothing is the store's part.
type TextQuery struct {
	Words, Prefixes, Phrases                      []string
	WithoutWords, WithoutPrefixes, WithoutPhrases []string
}

// ParseTextQuery reads a question. It never fails: of what it cannot make sense of
// it makes words.
func ParseTextQuery(s string) TextQuery {
	var q TextQuery
	clauses := 0
	add := func(list *[]string, clause string) {
		if clauses < MaxTextClauses && hasWord(clause) && !slices.Contains(*list, clause) {
			*list = append(*list, clause)
			clauses++
		}
	}
	for s != "" && clauses < MaxTextClauses {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		without := strings.HasPrefix(s, "-")
		if without {
			s = s[1:]
		}
		if rest, quoted := strings.CutPrefix(s, `"`); quoted {
			var phrase string
			phrase, s, _ = strings.Cut(rest, `"`)
			add(pick(without, &q.WithoutPhrases, &q.Phrases), phrase)
			continue
		}
		end := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		s = s[end:]
		if prefix, starred := strings.CutSuffix(word, "*"); starred && isPrefix(prefix) {
			add(pick(without, &q.WithoutPrefixes, &q.Prefixes), strings.ToLower(prefix))
			continue
		}
		add(pick(without, &q.WithoutWords, &q.Words), word)
	}
	return q
}

func pick(first bool, a, b *[]string) *[]string {
	if first {
		return a
	}
	return b
}

// hasWord reports that there is something of which words are made.
func hasWord(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) >= 0
}

// isPrefix reports that s is the beginning of one word, and long enough.
func isPrefix(s string) bool {
	n := 0
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			return false
		}
		n++
	}
	return n >= MinPrefix
}

// TextSearch is one retrieval from one collection by words.
//
// Records that have every word, prefix and phrase of Text, and none of those that
// it excludes, are found, if there are at least Limit of them. Otherwise also
// those that have every phrase and, unless there is a phrase, at least one of the
// other terms. Either way the best come first, by BM25: rare terms count more than
// common ones, repeated ones more than single ones, and short texts more than
// long ones. A question of nothing but words that say nothing finds nothing. Through a
// view, rare is what few of the records have that pass the filters and have a term.
type TextSearch struct {
	Collection CollectionName
	Text       string // see [TextQuery]; 1 to [MaxTextBytes] bytes
	Limit      int    // matches wanted, 1 to [MaxLimit]
	Filter     Filter
	Exact      bool // look at all records even where there is an index
	Vectors    bool // give the vector of each match as well
	Explain    bool // say in Found.Words what was looked for
}

// Validate checks the search; it returns an [InvalidError].
func (s TextSearch) Validate() error {
	if s.Limit < 1 || s.Limit > MaxLimit {
		return Invalid("limit", "is %d; need 1 to %d", s.Limit, MaxLimit)
	}
	if s.Text == "" || len(s.Text) > MaxTextBytes {
		return Invalid("text", "has %d bytes; need 1 to %d", len(s.Text), MaxTextBytes)
	}
	if err := CheckText(s.Text); err != nil {
		return At("text", err)
	}
	return At("filter", s.Filter.Validate(Collection{}))
}

// WordsPlan says what a search by words looked for.
type WordsPlan struct {
	Terms   []TextTerm // that ranked, rarest first
	Records int64      // in the collection, about; through a view, that pass the filters and have a term
	All     bool       // every match has every clause; false when that were too few
	Ranked  int        // records that were ranked
	Bounded bool       // there were more than are ranked of one search
}

// TextTerm is one term of a search by words, in the form in which it is indexed.
type TextTerm struct {
	Term    string // a prefix ends in *
	Records int64  // that have it, about; of a prefix perhaps too many; through a view, of those that pass the filters
}
