package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// cli is the grammar of the command line. Every flag has a variable of the
// environment, which kong reads; a flag goes before it.
type cli struct {
	Serve   serveCommand     `cmd:"" help:"Serve the API. Everything it needs is given by flags or the environment."`
	Dev     devCommand       `cmd:"" help:"Start all of it on this machine: PostgreSQL, the server, and a demo."`
	Migrate migrateCommand   `cmd:"" help:"Make or change the database."`
	Export  exportCommand    `cmd:"" help:"Write a collection, or all that a tenant has, to a file."`
	Import  importCommand    `cmd:"" help:"Write a file's records to a collection, or restore a tenant. Called again, it goes on."`
	Ingest  ingestCommand    `cmd:"" help:"Write files and folders to a collection as documents. Called again, it goes on."`
	Embed   embedCommand     `cmd:"" help:"Turn lines of text into vectors, one a line, by a server or without one."`
	Plugin  pluginCommand    `cmd:"" help:"Write, build, upload and call plugins."`
	Usage   usageCommand     `cmd:"" help:"Print what the tenant used, by day, key or plugin."`
	Audit   auditCommand     `cmd:"" help:"Export the audit log, and check that nothing in it was changed."`
	Cell    struct{}         `cmd:"" hidden:"" help:"The sealed worker; started by the server alone."`
	Smoke   smokeCommand     `cmd:"" help:"Do the main job on free ports and a temporary folder, check each step, leave nothing."`
	Health  healthCommand    `cmd:"" help:"Ask a running server whether it is ready; for health checks."`
	Demo    demoCommand      `cmd:"" help:"Do the main job on a running server, as its operator."`
	PG      pgCommand        `cmd:"" name:"pg" hidden:"" help:"A private PostgreSQL for development and tests."`
	Version kong.VersionFlag `help:"Print the version and end."`
}

// world is what a command may touch.
type world struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the program: it parses args and runs the command that they name.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c cli
	w := &world{getenv, stdin, stdout, stderr}
	done := &exitError{-1}
	parser, err := kong.New(&c,
		kong.Name("tars"),
		kong.Description("A knowledge query service that runs tenants' code beside their vectors, each call in its own micro-VM."),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(withDefault),
		kong.Exit(func(code int) { done.code = code; panic(done) }), // from inside the parser, after --help
		kong.Bind(w),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	command, err := parse(parser, args, done)
	if done.code == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; see tars --help", err)
	}
	return command.Run()
}

// parse parses args; it catches the exit after --help and --version.
func parse(parser *kong.Kong, args []string, done *exitError) (command *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil && r != any(done) {
			panic(r)
		}
	}()
	return parser.Parse(args)
}

// withDefault adds a flag's default and variables to its help.
func withDefault(v *kong.Value) string {
	help := strings.TrimSuffix(kong.DefaultHelpValueFormatter(v), ".")
	if v.HasDefault && v.Default != "" && v.Default != "0" && !v.IsBool() {
		help += ", default " + v.Default
	}
	return help + "."
}

// version is what `go build` noted of the source.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}

// problems collects what is wrong, so that all of it is told at once.
type problems []error

func (p *problems) add(flag, format string, args ...any) {
	*p = append(*p, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
}

func (p problems) err() error { return errors.Join(p...) }
