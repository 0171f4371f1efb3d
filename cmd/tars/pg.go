package main

import (
	"context"
	"os"

	"github.com/tars-project/tars/migrations/pglocal"
)

// pgCommand has what the Makefile needs of a private PostgreSQL.
type pgCommand struct {
	Exec  pgExec  `cmd:"" help:"Start a throw-away server, run a command with TARS_TEST_DATABASE_URL set, remove the server."`
	Clean pgClean `cmd:"" help:"Remove the data folder of \"tars dev\"."`
}

// localFolders say where a private PostgreSQL keeps what it needs.
type localFolders struct {
	CacheDir string `env:"TARS_CACHE" placeholder:"DIR" help:"Where downloaded packages are kept; default: a folder of the user's cache."`
	NoDocker bool   `env:"TARS_NO_DOCKER" help:"Do not use a container engine."`
}

func (f localFolders) options(w *world) pglocal.Options {
	cache := f.CacheDir
	if cache == "" {
		cache = pglocal.DefaultCacheDir(os.Getuid(), w.getenv("HOME"), w.getenv("XDG_CACHE_HOME"))
	}
	return pglocal.Options{CacheDir: cache, NoDocker: f.NoDocker, Log: w.stderr}
}

type pgExec struct {
	localFolders
	DatabaseURL string   `env:"TARS_TEST_DATABASE_URL" placeholder:"URL" help:"Use this server and start none; as a superuser."`
	Command     []string `arg:"" passthrough:"" help:"The command and its arguments."`
}

func (c *pgExec) Run(ctx context.Context, w *world) error {
	options := c.options(w)
	options.DatabaseURL, options.Ephemeral = c.DatabaseURL, true
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	code, err := pglocal.Exec(ctx, options, os.Environ(), argv, w.stdin, w.stdout, w.stderr)
	if err != nil {
		return err
	}
	if code != 0 {
		return &exitError{code}
	}
	return nil
}

type pgClean struct {
	localFolders
	DataDir string `env:"TARS_DATA" default:".data" placeholder:"DIR" help:"The data folder."`
}

func (c *pgClean) Run(ctx context.Context, w *world) error {
	folders := devFolders{c.localFolders, c.DataDir}
	options, err := folders.database(w)
	if err != nil {
		return err
	}
	if err := pglocal.RemoveData(ctx, options); err != nil {
		return err
	}
	return os.RemoveAll(folders.DataDir)
}
