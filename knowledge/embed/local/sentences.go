package local

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxSentence is the most bytes of a sentence that are looked at at once; a
	// longer one is cut.
	maxSentence = 2048
)

// nextSentence returns the first sentence of a text, without white space around it,
// and what comes after it: up to a full stop, question or exclamation mark before
// white space, to one of Chinese or Japanese, or to the end of a line. Both are empty
// when nothing is left.
func nextSentence(text string) (sentence, rest string) {
	text = strings.TrimLeft(text, " \t\r\n")
	for i := 0; i < len(text); {
		if i >= maxSentence {
			return strings.TrimSpace(text[:i]), text[i:]
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		switch r {
		case '\n', '。', '！', '？':
			return strings.TrimSpace(text[:i]), text[i:]
		case '.', '!', '?':
			if i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
				return text[:i], text[i:]
			}
		}
	}
	return strings.TrimSpace(text), ""
}
