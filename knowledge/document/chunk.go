package document

import (
	"slices"
	"strings"
	"unicode"

	"github.com/clipperhouse/uax29/v2/sentences"
	"github.com/clipperhouse/uax29/v2/words"
)

// Chunker names the way in which [Chunk] cuts: another one would give other passages.
const Chunker = "passages-1"

// Options say how a text is cut. The zero value is good.
type Options struct {
	Words   int // of a passage, about; 0 means 110
	Overlap int // sentences that a passage repeats of the one before it in its section; 0 means 1, less than 0 none
}

func (o Options) withDefaults() Options {
	if o.Words == 0 {
		o.Words = 110
	}
	if o.Overlap == 0 {
		o.Overlap = 1
	}
	o.Overlap = max(o.Overlap, 0)
	return o
}

// maxRepeated is the most words of a sentence that is repeated.
const maxRepeated = 40

// Chunk cuts a text into passages, in order: sentences, items, rows and lines of code
// are packed up to the number of words, and never across a heading. What is longer is
// cut between words. Sentences and words end where Unicode says (UAX #29); in
// scripts without spaces a character is a word. Every character of a block that is no
// white space is in a passage, but those of headings with content below them: they
// are in Headings.
func Chunk(t Text, o Options) []Passage {
	c := chunker{text: t, options: o.withDefaults()}
	for _, b := range t.Blocks {
		if b.Kind == Heading {
			c.heading(b)
			continue
		}
		if strings.TrimSpace(t.Text[b.Start:b.End]) == "" {
			continue
		}
		for i := range c.above {
			c.above[i].used = true
		}
		c.content(b)
	}
	c.heading(Block{}) // the end
	return c.passages
}

// chunker is a text under way.
type chunker struct {
	text     Text
	options  Options
	above    []section // that are open, outermost first
	units    []unit    // of the passage under way
	words    int       // of these
	fresh    int       // units that are in no passage yet
	first    int       // number of the section's first passage
	passages []Passage
}

type section struct {
	Block
	used bool // something is below
}

// unit is what is not cut unless it is too long.
type unit struct {
	start, end, words int
	sentence          bool
	lead              bool // says what the next one is about: it does not end a passage
	page              int
}

// maxLead is the most words of an item that may be such a one: a term before its
// definition.
const maxLead = 10

// heading ends the section, and those that a heading of its level ends; the zero one
// ends all.
func (c *chunker) heading(b Block) {
	c.endSection()
	for n := len(c.above); n > 0 && c.above[n-1].Level >= b.Level; n = len(c.above) {
		last := c.above[n-1]
		c.above = c.above[:n-1]
		if !last.used { // nothing below: it is all that there is
			for i := range c.above {
				c.above[i].used = true
			}
			c.passages = append(c.passages, Passage{Start: last.Start, End: last.End, Headings: c.path(), Page: last.Page})
		}
	}
	if b.Level > 0 {
		c.above = append(c.above, section{Block: b})
	}
	c.first = len(c.passages)
}

// path is the texts of the headings above.
func (c *chunker) path() []string {
	var path []string
	for _, h := range c.above {
		if text := oneLine(c.text.Text[h.Start:h.End]); text != "" {
			path = append(path, text)
		}
	}
	return path
}

// content adds a block to the section.
func (c *chunker) content(b Block) {
	text := c.text.Text[b.Start:b.End]
	switch n := countWords(text); {
	case b.Kind == Code:
		at := b.Start
		for line := range strings.Lines(text) {
			c.add(unit{start: at, end: at + len(line), words: countWords(line), page: b.Page})
			at += len(line)
		}
	case b.Kind == Table, b.Kind == Item && n <= c.options.Words:
		lead := b.Kind == Item && n <= maxLead && !strings.ContainsAny(text[len(text)-1:], ".!?;,")
		c.add(unit{start: b.Start, end: b.End, words: n, page: b.Page, lead: lead})
	default:
		it := sentences.FromString(text)
		for at := b.Start; it.Next(); at = b.Start + it.End() {
			c.add(unit{start: at, end: b.Start + it.End(), words: countWords(it.Value()), sentence: true, page: b.Page})
		}
	}
}

