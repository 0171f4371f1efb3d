package pglocal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperVariable makes the test binary a program that starts a server, as a
// process that tests can kill.
const helperVariable = "TARS_PGLOCAL_HELPER"

func TestMain(m *testing.M) {
	if text := os.Getenv(helperVariable); text != "" {
		if err := helper(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if dir := installs.cache; dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// helper starts a server with options in JSON, prints its URL and waits for
// its standard input to end.
func helper(text string) error {
	var opts Options
	if err := json.Unmarshal([]byte(text), &opts); err != nil {
		return err
	}
	s, err := StartPrivate(context.Background(), opts)
	if err != nil {
		return err
	}
	runtime.GC() // must not end a server that nothing refers to
	fmt.Println(s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close(context.Background())
}

// helperProcess is a running helper.
type helperProcess struct {
	cmd *exec.Cmd
	url string
}

// startHelper runs the helper, as an account if that is not nil. It is killed
// when t ends, if it still runs.
func startHelper(t *testing.T, opts Options, as *syscall.Credential) helperProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if as != nil { // go test builds in a folder that others cannot enter
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		self = filepath.Join(openDir(t), "helper")
		if err := os.WriteFile(self, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	opts.Log = nil // does not survive as text
	text, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), helperVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("helper told no URL: %v", err)
	}
	return helperProcess{cmd, strings.TrimSpace(line)}
}

// openDir is a temporary folder that every account can enter, which those of
// t.TempDir are not.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pglocal-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// installs is what became of the installations that all tests share: one
// that is cancelled while it unpacks, then two at once. The packages come
// over the network once.
var installs struct {
	once  sync.Once
	cache string

	cancelled      error
	afterCancelled []string // in the cache
	leftover       string   // put there as if an installer had been killed
	both           [2]error
	found          [2]installation
	log            strings.Builder // of the two, which hold a lock while they write
}

// testOptions is where the shared packages are, installed at the first call.
func testOptions(t *testing.T) Options {
	t.Helper()
	installs.once.Do(func() { installAll(t) })
	if err := errors.Join(installs.both[:]...); err != nil {
		t.Fatalf("installPrivate() = %v", err)
	}
	return Options{CacheDir: installs.cache, Log: testLog{t}}
}

func installAll(t *testing.T) {
	in := &installs
	var err error
	if in.cache, err = os.MkdirTemp("", "pglocal-cache-"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in.cache, 0o755); err != nil {
		t.Fatal(err)
	}
	in.cancelled = installCancelled(t, in.cache)
	entries, err := os.ReadDir(in.cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		in.afterCancelled = append(in.afterCancelled, e.Name())
	}
	in.leftover = filepath.Join(in.cache, "install-killed")
	if err := os.MkdirAll(filepath.Join(in.leftover, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	log := &lockedWriter{w: &in.log}
	var wg sync.WaitGroup
	for i := range in.both {
		wg.Go(func() {
			in.found[i], in.both[i] = installPrivate(t.Context(), Options{CacheDir: in.cache, Ephemeral: true, Log: log})
		})
	}
	wg.Wait()
}

// installCancelled cancels an installation when it has begun to unpack.
func installCancelled(t *testing.T, cache string) error {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := installPrivate(ctx, Options{CacheDir: cache, Ephemeral: true, Log: testLog{t}})
		done <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if found, _ := filepath.Glob(filepath.Join(cache, "install-*/root/usr")); len(found) > 0 {
				cancel()
			}
		}
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// testLog shows progress with the test that waits for it.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// query runs one statement on a new connection and returns its first value.
func query(t *testing.T, address, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var s string
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// run runs one statement that gives nothing back, on a new connection.
func run(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// eventually waits until is holds, for at most half a minute.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("after 30 s it still does not hold that %s", what)
		case <-tick.C:
		}
	}
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}
