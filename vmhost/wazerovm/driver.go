// Package wazerovm runs guests on the wazero engine inside the calling process.
//
// It is the inside of a cell (vmhost/cell): there, one process holds one
// program, the kernel holds the process, and an endless loop ends because the
// cell is killed. In tests it is a driver of its own.
//
// The package gives a guest its memory, a small stateless part of
// WASI preview 1 and the host functions that its [vmhost.Grants] name, and
// carries values across by the canonical ABI. Slots, wall-clock limits and the
// meaning of what goes in and out are left to [vmhost.Host]. It expects modules
// that vmhost/wasm has accepted: the engine is not safe against others.
package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tars-project/tars/vmhost"
)

// Driver is the engine. Make it with [New]. Safe for concurrent use.
type Driver struct {
	files    *Files // nil: each program opens its own
	mu       sync.Mutex
	closed   bool
	programs map[*program]struct{}
	loading  sync.WaitGroup
}

var _ vmhost.Driver = (*Driver)(nil)

// New returns a driver without programs. files are for a process that cannot open
// any more, which can then have as many programs with an image as there are files
// for them; without files, programs open what they need.
func New(files *Files) *Driver {
	return &Driver{files: files, programs: make(map[*program]struct{})}
}

// Tier implements [vmhost.Driver]. The engine alone isolates too little to
// count; the cell around it says what the tier is.
func (d *Driver) Tier() vmhost.Tier { return vmhost.TierInProc }

// Grade implements [vmhost.Driver].
func (d *Driver) Grade() string { return "none" }

var errClosed = fmt.Errorf("%w: the program is closed", vmhost.ErrUnavailable)

// Load implements [vmhost.Driver]: it builds the meter into the module, compiles
// it, and makes its image within the limits of a call. Compiling does not look at
// ctx.
func (d *Driver) Load(ctx context.Context, src vmhost.Source) (vmhost.Program, error) {
	return d.load(ctx, engine{metered: true}, src)
}

// load makes a program in an engine and tries it. The engine's cache goes with the
// program.
func (d *Driver) load(ctx context.Context, e engine, src vmhost.Source) (vmhost.Program, error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, errClosed
	}
	d.loading.Add(1)
	d.mu.Unlock()
	defer d.loading.Done()

	p, err := compile(ctx, e, src)
	if err != nil {
		e.close()
		return nil, err
	}
	p.forget = func() {
		e.close()
		d.forget(p)
	}
	if err := p.prepare(ctx, d.files); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.programs[p] = struct{}{} // if the driver is closing, Close waits for this load and ends p
	return p, nil
}

func (d *Driver) forget(p *program) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.programs, p)
}

// Close implements [vmhost.Driver]. It waits for loads and calls under way; the
// calls are interrupted.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.loading.Wait()

	d.mu.Lock()
	programs := make([]*program, 0, len(d.programs))
	for p := range d.programs {
		programs = append(programs, p)
	}
	d.mu.Unlock()
	var errs []error
	for _, p := range programs {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
