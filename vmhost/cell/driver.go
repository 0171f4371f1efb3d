package cell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// Driver runs each program in a cell of its own. Make it with [New]. Safe for
// concurrent use.
type Driver struct {
	opts      Options
	launcher  Launcher
	report    Report
	places    chan int // those free for cells
	artifacts *artifacts

	mu       sync.Mutex
	closed   bool
	programs map[*program]struct{}
	sessions map[*session]struct{} // alive, or not yet gone
	waiting  int                   // starts that wait for a place

	janitor  sync.WaitGroup
	stopping chan struct{}
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
		opts: opts, launcher: launcher, report: report, artifacts: artifacts,
		places:   make(chan int, opts.MaxCells),
		programs: make(map[*program]struct{}), sessions: make(map[*session]struct{}),
		stopping: make(chan struct{}),
	}
	for place := range opts.MaxCells {
		d.places <- place
	}
	d.janitor.Go(d.clean)
	return d
}

// Tier implements [vmhost.Driver].
func (d *Driver) Tier() vmhost.Tier { return vmhost.TierProcess }

// Grade implements [vmhost.Driver]: "jail+cgroup", "jail" or "jail-lite".
func (d *Driver) Grade() string { return d.report.Grade.String() }

// Report returns what was found out about this host.
func (d *Driver) Report() Report { return d.report }

// Cells returns how many cells there are.
func (d *Driver) Cells() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sessions)
}

// Load implements [vmhost.Driver]. It starts the program's cell, which is kept
// for its first calls.
func (d *Driver) Load(ctx context.Context, src vmhost.Source) (vmhost.Program, error) {
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

// start starts a cell and loads the program into it.
func (d *Driver) start(ctx context.Context, p *program) (*session, error) {
	entry, err := d.artifact(ctx, p.src)
	if err != nil {
		return nil, err
	}
	place, err := d.place(ctx)
	if err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	folder := d.artifacts.folder(place)
	program := d.hand(p.src, folder, entry)
	memory := d.opts.memory(p.src.Limits.Memory)
	begun, cancel := context.WithTimeout(ctx, d.opts.StartTimeout)
	defer cancel()
	proc, err := d.launcher.Start(begun, Spec{Place: place, Memory: memory, Procs: d.opts.procs(), CPUs: d.opts.CPUs, Folder: folder})
	if err != nil {
		d.artifacts.empty(place)
		d.places <- place
		return nil, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
	s := newSession(proc, p.src, d.opts, func(s *session, exit Exit) {
		p.died(s, exit)
		d.mu.Lock()
		delete(d.sessions, s)
		d.mu.Unlock()
		d.artifacts.empty(place)
		d.places <- place
	})
	d.mu.Lock()
	d.sessions[s] = struct{}{}
	d.mu.Unlock()
	if err := d.ready(begun, ctx, s, memory, program); err != nil {
		s.stop(errStopped)
		return nil, err
	}
	return s, nil
}

// ready takes a cell from its hello to the loaded program.
func (d *Driver) ready(begun, ctx context.Context, s *session, memory int64, program form) error {
	hello, err := s.awaitHello(begun)
	if err != nil {
		return err
	}
	if got := gradeOf(s.proc.Grade(), hello); got < d.report.Grade {
		return fmt.Errorf("%w: the cell's isolation is %v, this host's was %v", vmhost.ErrUnavailable, got, d.report.Grade)
	}
	if err := s.setUp(memory); err != nil {
		return fmt.Errorf("%w: set up: %w", vmhost.ErrUnavailable, err)
	}
	err = s.load(ctx, program)
	if err != nil && ctx.Err() == nil && program.compiled() {
		d.artifacts.drop(s.src) // whether or not it is to blame
	}
	return err
}

// gradeOf is what a machine's grade comes down to when its worker has closed
// its seal without namespaces.
func gradeOf(g Grade, hello wire.Hello) Grade {
	if !hello.Namespaces {
		return GradeJailLite
	}
	return g
}

// probe starts a blank cell, hears that it is sealed, and ends it.
func probe(ctx context.Context, l Launcher, opts Options) (wire.Hello, Grade, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.StartTimeout)
	defer cancel()
	proc, err := l.Start(ctx, Spec{Memory: opts.Overhead, Procs: opts.procs(), CPUs: opts.CPUs})
	if err != nil {
		return wire.Hello{}, 0, err
	}
	s := newSession(proc, vmhost.Source{}, opts, func(*session, Exit) {})
	hello, err := s.awaitHello(ctx)
	s.stop(errStopped)
	return hello, gradeOf(proc.Grade(), hello), err
}

// place reserves one of the places for cells. If none is free, the cell that
// has been idle longest gives way; if none is idle, it waits for one.
func (d *Driver) place(ctx context.Context) (int, error) {
	d.mu.Lock()
	d.waiting++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
	}()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case place := <-d.places:
			return place, nil
		default:
		}
		if s := d.longestIdle(); s != nil {
			s.retire()
			continue
		}
		select {
		case place := <-d.places:
			return place, nil
		case <-again.C: // a cell may have become idle
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: all %d cells are in use", vmhost.ErrBusy, d.opts.MaxCells)
		}
	}
}

// longestIdle returns the idle cell whose last call is longest ago, or nil.
func (d *Driver) longestIdle() *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	var oldest *session
	var since time.Time
	for s := range d.sessions {
		if t, idle := s.idleSince(); idle && (oldest == nil || t.Before(since)) {
			oldest, since = s, t
		}
	}
	return oldest
}

// release gives back a pinned session. If somebody waits for a place, the cell
// goes as soon as it is idle.
func (d *Driver) release(s *session) {
	s.unpin()
	d.mu.Lock()
	wanted := d.waiting > 0 && len(d.places) == 0
	d.mu.Unlock()
	if wanted {
		s.retire()
	}
}

// pingPatience is how long an idle worker may take to answer.
const pingPatience = 2 * time.Second

// clean ends cells that have been idle for long, or that are idle and do not
// answer.
func (d *Driver) clean() {
	tick := time.NewTicker(max(d.opts.IdleTimeout/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-d.stopping:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		sessions := make([]*session, 0, len(d.sessions))
		for s := range d.sessions {
			sessions = append(sessions, s)
		}
		d.mu.Unlock()
		for _, s := range sessions {
			since, idle := s.idleSince()
			switch {
			case !idle:
			case time.Since(since) >= d.opts.IdleTimeout:
				s.retire()
			case !s.ping(pingPatience):
				d.opts.Logger.Error("idle cell does not answer", slog.String("program", s.src.Digest.String()))
				s.end(errKilled) // a call that has come in between is tried again
			}
		}
	}
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
	close(d.stopping)
	var closing sync.WaitGroup
	for _, p := range programs {
		closing.Go(func() { _ = p.Close() }) // never fails
	}
	closing.Wait()
	d.janitor.Wait()
	for range d.opts.MaxCells { // until the last cell is gone, whoever ended it
		<-d.places
	}
	return errors.Join(d.artifacts.close(), d.launcher.Close())
}
