package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
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

// server is the shipped binary as it is run in production: roles of their own,
// row-level security, keys, one log line a request, plugins in jails.
type server struct {
	cmd   *exec.Cmd
	url   string
	admin *rest.Client
	ended chan error // one
	grade string     // isolation of plugins
}

// serving is the log line by which the server says where it is.
var serving = regexp.MustCompile(`msg=serving url=(\S+)`)

// startServer migrates the database and starts the binary; its log goes to a file
// in dir.
func startServer(ctx context.Context, executable, dir string, db *database) (s *server, err error) {
	app, jobs := rand.Text(), rand.Text()
	migrate := exec.CommandContext(ctx, executable, "migrate", "up")
	migrate.Env = append(os.Environ(), "DATABASE_OWNER_URL="+db.server.URL, "TARS_APP_PASSWORD="+app, "TARS_JOBS_PASSWORD="+jobs)
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("migrate: %w: %s", err, out)
	}
	appURL, err := db.as("tars_app", app)
	if err != nil {
		return nil, err
	}
	jobsURL, err := db.as("tars_jobs", jobs)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	key := make([]byte, 32)
	rand.Read(key) // never fails
	admin := rand.Text() + rand.Text()
	s = &server{cmd: exec.CommandContext(ctx, executable, "serve"), ended: make(chan error, 1)}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.Env = append(os.Environ(), "DATABASE_URL="+appURL, "DATABASE_JOBS_URL="+jobsURL, "TARS_ADMIN_KEY="+admin,
		"TARS_KEK="+base64.StdEncoding.EncodeToString(key), "TARS_LISTEN=127.0.0.1:0", "TARS_METRICS_LISTEN=127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if s.url, err = waitServing(ctx, log.Name(), s.ended); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.admin = rest.New(s.url, admin)
	if s.grade, err = s.isolation(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// waitServing reads the log until it says where the server is.
func waitServing(ctx context.Context, log string, ended chan error) (string, error) {
	for {
		f, err := os.Open(log)
		if err != nil {
			return "", err
		}
		var last string
		for lines := bufio.NewScanner(f); lines.Scan(); {
			last = lines.Text()
			if found := serving.FindStringSubmatch(last); found != nil {
				return found[1], f.Close()
			}
		}
		f.Close()
		select {
		case err := <-ended:
			ended <- err
			return "", fmt.Errorf("the server ended: %w: %s", err, last)
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// isolation asks what isolates plugins.
func (s *server) isolation(ctx context.Context) (string, error) {
	var ready struct {
		Checks []struct{ Name, Detail string } `json:"checks"`
	}
	if _, err := s.admin.Do(ctx, http.MethodGet, "/readyz", nil, &ready); err != nil {
		return "", err
	}
	for _, c := range ready.Checks {
		if c.Name == "isolation" {
			return c.Detail, nil
		}
	}
	return "", errors.New("the server does not say what isolates plugins")
}

// addr is host:port.
func (s *server) addr() string { return strings.TrimPrefix(s.url, "http://") }

// makeTenant makes a tenant and a key, and returns a client of the tenant's.
func (s *server) makeTenant(ctx context.Context, id string) (*rest.Client, error) {
	if _, err := s.admin.Do(ctx, http.MethodPost, "/v1/admin/tenants", map[string]any{"id": id, "name": "Benchmark"}, nil); err != nil {
		return nil, fmt.Errorf("make tenant %s: %w", id, err)
	}
	var issued struct {
		Token string `json:"token"`
	}
	if _, err := s.admin.Do(ctx, http.MethodPost, "/v1/admin/tenants/"+id+"/keys", map[string]any{"name": "bench"}, &issued); err != nil {
		return nil, fmt.Errorf("make a key of %s: %w", id, err)
	}
	return rest.New(s.url, issued.Token), nil
}

// makeCollection makes a collection of a dataset's form.
func makeCollection(ctx context.Context, c *rest.Client, name string, d *dataset, index string) error {
	definition := map[string]any{
		"dimension": d.dim, "metric": "cosine", "index": map[string]any{"kind": index},
		"fields": []any{map[string]any{"name": "bucket", "type": "number"}},
	}
	if index == indexHNSW {
		definition["index"] = map[string]any{"kind": index, "m": hnswM, "ef_construction": hnswEfConstruction}
	}
	if _, err := c.Do(ctx, http.MethodPut, "/v1/collections/"+name, definition, nil); err != nil {
		return fmt.Errorf("make collection %s: %w", name, err)
	}
	return nil
}

// Indexes: the same in every layer.
const (
	indexNone          = "none"
	indexHNSW          = "hnsw"
	hnswM              = 16
	hnswEfConstruction = 64
)

// stop ends the server with all that it started.
func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGINT)
	if errors.Is(err, os.ErrProcessDone) {
		return <-s.ended
	}
	select {
	case ended := <-s.ended:
		return errors.Join(err, ended)
	case <-time.After(time.Minute):
		return errors.Join(err, errors.New("the server did not end within a minute of being asked"), s.cmd.Process.Kill())
	}
}
