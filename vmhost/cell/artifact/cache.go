package artifact

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// SecretLen is the length of the key of the MAC, bytes.
const SecretLen = 32

// Options are what a cache is opened with.
type Options struct {
	// Dir is the directory, made if it is missing. Empty means one of the
	// process's own that Close removes.
	Dir string
	// MaxBytes is the most bytes of all entries; those not used longest go.
	// Default 1 GiB.
	MaxBytes int64
	// Secret is the key of the MAC, [SecretLen] bytes. Without one it is
	// random, and the entries of other processes are none.
	Secret []byte
	// Engine names the engine with all that it makes its code by. The
	// features of the processor go into keys besides.
	Engine string
	// Logger gets what is wrong with entries; default none.
	Logger *slog.Logger
}

// Cache is a directory of entries. Safe for concurrent use, also by several
// processes at once.
type Cache struct {
	opts      Options
	temporary bool // the directory goes with the cache
	processor string
	run       *runDir

	mu sync.Mutex
	// verified says of what a file was found good when it was last looked
	// at, so that tens of megabytes are not read at each start of a cell. A
	// link to a file changes what is looked at: each is made under mu.
	verified map[Key]verdict
}

// verdict is a file that was verified.
type verdict struct {
	stat   stat
	layout layout
}

// Open opens a cache, and removes what processes that were killed left in it. A
// directory that is not this user's, or that others may write to, is refused.
func Open(opts Options) (*Cache, error) {
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 1<<30)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case opts.MaxBytes < 0:
		return nil, fmt.Errorf("artifact cache: room for %d bytes", opts.MaxBytes)
	case opts.Secret == nil:
		opts.Secret = make([]byte, SecretLen)
		rand.Read(opts.Secret) // never fails: crypto/rand ends the program instead
	case len(opts.Secret) != SecretLen:
		return nil, fmt.Errorf("artifact cache: a secret of %d bytes, need %d", len(opts.Secret), SecretLen)
	}
	c := &Cache{opts: opts, processor: processor(), verified: make(map[Key]verdict)}
	if opts.Dir == "" {
		dir, err := os.MkdirTemp("", "tars-artifacts-")
		if err != nil {
			return nil, fmt.Errorf("artifact cache: %w", err)
		}
		c.opts.Dir, c.temporary = dir, true
	}
	if err := c.prepare(); err != nil {
		err = fmt.Errorf("artifact cache: %w", err)
		if c.temporary {
			err = errors.Join(err, os.RemoveAll(c.opts.Dir))
		}
		return nil, err
	}
	return c, nil
}

// prepare makes and checks the directories.
func (c *Cache) prepare() error {
	abs, err := filepath.Abs(c.opts.Dir)
	if err != nil {
		return err
	}
	c.opts.Dir = abs
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return err
	}
	for _, dir := range []string{c.opts.Dir, c.entries(), c.runs()} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := checkOwn(dir); err != nil {
			return err
		}
	}
	c.run, err = openRun(c.opts.Dir)
	return err
}

func (c *Cache) entries() string       { return filepath.Join(c.opts.Dir, "entries") }
func (c *Cache) runs() string          { return filepath.Join(c.opts.Dir, runName) }
func (c *Cache) path(key Key) string   { return filepath.Join(c.entries(), key.String()) }
func (c *Cache) log(key Key) slog.Attr { return slog.String("artifact", key.String()) }

// Close removes the process's own folders, all of which must be empty, and the
// directory if it was made for this cache. Entries stay.
func (c *Cache) Close() error {
	err := c.run.close()
	if c.temporary {
		err = errors.Join(err, os.RemoveAll(c.opts.Dir))
	}
	if err != nil {
		return fmt.Errorf("artifact cache: %w", err)
	}
	return nil
}

// Get returns the entry of a key, or false if there is none that is good. The
// caller must close it.
func (c *Cache) Get(key Key) (*Entry, bool) {
	f, err := openEntry(c.path(key))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.reject(key, err)
		}
		return nil, false
	}
	e := &Entry{cache: c, key: key, file: f}
	if err := c.verify(e); err != nil {
		_ = f.Close() // it was only read
		c.reject(key, err)
		return nil, false
	}
	return e, true
}

