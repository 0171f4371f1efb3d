package plugins

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/vmhost"
)

// loadTimeout bounds one load: its module read from the catalog, a cell started,
// the module compiled in it.
const loadTimeout = 60 * time.Second

// wanted is a guest that somebody wants to call.
type wanted struct {
	key
	manifest Manifest
	memory   int64                                 // most of the tenant's calls together, bytes; 0 means the node's
	module   func(context.Context) ([]byte, error) // gives its bytes, should it have to be loaded
}

// key names a loaded guest.
type key struct {
	tenant knowledge.TenantID
	digest Digest
	limits vmhost.Limits
}

var errLoaderClosed = fmt.Errorf("%w: no more plugins are loaded", vmhost.ErrUnavailable)

// Loader keeps guests that are ready for calls, the least recently used of them
// given up when there are too many. A guest that is given up ends when its last
// call is over. Safe for concurrent use.
type Loader struct {
	host     *vmhost.Host
	defaults Defaults
	most     int
	loads    sync.WaitGroup // as many as loading

	mu      sync.Mutex // guards what follows
	closed  bool
	guests  map[key]*loaded
	recent  *list.List // of *loaded, most recent first
	loading map[*loaded]context.CancelFunc
}

// loaded is one guest, or one that is being loaded.
type loaded struct {
	key     key
	ready   chan struct{} // closed when guest and err are set
	guest   *vmhost.Guest
	err     error
	users   int  // guarded by Loader.mu
	dropped bool // guarded by Loader.mu: close when users is 0
	element *list.Element
}

// NewLoader returns a loader that keeps at most most guests, which is positive.
func NewLoader(host *vmhost.Host, defaults Defaults, most int) *Loader {
	return &Loader{
		host: host, defaults: defaults, most: most,
		guests: map[key]*loaded{}, recent: list.New(), loading: map[*loaded]context.CancelFunc{},
	}
}

// use calls do with a guest, loading it first when it is not there. Callers that
// want the same one wait for one load, which no single caller's end stops. A load
// that fails is not remembered. Errors are those of vmhost, of w.module and of
// do, or ctx's.
func (l *Loader) use(ctx context.Context, w wanted, do func(*vmhost.Guest) error) error {
	g, loading, err := l.acquire(ctx, w.key)
	if err != nil {
		return err
	}
	defer l.release(g)
	if loading != nil {
		go l.load(loading, w, g)
	}
	select {
	case <-g.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.err != nil {
		return g.err
	}
	return do(g.guest)
}

// load loads a guest for who waits for g. ctx is that of the load: no caller's
// has ended when it does, and its error would be taken for theirs.
func (l *Loader) load(ctx context.Context, w wanted, g *loaded) {
	defer l.loads.Done()
	g.guest, g.err = l.guest(ctx, w)
	switch {
	case errors.Is(g.err, context.DeadlineExceeded):
		g.err = fmt.Errorf("plugin %q: %w: loading took longer than %v", w.manifest.Name, vmhost.ErrUnavailable, loadTimeout)
	case errors.Is(g.err, context.Canceled):
		g.err = errLoaderClosed
	}
	l.mu.Lock()
	l.loading[g]()
	delete(l.loading, g)
	if g.err != nil {
		l.forget(g) // and there is nothing to close
	}
	l.mu.Unlock()
	l.release(g) // before who waits goes on: the last of them closes it
	close(g.ready)
}

// guest has a guest loaded.
func (l *Loader) guest(ctx context.Context, w wanted) (*vmhost.Guest, error) {
	code, err := w.module(ctx)
	if err != nil {
		return nil, fmt.Errorf("plugin %q: module: %w", w.manifest.Name, err)
	}
	guest, err := l.host.Load(ctx, vmhost.Source{
		Account:       vmhost.Account(w.tenant),
		AccountMemory: w.memory,
		Module:        code,
		Digest:        vmhost.DigestOf(code),
		Limits:        w.limits,
		Grants:        grants(w.manifest),
		Samples:       samples(w.manifest),
		Fresh:         w.manifest.FreshInstances,
	})
	if err != nil {
		return nil, fmt.Errorf("plugin %q: load: %w", w.manifest.Name, err)
	}
	return guest, nil
}

func grants(m Manifest) vmhost.Grants {
	var g vmhost.Grants
	for _, name := range m.Grants {
		switch name {
		case GrantSearch:
			g.Search = true
		case GrantEmbed:
			g.Embed = true
		case GrantVectors:
			g.Vectors = true
		case GrantLog:
			g.Log = true
		case GrantClock:
			g.Clock = true
		}
	}
	return g
}

// acquire returns the guest of k for one use. If it has to be loaded, which is
// then the caller's duty, loading is the context for that, and the load a use of
// its own; else it is nil.
func (l *Loader) acquire(ctx context.Context, k key) (g *loaded, loading context.Context, err error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, nil, errLoaderClosed
	}
	var unused []*loaded
	g, ok := l.guests[k]
	if ok {
		l.recent.MoveToFront(g.element)
		g.users++
	} else {
		g = &loaded{key: k, ready: make(chan struct{}), users: 2}
		l.guests[k] = g
		g.element = l.recent.PushFront(g)
		l.loads.Add(1)
		loading, l.loading[g] = context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		for l.recent.Len() > l.most {
			unused = append(unused, l.forget(l.recent.Back().Value.(*loaded)))
		}
	}
	l.mu.Unlock()
	closeAll(unused)
	return g, loading, nil
}

// forget takes g out of the cache and returns it if nobody uses it, to be closed
// without the lock; else nil. The caller holds mu.
func (l *Loader) forget(g *loaded) *loaded {
	if g.dropped {
		return nil
	}
	g.dropped = true
	delete(l.guests, g.key)
	l.recent.Remove(g.element)
	if g.users > 0 {
		return nil
	}
	return g
}

func (l *Loader) release(g *loaded) {
	l.mu.Lock()
	g.users--
	over := g.users == 0 && g.dropped
	l.mu.Unlock()
	if over {
		closeAll([]*loaded{g})
	}
}

// closeAll ends guests that nobody uses. Their errors would tell no caller
// anything: the guests are gone either way.
func closeAll(unused []*loaded) {
	for _, g := range unused {
		if g != nil && g.guest != nil {
			_ = g.guest.Close()
		}
	}
}

// Close gives up all guests: those that are called when their calls are over,
// the others at once. Loads under way are ended and waited for. What is wanted
// from then on gets an error wrapping [vmhost.ErrUnavailable].
func (l *Loader) Close() {
	l.mu.Lock()
	l.closed = true
	for _, cancel := range l.loading {
		cancel()
	}
	l.mu.Unlock()
	l.loads.Wait()
	l.mu.Lock()
	var unused []*loaded
	for l.recent.Len() > 0 {
		unused = append(unused, l.forget(l.recent.Back().Value.(*loaded)))
	}
	l.mu.Unlock()
	closeAll(unused)
}
