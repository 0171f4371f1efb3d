package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tars-project/tars/knowledge/pgstore"
)

type serveCommand struct {
	serverConfig
	DatabaseURL     string `env:"DATABASE_URL" placeholder:"URL" help:"Database, as the role tars_app: it serves requests. Needed."`
	DatabaseJobsURL string `env:"DATABASE_JOBS_URL" placeholder:"URL" help:"The same database, as the role tars_jobs: it makes tenants, keys and places. Needed."`
}

func (c *serveCommand) Run(ctx context.Context, w *world) error {
	logger := c.logger(w)
	var p problems
	for _, u := range []struct{ flag, value string }{{"database-url", c.DatabaseURL}, {"database-jobs-url", c.DatabaseJobsURL}} {
		if u.value == "" {
			p.add(u.flag, "is missing; need postgres://user:password@host:port/database")
		}
	}
	s, err := c.settings()
	if err := errors.Join(p.err(), err); err != nil {
		return err
	}
	app, err := newServer(ctx, &c.serverConfig, s, databaseURLs{c.DatabaseURL, c.DatabaseJobsURL}, logger)
	if err != nil {
		return err
	}
	return app.run(ctx, nil)
}

// databaseURLs are the connection strings of a server.
type databaseURLs struct{ app, jobs string }

// open makes the two pools.
func (u databaseURLs) open(ctx context.Context, conns int, logger *slog.Logger) (pools, error) {
	app, err := pgstore.Open(ctx, pgstore.Config{URL: u.app, MaxConns: int32(conns)})
	if err != nil {
		return pools{}, err
	}
	// Jobs use a connection for some milliseconds at a time; so does the queue.
	jobs, err := pgstore.Open(ctx, pgstore.Config{URL: u.jobs, MaxConns: 8})
	if err != nil {
		app.Close()
		return pools{}, err
	}
	found, err := pgstore.Inspect(ctx, app)
	if err != nil {
		app.Close()
		jobs.Close()
		return pools{}, err
	}
	for _, warning := range found.Warnings {
		logger.Warn("database", "warning", warning)
	}
	return pools{app, jobs}, nil
}
