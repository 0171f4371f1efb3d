// Package words cuts text into the words that the local embedder counts, and
// stems them.
//
// The generator of the embedder's data and the embedder itself share it, so
// that a word of the data is by construction one that a text can hold.
// Changing what it returns changes vectors: raise the embedder's version.
package words

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxLength is the length in bytes of the longest word. A longer run, such as
// base64, is cut into words of at most this length, which bounds memory.
const MaxLength = 64

// unspaced holds the scripts that are written without spaces. Their runs are
// cut into overlapping pairs of characters, the usual stand-in for words when
// no dictionary is at hand.
//
//nolint:gochecknoglobals // a constant table
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// A Splitter cuts texts into words, one text at a time. The zero value is
// ready; it keeps its buffers between texts. Not safe for concurrent use.
type Splitter struct {
	yield func(word []byte) bool
	found bool // a word was yielded
	done  bool // yield has said stop

	word       []byte // the run so far, without apostrophes
	apostrophe int    // offset in word of the first apostrophe; 0 is none

	pair      [2 * utf8.UTFMax]byte
	last      rune // last character of an unspaced run; 0 is none
	lastAlone bool // last is in no pair yet
}

// Split calls yield for each word of text, in order, until yield returns
// false. A word is lower case, in form NFKC, at most [MaxLength] bytes, and
// valid only during the call. Letters, digits and combining marks make words;
// English contractions are undone (don't is do, not; server's is server).
// Bytes that are not UTF-8 separate words like spaces do. A text without any
// word, such as a lone emoji, gives its symbols and punctuation marks instead,
// one a word.
func (s *Splitter) Split(text string, yield func(word []byte) bool) {
	s.yield, s.found, s.done = yield, false, false
	defer func() { s.yield = nil }()
	s.runes(text, (*Splitter).step)
	s.endRun()
	if !s.found {
		s.runes(text, (*Splitter).symbol)
	}
}

// runes calls step for each character of text in form NFKC. The quick check
// passes for nearly all real text; the rest goes through an iterator, which
// needs no copy of the text.
func (s *Splitter) runes(text string, step func(*Splitter, rune)) {
	if norm.NFKC.QuickSpanString(text) == len(text) {
		for _, r := range text {
			if s.done {
				return
			}
			step(s, r)
		}
		return
	}
	var segments norm.Iter
	segments.InitString(norm.NFKC, text)
	for !segments.Done() {
		for segment := segments.Next(); len(segment) > 0; {
			if s.done {
				return
			}
			r, size := utf8.DecodeRune(segment)
			segment = segment[size:]
			step(s, r)
		}
	}
}

func (s *Splitter) step(r rune) {
	switch {
	case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
		s.letter(r)
	case 'A' <= r && r <= 'Z':
		s.letter(r + 'a' - 'A')
	case r == '\'' || r == '’':
		s.quote()
	case r < utf8.RuneSelf:
		s.endRun()
	case unicode.In(r, unspaced...) && (unicode.IsLetter(r) || unicode.IsMark(r)):
		s.unspacedLetter(r)
	case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
		s.letter(unicode.ToLower(r))
	default:
		s.endRun()
	}
}

func (s *Splitter) letter(r rune) {
	if s.last != 0 || len(s.word)+utf8.RuneLen(r) > MaxLength {
		s.endRun()
	}
	s.word = utf8.AppendRune(s.word, r)
}

func (s *Splitter) quote() {
	if len(s.word) == 0 || s.apostrophe > 0 {
		s.endRun()
		return
	}
	s.apostrophe = len(s.word)
}

func (s *Splitter) unspacedLetter(r rune) {
	if len(s.word) > 0 {
		s.endRun()
	}
	if s.last != 0 {
		pair := utf8.AppendRune(s.pair[:0], s.last)
		s.emit(utf8.AppendRune(pair, r))
	}
	s.lastAlone = s.last == 0
	s.last = r
}

// endRun yields what the run that ends here still owes.
func (s *Splitter) endRun() {
	if s.last != 0 && s.lastAlone {
		s.emit(utf8.AppendRune(s.pair[:0], s.last))
	}
	s.last = 0
	if len(s.word) > 0 {
		if s.apostrophe > 0 {
			s.emitParts(s.word[:s.apostrophe], s.word[s.apostrophe:])
		} else {
			s.emit(s.word)
		}
	}
	s.word, s.apostrophe = s.word[:0], 0
}

// emitParts yields the words of head'tail. The tails of English contractions
// and possessives are function words that say next to nothing, except for not.
func (s *Splitter) emitParts(head, tail []byte) {
	switch string(tail) {
	case "", "s", "re", "ve", "ll", "d", "m":
		s.emit(head)
	case "t":
		s.emit(undoNegation(head))
		s.emit([]byte("not"))
	default:
		s.emit(head)
		s.emit(tail)
	}
}

// undoNegation returns the verb of a contraction's head: "don" of "don't"
// gives "do".
func undoNegation(head []byte) []byte {
	switch n := len(head); {
	case string(head) == "can":
		return head
	case string(head) == "won":
		return []byte("will")
	case n > 1 && head[n-1] == 'n':
		return head[:n-1]
	default:
		return head
	}
}

func (s *Splitter) symbol(r rune) {
	if unicode.In(r, unicode.S, unicode.P) && r != utf8.RuneError {
		s.emit(utf8.AppendRune(s.pair[:0], r))
	}
}

func (s *Splitter) emit(word []byte) {
	if s.done {
		return
	}
	s.found = true
	s.done = !s.yield(word)
}
