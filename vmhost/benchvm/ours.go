package main

import (
	"context"
	"errors"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// cellRunner runs a plugin as it is shipped: the cell is the built binary, in
// the jail that this host gives, metered, behind the wire.
type cellRunner struct {
	driver  *cell.Driver
	program vmhost.Program
	request vmhost.Request
}

func (j job) source() vmhost.Source {
	return vmhost.Source{
		Account: "bench", Module: j.Module, Digest: vmhost.DigestOf(j.Module), Limits: j.limits(),
		Grants:  vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true, Clock: true},
		Samples: []vmhost.Sample{{Capability: j.Capability, Input: j.Input}},
	}
}

func openCell(ctx context.Context, j job, fresh bool) (runner, error) {
	driver, err := cell.New(cell.Options{Executable: j.Executable, MinGrade: cell.GradeJailLite})
	if err != nil {
		return nil, err
	}
	src := j.source()
	src.Fresh = fresh
	program, err := driver.Load(ctx, src)
	if err != nil {
		return nil, errors.Join(err, driver.Close())
	}
	return &cellRunner{driver, program, vmhost.Request{Capability: j.Capability, Input: j.Input}}, nil
}

func (r *cellRunner) call(ctx context.Context) (answer, error) {
	reply, err := r.program.Call(ctx, r.request)
	return answer{output: reply.Output, inner: reply.Usage.VM, restore: reply.Usage.Restore}, err
}

func (r *cellRunner) close() error { return r.driver.Close() }
