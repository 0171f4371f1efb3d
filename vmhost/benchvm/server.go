package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/plugins"
)

// server is the shipped binary as a development server, with a database of its
// own in a temporary folder.
type server struct {
	cmd    *exec.Cmd
	dir    string
	url    string
	client *rest.Client // of the tenant that calls
	ended  chan error   // one
}

// tenant is who calls over HTTP.
const tenant = "bench"

// startServer starts it and makes a tenant with a key.
func startServer(ctx context.Context, executable string) (s *server, err error) {
	dir, err := os.MkdirTemp("", "tars-bench-")
	if err != nil {
		return nil, err
	}
	s = &server{dir: dir, ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // the database's account passes through
		return s, err
	}
	admin := rand.Text() + rand.Text()
	s.cmd = exec.CommandContext(ctx, executable, "dev", "--no-demo", "--listen=127.0.0.1:0", "--metrics-listen=off", "--data-dir="+filepath.Join(dir, "data"))
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) } // it has a database to stop
	s.cmd.Env = append(os.Environ(), "TARS_ADMIN_KEY="+admin)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return s, fmt.Errorf("start the server: %w", err)
	}
	lines := bufio.NewScanner(out)
	for s.url == "" && lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "Serving on "); ok {
			s.url, _, _ = strings.Cut(after, " ")
		}
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if s.url == "" {
		return s, errors.New("the server did not say where it serves")
	}
	return s, s.makeTenant(ctx, rest.New(s.url, admin))
}

func (s *server) makeTenant(ctx context.Context, admin *rest.Client) error {
	if _, err := admin.Do(ctx, http.MethodPost, "/v1/admin/tenants", map[string]any{"id": tenant, "name": "Benchmark"}, nil); err != nil {
		return fmt.Errorf("make a tenant: %w", err)
	}
	var issued struct {
		Token string `json:"token"`
	}
	if _, err := admin.Do(ctx, http.MethodPost, "/v1/admin/tenants/"+tenant+"/keys", map[string]any{"name": "bench"}, &issued); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	s.client = rest.New(s.url, issued.Token)
	return nil
}

// push uploads a plugin and makes it live. fresh asks for a new instance in each
// call.
func (s *server) push(ctx context.Context, name string, j job, fresh bool) error {
	manifest, err := json.Marshal(map[string]any{
		"abi": plugins.ABI, "name": name, "description": "A plugin of the benchmarks.",
		"capabilities": []string{j.Capability}, "grants": []string{"log"},
		"limits":          map[string]any{"memory_bytes": j.Memory},
		"samples":         []any{map[string]any{"capability": j.Capability, "input": json.RawMessage(j.Input)}},
		"fresh_instances": fresh,
	})
	if err != nil {
		return err
	}
	var version struct {
		Version int `json:"version"`
	}
	if _, err := s.client.Upload(ctx, "/v1/plugins/"+name+"/versions", manifest, j.Module, &version); err != nil {
		return fmt.Errorf("push %s: %w", name, err)
	}
	_, err = s.client.Do(ctx, http.MethodPut, "/v1/plugins/"+name+"/aliases/live", map[string]any{"version": version.Version}, nil)
	return err
}

// stop ends the server with all that it started, and removes its folder.
func (s *server) stop() error {
	var err error
	if s.cmd != nil {
		err = s.cmd.Process.Signal(syscall.SIGINT)
		select {
		case ended := <-s.ended:
			err = errors.Join(err, ended)
		case <-time.After(time.Minute):
			err = errors.Join(err, errors.New("the server did not end within a minute of being asked"), s.cmd.Process.Kill())
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
