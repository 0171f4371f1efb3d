package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply all migrations, and set the service's passwords if they are given."`
	Down   migrateDown   `cmd:"" help:"Undo migrations. The data of what they made is lost."`
	Status migrateStatus `cmd:"" help:"Print where the database stands."`
}

// migrateTarget is the database of each of the commands.
type migrateTarget struct {
	DatabaseURL string `env:"DATABASE_OWNER_URL,DATABASE_DIRECT_URL,DATABASE_URL" required:"" placeholder:"URL" help:"Database, as a role that may make roles, schemas and extensions; not through a pooler."`
}

type migrateUp struct {
	migrateTarget
	AppPassword  string `env:"TARS_APP_PASSWORD" placeholder:"PASSWORD" help:"Let the role tars_app log in with it."`
	JobsPassword string `env:"TARS_JOBS_PASSWORD" placeholder:"PASSWORD" help:"Let the role tars_jobs log in with it."`
}

func (c *migrateUp) Run(ctx context.Context, w *world) error {
	if err := migrations.Up(ctx, c.DatabaseURL); err != nil {
		return err
	}
	options := migrations.ProvisionOptions{AppPassword: c.AppPassword, JobsPassword: c.JobsPassword}
	if err := migrations.Provision(ctx, c.DatabaseURL, options); err != nil {
		return err
	}
	return printState(ctx, w, c.DatabaseURL)
}

type migrateDown struct {
	migrateTarget
	Steps int  `default:"1" placeholder:"N" help:"How many to undo; 0 for all."`
	Yes   bool `help:"Needed: the data of what they made is lost."`
}

func (c *migrateDown) Run(ctx context.Context, w *world) error {
	if !c.Yes {
		return errors.New("migrate down deletes data; repeat it with --yes")
	}
	if c.Steps < 0 {
		return fmt.Errorf("--steps: is %d; need 0 or more", c.Steps)
	}
	if err := migrations.Down(ctx, c.DatabaseURL, c.Steps); err != nil {
		return err
	}
	return printState(ctx, w, c.DatabaseURL)
}

type migrateStatus struct{ migrateTarget }

func (c *migrateStatus) Run(ctx context.Context, w *world) error {
	return printState(ctx, w, c.DatabaseURL)
}

func printState(ctx context.Context, w *world, databaseURL string) error {
	s, err := migrations.Status(ctx, databaseURL)
	if err != nil {
		return err
	}
	word := "current"
	switch {
	case s.Dirty:
		word = "a migration failed half way; it needs an operator"
	case s.Version < s.Latest, s.Queue < s.LatestQueue:
		word = "behind"
	case s.Version > s.Latest, s.Queue > s.LatestQueue:
		word = "newer than this binary"
	}
	_, err = fmt.Fprintf(w.stdout, "version %d of %d, tables of background work %d of %d: %s\n", s.Version, s.Latest, s.Queue, s.LatestQueue, word)
	return err
}
