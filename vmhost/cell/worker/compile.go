package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// compiler is an engine that can compile in one process what another loads.
type compiler interface {
	// Compile compiles a module without running any of it. Its files go to
	// the folder, and have at most room bytes.
	Compile(ctx context.Context, src vmhost.Source, folder string, room int64) (vmhost.Artifact, error)
	// LoadCompiled loads what Compile made, whose code is in the folder.
	LoadCompiled(ctx context.Context, src vmhost.Source, header []byte, folder string) (vmhost.Program, error)
}

// asCompiler returns the engine as one that compiles.
func asCompiler(engine vmhost.Driver, folder string) (compiler, error) {
	c, ok := engine.(compiler)
	if !ok || folder == "" {
		return nil, fmt.Errorf("%w: this cell has no folder for code, or an engine that takes none", vmhost.ErrUnavailable)
	}
	return c, nil
}

func loadCompiled(ctx context.Context, engine vmhost.Driver, src vmhost.Source, header []byte, folder string) (vmhost.Program, error) {
	c, err := asCompiler(engine, folder)
	if err != nil {
		return nil, err
	}
	return c.LoadCompiled(ctx, src, header, folder)
}

// serveCompile is the life of a compile cell: it is set up, gets one module,
// answers once, and waits for its end. It never runs a guest.
func serveCompile(conn io.ReadWriter, engine vmhost.Driver, folder string) error {
	asked := wire.OpSetup
	r := wire.NewReader(conn, func(op wire.Op, id uint32) int64 {
		switch {
		case op != asked || id != 0:
			return -1
		case op == wire.OpSetup:
			return 256
		default:
			return maxValue
		}
	})
	err := func() error {
		v, err := r.Next()
		if err != nil {
			return err
		}
		m, err := wire.DecodeSetup(v.Body)
		if err != nil {
			return err
		}
		if err := checkSetUp(m); err != nil {
			return err
		}
		fit(m)
		asked = wire.OpCompile
		if v, err = r.Next(); err != nil {
			return err
		}
		job, err := wire.DecodeCompile(v.Body)
		if err != nil {
			return err
		}
		if err := answerCompile(wire.NewWriter(conn), engine, folder, job); err != nil {
			return err
		}
		asked = 0 // nothing more
		_, err = r.Next()
		return err
	}()
	if errors.Is(err, io.EOF) {
		return nil // the host is gone
	}
	fmt.Fprintln(os.Stderr, "tars cell:", err)
	return err
}

// answerCompile compiles and says what came of it.
func answerCompile(w *wire.Writer, engine vmhost.Driver, folder string, job wire.Compile) error {
	a, err := compileJob(engine, folder, job)
	if err != nil {
		method, body := wire.Fault{Err: err}.Encode()
		return w.Write(wire.OpError, method, 0, body)
	}
	return w.Write(wire.OpArtifact, 0, 0, wire.AppendArtifact(nil, a), a.Code)
}

// compileJob compiles. The host, not the context, ends what takes too long.
func compileJob(engine vmhost.Driver, folder string, job wire.Compile) (vmhost.Artifact, error) {
	if err := checkDigest(job.Module, job.Digest); err != nil {
		return vmhost.Artifact{}, err
	}
	c, err := asCompiler(engine, folder)
	if err != nil {
		return vmhost.Artifact{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), job.Remaining)
	defer cancel()
	return c.Compile(ctx, vmhost.Source{Module: job.Module, Digest: job.Digest, Limits: vmhost.Limits{Memory: job.Memory, Tables: job.Tables, Stack: job.Stack}}, folder, job.Room)
}
