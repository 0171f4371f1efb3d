package cell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/artifact"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// compileWatch is how often it is looked at what a compile cell has used.
const compileWatch = 20 * time.Millisecond

// maxCompileFiles is the most files in the folder of a compile cell, folders
// included: the engine makes four.
const maxCompileFiles = 16

// compile has a module compiled in a cell that is started for it and killed after.
// It waits for its turn. What it returns was made by code that the module may have
// taken over, within the limits and of the form that an artifact has. The error is
// a *vmhost.RefusedError that names the limit when the module passes one, wraps
// [vmhost.ErrUnavailable] when the machine is at fault, or is ctx's.
func (d *Driver) compile(ctx context.Context, src vmhost.Source) (vmhost.Artifact, error) {
	slot, err := d.artifacts.turns.take(ctx, src.Account)
	if err != nil {
		return vmhost.Artifact{}, err
	}
	defer d.artifacts.turns.give(slot)
	ctx, cancel := context.WithTimeoutCause(ctx, d.opts.CompileTimeout, errCompileSlow)
	defer cancel()
	spec := Spec{
		Place: d.opts.MaxCells + slot, Memory: d.opts.CompileMemory, Procs: compileProcs,
		Compile: &CompileSpec{CPU: d.opts.CompileCPU, Bytes: d.opts.CompileBytes},
	}
	if d.report.Grade == GradeJailLite {
		if spec.Folder, err = d.artifacts.cache.Folder(spec.Place); err != nil {
			return vmhost.Artifact{}, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
		}
		defer spec.Folder.Close() //nolint:errcheck // what stays goes with the process's folders
	}
	proc, err := d.launcher.Start(ctx, spec)
	if err != nil {
		return vmhost.Artifact{}, fmt.Errorf("%w: compile cell: %w", vmhost.ErrUnavailable, err)
	}
	c := &compiling{d: d, proc: proc, src: src, folder: spec.Folder}
	// Before it gets the account's first byte, which is in run.
	err = proc.Adopt(Adoption{
		Account: src.Account, AccountMemory: src.AccountMemory, Overhead: d.opts.CompileMemory, Memory: d.opts.CompileMemory, CPUs: d.opts.CPUs,
	})
	if err != nil {
		proc.Kill()
		exit := proc.Wait()
		return vmhost.Artifact{}, fmt.Errorf("%w: adopt a compile cell: %w (%v)", vmhost.ErrUnavailable, err, exit)
	}
	return c.run(ctx)
}

// compileProcs is how many threads of a compile cell may run at once: the
// compiler and the garbage collector.
const compileProcs = 2

// compiling is a compile cell at work. Nothing that comes from it is believed.
type compiling struct {
	d      *Driver
	proc   Process
	src    vmhost.Source
	folder *artifact.Folder // that it writes to; nil where it has its own

	sealed   bool // hello came; written by talk, read when that has ended
	artifact vmhost.Artifact
	used     Usage // memory: the most that was seen
}

// Reasons for which the host ends a compilation.
var (
	errCompileCPU    = errors.New("the compilation passed its limit on CPU time")
	errCompileSlow   = errors.New("the compilation passed its limit on time")
	errCompileMemory = errors.New("the compilation passed its limit on memory")
	errCompileFiles  = errors.New("the compilation passed its limit on files")
)

// run has the talk and watches over it. When it returns the cell is gone.
func (c *compiling) run(ctx context.Context) (vmhost.Artifact, error) {
	talked := make(chan error, 1)
	var talking sync.WaitGroup
	talking.Go(func() { talked <- c.talk() })
	cause, err := c.watch(ctx, talked)
	c.proc.Kill()
	exit := c.proc.Wait() // which unblocks the talk
	talking.Wait()
	switch {
	case cause == nil && err == nil:
		return c.artifact, nil
	case cause == nil && errors.Is(err, wire.ErrProtocol):
		c.d.opts.Logger.Error("a compile cell broke the rules", slog.String("account", string(c.src.Account)),
			slog.String("program", c.src.Digest.String()), slog.Any("cause", err))
		return vmhost.Artifact{}, refused("its compiler gave what is no artifact: %v", err)
	case cause == nil && isFault(err):
		return vmhost.Artifact{}, loadFault(err)
	default:
		return vmhost.Artifact{}, c.death(ctx, cause, exit)
	}
}

// isFault reports whether the error is one that the cell told.
func isFault(err error) bool {
	var told *toldError
	return errors.As(err, &told)
}

// toldError is what a compile cell said of its module.
type toldError struct{ err error }

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

// watch waits for the end of the talk, and returns its error, or the cause for
// which the cell must end before.
func (c *compiling) watch(ctx context.Context, talked <-chan error) (cause, err error) {
	tick := time.NewTicker(compileWatch)
	defer tick.Stop()
	for {
		select {
		case err := <-talked:
			return nil, err
		case <-ctx.Done():
			return context.Cause(ctx), nil
		case <-tick.C:
		}
		if cause := c.overLimit(); cause != nil {
			return cause, nil
		}
	}
}

