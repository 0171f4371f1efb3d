// Package rig is what benchmarks of the shipped binary are made of: a server of their
// own, prepared requests, and what processes took.
package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
)

// Server is the shipped binary with a database of its own, everything on: keys,
// row-level security, plugins in jails.
type Server struct {
	Client *rest.Client // of the benchmark's tenant
	Admin  *rest.Client
	Grade  string // isolation of plugins

	cmd   *exec.Cmd
	ended chan error // one
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Addr is host:port.
func (s *Server) Addr() string { return strings.TrimPrefix(s.Client.BaseURL, "http://") }

// serving is the line by which the server says where it is.
var serving = regexp.MustCompile(`^Serving on (\S+) `)

// Start starts the binary on an empty data folder in dir.
func Start(ctx context.Context, executable, dir string) (s *Server, err error) {
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s = &Server{cmd: exec.CommandContext(ctx, executable, "dev", "--no-demo", "--data-dir", filepath.Join(dir, "data"))}
	s.ended = make(chan error, 1)
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = time.Minute
	s.cmd.Env = append(os.Environ(), "TARS_LISTEN=127.0.0.1:0", "TARS_METRICS_LISTEN=off")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	url, err := s.wait(ctx, log.Name())
	if err == nil {
		err = s.enter(ctx, url, filepath.Join(dir, "data", "admin.key"))
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// wait reads what the server prints until it says where it is.
func (s *Server) wait(ctx context.Context, log string) (string, error) {
	for {
		said, err := os.ReadFile(log)
		if err != nil {
			return "", err
		}
		for lines := bufio.NewScanner(strings.NewReader(string(said))); lines.Scan(); {
			if found := serving.FindStringSubmatch(lines.Text()); found != nil {
				return found[1], nil
			}
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			said, _ = os.ReadFile(log) // with its last words
			return "", fmt.Errorf("the server ended: %w: %s", err, said)
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// enter makes a tenant and a key, and asks what isolates plugins.
func (s *Server) enter(ctx context.Context, url, keyFile string) error {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	admin := rest.New(url, strings.TrimSpace(string(key)))
	if _, err := admin.Do(ctx, http.MethodPost, "/v1/admin/tenants", map[string]any{"id": "bench", "name": "Benchmark"}, nil); err != nil {
		return fmt.Errorf("make a tenant: %w", err)
	}
	var issued struct {
		Token string `json:"token"`
	}
	if _, err := admin.Do(ctx, http.MethodPost, "/v1/admin/tenants/bench/keys", map[string]any{"name": "bench"}, &issued); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	s.Admin, s.Client = admin, rest.New(url, issued.Token)
	var ready struct {
		Checks []struct{ Name, Detail string } `json:"checks"`
	}
	if _, err := admin.Do(ctx, http.MethodGet, "/readyz", nil, &ready); err != nil {
		return err
	}
	for _, check := range ready.Checks {
		if check.Name == "isolation" {
			s.Grade = check.Detail
			return nil
		}
	}
	return errors.New("the server does not say what isolates plugins")
}

// Stop ends the server with all that it started.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(time.Minute):
		return errors.Join(errors.New("the server did not end within a minute of being asked"), s.cmd.Process.Kill())
	}
}
