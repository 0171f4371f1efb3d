package files

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder makes a folder with files of these names, each with its name as its text.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte("text of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func ids(files []File) []string {
	var all []string
	for _, f := range files {
		all = append(all, f.ID)
	}
	return all
}

func TestFind(t *testing.T) {
	dir := folder(t, "b.md", "a/x.txt", "a.txt", "a/.hidden.txt", ".git/y.txt", "a/deep/er/z.html", "a/no.unknown\x01", "a/other.bin\xff.txt")
	binary := filepath.Join(dir, "a/blob.bin")
	if err := os.WriteFile(binary, []byte("\x00\x01\x02\xff\xfe\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := folder(t, "linked.txt")
	if err := os.Symlink(filepath.Join(other, "linked.txt"), filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, "links")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "root")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		selection Selection
		want      []string
	}{
		"all":              {Selection{Paths: []string{dir}}, []string{"a.txt", "a/deep/er/z.html", "a/x.txt", "b.md"}},
		"a link as a path": {Selection{Paths: []string{link}}, []string{"a.txt", "a/deep/er/z.html", "a/x.txt", "b.md"}},
		"include":          {Selection{Paths: []string{dir}, Include: []string{"*.txt"}}, []string{"a.txt", "a/x.txt"}},
		"include of paths": {Selection{Paths: []string{dir}, Include: []string{"a/*.txt", "b.*"}}, []string{"a/x.txt", "b.md"}},
		"exclude":          {Selection{Paths: []string{dir}, Include: []string{"*.txt"}, Exclude: []string{"a/*"}}, []string{"a.txt"}},
		"prefix":           {Selection{Paths: []string{filepath.Join(dir, "a")}, Prefix: "p/"}, []string{"p/deep/er/z.html", "p/x.txt"}},
		"a file":           {Selection{Paths: []string{filepath.Join(dir, "b.md"), filepath.Join(other, "linked.txt")}}, []string{"b.md", "linked.txt"}},
		"a type":           {Selection{Paths: []string{binary}, MediaType: "text/plain"}, []string{"blob.bin"}},
	} {
		found, err := c.selection.Find()
		if err != nil || !slices.Equal(ids(found.Files), c.want) {
			t.Errorf("%s: Find = %q, %v, want %q", what, ids(found.Files), err, c.want)
		}
		if what == "all" && (found.Others < 1 || len(found.Faults) != 2) {
			t.Errorf("%s: Find passes over %d and has the faults %v, want the blob, and two bad ids", what, found.Others, found.Faults)
		}
	}
	found, err := Selection{Paths: []string{dir}}.Find()
	if err != nil || found.Files[0].MediaType != "text/plain" || found.Files[0].Size != int64(len("text of a.txt")) || found.Files[3].MediaType != "text/markdown" {
		t.Errorf("Find = %+v, %v, want types and sizes", found.Files, err)
	}
	for what, selection := range map[string]Selection{
		"no such path":   {Paths: []string{filepath.Join(dir, "none")}},
		"a bad pattern":  {Paths: []string{dir}, Include: []string{"[a"}},
		"an unknown one": {Paths: []string{binary}},
		"one id twice":   {Paths: []string{dir, dir}},
	} {
		if found, err := selection.Find(); err == nil {
			t.Errorf("%s: Find = %q, want an error", what, ids(found.Files))
		}
	}
}

func TestEscape(t *testing.T) {
	for id, want := range map[string]string{"a/b c": "a%2Fb%20c", ".": "%2E", "..": "%2E%2E", "a.b": "a.b", "#?%": "%23%3F%25"} {
		if got := escape(id); got != want {
			t.Errorf("escape(%q) = %q, want %q", id, got, want)
		}
	}
	if strings.Contains(escape("a/../b"), "/") {
		t.Error("escape leaves a slash")
	}
}
