package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
)

const (
	// FlushPause is how long what was noted waits to be written. What a process that
	// is killed has not written is lost: what came since, and during the last write.
	FlushPause = time.Second
	// flushPatience bounds one write, so that the next may find a better connection.
	flushPatience = 10 * time.Second
	// defaultMaxCalls bounds the calls that wait to be written: some 5 MB.
	defaultMaxCalls = 10_000
)

// Options are the settings of a [Book]. The zero value is good.
type Options struct {
	Log      *slog.Logger // nil means slog.Default()
	MaxCalls int          // most calls that wait to be written; 0 means 10,000
}

// Book takes down what is used in this process and writes it to a [Store] about once in
// [FlushPause], and at once when half of MaxCalls are waiting. Sums are never given up:
// while the store fails they stay, of as many parts as tenants have keys and plugins.
// Calls are, once MaxCalls wait; then [Book.Stats] counts them, and they are in the sums
// all the same. Make it with [NewBook] and end it with Close; safe for concurrent use.
type Book struct {
	store  Writer
	log    *slog.Logger
	most   int
	writer string

	enough chan struct{} // has room for one: half of most are waiting
	stop   chan struct{} // closed by Close
	ending sync.Once
	loop   sync.WaitGroup
	cut    func() // ends a write of the loop

	flushing sync.Mutex // held by who writes; guards what follows up to mu
	held     *Batch     // whose fate is not known, or that failed; nil for none
	faults   int        // failures in a row that were no want of the database
	number   int64      // of the last batch

	mu      sync.Mutex // guards what follows
	sums    map[Part]Usage
	calls   []TenantCall
	waiting int // calls, with those of held
	stats   Stats
}

// Stats are the figures of a [Book] since it was made.
type Stats struct {
	Dropped int64 // calls that were not kept
	Waiting int   // calls that are not written yet
	Failing bool  // the last write failed
}

// NewBook returns a book, which writes to store until it is closed.
func NewBook(store Writer, o Options) *Book {
	b := &Book{
		store: store, log: o.Log, most: o.MaxCalls, writer: rand.Text(),
		enough: make(chan struct{}, 1), stop: make(chan struct{}), sums: map[Part]Usage{},
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.most == 0 {
		b.most = defaultMaxCalls
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cut = cancel
	b.loop.Go(func() { b.write(ctx) })
	return b
}

// write flushes until Close.
func (b *Book) write(ctx context.Context) {
	tick := time.NewTicker(FlushPause)
	defer tick.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
		case <-b.enough:
		}
		_ = b.Flush(ctx) // which has logged it
	}
}

// Add adds to the sums of the tenant's day, for the key that ctx is of.
func (b *Book) Add(ctx context.Context, tenant knowledge.TenantID, u Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(Part{Tenant: tenant, Day: DayOf(time.Now()), Key: knowledge.AskerOf(ctx)}, u)
}

func (b *Book) add(to Part, u Usage) {
	sum := b.sums[to]
	sum.Add(u)
	b.sums[to] = sum
}

// Called notes a call that has ended, for the key that ctx is of, and adds it to the
// sums of the day on which it began. c.ID and c.Started must be set.
func (b *Book) Called(ctx context.Context, tenant knowledge.TenantID, c Call) {
	c = normal(ctx, c)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(part(tenant, c), c.usage())
	b.keep(TenantCall{tenant, c})
}

// normal is a call as it is kept.
func normal(ctx context.Context, c Call) Call {
	c.Key, c.Started = knowledge.AskerOf(ctx), c.Started.UTC().Truncate(time.Microsecond)
	for _, d := range []*time.Duration{&c.Queue, &c.VM, &c.CPU, &c.HostTime} {
		*d = d.Truncate(time.Microsecond)
	}
	return c
}

func part(tenant knowledge.TenantID, c Call) Part {
	return Part{Tenant: tenant, Day: DayOf(c.Started), Key: c.Key, Plugin: c.Plugin}
}

// keep puts a call to those that wait, if there is room. The caller holds mu.
func (b *Book) keep(c TenantCall) {
	if b.waiting >= b.most {
		b.stats.Dropped++
		return
	}
	b.calls = append(b.calls, c)
	b.waiting++
	if len(b.calls) == (b.most+1)/2 {
		select {
		case b.enough <- struct{}{}:
		default: // it is told already
		}
	}
}

// Stats returns the figures so far.
func (b *Book) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Waiting = b.waiting
	return s
}

// Flush writes what was noted before. An error says that some of it waits still; it has
// been logged, once in a row of failures.
func (b *Book) Flush(ctx context.Context) error {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	for {
		old := b.held != nil
		if !old && !b.take() {
			return nil
		}
		if err := b.send(ctx); err != nil || !old {
			return err
		}
	}
}

// take makes what waits the batch to write. It reports whether there was anything. The
// caller holds flushing.
func (b *Book) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sums) == 0 && len(b.calls) == 0 {
		return false
	}
	b.number++
	b.held = &Batch{Writer: b.writer, Number: b.number, Calls: b.calls, Usage: b.sums}
	b.calls, b.sums = nil, map[Part]Usage{}
	return true
}

// send writes the held batch. The caller holds flushing.
func (b *Book) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	err := b.store.Write(ctx, *b.held)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.waiting -= len(b.held.Calls)
		b.held, b.faults = nil, 0
	case errors.Is(err, knowledge.ErrUnavailable) || ctx.Err() != nil:
		b.faults = 0
	default: // one call that cannot be kept must not keep all sums back
		if b.faults++; b.faults >= maxFaults {
			b.waiting -= len(b.held.Calls)
			b.stats.Dropped += int64(len(b.held.Calls))
			b.held.Calls = nil
		}
	}
	if failing := err != nil; failing != b.stats.Failing {
		b.stats.Failing = failing
		if failing {
			b.log.Warn("what was used cannot be written, and waits", "calls", b.waiting, "error", err)
		} else {
			b.log.Info("what was used is written again", "calls dropped since the start", b.stats.Dropped)
		}
	}
	return err
}

// maxFaults is how often in a row a batch may fail that is not to blame on the database
// before its calls are given up.
const maxFaults = 3

// Close ends the writing and writes what is left, as far as ctx and the store allow.
// What is noted from then on is lost.
func (b *Book) Close(ctx context.Context) error {
	b.ending.Do(func() { close(b.stop) })
	defer b.cut()
	defer context.AfterFunc(ctx, b.cut)() // a write of the loop has no longer than ours
	b.loop.Wait()
	return b.Flush(ctx)
}
