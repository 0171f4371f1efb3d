package wazerovm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost"
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
func (p *program) restorable(about description) {
	if about.unrestorable != "" || p.src.Fresh {
		return
	}
	p.globals = make([]string, len(about.globals))
	for i, g := range about.globals {
		p.globals[i] = g.Export
	}
}

// prepare runs what a program runs before its first call, each step under the
// limits of a call, and takes its image if there can be one. The guest sees a fixed clock and
// random numbers that depend on the module alone, so that the image is the same
// wherever it is made.
func (p *program) prepare(ctx context.Context, files *Files) error {
	if err := p.open(files); err != nil {
		return fmt.Errorf("%w: files for images: %w", vmhost.ErrUnavailable, err)
	}
	running, e, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer p.leave(e)
	v := p.newVM()
	v.spoilt = true // unless it ends up on an image
	defer p.keep(v)
	running = withVM(running, v)
	what := "the module does not initialise"
	err = v.guarded(func() error {
		if err := v.step(running, v.instantiate); err != nil {
			return err
		}
		if err := v.step(running, v.initialize); err != nil {
			return err
		}
		if p.globals == nil {
			return nil // there will be no image
		}
		what = "a sample call fails"
		for range primings {
			if err := v.perform(running, nil); err != nil {
				return err
			}
		}
		p.image, err = v.freeze(running)
		return err
	})
	switch {
	case err == nil:
		v.spoilt = p.image == nil
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case v.memory.err != nil:
		return fmt.Errorf("%w: map linear memory: %w", vmhost.ErrUnavailable, v.memory.err)
	case errors.Is(err, vmhost.ErrUnavailable):
		return err
	default:
		return refuse("%s: %s", what, firstLine(err.Error()))
	}
}

// open finds files for the image.
func (p *program) open(files *Files) (err error) {
	p.files = files
	if files == nil && p.globals != nil {
		if p.files, err = ownFiles(); errors.Is(err, errNoScan) {
			p.globals = nil // this system has none: every call gets a new instance
			return nil
		}
		p.owned = err == nil
	}
	return err
}

// step runs one step under the wall-clock limit of a call, of its own: that there
// are many of them is not the guest's doing.
func (v *vm) step(ctx context.Context, do func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, v.program.src.Limits.Wall, vmhost.ErrDeadline)
	defer cancel()
	v.rehearse()
	return do(limited)
}

// rehearse makes the VM ready for what is run once for all calls: the guest does
// the same everywhere. It may cost as much as a program may that names no limit
// of fuel, however little its calls may.
func (v *vm) rehearse() {
	v.begin(vmhost.Request{Deterministic: true, Seed: v.program.src.Digest})
	v.allowed = max(v.allowed, vmhost.Limits{Wall: v.program.src.Limits.Wall}.WithDefaults().Fuel)
}

// errNoRoom: a sample needs more memory than an image has.
var errNoRoom = errors.New("a sample grew the memory")

// perform does what an image should be ready for: it warms the guest up and makes
// the sample calls. That a guest answers with an error of its own is its own
// affair. With an image, each step starts from it, and one that grew the memory
// fails with errNoRoom.
func (v *vm) perform(ctx context.Context, img *image) error {
	if warmUp := v.instance.ExportedFunction(exportWarmUp); warmUp != nil {
		err := v.step(ctx, func(ctx context.Context) error {
			_, err := v.call(ctx, warmUp)
			return err
		})
		if err != nil {
			return err
		}
		if err := v.rewind(img); err != nil {
			return err
		}
	}
	for _, sample := range v.program.src.Samples {
		err := v.step(ctx, func(ctx context.Context) error {
			_, err := v.handle(ctx, sample.Capability, sample.Input)
			return err
		})
		var refusal *vmhost.GuestError
		if err != nil && !errors.As(err, &refusal) {
			return fmt.Errorf("%q: %w", sample.Capability, err)
		}
		if err := v.rewind(img); err != nil {
			return err
		}
	}
	return nil
}

// rewind puts the VM back at an image, if there is one yet.
func (v *vm) rewind(img *image) error {
	if img == nil {
		return nil
	}
	err := v.restore(img)
	switch {
	case errors.Is(err, errGrew):
		return errNoRoom
	case err != nil:
		return fmt.Errorf("%w: restore: %w", vmhost.ErrUnavailable, err)
	default:
		return nil
	}
}

// freeze takes the program's image from a VM that is ready, and leaves the VM on
// it.
func (v *vm) freeze(ctx context.Context) (img *image, err error) {
	defer func() {
		if err != nil {
			_ = img.close() // the reason for failing matters more
			img = nil
		}
	}()
	if img, err = newImage(v, v.program.files.Images); err != nil {
		return nil, unavailable(err)
	}
	for range rehearsals {
		if err := img.take(v); err != nil {
			return img, unavailable(err)
		}
		if err = v.perform(ctx, img); !errors.Is(err, errNoRoom) {
			break
		}
	}
	if errors.Is(err, errNoRoom) { // the memory grows with every call
		if err := img.take(v); err != nil {
			return img, unavailable(err)
		}
	} else if err != nil {
		return img, err
	}
	if err := img.seal(); err != nil {
		return img, unavailable(err)
	}
	v.lookUp() // with stacks that are small again
	if err := v.trim(); err != nil {
		return img, unavailable(err)
	}
	return img, nil
}

func unavailable(err error) error { return fmt.Errorf("%w: image: %w", vmhost.ErrUnavailable, err) }
