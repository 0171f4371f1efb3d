package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// corpus is a collection's texts, and the questions to them.
type corpus struct {
	name      string
	passages  []string // the id of each is its number
	questions []question
}

// question is a heading, and the one passage that it stands above.
type question struct {
	set    string // name of the set that it belongs to
	text   string
	answer int // number of the passage
}

// Bounds of what is taken.
const (
	leastWords = 10    // of a passage: less says nothing by itself
	mostWords  = 120   // of a passage, its first: as many as the chunks of documents have
	mostBytes  = 8_000 // of a passage, cut between words; of a question what a search may ask
)

// readManuals makes one corpus of all manuals: a question of one is looked for
// among the sections of all.
func (s shelf) readManuals(ctx context.Context) (c corpus, sources []source, err error) {
	b := builder{corpus: corpus{name: manualsName}}
	for _, m := range manuals {
		dir, is, err := s.unpack(ctx, m)
		if err != nil {
			return c, nil, err
		}
		sources = append(sources, is)
		pages, err := pagesIn(filepath.Join(dir, m.folder))
		if err != nil {
			return c, nil, fmt.Errorf("%s: %w", m.pkg, err)
		}
		for _, page := range pages {
			sections, err := readPage(page)
			if err != nil {
				return c, nil, fmt.Errorf("%s: page %s: %w", m.pkg, page, err)
			}
			for _, x := range sections {
				b.add(m.set, x)
			}
		}
	}
	return b.finish(), sources, nil
}

func readPage(name string) ([]section, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readSections(bufio.NewReader(f))
}

// leftOut are lists of names, which answer nothing: what a page or a folder begins with.
var leftOut = []string{"genindex", "bookindex", "keyword_index", "py-modindex", "contents.html", "search.html", "sitemap", "doclist", "_sources"}

// pagesIn returns the HTML pages in a folder and its folders, sorted.
func pagesIn(dir string) (pages []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.ContainsFunc(leftOut, func(start string) bool { return strings.HasPrefix(d.Name(), start) }) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() && strings.HasSuffix(path, ".html") {
			pages = append(pages, path)
		}
		return nil
	})
	if err == nil && len(pages) == 0 {
		err = errors.New("no pages in " + dir)
	}
	return pages, err
}

// readCWE makes the corpus of weaknesses: their names are the questions.
func (s shelf) readCWE(ctx context.Context) (corpus, source, error) {
	file, is, err := s.pack(ctx)
	if err != nil {
		return corpus{}, is, err
	}
	f, err := os.Open(file)
	if err != nil {
		return corpus{}, is, err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return corpus{}, is, fmt.Errorf("%s: %w", file, err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			return corpus{}, is, fmt.Errorf("%s: %w", file, err)
		}
		if h.Name == "package/raw/cwe-dictionary.json" {
			c, err := readWeaknesses(t)
			return c, is, err
		}
	}
}

// readWeaknesses reads the package's JSON, by id. A withdrawn entry describes no
// weakness.
func readWeaknesses(r io.Reader) (corpus, error) {
	var all map[string]struct {
		Attr struct {
			ID     string `json:"@_ID"`
			Name   string `json:"@_Name"`
			Status string `json:"@_Status"`
		} `json:"attr"`
		Description string
	}
	if err := json.NewDecoder(r).Decode(&all); err != nil {
		return corpus{}, fmt.Errorf("weaknesses: %w", err)
	}
	b := builder{corpus: corpus{name: "cwe"}}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if w := all[id]; w.Attr.Status != "Deprecated" {
			b.add("cwe", section{squeeze(w.Attr.Name), squeeze(w.Description)})
		}
	}
	return b.finish(), nil
}

// builder makes a corpus of sections.
type builder struct {
	corpus
	headings map[string]int // how often each stands, in small letters
	texts    map[string]bool
}

// add takes a section, unless it is too short or another has the same text.
func (b *builder) add(set string, s section) {
	if b.headings == nil {
		b.headings, b.texts = map[string]int{}, map[string]bool{}
	}
	b.headings[strings.ToLower(s.heading)]++
	f := strings.Fields(s.text)
	s.text = cut(strings.Join(f[:min(len(f), mostWords)], " "), mostBytes)
	if len(f) < leastWords || b.texts[s.text] {
		return
	}
	b.texts[s.text] = true
	b.questions = append(b.questions, question{set, cut(s.heading, mostBytes), len(b.passages)})
	b.passages = append(b.passages, s.text)
}

// finish keeps the sections whose heading stands once in the whole corpus.
func (b *builder) finish() corpus {
	c := corpus{name: b.name}
	for _, q := range b.questions {
		if b.headings[strings.ToLower(q.text)] != 1 {
			continue
		}
		c.questions = append(c.questions, question{q.set, q.text, len(c.passages)})
		c.passages = append(c.passages, b.passages[q.answer])
	}
	return c
}

// cut keeps at most so many bytes, of whole words.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[:most+1]
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		return s[:i]
	}
	return strings.ToValidUTF8(s[:most], "")
}
