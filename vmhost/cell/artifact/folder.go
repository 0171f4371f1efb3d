package artifact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
)

// Entry is an entry that was verified. For one goroutine.
type Entry struct {
	cache  *Cache
	key    Key
	file   *os.File
	layout layout
}

// Close lets go of the entry. A nil entry is fine.
func (e *Entry) Close() error {
	if e == nil {
		return nil
	}
	return e.file.Close()
}

// Artifact reads the entry but for its code, which cells read from their folder.
func (e *Entry) Artifact() (vmhost.Artifact, error) {
	l := e.layout
	b := make([]byte, l.module+l.header+l.name)
	if err := readFull(e.file, b, l.code); err != nil {
		return vmhost.Artifact{}, fmt.Errorf("artifact: %w", err)
	}
	a := vmhost.Artifact{Module: b[:l.module:l.module], Header: b[l.module:][:l.header:l.header], Name: string(b[l.module+l.header:])}
	return a, nil
}

// Folder is the directory of one cell. Safe for concurrent use.
type Folder struct {
	cache *Cache
	dir   string
	fd    *os.File // of the directory, to be handed on

	mu   sync.Mutex
	held *Entry // what is in it; nil for nothing
}

// Folder makes an empty directory for a cell at a place. No two at once may have
// the same place.
func (c *Cache) Folder(place int) (*Folder, error) {
	f, err := c.folder(place)
	if err != nil {
		return nil, fmt.Errorf("artifact cache: folder of a cell: %w", err)
	}
	return f, nil
}

func (c *Cache) folder(place int) (*Folder, error) {
	dir := filepath.Join(c.run.dir, strconv.Itoa(place))
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	// Whatever the process's umask: the cell's user must get in. Others cannot
	// get as far.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &Folder{cache: c, dir: dir, fd: os.NewFile(uintptr(fd), dir)}, nil
}

// Dir returns the directory: its path, and a descriptor that is good until Close.
func (f *Folder) Dir() (string, *os.File) { return f.dir, f.fd }

// GiveTo makes the directory another user's, who then may write to it.
func (f *Folder) GiveTo(uid, gid int) error { return f.fd.Chown(uid, gid) }

// Size returns how many bytes and files are in the folder. It may be asked while
// somebody writes to it.
func (f *Folder) Size() (bytes int64, files int, err error) {
	err = filepath.WalkDir(f.dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		files++
		bytes += info.Size()
		return nil
	})
	return bytes, files, err
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Put puts the code of an entry into the folder, which must be empty, and takes
// the entry over. The file is the entry's own wherever the file system can do that.
func (f *Folder) Put(e *Entry, name string) error {
	if err := f.put(e, name); err != nil {
		return fmt.Errorf("artifact: put it into a cell's folder: %w", errors.Join(err, e.Close(), f.clear()))
	}
	return nil
}

func (f *Folder) put(e *Entry, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != nil {
		return errors.New("the folder is not empty")
	}
	file := filepath.Join(f.dir, name)
	sub := filepath.Dir(file)
	if err := os.Mkdir(sub, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(sub, 0o755); err != nil {
		return err
	}
	link := func() error { return unix.Linkat(unix.AT_FDCWD, e.self(), unix.AT_FDCWD, file, unix.AT_SYMLINK_FOLLOW) }
	err := e.changeLinks(link)
	if errors.Is(err, errChanged) { // another process of ours may have used it
		if err := f.cache.verify(e); err != nil {
			return err
		}
		err = e.changeLinks(link)
	}
	if errors.Is(err, errChanged) {
		return err
	}
	if err != nil { // the file system has no links, or the entry is gone
		if err := e.copyTo(file); err != nil {
			return err
		}
	}
	f.held = e
	return nil
}

// copyTo copies the code, for file systems that have no links.
func (e *Entry) copyTo(file string) error {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(e.file, 0, e.layout.code))
	return errors.Join(err, out.Chmod(0o444), out.Close())
}

// errChanged: a file is not, or not any more, the one that was verified.
var errChanged = errors.New("the file was changed")

// changeLinks makes or removes a link to the entry's file, notes that it was used
// now, and keeps in mind that it is still the file that was verified: what is
// looked at for that changes with each link. It does nothing and returns errChanged
// if it is not.
func (e *Entry) changeLinks(change func() error) error {
	c := e.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.verified[e.key]
	if now, err := statOf(e.file); err != nil || !ok || known.stat != now {
		return errors.Join(errChanged, err)
	}
	if err := change(); err != nil {
		return err
	}
	// If one of these fails, the file is verified again when it is next used.
	if err := os.Chtimes(e.self(), time.Time{}, time.Now()); err != nil {
		return nil //nolint:nilerr // see above
	}
	if now, err := statOf(e.file); err == nil && now.content() == known.stat.content() {
		c.verified[e.key] = verdict{now, known.layout}
	}
	return nil
}

// self is a path of the entry's open file, whatever its name stands for by now.
func (e *Entry) self() string { return "/proc/self/fd/" + strconv.Itoa(int(e.file.Fd())) }

// Empty empties the folder, whatever a cell may have put there.
func (f *Folder) Empty() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.held
	if e == nil {
		return f.clear()
	}
	f.held = nil
	err := e.changeLinks(f.clear)
	if errors.Is(err, errChanged) { // removed meanwhile, or replaced
		err = f.clear()
	}
	return errors.Join(err, e.Close())
}

func (f *Folder) clear() error {
	list, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range list {
		errs = append(errs, os.RemoveAll(filepath.Join(f.dir, d.Name())))
	}
	return errors.Join(errs...)
}

// Close removes the folder, with what is in it.
func (f *Folder) Close() error {
	return errors.Join(f.Empty(), os.RemoveAll(f.dir), f.fd.Close())
}
