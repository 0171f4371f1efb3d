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
	"github.com/tars-project/tars/vmhost/cell/worker"
)

func main() { os.Exit(worker.Run(os.Args[2:], func() vmhost.Driver { return driver{} })) }

// driver takes any module and calls attempts.
type driver struct{}

func (driver) Tier() vmhost.Tier { return vmhost.TierInProc }
func (driver) Grade() string     { return "none" }
func (driver) Close() error      { return nil }

func (driver) Load(_ context.Context, src vmhost.Source) (vmhost.Program, error) {
	return program{}, atLoad(string(src.Module))
}

// Compile does what the module's text says, and gives the text.
func (driver) Compile(_ context.Context, src vmhost.Source, folder string, _ int64) (vmhost.Artifact, error) {
	return atCompile(string(src.Module), folder)
}

func (d driver) LoadCompiled(ctx context.Context, src vmhost.Source, _ []byte, _ string) (vmhost.Program, error) {
	return d.Load(ctx, src)
}

type program struct{}

func (program) Close() error { return nil }

// Call makes the attempt that the call's capability names. A refusal by the
// kernel comes back as a guest error with the code "denied"; what the attempt
// got is output. Most attempts do not come back.
func (program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	if req.Capability == "echo" { // measured: must not make the tables below
		return vmhost.Reply{Output: req.Input}, nil
	}
	if behave, ok := behaviours()[req.Capability]; ok {
		return behave(ctx, req)
	}
	got, err := try(req.Capability)
	return vmhost.Reply{Output: []byte(got)}, err
}

// try makes an attempt.
func try(name string) (string, error) {
	attempt, ok := attempts()[name]
	if !ok {
		return "", errors.New("no attempt " + name)
	}
	got, err := attempt()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return "", &vmhost.GuestError{Code: "denied", Message: unix.ErrnoName(errno)}
	}
	if err != nil {
		return "", err
	}
	return "reached: " + got, nil
}
