package seal

import "fmt"

// Folder is what a process may do with files: nothing, or a little in the one
// folder that holds compiled code.
type Folder string

// The folders.
const (
	// FolderNone: there is none, and no file can be opened.
	FolderNone Folder = "none"
	// FolderRead: the process reads files of its working directory.
	FolderRead Folder = "read"
	// FolderWrite: the process makes files in a folder of its own. In
	// namespaces that is a small file system in memory that ends with it;
	// without, its working directory, which must belong to its user and of
	// which the starter has to watch the size.
	FolderWrite Folder = "write"
)

// parseFolder is for command lines.
func (f *Folder) parse(s string) error {
	switch Folder(s) {
	case FolderNone, FolderRead, FolderWrite:
		*f = Folder(s)
		return nil
	default:
		return fmt.Errorf("folder %q", s)
	}
}
