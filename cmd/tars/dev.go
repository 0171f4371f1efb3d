package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/tars-project/tars/cmd/tars/demo"
	"github.com/tars-project/tars/migrations"
	"github.com/tars-project/tars/migrations/pglocal"
)

// devCommand starts everything on embedded defaults and does the main job.
type devCommand struct {
	serverConfig `set:"loglevel=warn"` // the demo's own lines say more to a newcomer than a line a request
	devFolders
	DatabaseURL string `env:"DATABASE_URL" placeholder:"URL" help:"Use this database and start none; as a role that may make roles, schemas and extensions."`
	Guests      string `env:"TARS_GUESTS" default:"bin/guests" placeholder:"DIR" help:"Where \"make guests\" put the compiled plugins."`
	Once        bool   `help:"End after the demo instead of serving."`
	NoDemo      bool   `help:"Serve without the demo."`
}

// devFolders say where a development server keeps its things.
type devFolders struct {
	localFolders
	DataDir string `env:"TARS_DATA" default:".data" placeholder:"DIR" help:"Keeps the database and the keys of this installation."`
}

// database are the options of its database.
func (f devFolders) database(w *world) (pglocal.Options, error) {
	options := f.options(w)
	dir, err := filepath.Abs(f.DataDir)
	if err != nil {
		return options, err
	}
	options.DataDir = filepath.Join(dir, "postgres")
	return options, nil
}

func (c *devCommand) Run(ctx context.Context, w *world) error {
	return c.start(ctx, w, func(ctx context.Context, srv *server, d demo.Demo) error {
		if !c.NoDemo {
			result, err := d.Run(ctx)
			if err != nil {
				return err
			}
			d.Print(w.stdout, result)
		}
		if c.Once {
			return nil
		}
		fmt.Fprintf(w.stdout, "Serving on %s until Ctrl-C; documentation on %[1]s/docs.\n", srv.url())
		<-ctx.Done()
		return nil
	})
}

// start brings up database and server, calls do beside them, and ends them.
func (c *devCommand) start(ctx context.Context, w *world, do func(context.Context, *server, demo.Demo) error) error {
	began := time.Now()
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := c.fillKeys(); err != nil {
		return err
	}
	if c.PluginCache == "" {
		c.PluginCache = filepath.Join(c.DataDir, "artifacts")
	}
	s, err := c.settings()
	if err != nil {
		return err
	}
	plugin, err := c.plugin()
	if err != nil {
		return err
	}
	options, err := c.database(w)
	if err != nil {
		return err
	}
	options.DatabaseURL = c.DatabaseURL
	pg, err := pglocal.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { // after the server's own end
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := pg.Close(ctx); err != nil {
			fmt.Fprintln(w.stderr, "tars: stop PostgreSQL:", err)
		}
	}()
	for _, warning := range pg.Warnings {
		fmt.Fprintln(w.stderr, "tars: warning:", warning)
	}
	urls, err := c.prepare(ctx, pg.URL, s)
	if err != nil {
		return err
	}
	srv, err := newServer(ctx, &c.serverConfig, s, urls, c.logger(w))
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stderr, "tars: up in %.1f s: PostgreSQL (%s) with pgvector %s\n", time.Since(began).Seconds(), pg.Kind, pg.VectorVersion)
	plugin.BaseURL, plugin.AdminKey, plugin.Log = srv.url(), s.adminKey, w.stderr
	plugin.ShownKey, plugin.AdminKeyFile = filepath.Join(c.DataDir, "demo.key"), cmp.Or(c.AdminKeyFile, "admin.key")
	return srv.run(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() { // ends with ctx
			select {
			case <-pg.Exited():
				cancel(errors.New("PostgreSQL ended"))
			case <-ctx.Done():
			}
		}()
		err := do(ctx, srv, plugin)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return cause
		}
		return err
	})
}

// prepare migrates the database and returns how the service connects.
func (c *devCommand) prepare(ctx context.Context, databaseURL string, s settings) (databaseURLs, error) {
	if err := migrations.Up(ctx, databaseURL); err != nil {
		return databaseURLs{}, err
	}
	// The passwords follow from the key-encryption key, so that a second server
	// of this installation sets the same ones.
	password := func(role string) string {
		mac := hmac.New(sha256.New, []byte(s.adminKey))
		mac.Write([]byte("tars dev database role " + role))
		return hex.EncodeToString(mac.Sum(nil))
	}
	app, jobs := password("tars_app"), password("tars_jobs")
	if err := migrations.Provision(ctx, databaseURL, migrations.ProvisionOptions{AppPassword: app, JobsPassword: jobs}); err != nil {
		return databaseURLs{}, err
	}
	appURL, err := as(databaseURL, "tars_app", app)
	if err != nil {
		return databaseURLs{}, err
	}
	jobsURL, err := as(databaseURL, "tars_jobs", jobs)
	return databaseURLs{appURL, jobsURL}, err
}

// as returns the connection string with another user.
func as(databaseURL, user, password string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", errors.New("database URL: need the form postgres://user:password@host:port/database")
	}
	u.User = url.UserPassword(user, password)
	q := u.Query()
	q.Del("user")
	q.Del("password")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// fillKeys makes the keys of this installation at its first start, unless they
// are configured.
func (c *devCommand) fillKeys() error {
	secret := func(encode func([]byte) string) string {
		b := make([]byte, 32)
		rand.Read(b) // never fails: crypto/rand ends the process instead
		return encode(b)
	}
	if c.AdminKey == "" && c.AdminKeyFile == "" {
		c.AdminKeyFile = filepath.Join(c.DataDir, "admin.key")
		if err := writeOnce(c.AdminKeyFile, secret(hex.EncodeToString)); err != nil {
			return err
		}
	}
	if c.KEK == "" && c.KEKFile == "" {
		c.KEKFile = filepath.Join(c.DataDir, "kek")
		if err := writeOnce(c.KEKFile, secret(base64.StdEncoding.EncodeToString)); err != nil {
			return err
		}
	}
	return nil
}

// writeOnce writes a secret to a file of the owner's alone, unless it is there.
func writeOnce(file, secret string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	_, err = f.WriteString(secret + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// plugin reads the demo's plugin.
func (c *devCommand) plugin() (demo.Demo, error) {
	d := demo.Demo{StateDir: c.DataDir}
	if c.NoDemo {
		return d, nil
	}
	err := readDemoPlugin(&d, c.Guests)
	return d, err
}

// readDemoPlugin reads the demo's plugin from where "make guests" put it.
func readDemoPlugin(d *demo.Demo, dir string) (err error) {
	if d.Manifest, err = os.ReadFile(filepath.Join(dir, demo.Plugin+".json")); err == nil {
		d.Module, err = os.ReadFile(filepath.Join(dir, demo.Plugin+".wasm"))
	}
	if err != nil {
		return fmt.Errorf("the demo's plugin: %w; run make guests", err)
	}
	return nil
}
