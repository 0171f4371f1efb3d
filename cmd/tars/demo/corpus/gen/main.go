// Gen makes the demo corpus of the PostgreSQL manual's HTML pages, as Debian's
// package postgresql-doc-17 has them:
//
//	apt-get download postgresql-doc-17 && dpkg -x postgresql-doc-17_*.deb manual
//	go run ./gen -html manual/usr/share/doc/postgresql-doc-17/html -out .
//
// It writes corpus.jsonl.gz and version.go into the folder -out; the same pages
// give the same bytes. The pages are cut at their headings, and longer sections
// between paragraphs and sentences.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	pages := flags.String("html", os.Getenv("PGDOC"), "`folder` of the manual's pages; default $PGDOC")
	out := flags.String("out", ".", "`folder` to write to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pages == "" {
		return fmt.Errorf("-html or PGDOC must name the folder of the manual's pages (package postgresql-doc-17)")
	}
	passages, release, err := readManual(*pages)
	if err != nil {
		return fmt.Errorf("manual in %s: %w", *pages, err)
	}
	size, err := write(*out, release, passages)
	if err != nil {
		return fmt.Errorf("corpus in %s: %w", *out, err)
	}
	_, err = fmt.Fprintf(stdout, "PostgreSQL %s: %d passages, %d bytes\n", release, len(passages), size)
	return err
}

// leftOut tells the pages that answer no question: indexes, lists of names, and
// the release notes, which say in many thousand lines what has changed.
func leftOut(page string) bool {
	return strings.HasPrefix(page, "release") || slices.Contains([]string{
		"index.html", "bookindex.html", "biblio.html", "legalnotice.html", "contrib.html", "error-index.html",
		"sql-keywords-appendix.html", "features-sql-standard.html", "unsupported-features-sql-standard.html",
	}, page)
}

// readManual returns the passages of all pages in the order of the pages'
// names, and the release that the manual describes, as in "17.11".
func readManual(folder string) (passages []passage, release string, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.html"))
	if err != nil {
		return nil, "", err
	}
	seen := make(map[string]bool)
	for _, file := range files { // sorted by Glob
		name := filepath.Base(file)
		if leftOut(name) {
			continue
		}
		p, err := readPage(file)
		if err != nil {
			return nil, "", fmt.Errorf("page %s: %w", name, err)
		}
		release = p.release
		for _, x := range passagesOf(p) {
			if seen[x.ID] {
				return nil, "", fmt.Errorf("page %s: two passages have the id %s", name, x.ID)
			}
			seen[x.ID] = true
			passages = append(passages, x)
		}
	}
	if len(passages) == 0 {
		return nil, "", fmt.Errorf("no passages in %d pages", len(files))
	}
	return passages, release, nil
}
