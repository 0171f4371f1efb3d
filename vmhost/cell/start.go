package cell

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// start gives a program a cell: one that belongs to nobody is adopted, which puts
// it under the account's limits, and is then told for the first time whose it is.
// Nothing of it is left when a step fails.
func (d *Driver) start(ctx context.Context, p *program) (*session, error) {
	entry, err := d.artifact(ctx, p.src)
	if err != nil {
		return nil, err
	}
	memory := d.opts.memory(p.src.Limits.Memory)
	s, err := d.blank(ctx, memory)
	if err != nil {
		return nil, errors.Join(err, entry.Close())
	}
	err = s.adopt(p, memory)
	program := d.hand(p.src, s.place, entry)
	if err == nil {
		d.counts.adoptions.Add(1)
		if err = s.setUp(memory); err != nil {
			err = fmt.Errorf("%w: set up: %w", vmhost.ErrUnavailable, err)
		}
	}
	if err == nil {
		if err = s.load(ctx, program); err != nil && ctx.Err() == nil && program.compiled() {
			d.artifacts.drop(p.src) // whether or not it is to blame
		}
	}
	if err != nil {
		s.stop(errStopped)
		return nil, err
	}
	return s, nil
}

// blank returns a sealed cell that belongs to nobody, pinned, and may be adopted
// with so much memory: one that is ready, or else a new one.
func (d *Driver) blank(ctx context.Context, memory int64) (*session, error) {
	if s := d.blanks.take(memory); s != nil {
		return s, nil
	}
	place, err := d.place(ctx)
	if err != nil {
		return nil, err
	}
	d.counts.coldStarts.Add(1)
	return d.launch(ctx, place, memory)
}

// launch starts a cell in a place that the caller has reserved, and hears that it
// is sealed well enough. The place is given back with the cell.
func (d *Driver) launch(ctx context.Context, place int, memory int64) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.StartTimeout)
	defer cancel()
	proc, err := d.launcher.Start(ctx, Spec{Place: place, Memory: memory, Procs: d.opts.procs(), Folder: d.artifacts.folder(place)})
	if err != nil {
		d.places <- place
		return nil, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
	s := newSession(proc, place, d.opts, d.counts.died, d.ended)
	d.mu.Lock()
	d.sessions[s] = struct{}{}
	d.mu.Unlock()
	hello, err := s.awaitHello(ctx)
	if err == nil {
		if got := gradeOf(proc.Grade(), hello); got < d.report.Grade {
			err = fmt.Errorf("%w: the cell's isolation is %v, this host's was %v", vmhost.ErrUnavailable, got, d.report.Grade)
		}
	}
	if err != nil {
		s.stop(errStopped)
		return nil, err
	}
	return s, nil
}

// ended is told that a cell is gone.
func (d *Driver) ended(s *session, exit Exit) {
	if p := s.program(); p != nil {
		p.died(s, exit)
	} else {
		d.blanks.lost(s, exit)
	}
	d.mu.Lock()
	delete(d.sessions, s)
	d.mu.Unlock()
	d.artifacts.empty(s.place)
	d.places <- s.place
	d.blanks.wake()
}

// gradeOf is what a machine's grade comes down to when its worker has closed
// its seal without namespaces.
func gradeOf(g Grade, hello wire.Hello) Grade {
	if !hello.Namespaces {
		return GradeJailLite
	}
	return g
}

// found is what a probe found.
type found struct {
	hello   wire.Hello
	grade   Grade
	adopted error // of adopting it with less memory than it was started for
}

// probe starts a blank cell, hears that it is sealed, adopts it for nobody, and
// ends it.
func probe(ctx context.Context, l Launcher, opts Options) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.StartTimeout)
	defer cancel()
	proc, err := l.Start(ctx, Spec{Memory: opts.memory(opts.GuestMemory), Procs: opts.procs()})
	if err != nil {
		return found{}, err
	}
	s := newSession(proc, 0, opts, func(Death) {}, func(*session, Exit) {})
	defer s.stop(errStopped)
	hello, err := s.awaitHello(ctx)
	if err != nil {
		return found{}, err
	}
	adopted := proc.Adopt(Adoption{Memory: opts.memory(vmhost.PageSize), CPUs: opts.CPUs})
	return found{hello: hello, grade: gradeOf(proc.Grade(), hello), adopted: adopted}, nil
}

// place reserves one of the places for cells. If none is free, a blank cell gives
// way, or the one that has been idle longest; if none is idle, it waits for one.
func (d *Driver) place(ctx context.Context) (int, error) {
	d.mu.Lock()
	d.waiting++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
		d.blanks.wake()
	}()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case place := <-d.places:
			return place, nil
		default:
		}
		if s := d.blanks.giveUp(); s != nil {
			s.stop(errRetired)
			continue
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

// spare reserves a place that nobody waits for, or reports false.
func (d *Driver) spare() (int, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting > 0 || d.closed {
		return 0, false
	}
	select {
	case place := <-d.places:
		return place, true
	default:
		return 0, false
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
