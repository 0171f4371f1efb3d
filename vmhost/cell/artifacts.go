package cell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/artifact"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// artifacts are a driver's compiled programs: the cache of them, and the
// compilations under way. Safe for concurrent use.
type artifacts struct {
	cache   *artifact.Cache // nil when there is nowhere to keep any: cells compile for themselves
	log     *slog.Logger
	turns   *turns
	folders []*artifact.Folder // by place; each is the cell's that has the place

	mu      sync.Mutex
	flights map[artifact.Key]*flight
	work    sync.WaitGroup // flights
}

// flight is a compilation that several may wait for.
type flight struct {
	done    chan struct{} // closed with err
	err     error
	waiting int // guarded by artifacts.mu
	cancel  context.CancelFunc
}

// newArtifacts returns artifacts that are kept nowhere: cells compile for themselves.
func newArtifacts(opts Options) *artifacts {
	return &artifacts{
		log: opts.Logger, turns: newTurns(opts.Compiles),
		flights: make(map[artifact.Key]*flight), folders: make([]*artifact.Folder, opts.MaxCells),
	}
}

// openArtifacts opens the cache. A directory that others may change is an error.
// When none can be written to, that is logged, and cells compile for themselves.
func openArtifacts(opts Options, report Report) (*artifacts, error) {
	a := newArtifacts(opts)
	if !report.Folders {
		a.log.Warn("cells compile for themselves: they cannot be given folders here")
		return a, nil
	}
	o := artifact.Options{Dir: opts.CacheDir, MaxBytes: opts.CacheBytes, Secret: opts.CacheKey, Engine: wazerovm.EngineVersion(), Logger: opts.Logger}
	cache, err := artifact.Open(o)
	if err != nil && opts.CacheDir != "" && !errors.Is(err, artifact.ErrUnsafe) {
		a.log.Warn("compiled code is kept for this process's life only", slog.Any("cause", err))
		o.Dir = ""
		cache, err = artifact.Open(o)
	}
	if errors.Is(err, artifact.ErrUnsafe) {
		return nil, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
	if err != nil {
		a.log.Warn("cells compile for themselves: compiled code cannot be kept", slog.Any("cause", err))
		return a, nil
	}
	a.cache = cache
	return a, nil
}

// close waits for compilations, which must not be wanted by anybody any more, and
// closes the cache. All cells must have ended.
func (a *artifacts) close() error {
	a.work.Wait()
	if a.cache == nil {
		return nil
	}
	var errs []error
	for _, f := range a.folders {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(append(errs, a.cache.Close())...)
}

// folder returns the folder of a place, or nil if there is none to be had. The
// caller must have reserved the place.
func (a *artifacts) folder(place int) *artifact.Folder {
	if a.cache == nil {
		return nil
	}
	if a.folders[place] == nil {
		f, err := a.cache.Folder(place)
		if err != nil {
			a.log.Warn("a cell compiles for itself", slog.Any("cause", err))
			return nil
		}
		a.folders[place] = f
	}
	return a.folders[place]
}

// empty empties the folder of a place whose cell has ended.
func (a *artifacts) empty(place int) {
	f := a.folders[place]
	if f == nil {
		return
	}
	if err := f.Empty(); err != nil {
		a.log.Warn("folder of a cell not emptied", slog.Any("cause", err))
		_ = f.Close() // the next cell gets another
		a.folders[place] = nil
	}
}

// artifact returns the compiled form of a source, compiled first if it is not in
// the cache. It returns nil if none is to be had and the cell must compile for
// itself. The caller must close the entry. Errors are those of compile.
func (d *Driver) artifact(ctx context.Context, src vmhost.Source) (*artifact.Entry, error) {
	a := d.artifacts
	if a.cache == nil {
		return nil, nil //nolint:nilnil // nil is an answer, see above
	}
	key := a.cache.Key(src)
	if e, ok := a.cache.Get(key); ok {
		return e, nil
	}
	if err := a.once(ctx, key, func(ctx context.Context) error { return d.compileAndKeep(ctx, key, src) }); err != nil {
		return nil, err
	}
	if e, ok := a.cache.Get(key); ok {
		return e, nil
	}
	return nil, nil //nolint:nilnil // it could not be kept
}

// once does something for a key, for all who want it done at the same time. Its
// context ends when nobody does any more.
func (a *artifacts) once(ctx context.Context, key artifact.Key, do func(context.Context) error) error {
	a.mu.Lock()
	f := a.flights[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		var doing context.Context
		doing, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		a.flights[key] = f
		a.work.Go(func() {
			f.err = do(doing)
			a.mu.Lock()
			if a.flights[key] == f {
				delete(a.flights, key)
			}
			a.mu.Unlock()
			f.cancel()
			close(f.done)
		})
	}
	f.waiting++
	a.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if a.flights[key] == f { // who comes now starts anew
			delete(a.flights, key)
		}
	}
	return ctx.Err()
}

// compileAndKeep compiles and puts what comes of it into the cache. That it cannot
// be kept is no error.
func (d *Driver) compileAndKeep(ctx context.Context, key artifact.Key, src vmhost.Source) error {
	draft, err := d.artifacts.cache.Draft()
	if err != nil {
		d.notKept(src, err)
		return nil
	}
	defer draft.Discard()
	compiled, err := d.compile(ctx, src)
	if err != nil {
		return err
	}
	if err := draft.Keep(key, compiled); err != nil {
		d.notKept(src, err)
	}
	return nil
}

func (d *Driver) notKept(src vmhost.Source, err error) {
	d.opts.Logger.Error("compiled code not kept, its cells compile for themselves",
		slog.String("program", src.Digest.String()), slog.Any("cause", err))
}

// form is what a cell is given to load.
type form struct {
	header []byte // empty for the source
	module []byte
}

func (f form) compiled() bool { return len(f.header) > 0 }

// hand puts an entry into the folder of a place, takes it over, and returns what the
// cell there is told. Whatever fails, the cell compiles for itself.
func (d *Driver) hand(src vmhost.Source, place int, e *artifact.Entry) form {
	source := form{module: src.Module}
	if e == nil {
		return source
	}
	folder := d.artifacts.folders[place]
	if folder == nil {
		_ = e.Close() // it was only read
		return source
	}
	compiled, err := e.Artifact()
	if err != nil {
		_ = e.Close()
	} else {
		err = folder.Put(e, compiled.Name)
	}
	if err != nil {
		d.notKept(src, err)
		return source
	}
	return form{header: compiled.Header, module: compiled.Module}
}

// drop removes the entry of a source.
func (a *artifacts) drop(src vmhost.Source) {
	if a.cache != nil {
		a.cache.Remove(a.cache.Key(src))
	}
}
