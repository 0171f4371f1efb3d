// Command tars is the whole of TARS in one binary: the server, its tools, and the
// sealed worker that runs guests. See README.md; `tars --help` lists the commands.
//
// The tour for readers, from the outside in: package api answers HTTP; it asks
// knowledge/query for what reads and knowledge/ingest for what writes; these ask
// knowledge/pgstore for records and plugins for tenants' code, which vmhost runs,
// one jailed process (vmhost/cell) for each program. This package wires them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tars-project/tars/vmhost/cell"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "cell" {
		os.Exit(cell.Main(map[string]cell.Task{taskRead: readDocument})) // nothing may run before its seal that need not
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr), os.Stderr))
}

// exitError ends the process with a code of its own.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func exitCode(err error, stderr io.Writer) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	default:
		fmt.Fprintln(stderr, "tars:", err)
		return 1
	}
}
