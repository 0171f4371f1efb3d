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

func main() {
	var left seal.Report
	os.Exit(worker.Run(os.Args[2:], func(r seal.Report) vmhost.Driver {
		left = r
		return driver{r}
	}, tasks(&left)))
}

// driver takes any module and calls attempts.
type driver struct{ left seal.Report }

func (driver) Tier() vmhost.Tier { return vmhost.TierInProc }
func (driver) Grade() string     { return "none" }
func (driver) Close() error      { return nil }

func (d driver) Load(_ context.Context, src vmhost.Source) (vmhost.Program, error) {
	return program(d), atLoad(string(src.Module))
}

// Compile does what the module's text says, and gives the text.
func (d driver) Compile(_ context.Context, src vmhost.Source, folder string, _ int64) (vmhost.Artifact, error) {
	return atCompile(d.left, string(src.Module), folder)
}

// LoadCompiled is Load: the text is all that there is.
func (d driver) LoadCompiled(ctx context.Context, src vmhost.Source, _ []byte, _ string) (vmhost.Program, error) {
	return d.Load(ctx, src)
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
	got, err := try(p.left, req.Capability)
	return vmhost.Reply{Output: []byte(got)}, err
}

// try makes an attempt.
func try(left seal.Report, name string) (string, error) {
	attempt, ok := attempts(left)[name]
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