// add packs a unit, without the white space around it.
func (c *chunker) add(u unit) {
	text := c.text.Text[u.start:u.end]
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return
	}
	u.start += strings.Index(text, trimmed)
	u.end = u.start + len(trimmed)
	if u.words > c.options.Words || u.end-u.start > maxUnit {
		c.cut(u)
		return
	}
	c.pack(u)
}

// pack puts a unit that is not too long into the passage under way.
func (c *chunker) pack(u unit) {
	u.words = max(u.words, (u.end-u.start)/maxWord)
	if c.fresh > 0 && c.words+u.words > c.options.Words {
		c.endPassage()
	}
	c.units = append(c.units, u)
	c.words += u.words
	c.fresh++
}

const (
	maxUnit = 4096 // bytes of a unit, for texts that have hardly a word
	maxWord = 40   // bytes that count as a word at least
)

// cut packs a unit that is too long in parts, which end between words.
func (c *chunker) cut(u unit) {
	start, n := u.start, 0
	it := words.FromString(c.text.Text[u.start:u.end])
	for end := u.start; it.Next(); {
		next := u.start + it.End()
		is := isWord(it.Value())
		if (is && n == c.options.Words || next-start > maxUnit) && end > start {
			c.pack(unit{start: start, end: end, words: n, page: u.page})
			start, n = end, 0
		}
		if is {
			n++
		}
		for end = next; end-start > maxUnit; { // one "word" of that length
			at := start + maxUnit
			for at > start && c.text.Text[at]&0xc0 == 0x80 {
				at--
			}
			c.pack(unit{start: start, end: at, words: n, page: u.page})
			start, n = at, 0
		}
	}
	if start < u.end {
		c.pack(unit{start: start, end: u.end, words: n, page: u.page})
	}
}

// endPassage makes a passage of the units, and keeps those that the next one repeats,
// or begins with.
func (c *chunker) endPassage() {
	if c.fresh == 0 {
		return
	}
	leads := 0
	for leads < c.fresh-1 && c.units[len(c.units)-1-leads].lead {
		leads++
	}
	next := slices.Clone(c.units[len(c.units)-leads:])
	c.units = c.units[:len(c.units)-leads]
	c.passages = append(c.passages, Passage{
		Start: c.units[0].start, End: c.units[len(c.units)-1].end, Headings: c.path(), Page: c.units[0].page,
	})
	keep := len(c.units)
	for keep > 0 && len(c.units)-keep < c.options.Overlap && c.units[keep-1].sentence && c.units[keep-1].words <= maxRepeated {
		keep--
	}
	if keep == 0 { // all of it would be repeated
		keep = len(c.units)
	}
	if leads > 0 {
		keep = len(c.units)
	}
	c.units = append(append(c.units[:0], c.units[keep:]...), next...)
	c.words, c.fresh = 0, leads
	for _, u := range c.units {
		c.words += u.words
	}
}

// endSection ends the last passage of a section: a short one is joined to the one
// before it.
func (c *chunker) endSection() {
	fresh := c.words
	for _, u := range c.units[:len(c.units)-c.fresh] {
		fresh -= u.words
	}
	for i := range c.units {
		c.units[i].lead = false
	}
	if n := len(c.passages); c.fresh > 0 && n > c.first && 4*fresh <= c.options.Words {
		c.passages[n-1].End = c.units[len(c.units)-1].end
	} else {
		c.endPassage()
	}
	c.units, c.words, c.fresh = c.units[:0], 0, 0
}

// countWords counts the words of a text.
func countWords(text string) int {
	n := 0
	for it := words.FromString(text); it.Next(); {
		if isWord(it.Value()) {
			n++
		}
	}
	return n
}

// isWord reports that there is a letter or a digit.
func isWord(token string) bool {
	return strings.ContainsFunc(token, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
}

// Embedded is the text that stands for a passage where it is embedded and searched:
// title and headings, then the passage. prefix is how many bytes come before it.
func (p Passage) Embedded(t Text, title string) (text string, prefix int) {
	path := p.Headings
	if title = oneLine(title); title != "" && (len(path) == 0 || path[0] != title) {
		path = append([]string{title}, path...)
	}
	head := strings.Join(path, " › ")
	if head != "" {
		head += "\n\n"
	}
	return head + t.Text[p.Start:p.End], len(head)
}
