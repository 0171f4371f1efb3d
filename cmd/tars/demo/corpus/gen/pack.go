package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tars-project/tars/plugins/guests/cited/sentence"
)

// Sizes of passages in words, headings not counted. A passage of less than
// least is joined to its neighbour where there is one under the same heading;
// one grows up to enough, and beyond most only where cutting would part a block
// from what leads to it, as code from "For example:".
const (
	least  = 60
	enough = 120
	most   = 180
	hard   = 240 // where a block and what leads to it are long
)

// manual is where the pages can be read by people.
const manual = "https://www.postgresql.org/docs/17/"

// passage is a line of the corpus.
type passage struct {
	ID       string   `json:"id"`
	Text     string   `json:"text"`
	Metadata metadata `json:"metadata"`
}

type metadata struct {
	Page    string `json:"page"`
	Heading string `json:"heading"`
	Chapter string `json:"chapter"`
	URL     string `json:"url"`
}

// passagesOf cuts a page into passages.
func passagesOf(p page) []passage {
	var out []passage
	count := make(map[string]int) // passages by id of their section
	for _, s := range merge(p.sections) {
		for _, blocks := range pack(s.blocks) {
			count[s.id]++
			out = append(out, makePassage(p, s, blocks, count[s.id]))
		}
	}
	return out
}

// merge joins a section that is too short for a passage with the next one if
// that lies below it or beside it and both are short enough for one passage.
func merge(sections []section) []section {
	var out []section
	for _, s := range sections {
		if len(s.blocks) == 0 {
			continue
		}
		if n := len(out); n > 0 {
			last := &out[n-1]
			common := shared(last.path, s.path)
			a, b := total(last.blocks), total(s.blocks)
			if len(common) >= 2 && (a < least || b < least) && a+b <= enough {
				if len(last.path) > len(common) { // its heading goes into the text
					last.blocks = slices.Insert(slices.Clone(last.blocks), 0, headline(last.path[len(common):]))
					last.path = common
				}
				if len(s.path) > len(common) {
					last.blocks = append(last.blocks, headline(s.path[len(common):]))
				}
				last.blocks = append(last.blocks, s.blocks...)
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

func headline(path []string) block {
	return block{kind: term, text: strings.Join(path, " > ")}
}

func shared(a, b []string) []string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n:n]
}

func total(blocks []block) int {
	n := 0
	for _, b := range blocks {
		n += b.words()
	}
	return n
}

// pack groups blocks into passages of the sizes above.
func pack(blocks []block) [][]block {
	var out [][]block
	var now []block
	flush := func() {
		if len(now) > 0 {
			out = append(out, now)
			now = nil
		}
	}
	units := split(blocks)
	for i, u := range units {
		size, next := total(now), u.words()
		if u.leads() && i+1 < len(units) {
			next += units[i+1].words()
		}
		follows := len(now) > 0 && now[len(now)-1].leads()
		newTerm := len(now) > 0 && u.kind == term && u.term != now[len(now)-1].term
		switch {
		case follows && size+u.words() <= hard: // stays with what leads to it
		case size+next > most, size >= least && size+next > enough+least/2, newTerm && size >= least:
			flush()
		}
		now = append(now, u)
	}
	flush()
	return joinTail(out)
}

// joinTail joins a short last passage to the one before it.
func joinTail(groups [][]block) [][]block {
	n := len(groups)
	if n < 2 || total(groups[n-1]) >= least/2 || total(groups[n-2])+total(groups[n-1]) > most {
		return groups
	}
	groups[n-2] = append(groups[n-2], groups[n-1]...)
	return groups[:n-1]
}

// split cuts the blocks that are too long for a passage into several.
func split(blocks []block) []block {
	var out []block
	for _, b := range blocks {
		if b.words() <= enough {
			out = append(out, b)
			continue
		}
		for i, text := range cut(b) {
			out = append(out, block{b.kind, text, b.term, i > 0})
		}
	}
	return out
}

// cut parts a block's text between sentences, or between lines of code and of
// rows, into pieces of about equal size.
func cut(b block) []string {
	var units []string
	glue := " "
	if b.kind == code || b.kind == row {
		units, glue = strings.Split(b.text, "\n"), "\n"
	} else {
		for s := range sentence.All(b.text) {
			units = append(units, b.text[s.Start:s.End])
		}
	}
	pieces := (b.words() + enough - 1) / enough
	goal := (b.words() + pieces - 1) / pieces
	var out []string
	var now []string
	size := 0
	for _, u := range units {
		n := len(strings.Fields(u))
		if size > 0 && size+n/2 > goal {
			out, now, size = append(out, strings.Join(now, glue)), nil, 0
		}
		now, size = append(now, u), size+n
	}
	return append(out, strings.Join(now, glue))
}

// makePassage writes the blocks under their headings. A term that all blocks
// explain becomes the last of the headings.
func makePassage(p page, s section, blocks []block, n int) passage {
	path := s.path
	if t := blocks[0].term; t != "" && !slices.ContainsFunc(blocks, func(b block) bool { return b.term != t }) {
		if blocks[0].kind == term && blocks[0].text == t {
			blocks = blocks[1:]
		}
		if len(blocks) > 0 && len(t) <= 200 {
			path = append(path[:len(path):len(path)], t)
		} else if len(blocks) == 0 {
			blocks = []block{{kind: term, text: t}}
		}
	}
	var w strings.Builder
	w.WriteString(strings.Join(path, " > "))
	for i, b := range blocks {
		gap := "\n\n"
		switch {
		case i == 0:
		case b.more && b.kind != code && b.kind != row:
			gap = " "
		case b.more, tight(blocks[i-1].kind, b.kind):
			gap = "\n"
		}
		w.WriteString(gap)
		w.WriteString(b.text)
	}
	id, url := strings.TrimSuffix(p.name, ".html"), manual+p.name
	if s.id != "" {
		id, url = id+"#"+s.id, url+"#"+s.id
	}
	return passage{
		ID: fmt.Sprintf("%s/%d", id, n), Text: w.String(),
		Metadata: metadata{Page: p.name, Heading: path[len(path)-1], Chapter: p.chapter, URL: url},
	}
}

// tight tells whether two blocks are on neighbouring lines, without a blank one.
func tight(above, below kind) bool {
	switch above {
	case term:
		return below == prose || below == item
	case item:
		return below == item
	case row:
		return below == row
	}
	return false
}
