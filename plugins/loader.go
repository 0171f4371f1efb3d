package plugins

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/vmhost"
)

// Defaults are the caps of a call where neither manifest nor policy names one,
// and the most that a manifest may ask for where the policy does not.
type Defaults struct {
	Memory    int64         // bytes, a multiple of 64 KiB; default of a manifest without one
	MaxMemory int64         // bytes
	Wall      time.Duration // default of a manifest without one
	MaxWall   time.Duration
	Input     int64 // bytes of the documents handed in
	Output    int64 // bytes; default of a manifest without one
	MaxOutput int64
	Logs      int64 // bytes of log messages kept of one call
}

// limits are the caps of a call of a plugin with manifest m.
func (d Defaults) limits(m Manifest) vmhost.Limits {
	l := vmhost.Limits{Wall: d.Wall, Memory: d.Memory, Input: d.Input, Output: d.Output, Logs: d.Logs}
	if m.Limits.Memory > 0 {
		l.Memory = m.Limits.Memory
	}
	if m.Limits.Wall > 0 {
		l.Wall = m.Limits.Wall
	}
	if m.Limits.Output > 0 {
		l.Output = m.Limits.Output
	}
	return l
}

// loadTimeout bounds one load: its module read from the catalog, a cell started,
// the module compiled in it.
const loadTimeout = 60 * time.Second

// key names a loaded guest.
type key struct {
	tenant knowledge.TenantID
	digest Digest
}

// Loader keeps guests that are ready for calls, the least recently used of them
// given up when there are too many. A guest that is given up ends when its last
// call is over. Safe for concurrent use.
type Loader struct {
	host     *vmhost.Host
	defaults Defaults
	most     int
	loads    sync.WaitGroup // loads under way

	mu     sync.Mutex
	guests map[key]*loaded // guarded by mu
	recent *list.List      // of *loaded, most recent first; guarded by mu
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
	return &Loader{host: host, defaults: defaults, most: most, guests: map[key]*loaded{}, recent: list.New()}
}

// use calls do with the guest of a version, loading it first when it is not
// there; module gives its bytes. Callers that want the same one wait for one
// load, which no single caller's end stops.
func (l *Loader) use(ctx context.Context, tenant knowledge.TenantID, m Manifest, digest Digest, module func(context.Context) ([]byte, error), do func(*vmhost.Guest) error) error {
	g, first := l.acquire(key{tenant, digest})
	defer l.release(g)
	if first {
		l.loads.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
			defer cancel()
			g.guest, g.err = l.load(ctx, tenant, m, module)
			close(g.ready)
			if g.err != nil {
				l.drop(g)
			}
			l.release(g)
		})
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

func (l *Loader) load(ctx context.Context, tenant knowledge.TenantID, m Manifest, module func(context.Context) ([]byte, error)) (*vmhost.Guest, error) {
	code, err := module(ctx)
	if err != nil {
		return nil, fmt.Errorf("plugin %q: module: %w", m.Name, err)
	}
	guest, err := l.host.Load(ctx, vmhost.Source{
		Account: vmhost.Account(tenant),
		Module:  code,
		Digest:  vmhost.DigestOf(code),
		Limits:  l.defaults.limits(m),
		Grants:  grants(m),
	})
	if err != nil {
		return nil, fmt.Errorf("plugin %q: load: %w", m.Name, err)
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

// acquire returns the guest of k and whether it has to be loaded, for which the
// caller then holds a second use.
func (l *Loader) acquire(k key) (g *loaded, first bool) {
	l.mu.Lock()
	var unused []*loaded
	g, ok := l.guests[k]
	if ok {
		l.recent.MoveToFront(g.element)
		g.users++
	} else {
		g = &loaded{key: k, ready: make(chan struct{}), users: 2}
		l.guests[k] = g
		g.element = l.recent.PushFront(g)
		for l.recent.Len() > l.most {
			unused = append(unused, l.forget(l.recent.Back().Value.(*loaded)))
		}
	}
	l.mu.Unlock()
	closeAll(unused)
	return g, !ok
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

func (l *Loader) drop(g *loaded) {
	l.mu.Lock()
	unused := l.forget(g)
	l.mu.Unlock()
	closeAll([]*loaded{unused})
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

// Close gives up all guests. Calls under way finish first; no new ones may start.
func (l *Loader) Close() {
	l.loads.Wait()
	l.mu.Lock()
	var unused []*loaded
	for l.recent.Len() > 0 {
		unused = append(unused, l.forget(l.recent.Back().Value.(*loaded)))
	}
	l.mu.Unlock()
	closeAll(unused)
}
