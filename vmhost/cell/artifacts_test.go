//go:build linux && (amd64 || arm64)

package cell_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	"github.com/tars-project/tars/vmhost/cell/artifact"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	. "github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild" //nolint:revive,staticcheck // instructions read as in the text format
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// cacheSecret is good enough for caches of tests.
var cacheSecret = bytes.Repeat([]byte("k"), artifact.SecretLen)

// cacheDir returns the directory of a cache.
func cacheDir(t testing.TB) string { return filepath.Join(t.TempDir(), "cache") }

// inCache makes a driver keep its artifacts in a directory, and log to log.
func inCache(dir string, log *bytes.Buffer) func(*cell.Options) {
	return func(o *cell.Options) {
		o.CacheDir, o.CacheKey = dir, cacheSecret
		if log != nil {
			o.Logger = slog.New(slog.NewTextHandler(&lockedBuffer{b: log}, nil))
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// entries returns the files of a cache's entries.
func entries(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "entries", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// once loads a program in a driver of its own, has it answer, and closes both.
func once(t *testing.T, src vmhost.Source, change func(*cell.Options)) (string, error) {
	t.Helper()
	d := newDriver(t, binTars, change)
	defer d.Close() //nolint:errcheck // checked by newDriver's own
	p, err := d.Load(context.Background(), src)
	if err != nil {
		return "", err
	}
	reply, err := p.Call(within(t, time.Minute), request("x"))
	return string(reply.Output), err
}

// wantOnce is once with an answer.
func wantOnce(t *testing.T, src vmhost.Source, change func(*cell.Options), want string) {
	t.Helper()
	if got, err := once(t, src, change); err != nil || got != want {
		t.Fatalf("answer = %q, %v, want %q", got, err, want)
	}
}

// saying is a program that answers any input with one letter.
func saying(letter string) vmhost.Source {
	const at = 2048
	module := Plugin{Handle: ReturnOK(I32(at), I32(int32(len(letter)))), Data: []Data{{At: at, Bytes: []byte("abc")}}}.Encode()
	// As a driver fills them in, for the key is made of them too.
	return vmhost.Source{Account: "test", Module: module, Digest: vmhost.DigestOf(module), Limits: limits().WithDefaults()}
}

// codeOf cuts the code out of an entry's file: its length is the first of four,
// before a MAC of 32 bytes.
func codeOf(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b[:binary.LittleEndian.Uint64(b[len(b)-64:])]
}

// openCache opens a cache as a driver does.
func openCache(t *testing.T, dir string) *artifact.Cache {
	t.Helper()
	c, err := artifact.Open(artifact.Options{Dir: dir, Secret: cacheSecret, Engine: wazerovm.EngineVersion()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// TestColdStart: what was compiled is not compiled again, not by the cell and not
// by the next process: a cell runs the code that is in the cache, whatever its
// module says.
func TestColdStart(t *testing.T) {
	dir := cacheDir(t)
	a, ab := saying("a"), saying("ab")
	wantOnce(t, a, inCache(dir, nil), "a")
	entry := entries(t, dir)
	if len(entry) != 1 {
		t.Fatalf("entries %q, want one", entry)
	}
	before, err := os.Stat(entry[0])
	if err != nil {
		t.Fatal(err)
	}
	wantOnce(t, a, inCache(dir, nil), "a")
	if after, err := os.Stat(entry[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("the entry was made anew: %v", err)
	}

	other := cacheDir(t)
	wantOnce(t, ab, inCache(other, nil), "ab")
	c := openCache(t, dir)
	e, ok := c.Get(c.Key(a))
	if !ok {
		t.Fatal("no entry under the key that a driver uses")
	}
	forged, err := e.Artifact()
	if err := errors.Join(err, e.Close()); err != nil {
		t.Fatal(err)
	}
	forged.Code = codeOf(t, entries(t, other)[0])
	draft, err := c.Draft()
	if err != nil {
		t.Fatal(err)
	}
	if err := draft.Keep(c.Key(a), forged); err != nil {
		t.Fatal(err)
	}
	wantOnce(t, a, inCache(dir, nil), "ab")
}

// TestTampered: an entry that is not what was written is a miss: it is logged, made
// anew, and the program answers.
func TestTampered(t *testing.T) {
	dir := cacheDir(t)
	src := saying("a")
	ours, theirs := inCache(dir, nil), src
	theirs.Account = "other"
	wantOnce(t, theirs, ours, "a")
	others := entries(t, dir)
	if len(others) != 1 {
		t.Fatalf("entries %q, want one", others)
	}
	foreign, err := os.ReadFile(others[0])
	if err != nil {
		t.Fatal(err)
	}
	wantOnce(t, src, ours, "a")
	var file string
	for _, name := range entries(t, dir) {
		if name != others[0] {
			file = name
		}
	}
	if file == "" {
		t.Fatalf("entries %q, want two: accounts share nothing", entries(t, dir))
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(good, foreign) {
		t.Error("the entries of two accounts are the same")
	}
	code := len(codeOf(t, file))
	flipped := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	write := func(b []byte) func() error {
		return func() error { return errors.Join(os.Remove(file), os.WriteFile(file, b, 0o444)) }
	}
	for name, spoil := range map[string]func() error{
		"code":              write(flipped(code / 2)),
		"first byte":        write(flipped(0)),
		"module":            write(flipped(code + 20)),
		"header or name":    write(flipped(len(good) - 200)),
		"format version":    write(flipped(len(good) - 32 - 32 - 32 - 2)),
		"key":               write(flipped(len(good) - 32 - 32 - 1)),
		"lengths":           write(flipped(len(good) - 32 - 30)),
		"mac":               write(flipped(len(good) - 1)),
		"cut short":         write(good[:len(good)-1]),
		"cut at the front":  write(good[1:]),
		"longer":            write(append(bytes.Clone(good), 0)),
		"empty":             write(nil),
		"another account's": write(foreign),
		"changed in place": func() error {
			if err := os.Chmod(file, 0o600); err != nil {
				return err
			}
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{good[10] ^ 1}, 10)
			return errors.Join(err, f.Close(), os.Chmod(file, 0o444))
		},
		"written to by others": func() error { return os.Chmod(file, 0o666) },
		"a folder":             func() error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"a link":               func() error { return errors.Join(os.Remove(file), os.Symlink(others[0], file)) },
		"a pipe":               func() error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			wantOnce(t, src, inCache(dir, &log), "a")
			if !strings.Contains(log.String(), "artifact dropped") {
				t.Errorf("the log says %q, want that an artifact was dropped", &log)
			}
			if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, good) {
				t.Errorf("the entry is not what it was before, %v", err)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		wantOnce(t, src, func(o *cell.Options) { o.CacheDir, o.CacheKey = dir, bytes.Repeat([]byte("x"), artifact.SecretLen) }, "a")
	})
}

// TestTamperedWhileRunning: a change after an entry was verified is seen before
// another cell gets it.
func TestTamperedWhileRunning(t *testing.T) {
	dir := cacheDir(t)
	var log bytes.Buffer
	d := newDriver(t, binTars, inCache(dir, &log))
	for range 2 { // the second time it is known to be good
		p := load(t, d, saying("a"))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if log.Len() != 0 {
		t.Errorf("the log says %q, want nothing", &log)
	}
	file := entries(t, dir)[0]
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{0xcc}, int64(len(codeOf(t, file))/2))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p := load(t, d, saying("a"))
	if reply, err := p.Call(within(t, time.Minute), request("x")); err != nil || string(reply.Output) != "a" {
		t.Errorf("Call = %q, %v, want a", reply.Output, err)
	}
	if !strings.Contains(log.String(), "artifact dropped") {
		t.Errorf("the log says %q, want that an artifact was dropped", &log)
	}
}

// TestCompileBombs: a module that costs too much to compile is refused at a limit
// that the error names, with what it used, and its cell is gone.
func TestCompileBombs(t *testing.T) {
	heavy := vmhosttest.Guest(t, "cited") // more than a second of work
	big := source(t, "echo")
	big.Module, big.Digest, big.Limits.Memory = heavy, vmhost.DigestOf(heavy), 64<<20
	for _, c := range []struct {
		name, binary string
		src          vmhost.Source
		change       func(*cell.Options)
		kind         error
		words        []string
	}{
		{"CPU of a real module", binTars, big, func(o *cell.Options) { o.CompileCPU = 150 * time.Millisecond }, vmhost.ErrRefused, []string{"of CPU time, 150ms are allowed"}},
		{"memory of a real module", binTars, big, func(o *cell.Options) { o.CompileMemory, o.CompileCPU = 48<<20, time.Minute }, vmhost.ErrRefused, []string{"of memory or more, 50331648 are allowed"}},
		{"code of a real module", binTars, big, func(o *cell.Options) {
			o.CompileBytes, o.CompileCPU, o.CompileTimeout = 1<<20, time.Minute, time.Minute
		}, vmhost.ErrRefused, []string{"its compiled code is larger than the 1048576 bytes that are allowed"}},
		{"CPU", binProbe, probeSource("compile spin"), func(o *cell.Options) { o.CompileCPU = 300 * time.Millisecond }, vmhost.ErrRefused, []string{"of CPU time, 300ms are allowed"}},
		{"memory", binProbe, probeSource("compile eat"), func(o *cell.Options) { o.CompileMemory, o.CompileCPU = 64<<20, time.Minute }, vmhost.ErrRefused, []string{"memory", "67108864 are allowed"}},
		{"clock", binProbe, probeSource("compile sleep"), func(o *cell.Options) { o.CompileTimeout = 300 * time.Millisecond }, vmhost.ErrUnavailable, []string{"longer than 300ms by the clock"}},
		{"crash", binProbe, probeSource("compile panic"), nil, vmhost.ErrRefused, []string{"the engine died of it"}},
		{"refused", binProbe, probeSource("compile refused"), nil, vmhost.ErrRefused, []string{"code section, offset 42: too much of it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := cacheDir(t)
			d := newDriver(t, c.binary, func(o *cell.Options) {
				inCache(dir, nil)(o)
				if c.change != nil {
					c.change(o)
				}
			})
			_, err := d.Load(context.Background(), c.src)
			if !errors.Is(err, c.kind) {
				t.Errorf("Load = %v, want %v", err, c.kind)
			}
			for _, words := range c.words {
				if !strings.Contains(fmt.Sprint(err), words) {
					t.Errorf("Load = %v, want %q in it", err, words)
				}
			}
			if left := children(os.Getpid()); len(left) != 0 {
				t.Errorf("cells %v after the refusal, want none", left)
			}
			if left := entries(t, dir); len(left) != 0 {
				t.Errorf("entries %q of a refused module, want none", left)
			}
		})
	}
}

// TestLyingCompiler: whatever a compile cell that was taken over gives, nothing is
// kept that has not the form of an artifact, and nothing is made outside the
// cell's own folder.
func TestLyingCompiler(t *testing.T) {
	for what, words := range map[string]string{
		"large":         "artifact for call 0 passes",
		"large-module":  "a module of",
		"name-up":       "a file of the name",
		"name-absolute": "a file of the name",
		"name-deep":     "a file of the name",
		"no-code":       "code of 0",
		"wrong-op":      "was not expected",
		"second-hi":     "was not expected",
		"other-id":      "was not expected",
		"junk":          "is no artifact",
		"file-long":     "denied: ",
		"files-many":    "denied: ENOSPC",
		"folder":        "denied: ",
	} {
		t.Run(what, func(t *testing.T) {
			dir := cacheDir(t)
			d := newDriver(t, binProbe, func(o *cell.Options) {
				inCache(dir, nil)(o)
				o.CompileBytes, o.CompileCPU = 4<<20, time.Minute
			})
			_, err := d.Load(context.Background(), probeSource("compile "+what))
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("Load = %v, want an error with %q", err, words)
			}
			if left := append(children(os.Getpid()), entries(t, dir)...); len(left) != 0 {
				t.Errorf("cells and entries %v, want none", left)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 3 { // entries, run, lock
				t.Errorf("the cache's directory holds %v, %v, want nothing new", files, err)
			}
		})
	}
}

// compileFates are what the seal of a compile cell does to attempts that the seal
// of others answers differently: it lets a compiler keep files.
var compileFates = map[string][]string{
	"denied: ENOENT|denied: EACCES|denied: EROFS|denied: ENXIO": {
		"open-create", "open-append", "open-memory", "open-descr", "open-sys", "open-cgroup", "open-temporary", "unlink", "mkdir",
	},
	"denied: ENOTDIR": {"list-folder"}, // the wire is none
}

// TestCompileEscapes: code that has taken over a compile cell gets no further than
// in one that runs guests.
func TestCompileEscapes(t *testing.T) {
	for _, lite := range []bool{false, true} {
		t.Run(map[bool]string{false: "here", true: "without namespaces"}[lite], func(t *testing.T) {
			if lite {
				runHost(t, "compile-escapes", withoutNamespaces)
				return
			}
			testCompileEscapes(t, newDriver(t, binProbe, nil))
		})
	}
}

func testCompileEscapes(t testing.TB, d *cell.Driver) {
	all := make(map[string]string)
	for want, attempts := range fates {
		for _, attempt := range attempts {
			all[attempt] = want
		}
	}
	for _, own := range []string{"open-here", "open-code", "open-tmpfile", "open-path", "memory", "threads"} {
		delete(all, own) // its own folder; what the limits are for
	}
	for want, attempts := range compileFates {
		for _, attempt := range attempts {
			all[attempt] = want
		}
	}
	for attempt, want := range all {
		_, err := d.Load(context.Background(), probeSource("compile attempt "+attempt))
		held := false
		for _, end := range strings.Split(want, "|") {
			held = held || strings.Contains(fmt.Sprint(err), end)
		}
		if !held || !errors.Is(err, vmhost.ErrUnavailable) {
			t.Errorf("%s while compiling: %v, want ErrUnavailable with %s", attempt, err, want)
		}
	}
}

// TestUnwritable: without room for artifacts, or a directory that can be written
// to, programs are loaded all the same, and the log says so.
func TestUnwritable(t *testing.T) {
	src := saying("a")
	t.Run("no room", func(t *testing.T) {
		var log bytes.Buffer
		wantOnce(t, src, func(o *cell.Options) {
			inCache(cacheDir(t), &log)(o)
			o.CacheBytes = 1
		}, "a")
	})
	t.Run("cannot be made", func(t *testing.T) {
		var log bytes.Buffer
		wantOnce(t, src, inCache("/proc/no/such/folder", &log), "a")
		if !strings.Contains(log.String(), "for this process's life only") {
			t.Errorf("the log says %q, want that code is kept for the process's life", &log)
		}
	})
	t.Run("taken away", func(t *testing.T) {
		var log bytes.Buffer
		dir := cacheDir(t)
		d := newDriver(t, binTars, inCache(dir, &log))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		p := load(t, d, src)
		if reply, err := p.Call(within(t, time.Minute), request("x")); err != nil || string(reply.Output) != "a" {
			t.Errorf("Call = %q, %v, want a", reply.Output, err)
		}
		if !strings.Contains(log.String(), "compile for themselves") {
			t.Errorf("the log says %q, want that cells compile for themselves", &log)
		}
	})
	t.Run("full or read-only", func(t *testing.T) { runHost(t, "full-disk", inMountNamespace) })
	t.Run("open to others", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o770); err != nil {
			t.Fatal(err)
		}
		opts := cell.Options{Executable: filepath.Join(binaries, binTars), CacheDir: dir}
		d, err := cell.New(opts)
		if !errors.Is(err, vmhost.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "chmod 0700") {
			t.Errorf("New = %v, %v, want ErrUnavailable that says chmod 0700", d, err)
		}
	})
}

// testFullDisk is in a mount namespace of its own.
func testFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("x", dir, "tmpfs", 0, "size=32k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // ends with the process
	large := saying("a")
	large.Module = Plugin{Handle: ReturnOK(I32(2048), I32(1)), Data: []Data{{At: 2048, Bytes: []byte("a")}, {At: 1 << 17, Bytes: make([]byte, 1<<17)}}}.Encode()
	large.Digest = vmhost.DigestOf(large.Module)
	var log bytes.Buffer
	wantOnce(t, large, inCache(dir, &log), "a")
	if !strings.Contains(log.String(), "no space left on device") || len(entries(t, dir)) != 0 {
		t.Errorf("full disk: the log says %q, entries %q, want that there is no space, and none", &log, entries(t, dir))
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	wantOnce(t, saying("a"), inCache(dir, &log), "a")
	if !strings.Contains(log.String(), "read-only file system") {
		t.Errorf("read-only: the log says %q, want that the file system is read-only", &log)
	}
}

// TestManyLoads: programs of several accounts that are loaded at once, more than
// may be compiled at once, all answer, and each module is compiled once for each
// account.
func TestManyLoads(t *testing.T) {
	dir := cacheDir(t)
	d := newDriver(t, binTars, func(o *cell.Options) {
		inCache(dir, nil)(o)
		o.Compiles = 2
	})
	var loads sync.WaitGroup
	for i := range 12 {
		src := saying("a")
		src.Account = vmhost.Account(fmt.Sprint(i % 3))
		loads.Go(func() {
			p, err := d.Load(context.Background(), src)
			if err != nil {
				t.Errorf("Load: %v", err)
				return
			}
			if reply, err := p.Call(within(t, time.Minute), request("x")); err != nil || string(reply.Output) != "a" {
				t.Errorf("Call = %q, %v, want a", reply.Output, err)
			}
		})
	}
	loads.Wait()
	if got := entries(t, dir); len(got) != 3 {
		t.Errorf("entries %q, want one for each of three accounts", got)
	}
}
