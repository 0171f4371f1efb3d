//go:build linux && (amd64 || arm64)

// Command probe is a worker whose guest has broken out: the same entry and the
// same seal as the shipped binary, but where that runs WebAssembly, this runs
// the attempt that a call names. It is for tests and is shipped nowhere.
package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/seal"
	"github.com/tars-project/tars/vmhost/cell/worker"
)

func main() { os.Exit(worker.Run(os.Args[2:], func(r seal.Report) vmhost.Driver { return driver{r} })) }

// driver takes any module and calls attempts.
type driver struct{ left seal.Report }

func (driver) Tier() vmhost.Tier { return vmhost.TierInProc }
func (driver) Grade() string     { return "none" }
func (driver) Close() error      { return nil }

func (d driver) Load(_ context.Context, src vmhost.Source) (vmhost.Program, error) {
	return program{d.left}, atLoad(string(src.Module))
}

// program has what the seal left open.
type program struct{ left seal.Report }

func (program) Close() error { return nil }

// Call makes the attempt that the call's capability names. A refusal by the
// kernel comes back as a guest error with the code "denied"; what the attempt
// got is output. Most attempts do not come back.
func (p program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	if req.Capability == "echo" { // measured: must not make the tables below
		return vmhost.Reply{Output: req.Input}, nil
	}
	if behave, ok := behaviours()[req.Capability]; ok {
		return behave(ctx, req)
	}
	attempt, ok := attempts(p.left)[req.Capability]
	if !ok {
		return vmhost.Reply{}, errors.New("no attempt " + req.Capability)
	}
	got, err := attempt()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return vmhost.Reply{}, &vmhost.GuestError{Code: "denied", Message: unix.ErrnoName(errno)}
	}
	if err != nil {
		return vmhost.Reply{}, err
	}
	return vmhost.Reply{Output: []byte("reached: " + got)}, nil
}
