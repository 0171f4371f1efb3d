package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// writeFolders writes the two sets for `tars ingest` into dir: postgresql, the
// manual's HTML pages, and debian, a small text file for the description of each
// package.
func (s shelf) writeFolders(ctx context.Context, dir string) error {
	m := manuals[0]
	unpacked, is, err := s.unpack(ctx, m)
	if err != nil {
		return err
	}
	pages, err := pagesIn(filepath.Join(unpacked, m.folder))
	if err != nil {
		return err
	}
	to := filepath.Join(dir, "postgresql")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(page)), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(s.log, "%s: %d pages of %s %s\n", to, len(pages), is.Name, is.Version)
	lists, err := s.lists(ctx)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(lists, "*_Translation-en"))
	if err != nil {
		return err
	}
	to = filepath.Join(dir, "debian")
	seen := map[string]bool{}
	for _, file := range files {
		if err := writeDescriptions(file, to, seen); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(seen) == 0 {
		return errors.New("no descriptions in " + lists)
	}
	fmt.Fprintf(s.log, "%s: %d descriptions of packages\n", to, len(seen))
	return nil
}

// writeDescriptions writes those of a list of apt's whose packages are not among the
// seen.
func writeDescriptions(list, to string, seen map[string]bool) error {
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	return readDescriptions(f, func(d description) error {
		if seen[d.name] {
			return nil
		}
		seen[d.name] = true
		// By the first letters, as the mirror has them: no folder has too many files.
		start := d.name[:1]
		if strings.HasPrefix(d.name, "lib") && len(d.name) > 3 {
			start = d.name[:4]
		}
		if err := os.MkdirAll(filepath.Join(to, start), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, start, d.name+".txt"), []byte(d.name+": "+d.text), 0o644)
	})
}

// description is a package's, with its synopsis as the first line.
type description struct{ name, text string }

// packageName is what Debian allows as one; so it is a file's name too.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// readDescriptions calls do with each description of a list: paragraphs of fields,
// of which Package and Description-en matter. Lines of a field after its first begin
// with a space, and " ." is an empty one.
func readDescriptions(r io.Reader, do func(description) error) error {
	var d description
	var text strings.Builder
	inText := false
	end := func() error {
		d.text = text.String()
		text.Reset()
		inText = false
		last := d
		d = description{}
		if last.name == "" || last.text == "" {
			return nil
		}
		return do(last)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		key, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			if err := end(); err != nil {
				return err
			}
		case line[0] == ' ' && inText && strings.TrimSpace(line) == ".":
			text.WriteByte('\n')
		case line[0] == ' ' && inText:
			text.WriteString(line[1:] + "\n")
		case line[0] == ' ':
		case key == "Package":
			if d.name = strings.TrimSpace(value); !packageName.MatchString(d.name) {
				return fmt.Errorf("%q is no name of a package", d.name)
			}
			inText = false
		case key == "Description-en":
			text.WriteString(strings.TrimSpace(value) + "\n\n")
			inText = true
		default:
			inText = false
		}
	}
	return errors.Join(lines.Err(), end())
}