// verify makes sure of an entry's file, by a look alone if it has been verified
// and not changed since.
func (c *Cache) verify(e *Entry) error {
	now, err := statOf(e.file)
	if err != nil {
		return err
	}
	c.mu.Lock()
	known, ok := c.verified[e.key]
	c.mu.Unlock()
	if ok && known.stat == now {
		e.layout = known.layout
		return nil
	}
	if !now.private {
		return fmt.Errorf("%w: others may write to it", errInvalid)
	}
	if e.layout, err = readEntry(e.file, now.size, c.opts.Secret, e.key); err != nil {
		return err
	}
	// What changed while it was read is read again the next time.
	if after, err := statOf(e.file); err != nil || after.content() != now.content() {
		return errors.Join(errInvalid, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified[e.key] = verdict{now, e.layout}
	return nil
}

// reject removes what is no entry.
func (c *Cache) reject(key Key, err error) {
	c.opts.Logger.Warn("artifact dropped, its program is compiled again", c.log(key), slog.Any("cause", err))
	c.Remove(key)
}

// Remove removes the entry of a key, if there is one. Who has it open keeps it.
func (c *Cache) Remove(key Key) {
	c.mu.Lock()
	delete(c.verified, key)
	c.mu.Unlock()
	if err := os.RemoveAll(c.path(key)); err != nil {
		c.opts.Logger.Warn("artifact not removed", c.log(key), slog.Any("cause", err))
	}
}

// Draft is a file for an entry to come.
type Draft struct {
	cache *Cache
	file  *os.File
}

// Draft begins an entry. That it fails tells that nothing can be kept, before
// anything is compiled. The caller must end it by Keep or Discard.
func (c *Cache) Draft() (*Draft, error) {
	f, err := os.CreateTemp(c.run.dir, draftPrefix)
	if err != nil {
		return nil, fmt.Errorf("artifact cache: %w", err)
	}
	return &Draft{c, f}, nil
}

// Discard drops the draft. After Keep it does nothing.
func (d *Draft) Discard() {
	if d.file != nil {
		_ = d.file.Close()
		_ = os.Remove(d.file.Name()) // else the next process removes it
		d.file = nil
	}
}

// Keep makes the draft the entry of a key. It is there whole or not at all,
// whenever the process or the machine dies.
func (d *Draft) Keep(key Key, a vmhost.Artifact) error {
	defer d.Discard()
	err := func() error {
		if err := writeEntry(d.file, d.cache.opts.Secret, key, a); err != nil {
			return err
		}
		// Cells read it as users of their own, in folders that hold it alone.
		if err := d.file.Chmod(0o444); err != nil {
			return err
		}
		if err := d.file.Sync(); err != nil {
			return err
		}
		if err := os.Rename(d.file.Name(), d.cache.path(key)); err != nil {
			return err
		}
		return syncDir(d.cache.entries())
	}()
	if err != nil {
		return fmt.Errorf("artifact cache: keep an entry: %w", err)
	}
	d.cache.shrink()
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// listed is a file among the entries.
type listed struct {
	name string
	used time.Time
	size int64
}

// forget drops what is known of entries that are there no more.
func (c *Cache) forget(all []listed) {
	there := make(map[Key]bool, len(all))
	for _, e := range all {
		if key, ok := parseKey(e.name); ok {
			there[key] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.verified, func(key Key, _ verdict) bool { return !there[key] })
}

// shrink removes the entries that were not used longest until the rest has room.
// It looks at the directory itself, which other processes change too.
func (c *Cache) shrink() {
	list, err := os.ReadDir(c.entries())
	if err != nil {
		c.opts.Logger.Warn("artifact cache not looked through", slog.Any("cause", err))
		return
	}
	var all []listed
	var sum int64
	for _, d := range list {
		info, err := d.Info()
		if err != nil {
			continue // gone meanwhile
		}
		all = append(all, listed{d.Name(), info.ModTime(), info.Size()})
		sum += info.Size()
	}
	c.forget(all)
	slices.SortFunc(all, func(a, b listed) int { return a.used.Compare(b.used) })
	for _, e := range all {
		if sum <= c.opts.MaxBytes {
			return
		}
		sum -= e.size
		if key, ok := parseKey(e.name); ok {
			c.Remove(key)
		} else if err := os.RemoveAll(filepath.Join(c.entries(), e.name)); err != nil {
			c.opts.Logger.Warn("stray file in the artifact cache", slog.String("name", e.name), slog.Any("cause", err))
		}
	}
}
