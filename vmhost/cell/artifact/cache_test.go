package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

var secret = bytes.Repeat([]byte("k"), SecretLen)

// fileName is a good one.
var fileName = "wazero-v1.2.3-amd64-linux/" + strings.Repeat("0f", 32)

func sample(code string) vmhost.Artifact {
	return vmhost.Artifact{Name: fileName, Header: []byte("header"), Module: []byte("module of " + code), Code: []byte(code)}
}

// open opens a cache, which is closed with the test.
func open(t testing.TB, o Options) *Cache {
	t.Helper()
	if o.Secret == nil {
		o.Secret = secret
	}
	c, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// keep keeps an artifact under a key that its code makes.
func keep(t testing.TB, c *Cache, code string) Key {
	t.Helper()
	key := keyOf(c, code)
	d, err := c.Draft()
	if err != nil {
		t.Fatalf("Draft: %v", err)
	}
	if err := d.Keep(key, sample(code)); err != nil {
		t.Fatalf("Keep: %v", err)
	}
	return key
}

func keyOf(c *Cache, code string) Key {
	return c.Key(vmhost.Source{Account: "a", Digest: vmhost.DigestOf([]byte(code))})
}

// get returns what is kept under a key.
func get(t testing.TB, c *Cache, key Key) (vmhost.Artifact, bool) {
	t.Helper()
	e, ok := c.Get(key)
	if !ok {
		return vmhost.Artifact{}, false
	}
	a, err := e.Artifact()
	if err := errors.Join(err, e.Close()); err != nil {
		t.Fatalf("Artifact: %v", err)
	}
	return a, true
}

// put puts an entry into a folder and returns the file there.
func put(t testing.TB, c *Cache, f *Folder, key Key) string {
	t.Helper()
	e, ok := c.Get(key)
	if !ok {
		t.Fatal("no entry")
	}
	if err := f.Put(e, fileName); err != nil {
		t.Fatalf("Put: %v", err)
	}
	dir, _ := f.Dir()
	return filepath.Join(dir, fileName)
}

func newFolder(t testing.TB, c *Cache, place int) *Folder {
	t.Helper()
	f, err := c.Folder(place)
	if err != nil {
		t.Fatalf("Folder: %v", err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// TestCache: what was kept is there, in this process and the next, and not under
// another key, nor for a process with another secret.
func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "anew")
	c := open(t, Options{Dir: dir})
	key := keep(t, c, "code")
	want := sample("code")
	want.Code = nil // is read from a folder
	for _, c := range []*Cache{c, open(t, Options{Dir: dir})} {
		if got, ok := get(t, c, key); !ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Get = %v, %v, want %v", got, ok, want)
		}
		if got, ok := get(t, c, keyOf(c, "other")); ok {
			t.Errorf("Get of another key = %v, want none", got)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v, want mode 0700", info.Mode(), err)
	}
	if got, ok := get(t, open(t, Options{Dir: dir, Secret: bytes.Repeat([]byte("x"), SecretLen)}), key); ok {
		t.Errorf("Get with another secret = %v, want none", got)
	}
	if got, ok := get(t, c, key); ok {
		t.Errorf("Get of an entry that was dropped = %v, want none", got)
	}
}

// TestKeys: each thing that code depends on makes another key.
func TestKeys(t *testing.T) {
	src := vmhost.Source{Account: "a", Digest: vmhost.Digest{1}, Limits: vmhost.Limits{Memory: 1 << 20}}
	c := &Cache{opts: Options{Engine: "e"}, processor: "p"}
	seen := map[Key]string{c.Key(src): "itself"}
	for name, key := range map[string]Key{
		"account":   c.Key(vmhost.Source{Account: "b", Digest: src.Digest, Limits: src.Limits}),
		"digest":    c.Key(vmhost.Source{Account: "a", Digest: vmhost.Digest{2}, Limits: src.Limits}),
		"memory":    c.Key(vmhost.Source{Account: "a", Digest: src.Digest}),
		"tables":    c.Key(vmhost.Source{Account: "a", Digest: src.Digest, Limits: vmhost.Limits{Memory: 1 << 20, Tables: 1}}),
		"stack":     c.Key(vmhost.Source{Account: "a", Digest: src.Digest, Limits: vmhost.Limits{Memory: 1 << 20, Stack: 1}}),
		"engine":    (&Cache{opts: Options{Engine: "f"}, processor: "p"}).Key(src),
		"processor": (&Cache{opts: Options{Engine: "e"}, processor: "q"}).Key(src),
		"shifted":   (&Cache{opts: Options{Engine: "ep"}}).Key(src),
	} {
		if other, ok := seen[key]; ok {
			t.Errorf("the key with another %s is that of %s", name, other)
		}
		seen[key] = name
	}
	same := src
	same.Grants, same.Limits.Wall = vmhost.Grants{Log: true}, time.Second // the code is the same
	if c.Key(same) != c.Key(src) {
		t.Error("the key depends on grants or time")
	}
}

// TestFolder: a cell's folder holds the entry's own file, readable by others and
// writable by none, until it is emptied, whatever happens to the entry.
func TestFolder(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	key := keep(t, c, "code")
	f := newFolder(t, c, 3)
	for range 2 {
		file := put(t, c, f, key)
		b, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(b, []byte("code")) {
			t.Errorf("the file is %q, %v, want the code first", b, err)
		}
		theirs, err := os.Stat(file)
		ours, ourErr := os.Stat(c.path(key))
		if err := errors.Join(err, ourErr); err != nil || !os.SameFile(theirs, ours) {
			t.Errorf("the file is not the entry's own: %v", err)
		}
		for _, name := range []string{file, filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
			info, err := os.Stat(name)
			if err != nil || info.Mode().Perm()&0o022 != 0 || info.Mode().Perm()&0o004 == 0 {
				t.Errorf("%s has mode %v, %v, want it readable by all and writable by nobody else", name, info.Mode(), err)
			}
		}
		e, _ := c.Get(key)
		if err := f.Put(e, fileName); err == nil {
			t.Error("Put into a folder that is not empty succeeded")
			break
		}
		if err := f.Empty(); err != nil {
			t.Errorf("Empty: %v", err)
		}
		if left, err := os.ReadDir(filepath.Dir(filepath.Dir(file))); err != nil || len(left) != 0 {
			t.Errorf("after Empty: %v, %v, want nothing", left, err)
		}
	}
	put(t, c, f, key)
	c.Remove(key)
	if err := f.Empty(); err != nil {
		t.Errorf("Empty after the entry was removed: %v", err)
	}
}

// TestVerifiedOnce: links and uses of ours do not have an entry read again; a
// change by others does.
func TestVerifiedOnce(t *testing.T) {
	var log bytes.Buffer
	c := open(t, Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	key := keep(t, c, "code")
	a, b := newFolder(t, c, 0), newFolder(t, c, 1)
	known := func() bool {
		t.Helper()
		f, err := openEntry(c.path(key))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		now, err := statOf(f)
		if err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.verified[key].stat == now
	}
	for i, step := range []func(){
		func() { put(t, c, a, key) },
		func() { put(t, c, b, key) },
		func() { _ = a.Empty() },
		func() { put(t, c, a, key) },
		func() { _ = b.Empty() },
		func() { _ = a.Empty() },
	} {
		if step(); !known() {
			t.Errorf("after step %d the entry has to be read again", i)
		}
	}
	// The same bytes with a later time: read again, and good.
	if err := os.Chtimes(c.path(key), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if known() {
		t.Error("a change of time is not seen")
	}
	if _, ok := get(t, c, key); !ok || !known() {
		t.Errorf("an entry that was touched is gone: %v, or not known", !ok)
	}
	// Other bytes with the time put back: seen all the same.
	info, err := os.Stat(c.path(key))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.Chmod(c.path(key), 0o600), writeAt(c.path(key), 1), os.Chmod(c.path(key), 0o444), os.Chtimes(c.path(key), time.Time{}, info.ModTime()))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := get(t, c, key); ok {
		t.Errorf("Get of a changed entry = %v, want none", got)
	}
	if !strings.Contains(log.String(), "artifact dropped") {
		t.Errorf("the log says %q, want that an artifact was dropped", &log)
	}
}

func writeAt(name string, at int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("X"), at)
	return errors.Join(err, f.Close())
}

// TestShrinks: over its bound, a cache drops what was not used longest, and files
// that are no entries.
func TestShrinks(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	keys := map[string]Key{}
	for i, name := range []string{"a", "b", "c", "d"} {
		keys[name] = keep(t, c, strings.Repeat(name, 1000))
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(c.path(keys[name]), time.Time{}, at); err != nil {
			t.Fatal(err)
		}
	}
	stray := filepath.Join(c.entries(), "stray")
	if err := os.WriteFile(stray, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(stray, time.Time{}, time.Now().Add(-time.Hour*100)); err != nil {
		t.Fatal(err)
	}
	f := newFolder(t, c, 0)
	put(t, c, f, keys["a"]) // used now

	c.opts.MaxBytes = 3 * sizeOf(t, c, keys["a"])
	c.shrink()
	for name, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if _, ok := get(t, c, keys[name]); ok != want {
			t.Errorf("entry %s is there: %v, want %v", name, ok, want)
		}
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("the stray file is still there")
	}
}

func sizeOf(t *testing.T, c *Cache, key Key) int64 {
	t.Helper()
	info, err := os.Stat(c.path(key))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestTwoProcesses: two caches on one directory see each other's entries and leave
// each other's folders alone.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Options{Dir: dir})
	key := keep(t, a, "code")
	f := newFolder(t, a, 0)
	file := put(t, a, f, key)
	b := open(t, Options{Dir: dir})
	g := newFolder(t, b, 0)
	other := put(t, b, g, key)
	for _, name := range []string{file, other} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("a folder is not as it was left: %v", err)
		}
	}
	put(t, a, newFolder(t, a, 1), key)
}

// TestOpenRefuses: directories that others may change, and options without sense.
func TestOpenRefuses(t *testing.T) {
	writable := t.TempDir()
	if err := os.Chmod(writable, 0o770); err != nil {
		t.Fatal(err)
	}
	inside := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(inside, "entries"), 0o700), os.Chmod(filepath.Join(inside, "entries"), 0o777)); err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(linked, "run")); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"writable by the group": writable, "entries writable by all": inside, "a linked folder": linked} {
		if c, err := Open(Options{Dir: dir}); !errors.Is(err, ErrUnsafe) {
			t.Errorf("Open, %s = %v, %v, want ErrUnsafe", name, c, err)
		}
	}
	for name, o := range map[string]Options{"a short secret": {Secret: []byte("x")}, "a negative bound": {MaxBytes: -1}, "no place": {Dir: "/proc/x"}} {
		o.Dir = or(o.Dir, t.TempDir())
		if c, err := Open(o); err == nil {
			t.Errorf("Open with %s = %v, want an error", name, c)
		}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestTemporary: a cache without a directory leaves nothing behind.
func TestTemporary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := keep(t, c, "code")
	if _, ok := get(t, c, key); !ok {
		t.Error("nothing was kept")
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
