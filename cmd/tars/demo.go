package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tars-project/tars/cmd/tars/demo"
)

// demoCommand does the demo on a server that somebody else started.
type demoCommand struct {
	Server       string `env:"TARS_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server."`
	AdminKey     string `env:"TARS_ADMIN_KEY" placeholder:"KEY" help:"The operator's token. Prefer the file."`
	AdminKeyFile string `env:"TARS_ADMIN_KEY_FILE" placeholder:"FILE" help:"File with the operator's token."`
	StateDir     string `env:"TARS_DATA" default:".data" placeholder:"DIR" help:"Keeps the key of the demo's tenant."`
	ShowURL      string `placeholder:"URL" help:"The server in the commands that are printed, where it has another name for their reader."`
	ShowAdminKey string `placeholder:"FILE" help:"The file of the operator's token in the commands that are printed."`
	Guests       string `env:"TARS_GUESTS" default:"bin/guests" placeholder:"DIR" help:"Where \"make guests\" put the compiled plugins."`
}

func (c *demoCommand) Run(ctx context.Context, w *world) error {
	adminKey, err := valueOrFile(c.AdminKey, c.AdminKeyFile)
	if err != nil {
		return fmt.Errorf("--admin-key: %w", err)
	}
	if adminKey == "" {
		return errors.New("--admin-key: is missing; need the operator's token or its file")
	}
	if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
		return fmt.Errorf("--state-dir: %w", err)
	}
	d := demo.Demo{BaseURL: c.Server, AdminKey: adminKey, StateDir: c.StateDir, Log: w.stderr}
	d.ShownURL, d.AdminKeyFile = c.ShowURL, cmp.Or(c.ShowAdminKey, c.AdminKeyFile, "admin.key")
	if c.ShowURL == "" {
		d.ShownKey = filepath.Join(c.StateDir, "demo.key")
	}
	if err := readDemoPlugin(&d, c.Guests); err != nil {
		return err
	}
	result, err := d.Run(ctx)
	if err != nil {
		return err
	}
	d.Print(w.stdout, result)
	return nil
}
