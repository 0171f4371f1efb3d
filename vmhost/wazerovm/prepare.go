package wazerovm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

const (
	// primings is how often the samples are called before an image is taken:
	// the first time, allocators get what they need from the system; the second
	// finds what the first left behind, as later calls would.
	primings = 2
	// rehearsals is the most images that are taken until the samples can be
	// called from one without growing the memory, which would end each VM after
	// one call. Go's heap gets there when it has been collected once.
	rehearsals = 12
)

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
	if err := p.open(files); err != nil {
		return fmt.Errorf("%w: files for images: %w", vmhost.ErrUnavailable, err)
	}
	samples := p.src.Samples
	if p.globals == nil {
		samples = nil // there is no image for them to be part of
	}
	failed, err := p.prepareWith(ctx, samples)
	if err != nil && failed != nil && failed.Guess && ctx.Err() == nil {
		_, err = p.prepareWith(ctx, nil)
	}
	return err
}

// open finds files for the image.
func (p *program) open(files *Files) (err error) {
	p.files = files
	if files == nil && p.globals != nil {
		if p.files, err = ownFiles(); errors.Is(err, errNoScan) {
			p.globals, err = nil, nil // this system has none: every call gets a new instance
			return nil
		}
		p.owned = err == nil
	}
	return err
}

// prepareWith is prepare with some samples. It says which of them failed.
func (p *program) prepareWith(ctx context.Context, samples []vmhost.Sample) (failed *vmhost.Sample, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, p.src.Limits.Wall, vmhost.ErrDeadline)
	defer cancel()
	limited, e, err := p.enter(limited)
	if err != nil {
		return nil, err
	}
	defer p.leave(e)
	v := p.newVM()
	v.spoilt = true // unless it ends up on an image
	defer p.keep(v)
	v.begin(p.rehearsal())
	limited = withVM(limited, v)
	var img *image
	err = v.guarded(func() error {
		if err := v.instantiate(limited); err != nil {
			return err
		}
		if err := v.initialize(limited); err != nil {
			return err
		}
		for range primings {
			if failed, err = v.perform(limited, samples, nil); err != nil {
				return err
			}
		}
		img, failed, err = v.freeze(limited, samples)
		return err
	})
	switch {
	case err == nil:
		p.image, v.spoilt = img, img == nil
		return nil, nil
	case ctx.Err() != nil:
		return failed, ctx.Err()
	case v.memory.err != nil:
		return nil, fmt.Errorf("%w: map linear memory: %w", vmhost.ErrUnavailable, v.memory.err)
	case errors.Is(err, vmhost.ErrUnavailable):
		return nil, err
	case failed != nil:
		return failed, refuse("the sample call for %q fails: %s", failed.Capability, firstLine(err.Error()))
	default:
		return nil, refuse("the module does not initialise: %s", firstLine(err.Error()))
	}
}

// rehearsal is a request under which a guest does the same everywhere.
func (p *program) rehearsal() vmhost.Request {
	return vmhost.Request{Deterministic: true, Seed: p.src.Digest}
}

// errNoRoom: a sample needs more memory than an image has.
var errNoRoom = errors.New("a sample grew the memory")

// perform makes the sample calls and says which one failed. That a guest answers
// with an error of its own is its own affair. With an image, each call starts
// from it, and one that grew the memory fails with errNoRoom.
func (v *vm) perform(ctx context.Context, samples []vmhost.Sample, img *image) (failed *vmhost.Sample, err error) {
	for i := range samples {
		v.begin(v.program.rehearsal())
		_, err := v.handle(ctx, samples[i].Capability, samples[i].Input)
		var refusal *vmhost.GuestError
		if err != nil && !errors.As(err, &refusal) {
			return &samples[i], err
		}
		if img == nil {
			continue
		}
		if err := v.restore(img); errors.Is(err, errGrew) {
			return nil, errNoRoom
		} else if err != nil {
			return nil, fmt.Errorf("%w: restore: %w", vmhost.ErrUnavailable, err)
		}
	}
	return nil, nil
}

// freeze takes the program's image from a VM that is ready, and leaves the VM on
// it. It is nil for a program that gets a new instance for each call.
func (v *vm) freeze(ctx context.Context, samples []vmhost.Sample) (img *image, failed *vmhost.Sample, err error) {
	if v.program.globals == nil {
		return nil, nil, nil
	}
	unavailable := func(err error) error { return fmt.Errorf("%w: image: %w", vmhost.ErrUnavailable, err) }
	if img, err = newImage(v, v.program.files.Images); err != nil {
		return nil, nil, unavailable(err)
	}
	defer func() {
		if err != nil {
			_ = img.close() // the reason for failing matters more
		}
	}()
	for range rehearsals {
		if err := img.take(v); err != nil {
			return nil, nil, unavailable(err)
		}
		if failed, err = v.perform(ctx, samples, img); !errors.Is(err, errNoRoom) {
			break
		}
	}
	if errors.Is(err, errNoRoom) { // the memory grows with every call
		err = img.take(v)
	}
	if err != nil {
		return nil, failed, err
	}
	if err := img.seal(); err != nil {
		return nil, nil, unavailable(err)
	}
	v.lookUp() // with stacks that are small again
	return img, nil, nil
}
