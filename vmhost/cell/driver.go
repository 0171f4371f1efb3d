package cell

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tars-project/tars/vmhost"
)

// Driver runs each program in a cell of its own. Make it with [New]. Safe for
// concurrent use.
type Driver struct {
	opts      Options
	launcher  Launcher
	report    Report
	places    chan int // those free for cells
	artifacts *artifacts
	tasks     *turns // places for tasks, from 0

	quarantine *quarantine
	blanks     *blanks
	counts     counts

	mu       sync.Mutex
	closed   bool
	programs map[*program]struct{}
	sessions map[*session]struct{} // alive, or not yet gone
	waiting  int                   // starts that wait for a place

	work sync.WaitGroup     // the janitor, and who fills up the blanks
	stop context.CancelFunc // of that work
}

var _ vmhost.Driver = (*Driver)(nil)

// New finds out what isolation this host gives and returns a driver without
// programs. The error wraps [vmhost.ErrUnavailable] when no jail can be had, or
// one that is below the least grade.
func New(opts Options) (*Driver, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	launcher, err := newLauncher(opts)
	if err != nil {
		return nil, fmt.Errorf("cell: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*opts.StartTimeout)
	defer cancel()
	report, err := launcher.Probe(ctx)
	if err == nil && report.Grade < opts.MinGrade {
		err = fmt.Errorf("%w: isolation is %v, at least %v is demanded (%v)", vmhost.ErrUnavailable, report.Grade, opts.MinGrade, report)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cell: %w", err), launcher.Close())
	}
	artifacts, err := openArtifacts(opts, report)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cell: %w", err), launcher.Close())
	}
	return newDriver(opts, launcher, report, artifacts), nil
}

func newDriver(opts Options, launcher Launcher, report Report, artifacts *artifacts) *Driver {
	d := &Driver{
		opts: opts, launcher: launcher, report: report, artifacts: artifacts, tasks: newTurns(opts.Tasks),
		places:   make(chan int, opts.MaxCells),
		programs: make(map[*program]struct{}), sessions: make(map[*session]struct{}),
		quarantine: newQuarantine(opts.QuarantineAfter),
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	for place := range opts.MaxCells {
		d.places <- place
	}
	want := opts.Blanks
	if want > 0 && !report.Blanks {
		opts.Logger.Warn("no blank cells: this host cannot lower the limits of a running process")
		want = 0
	}
	d.blanks = newBlanks(d, want)
	d.work.Go(func() { d.clean(ctx) })
	d.work.Go(func() { d.blanks.fill(ctx) })
	return d
}

// Tier implements [vmhost.Driver].
func (d *Driver) Tier() vmhost.Tier { return vmhost.TierProcess }

// Grade implements [vmhost.Driver]: "jail+cgroup", "jail" or "jail-lite".
func (d *Driver) Grade() string { return d.report.Grade.String() }

// Report returns what was found out about this host.
func (d *Driver) Report() Report { return d.report }

// Quarantined returns the programs that are not run because they kept killing
// their cells.
func (d *Driver) Quarantined() []vmhost.Quarantine { return d.quarantine.list() }

// Release takes a program out of quarantine and reports whether it was in it. Its
// next call starts a cell at once.
func (d *Driver) Release(account vmhost.Account, digest vmhost.Digest) bool {
	released := d.quarantine.release(account, digest)
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.programs {
		if released && p.src.Account == account && p.src.Digest == digest {
			p.pardon()
		}
	}
	return released
}

// Load implements [vmhost.Driver]. It starts the program's cell, which is kept
// for its first calls.
func (d *Driver) Load(ctx context.Context, src vmhost.Source) (vmhost.Program, error) {
	src.Limits = src.Limits.WithDefaults()
	p := newProgram(d, src)
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.programs[p] = struct{}{}
	}
	d.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	if err := p.Ready(ctx); err != nil {
		if errors.Is(err, vmhost.ErrBusy) {
			err = ctx.Err() // a load has no deadline of its own
		}
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

var errClosed = fmt.Errorf("%w: the driver is closed", vmhost.ErrUnavailable)

func (d *Driver) forget(p *program) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.programs, p)
}

// Close implements [vmhost.Driver].
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	programs := make([]*program, 0, len(d.programs))
	for p := range d.programs {
		programs = append(programs, p)
	}
	d.mu.Unlock()
	d.stop()
	var closing sync.WaitGroup
	for _, p := range programs {
		closing.Go(func() { _ = p.Close() }) // never fails
	}
	closing.Wait()
	d.work.Wait()
	d.blanks.end()
	for range d.opts.MaxCells { // until the last cell is gone, whoever ended it
		<-d.places
	}
	return errors.Join(d.artifacts.close(), d.launcher.Close())
}
