package pglocal

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestExec(t *testing.T) {
	opts := testOptions(t)
	opts.NoDocker, opts.TempDir = true, openDir(t)
	for _, c := range []struct {
		script string
		code   int
	}{
		{"echo $" + TestURLVariable + " $OWN; cat; exit 0", 0},
		{"echo $" + TestURLVariable + " $OWN; cat; exit 3", 3},
		{"echo $" + TestURLVariable + " $OWN; cat; kill -TERM $$", 143},
	} {
		var out bytes.Buffer
		code, err := Exec(t.Context(), opts, []string{"OWN=env"}, []string{"/bin/sh", "-c", c.script}, strings.NewReader("input"), &out, os.Stderr)
		if code != c.code || err != nil {
			t.Errorf("Exec(%q) = %d, %v, want %d", c.script, code, err, c.code)
		}
		if got := out.String(); !strings.HasPrefix(got, "postgres://postgres@/") || !strings.HasSuffix(got, " env\ninput") {
			t.Errorf("Exec(%q) printed %q, want a URL, the environment and the input", c.script, got)
		}
		if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
			t.Errorf("Exec(%q) left %v", c.script, left)
		}
	}
	if _, err := Exec(t.Context(), opts, nil, nil, nil, nil, nil); err == nil {
		t.Error("Exec(no command) = nil, want an error")
	}
	if _, err := Exec(t.Context(), opts, nil, []string{"/nonexistent"}, nil, nil, nil); err == nil {
		t.Error("Exec(/nonexistent) = nil, want an error")
	}
}

func TestExecCancelled(t *testing.T) {
	opts := testOptions(t)
	opts.NoDocker, opts.TempDir = true, openDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The command ends only by the signal; its first word says that it runs.
	code, err := Exec(ctx, opts, nil, []string{"/bin/sh", "-c", "echo runs; exec sleep 600"}, nil, writerFunc(cancel), nil)
	if code != 143 || err != nil {
		t.Errorf("Exec(cancelled) = %d, %v, want 143", code, err)
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
		t.Errorf("Exec(cancelled) left %v", left)
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestDockerWithoutEngine(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("DOCKER_HOST", "unix://"+bin+"/no.sock")
	if path, err := exec.LookPath("docker"); err == nil {
		t.Logf("asking %s", path)
	}
	opts := testOptions(t)
	opts.Ephemeral, opts.TempDir = true, openDir(t)
	if s, err := StartDocker(t.Context(), opts); err == nil {
		t.Errorf("StartDocker() without an engine = %v, want an error", s)
	}
	s, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatalf("Start() without an engine = %v, want the next way", err)
	}
	defer closeServer(t, s)
	if s.Kind != KindPrivate && s.Kind != KindLocal {
		t.Errorf("Start() = kind %q, want a server of our own", s.Kind)
	}
}
