// Package answer ranks passages for a question, and answers it in sentences of
// theirs, by the question's words alone. It is the algorithm of the plugin
// cited, free of its ABI. There is no model: BM25 over the candidates with
// weights for headings, phrases and nearness, and a choice of sentences that
// hold much of the question and little of each other.
//
// All functions are pure, take time linear in the length of the texts, and may
// be called at once.
package answer

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// word is a run of letters, digits and underscores: bytes start to end of a
// text.
type word struct{ start, end int }

// nextWord returns the first word at or after the offset from; ok is false if
// there is none. An apostrophe and what follows it up to the word's end are no
// part of it: "server's" is "server".
func nextWord(text string, from int) (w word, next int, ok bool) {
	i := from
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if isWordRune(r) {
			break
		}
		i += n
	}
	if i == len(text) {
		return word{}, i, false
	}
	w.start = i
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !isWordRune(r) {
			break
		}
		i += n
	}
	w.end = i
	return w, skipPossessive(text, i), true
}

// skipPossessive returns the offset behind an "'s", "'t", "'re" at i, or i.
func skipPossessive(text string, i int) int {
	rest := text[i:]
	for _, mark := range []string{"'", "’"} {
		if after, ok := strings.CutPrefix(rest, mark); ok {
			n := 0
			for n < len(after) && n < 3 && 'a' <= after[n] && after[n] <= 'z' {
				n++
			}
			if n > 0 {
				return i + len(mark) + n
			}
		}
	}
	return i
}

func isWordRune(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// lower appends the word in lower case to buf, without allocating for ASCII.
func lower(buf []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(buf[:len(buf)-i], strings.ToLower(s)...)
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return buf
}

// stem cuts the endings of a lower-case English word that inflection and common
// derivation add, so that "restoring", "restored" and "restores" are one. It is
// lighter than Porter's algorithm: it takes two words for one less often, and
// misses more. Names with digits or underscores stay as they are.
func stem(w []byte) []byte {
	if len(w) < 4 || !plain(w) {
		return w
	}
	w = cutPlural(w)
	for _, e := range endings {
		if rest := len(w) - len(e.cut); rest >= e.least && has(w, e.cut) && bytes.ContainsAny(w[:rest], "aeiouy") {
			w = append(w[:rest], e.put...)
			if e.undouble {
				w = undouble(w)
			}
			break
		}
	}
	if n := len(w); n > 3 && w[n-1] == 'e' {
		w = w[:n-1]
	}
	return w
}

// ending says what to cut and what to put in its place where at least least
// bytes, a vowel among them, remain.
type ending struct {
	cut, put string
	least    int
	undouble bool // of "stopp", leave "stop"
}

var endings = []ending{
	{cut: "ically", put: "ic", least: 3},
	{cut: "ization", put: "iz", least: 3},
	{cut: "isation", put: "iz", least: 3},
	{cut: "ication", put: "ic", least: 3},
	{cut: "icate", put: "ic", least: 3},
	{cut: "icated", put: "ic", least: 3},
	{cut: "icating", put: "ic", least: 3},
	{cut: "ation", put: "", least: 4},
	{cut: "ating", put: "", least: 4},
	{cut: "ated", put: "", least: 4},
	{cut: "ate", put: "", least: 4},
	{cut: "ction", put: "ct", least: 3},
	{cut: "very", put: "ver", least: 3},
	{cut: "ally", put: "al", least: 4},
	{cut: "ily", put: "y", least: 3},
	{cut: "ying", put: "y", least: 2},
	{cut: "ied", put: "y", least: 2},
	{cut: "ing", put: "", least: 3, undouble: true},
	{cut: "ed", put: "", least: 3, undouble: true},
	{cut: "ly", put: "", least: 4},
}

func plain(w []byte) bool {
	for _, c := range w {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

func has(w []byte, suffix string) bool {
	return len(w) >= len(suffix) && string(w[len(w)-len(suffix):]) == suffix
}

func cutPlural(w []byte) []byte {
	switch n := len(w); {
	case !has(w, "s"), has(w, "ss"), has(w, "us"), has(w, "is"):
		return w
	case has(w, "ies") && n > 4:
		return append(w[:n-3], 'y')
	case has(w, "sses"), has(w, "xes"), has(w, "ches"), has(w, "shes"):
		return w[:n-2]
	default:
		return w[:n-1]
	}
}

// undouble leaves one of two equal consonants at the end, but for those that
// words end in themselves.
func undouble(w []byte) []byte {
	n := len(w)
	if n < 3 || w[n-1] != w[n-2] || strings.IndexByte("aeiouslz", w[n-1]) >= 0 {
		return w
	}
	return w[:n-1]
}
