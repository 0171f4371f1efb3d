package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// adminKey and kek are good enough for servers of tests.
const (
	adminKey = "0123456789abcdef0123456789abcdef"
	kek      = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// patience bounds each wait of these tests.
const patience = 30 * time.Second

// binary builds the shipped binary, once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tars-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tars")
	build := exec.Command("go", "build", "-trimpath", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", &buildError{string(out), err}
	}
	return path, os.Chmod(dir, 0o755)
})

type buildError struct {
	output string
	err    error
}

func (e *buildError) Error() string { return e.err.Error() + ":\n" + e.output }

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// running is a server in a process of its own.
type running struct {
	url  string
	cmd  *exec.Cmd
	logs *logbook
	done chan struct{} // closed when it has ended
	err  error         // of its end
}

// logbook keeps what a server logged.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logbook) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// serverEnv is the environment of a server on the database.
func serverEnv(d *pgtest.Database) []string {
	return append(os.Environ(),
		"DATABASE_URL="+d.AppURL, "DATABASE_JOBS_URL="+d.JobsURL, "TARS_ADMIN_KEY="+adminKey, "TARS_KEK="+kek,
		"TARS_LISTEN=127.0.0.1:0", "TARS_METRICS_LISTEN=127.0.0.1:0", "TARS_LOG_FORMAT=json")
}

// start starts the shipped binary on a database and waits until it is ready. The
// server ends with the test. env goes before the test's own environment.
func start(t testing.TB, d *pgtest.Database, env ...string) *running {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	s := &running{cmd: exec.Command(path, "serve"), logs: &logbook{}, done: make(chan struct{})}
	s.cmd.Env = append(serverEnv(d), env...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start: %v", err)
	}
	url := make(chan string, 1)
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.logs.add(lines.Text())
			var line struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				url <- line.URL
			}
		}
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // ended already, in most tests
		<-s.done
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.logs)
		}
	})
	select {
	case s.url = <-url:
	case <-s.done:
		t.Fatalf("the server ended: %v\n%s", s.err, s.logs)
	case <-time.After(patience):
		t.Fatalf("the server does not serve after %s\n%s", patience, s.logs)
	}
	return s
}

// kill ends the server as the kernel would, without notice.
func (s *running) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// stop ends the server as an operator would and returns its error.
func (s *running) stop(t *testing.T) error {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
		return s.err
	case <-time.After(patience):
		t.Fatalf("the server runs %s after SIGTERM", patience)
		return nil
	}
}

// tenant makes a tenant with a key and returns a client with it.
func (s *running) tenant(t testing.TB, id string) *rest.Client {
	t.Helper()
	admin := rest.New(s.url, adminKey)
	do(t, admin, http.MethodPost, "/v1/admin/tenants", map[string]any{"id": id}, nil)
	var key struct{ Token string }
	do(t, admin, http.MethodPost, "/v1/admin/tenants/"+id+"/keys", map[string]any{"name": "test"}, &key)
	return rest.New(s.url, key.Token)
}

// do is a request that must succeed.
func do(t testing.TB, c *rest.Client, method, path string, in, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Do(ctx, method, path, in, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// upload uploads a guest of the repository and makes it live.
func upload(t *testing.T, c *rest.Client, name string, module []byte) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join("../../plugins/guests", name, "plugin.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Upload(ctx, "/v1/plugins/"+name+"/versions", manifest, module, nil); err != nil {
		t.Fatalf("upload %s: %v", name, err)
	}
	do(t, c, http.MethodPut, "/v1/plugins/"+name+"/aliases/live", map[string]any{"version": 1}, nil)
}
