// Package sentence finds the sentences of a plain text: of English prose in
// paragraphs, with list items ("- ", "1. ") and code (lines indented by four
// spaces) between them. The demo corpus is cut and the cited plugin quotes by
// this one rule, so that a quote is never half a sentence.
package sentence

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Span is a half-open range of bytes of a text, on character boundaries.
type Span struct{ Start, End int }

// All yields the sentences of the text in order, without the white space around
// them. A line break ends a sentence; a list item's mark belongs to the item's
// first one. Lines of code are not yielded.
func All(text string) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for line := range lines(text) {
			if IsCode(text[line.Start:line.End]) {
				continue
			}
			for s := range inLine(text, line) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// IsCode tells whether a line is code: indented by four spaces or more.
func IsCode(line string) bool { return strings.HasPrefix(line, "    ") }

// lines yields the lines of the text without their ends.
func lines(text string) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for start := 0; start < len(text); {
			end := len(text)
			if i := strings.IndexByte(text[start:], '\n'); i >= 0 {
				end = start + i
			}
			if !yield(Span{start, end}) {
				return
			}
			start = end + 1
		}
	}
}

// inLine yields the sentences of one line.
func inLine(text string, line Span) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		start := line.Start
		for i := line.Start; i < line.End; i++ {
			if c := text[i]; c != '.' && c != '!' && c != '?' {
				continue
			}
			end := skipClosing(text[:line.End], i+1)
			if !endsHere(text[start:line.End], i-start, end-start) {
				continue
			}
			if s := trim(text, start, end); s.Start < s.End && !yield(s) {
				return
			}
			start, i = end, end-1
		}
		if s := trim(text, start, line.End); s.Start < s.End {
			yield(s)
		}
	}
}

// skipClosing returns the offset after the closing marks from i on, as in
// `the end.”)`.
func skipClosing(text string, i int) int {
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !strings.ContainsRune(`.!?"')]”’`, r) {
			break
		}
		i += n
	}
	return i
}

// endsHere tells whether a sentence that starts the text ends with the mark at
// the offset mark; after is the offset behind it and its closing marks.
func endsHere(text string, mark, after int) bool {
	if after == len(text) {
		return true
	}
	next, n := utf8.DecodeRuneInString(text[after:])
	if !unicode.IsSpace(next) {
		return false // as in pg_wal.conf, 17.1, ...
	}
	rest := strings.TrimLeftFunc(text[after+n:], unicode.IsSpace)
	if first, _ := utf8.DecodeRuneInString(rest); unicode.IsLower(first) && !looksLikeName(rest) {
		return false // as in "e.g. this"
	}
	if strings.HasPrefix(text[mark:], "..") || strings.HasSuffix(text[:mark], ".") {
		return false // what is left out stands within sentences, as in ALTER ROLE ... PASSWORD
	}
	return text[mark] != '.' || after != mark+1 || !abbreviates(text[:mark])
}

// looksLikeName tells whether the text begins with a lower-case name that may
// begin a sentence, as psql and wal_level do.
func looksLikeName(text string) bool {
	word, _, _ := strings.Cut(text, " ")
	return strings.ContainsAny(word, "_/()") || strings.HasPrefix(word, "pg") || word == "psql"
}

// abbreviates tells whether the word that ends the text, before its full stop,
// is an abbreviation, the number of a list item, or an initial.
func abbreviates(text string) bool {
	word := strings.TrimLeft(text[strings.LastIndexFunc(text, unicode.IsSpace)+1:], `("“‘'[`)
	if strings.Trim(word, "0123456789") == "" {
		return strings.TrimSpace(text) == word // "1." opens an item
	}
	switch strings.ToLower(word) {
	case "e.g", "i.e", "cf", "vs", "mr", "ms", "dr", "fig", "sec", "vol", "pp", "approx", "incl", "viz", "resp":
		return true
	}
	return utf8.RuneCountInString(word) == 1 && unicode.IsUpper([]rune(word)[0])
}

func trim(text string, start, end int) Span {
	s := text[start:end]
	start += len(s) - len(strings.TrimLeftFunc(s, unicode.IsSpace))
	return Span{start, start + len(strings.TrimSpace(s))}
}
