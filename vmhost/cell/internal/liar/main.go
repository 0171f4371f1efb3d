//go:build linux && (amd64 || arm64)

// Command liar is a worker that has been taken over and lies: the seal of the
// shipped binary around the lies of vmhost/cell/internal/lies. It is for tests
// and is shipped nowhere.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost/cell/internal/lies"
	"github.com/tars-project/tars/vmhost/cell/seal"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

func main() {
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "liar:", err)
		os.Exit(1)
	}
}

// run closes the seal as a worker does, then lies.
func run(args []string) error {
	plan, err := seal.ParseArgs(args)
	if err != nil {
		return err
	}
	os.Clearenv()
	unix.CloseOnExec(seal.WireFD)
	if err := unix.SetNonblock(seal.WireFD, true); err != nil {
		return err
	}
	conn := os.NewFile(seal.WireFD, "wire")
	report, err := seal.Close(plan)
	if err != nil {
		return err
	}
	return lies.Serve(conn, wire.Hello{
		Version: wire.Version, Namespaces: report.Namespaces,
		LandlockABI: uint32(report.LandlockABI), Took: report.Took,
	}, nil)
}
