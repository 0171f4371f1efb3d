package wazerovm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// primings is how often the sample call is made. After the first, allocators have
// what they take from the system; the second finds what the first left behind, as
// later calls would.
const primings = 2

// restorable notes whether instances of the module can be put back at an image,
// and how.
func (p *program) restorable(m *wasm.Metered) {
	if m.Unrestorable != "" || p.src.Fresh {
		return
	}
	p.globals = make([]string, len(m.Globals))
	for i, g := range m.Globals {
		p.globals[i] = g.Export
	}
}

// prepare runs what a program runs before its first call, under the limits of a
// call, and takes its image if there can be one. The guest sees a fixed clock and
// random numbers that depend on the module alone, so that the image is the same
// wherever it is made.
func (p *program) prepare(ctx context.Context, files *Files) error {
	limited, cancel := context.WithTimeoutCause(ctx, p.src.Limits.Wall, vmhost.ErrDeadline)
	defer cancel()
	limited, e, err := p.enter(limited)
	if err != nil {
		return err
	}
	defer p.leave(e)
	v := p.newVM()
	v.spoilt = true // unless it ends up on an image
	defer p.keep(v)
	v.begin(vmhost.Request{Deterministic: true, Seed: p.src.Digest})
	limited = withVM(limited, v)
	what := "the module does not initialise"
	err = v.guarded(func() error {
		if err := v.instantiate(limited); err != nil {
			return err
		}
		if err := v.initialize(limited); err != nil {
			return err
		}
		what = "the sample call fails"
		return v.prime(limited)
	})
	switch {
	case err == nil:
		return p.freeze(v, files)
	case ctx.Err() != nil:
		return ctx.Err()
	case v.memory.err != nil:
		return fmt.Errorf("%w: map linear memory: %w", vmhost.ErrUnavailable, v.memory.err)
	default:
		return refuse("%s: %s", what, firstLine(err.Error()))
	}
}

// prime makes the sample call, if there is one. That it answers with an error of
// its own is the guest's affair.
func (v *vm) prime(ctx context.Context) error {
	sample := v.program.src.Sample
	if sample == nil {
		return nil
	}
	for range primings {
		v.begin(vmhost.Request{Deterministic: true, Seed: v.program.src.Digest})
		_, err := v.handle(ctx, sample.Capability, sample.Input)
		var refusal *vmhost.GuestError
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
	}
	return nil
}

// freeze takes the program's image from a VM that is ready, and keeps the VM.
// Where the means are missing, the program does without an image.
func (p *program) freeze(v *vm, files *Files) error {
	if p.globals == nil {
		return nil
	}
	p.files = files
	if files == nil {
		own, err := ownFiles()
		if err != nil {
			return nil //nolint:nilerr // this system has none: every call gets a new instance
		}
		p.files, p.owned = own, true
	}
	if v.deep {
		v.lookUp()
	}
	v.pages.pagemap = p.files.pagemap()
	img, err := takeImage(v, p.files.Images)
	if err != nil {
		return fmt.Errorf("%w: image: %w", vmhost.ErrUnavailable, err)
	}
	p.image = img
	v.spoilt = false
	return nil
}