// overLimit looks at what the cell has used.
func (c *compiling) overLimit() error {
	if now, err := c.proc.Usage(); err == nil { // otherwise it has ended
		c.used.CPU, c.used.Memory = now.CPU, max(c.used.Memory, now.Memory)
	}
	switch {
	case c.used.CPU > c.d.opts.CompileCPU:
		return errCompileCPU
	case c.used.Memory > c.d.opts.CompileMemory:
		return errCompileMemory
	case c.folder == nil:
		return nil
	}
	if bytes, files, err := c.folder.Size(); err != nil || bytes > c.d.opts.CompileBytes || files > maxCompileFiles {
		return errCompileFiles
	}
	return nil
}

// talk is the whole conversation with the cell. It ends when the cell does.
func (c *compiling) talk() error {
	conn, opts := c.proc.Wire(), c.d.opts
	r := wire.NewReader(conn, c.bound)
	if err := c.d.greeted(c.proc, r); err != nil {
		return err
	}
	c.sealed = true
	w := wire.NewWriter(conn)
	if err := w.Write(wire.OpSetup, 0, 0, setupFor(opts.CompileMemory, compileProcs).Append(nil)); err != nil {
		return err
	}
	limits := c.src.Limits
	m := wire.Compile{
		Remaining: opts.CompileTimeout, Memory: limits.Memory, Tables: limits.Tables, Stack: limits.Stack,
		Room: opts.CompileBytes, Digest: c.src.Digest,
	}
	if err := w.Write(wire.OpCompile, 0, 0, m.Append(nil), c.src.Module); err != nil {
		return err
	}
	v, err := r.Next()
	if err != nil {
		return err
	}
	if v.Op == wire.OpError {
		fault, err := wire.DecodeFault(v.Method, v.Body)
		if err != nil {
			return err
		}
		return &toldError{fault.Err}
	}
	return c.take(v.Body)
}

// greeted takes the hello of a cell that is started for one piece of work: its seal is
// closed, it speaks this version of the wire, and it is as isolated as this host's cells
// are.
func (d *Driver) greeted(proc Process, r *wire.Reader) error {
	v, err := r.Next()
	if err != nil {
		return err
	}
	hello, err := wire.DecodeHello(v.Body)
	if err != nil {
		return err
	}
	if hello.Version != wire.Version {
		return &toldError{fmt.Errorf("%w: the cell's binary speaks version %d of the wire, this one %d", vmhost.ErrUnavailable, hello.Version, wire.Version)}
	}
	if got := gradeOf(proc.Grade(), hello); got < d.report.Grade {
		return &toldError{fmt.Errorf("%w: the cell's isolation is %v, this host's was %v", vmhost.ErrUnavailable, got, d.report.Grade)}
	}
	return nil
}

// meterGrowth is how much larger a module may become by the meter; see wasm.Meter.
const meterGrowth = 16

// bound implements [wire.Bound]: hello once, then one answer.
func (c *compiling) bound(op wire.Op, id uint32) int64 {
	switch {
	case id != 0:
		return -1
	case !c.sealed && op == wire.OpHello:
		return wire.MaxHello
	case c.sealed && op == wire.OpError:
		return wire.MaxFault
	case c.sealed && op == wire.OpArtifact:
		return c.d.opts.CompileBytes + c.maxModule() + wire.ArtifactOverhead
	default:
		return -1
	}
}

func (c *compiling) maxModule() int64 { return meterGrowth * int64(len(c.src.Module)) }

// take takes an artifact that has the form of one.
func (c *compiling) take(body []byte) error {
	a, err := wire.DecodeArtifact(body)
	if err != nil {
		return err
	}
	if err := artifact.Check(a); err != nil {
		return wire.Broken("%v", err)
	}
	if code, module := int64(len(a.Code)), int64(len(a.Module)); code > c.d.opts.CompileBytes || module > c.maxModule() {
		return wire.Broken("an artifact with %d bytes of code and a module of %d, at most %d and %d are allowed", code, module, c.d.opts.CompileBytes, c.maxModule())
	}
	c.artifact = a
	return nil
}

// death is the error of a compilation whose cell was ended for the cause, or ended
// by itself when that is nil.
func (c *compiling) death(ctx context.Context, cause error, exit Exit) error {
	opts, cpu := c.d.opts, c.used.CPU.Round(time.Millisecond)
	switch {
	case errors.Is(cause, errCompileCPU):
		return refused("compiling it used %v of CPU time, %v are allowed", max(cpu, opts.CompileCPU), opts.CompileCPU)
	case errors.Is(cause, errCompileMemory), exit.OutOfMemory:
		return refused("compiling it used %d bytes of memory or more, %d are allowed", c.used.Memory, opts.CompileMemory)
	case errors.Is(cause, errCompileFiles):
		return refused("compiling it wrote more than the %d bytes or %d files that are allowed", opts.CompileBytes, maxCompileFiles)
	case errors.Is(cause, errCompileSlow): // a compiler waits for nothing but the machine
		return fmt.Errorf("%w: the compilation took longer than %v by the clock, and had %v of CPU time in it", vmhost.ErrUnavailable, opts.CompileTimeout, cpu)
	case cause != nil:
		return ctx.Err() // not wanted any more
	case c.sealed && exit.Signal == 0 && exit.Code != 0:
		return refused("the engine died of it")
	default:
		return fmt.Errorf("%w: the compile cell died: %v: %q", vmhost.ErrUnavailable, exit, exit.Stderr)
	}
}
