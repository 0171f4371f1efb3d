package pglocal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// DefaultImage is a PostgreSQL image with pgvector and the environment of the
// official one. Its tag fixes PostgreSQL's major version, which a volume
// needs; pgvector's is checked once it runs.
const DefaultImage = "pgvector/pgvector:0.8.7-pg17-bookworm"

// DockerAnswers tells whether there is a docker client whose engine answers
// within five seconds. A client alone is no engine.
func DockerAnswers(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return fmt.Errorf("docker: %w: no client", errUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := docker(ctx, "info", "--format", "{{.ServerVersion}}"); err != nil {
		return fmt.Errorf("docker: %w: no engine answers: %w", errUnavailable, err)
	}
	return nil
}

// StartDocker runs a container that listens on a loopback port of the
// engine's choice and has a random password. Its data is in a named volume
// that belongs to DataDir, or in memory when ephemeral. The container is
// removed on Close or when this process ends; the volume stays.
func StartDocker(ctx context.Context, opts Options) (*Server, error) {
	if err := DockerAnswers(ctx); err != nil {
		return nil, err
	}
	c, err := newContainer(opts)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	if err := c.pull(ctx); err != nil {
		c.release()
		if ctx.Err() == nil {
			c.log.say("docker answers, but image %s cannot be had: %v", c.image, err)
			err = fmt.Errorf("%w: image: %w", errUnavailable, err)
		}
		return nil, fmt.Errorf("docker: %w", err)
	}
	s, err := c.start(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrVectorTooOld) && !errors.Is(err, ErrInUse) {
			c.log.say("docker answers, but the container does not start: %v", err)
			err = fmt.Errorf("%w: container: %w", errUnavailable, err)
		}
		return nil, fmt.Errorf("docker: %w", err)
	}
	return s, nil
}

// passwordFile, in a data folder, tells that it has a volume.
const passwordFile = "docker-password"

const removeScript = `docker rm --force --volumes "$1"`

// RemoveContainerAfterUs has a container, by id or name, removed when this
// process ends, however it ends.
func RemoveContainerAfterUs(name string) error {
	_, err := startWatchdog(nil, removeScript, name)
	return err
}

// container is one that we run, by name.
type container struct {
	name, image, password string
	storage               []string // arguments of docker run
	settings              []string // arguments of postgres
	script                string   // what ends it
	lock                  *fileLock
	watchdog              *watchdog
	log                   *progress
}

func newContainer(opts Options) (*container, error) {
	c := &container{image: opts.Image, password: rand.Text(), log: newProgress(opts.Log), settings: []string{"-c", "jit=off"}}
	if c.image == "" {
		c.image = DefaultImage
	}
	const folder = "/var/lib/postgresql/data"
	if opts.Ephemeral {
		c.name = "tars-pg-" + strings.ToLower(rand.Text()[:12])
		c.storage = []string{"--tmpfs", folder}
		c.settings = append(c.settings, "-c", "fsync=off", "-c", "full_page_writes=off",
			"-c", "synchronous_commit=off", "-c", "max_connections=200")
		c.script = removeScript
		return c, nil
	}
	if opts.DataDir == "" {
		return nil, errors.New("neither DataDir nor Ephemeral is set")
	}
	dir, err := filepath.Abs(opts.DataDir)
	if err != nil {
		return nil, err
	}
	c.name = volumeName(dir)
	c.storage = []string{"--volume", c.name + ":" + folder}
	c.script = `docker stop --time 60 "$1"; docker rm --force "$1"`
	return c, c.claim(dir)
}

// volumeName is the name of a data folder's volume and of its container.
func volumeName(dir string) string {
	return fmt.Sprintf("tars-pg-%x", sha256.Sum256([]byte(dir)))[:len("tars-pg-")+12]
}

// claim locks the data folder and gets the volume's password from it, which
// is set once, when the volume is made.
func (c *container) claim(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if c.lock, err = tryLock(filepath.Join(dir, "lock")); errors.Is(err, errLocked) {
		return fmt.Errorf("%s: %w", dir, ErrInUse)
	} else if err != nil {
		return err
	}
	path := filepath.Join(dir, passwordFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		c.password = string(text)
	case errors.Is(err, os.ErrNotExist):
		err = os.WriteFile(path, []byte(c.password), 0o600)
	}
	if err != nil {
		c.release()
	}
	return err
}

func (c *container) pull(ctx context.Context) error {
	if _, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", c.image); err == nil {
		return nil
	}
	c.log.say("pulling image %s (once)", c.image)
	return c.log.during("pulling the image", nil, func() error {
		_, err := docker(ctx, "pull", "--quiet", c.image)
		return err
	})
}

func (c *container) start(ctx context.Context) (s *Server, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop(context.WithoutCancel(ctx)))
		}
	}()
	_, _ = docker(ctx, "rm", "--force", c.name) // of a killed engine; mostly there is none
	if c.watchdog, err = startWatchdog(c, c.script, c.name); err != nil {
		return nil, err
	}
	args := append([]string{"run", "--detach", "--name", c.name, "--env", "POSTGRES_PASSWORD", "--publish", "127.0.0.1::5432"}, c.storage...)
	cmd := exec.Command("docker", append(append(args, c.image), c.settings...)...)
	cmd.Env = append(os.Environ(), "POSTGRES_PASSWORD="+c.password) // not in the arguments, which all users can see
	if _, err := output(ctx, cmd, ""); err != nil {
		return nil, err
	}
	told, err := docker(ctx, "port", c.name, "5432/tcp")
	if err != nil {
		return nil, err
	}
	address, _, _ := strings.Cut(told, "\n")
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("docker port: %w", err)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", c.password), Host: address, Path: "/postgres", RawQuery: "sslmode=disable"}
	s = &Server{URL: u.String(), Kind: KindDocker, stop: c.stop}
	if err := c.log.during("starting the container", nil, func() error { return c.ready(ctx, s.URL) }); err != nil {
		return nil, err
	}
	return s, s.inspect(ctx)
}

// ready waits until the server answers over TCP, which it does only after it
// has made its cluster, or until the container has ended.
func (c *container) ready(ctx context.Context, address string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			return conn.Close(ctx)
		}
		state, inspectErr := docker(ctx, "inspect", "--format", "{{.State.Running}}", c.name)
		if inspectErr != nil {
			return inspectErr
		}
		if strings.TrimSpace(state) != "true" {
			logs, _ := output(ctx, exec.Command("sh", "-c", `docker logs --tail 20 "$1" 2>&1`, "sh", c.name), "")
			return fmt.Errorf("the container ended: %s", tail([]byte(logs)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stop lets the watchdog do its work, which is all there is to do.
func (c *container) stop(context.Context) error {
	if c.watchdog != nil {
		_ = c.watchdog.finish() // docker's complaint that there is no such container is no failure
	}
	c.release()
	return nil
}

// release lets the data folder go.
func (c *container) release() {
	if c.lock != nil {
		c.lock.unlock()
	}
}

// docker runs the client and returns what it printed.
func docker(ctx context.Context, args ...string) (string, error) {
	return output(ctx, exec.Command("docker", args...), "")
}
