package files

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

// File is a file that is to be a document.
type File struct {
	ID        string
	Path      string // where it is on this machine
	MediaType string
	Size      int64
}

// Selection says which files below some paths are documents, and what they are called.
type Selection struct {
	Paths []string // files and folders
	// Include and Exclude are patterns as of [path.Match], of the path below the
	// folder, with slashes, or of its last element. A file is taken that matches
	// one of Include, if there are any, and none of Exclude.
	Include, Exclude []string
	MediaType        string // of all files; empty: each by its name
	Prefix           string // before each id
}

// Found are the files of a selection.
type Found struct {
	Files  []File    // in order of their ids, bytewise
	Faults []Failure // files and folders that could not be looked at
	Others int       // files of no type that is known
}

// Failure is something that could not be done, and why.
type Failure struct {
	What string // an id, or a path
	Err  error
}

// Find looks for the files of a selection. Hidden files and folders, and links below
// the paths, are passed over. It returns an error when nothing can be done with the
// selection as it is.
func (s Selection) Find() (Found, error) {
	f := &finder{Selection: s, taken: map[string]string{}}
	for _, pattern := range slices.Concat(s.Include, s.Exclude) {
		if _, err := path.Match(pattern, ""); err != nil {
			return Found{}, fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	for _, root := range s.Paths {
		if err := f.root(root); err != nil {
			return Found{}, err
		}
	}
	slices.SortFunc(f.found.Files, func(a, b File) int { return cmp.Compare(a.ID, b.ID) })
	return f.found, nil
}

type finder struct {
	Selection
	found Found
	taken map[string]string // ids, and the paths that have them
}

// root takes a path that was named, which may be a link.
func (f *finder) root(root string) error {
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return f.take(real, filepath.Base(root), info.Size(), true)
	}
	return filepath.WalkDir(real, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return f.fault(at, err)
		case at == real:
			return nil
		case strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		below, err := filepath.Rel(real, at)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return f.fault(at, err)
		}
		return f.take(at, filepath.ToSlash(below), info.Size(), false)
	})
}

// take takes a file unless it is not of the selection. One that was named is taken
// whatever its type.
func (f *finder) take(at, below string, size int64, named bool) error {
	if !f.selects(below) {
		return nil
	}
	id := f.Prefix + below
	if _, err := knowledge.ParseDocumentID(id); err != nil {
		return f.fault(at, fmt.Errorf("its id %w", err))
	}
	mediaType := f.typeOf(at)
	switch {
	case mediaType == "" && named:
		return fmt.Errorf("%s: is of no type that is known; need --type", at)
	case mediaType == "":
		f.found.Others++
		return nil
	}
	if other, taken := f.taken[id]; taken {
		return fmt.Errorf("%s and %s would have the same id, %q; need a run for each, with a --prefix", other, at, id)
	}
	f.taken[id] = at
	f.found.Files = append(f.found.Files, File{ID: id, Path: at, MediaType: mediaType, Size: size})
	return nil
}

// fault notes what could not be looked at; the others can.
func (f *finder) fault(at string, err error) error {
	f.found.Faults = append(f.found.Faults, Failure{at, err})
	return nil
}

func (f *finder) selects(below string) bool {
	matches := func(pattern string) bool {
		whole, _ := path.Match(pattern, below) // Find has tried all patterns
		last, _ := path.Match(pattern, path.Base(below))
		return whole || last
	}
	return (len(f.Include) == 0 || slices.ContainsFunc(f.Include, matches)) && !slices.ContainsFunc(f.Exclude, matches)
}

// typeOf is the media type of a file, empty if it is none that is known.
func (f *finder) typeOf(at string) string {
	if f.MediaType != "" {
		return f.MediaType
	}
	mediaType, _ := document.MediaTypeOf(at)
	return mediaType
}
