package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
)

const (
	// FlushPause is how long an event that nobody waits for is kept in memory before it
	// is written. A process that is killed loses these, and none that was waited for.
	FlushPause = 200 * time.Millisecond
	// flushPatience bounds one write, so that the next may find a better connection.
	flushPatience = 10 * time.Second
	// defaultMaxWaiting bounds the events that wait to be written: some 10 MB.
	defaultMaxWaiting = 10_000
	// parallel is how many logs are written at once.
	parallel = 4
	// maxBatch is how many events of one log are written at once.
	maxBatch = 1000
	// maxFaults is how often in a row the events of a log may fail that are not to blame
	// on the database before they are tried one by one.
	maxFaults = 3
)

// Options are the settings of a [Log]. The zero value is good.
type Options struct {
	Log        *slog.Logger // nil means slog.Default()
	MaxWaiting int          // most events that wait to be written; 0 means 10,000
}

// Log takes events of this process and writes them to a [Store], those that came together
// in one transaction for each tenant. While the store fails they stay, and are tried again;
// once MaxWaiting wait, who has another waits too. Make it with [NewLog] and end it with
// Close; safe for concurrent use.
type Log struct {
	writer Writer
	log    *slog.Logger

	room   chan struct{} // has one for each event that waits
	urgent chan struct{} // has room for one: somebody waits for an event
	stop   chan struct{} // closed by Close
	ending sync.Once
	loop   sync.WaitGroup
	cut    func() // ends a write of the loop

	flushing sync.Mutex // held by who writes

	mu    sync.Mutex // guards what follows
	queue map[knowledge.TenantID]*queue
	stats Stats
}

// queue is what waits for one log.
type queue struct {
	events []waiting
	faults int // failures in a row that were no want of the database
}

type waiting struct {
	Event
	kept chan struct{} // closed once it is; nil when nobody waits
}

// Stats are the figures of a [Log] since it was made.
type Stats struct {
	Waiting int   // events that are not written yet
	Dropped int64 // events that the store does not take, whatever is tried
	Failing bool  // the last write failed
}

// NewLog returns a log, which writes to w until it is closed.
func NewLog(w Writer, o Options) *Log {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = defaultMaxWaiting
	}
	l := &Log{
		writer: w, log: o.Log, room: make(chan struct{}, o.MaxWaiting), urgent: make(chan struct{}, 1), stop: make(chan struct{}),
		queue: map[knowledge.TenantID]*queue{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cut = cancel
	l.loop.Go(func() { l.write(ctx) })
	return l
}

// write flushes until Close.
func (l *Log) write(ctx context.Context) {
	tick := time.NewTicker(FlushPause)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		case <-l.urgent:
		}
		_ = l.Flush(ctx) // which has logged it, and the next tick tries again
	}
}

// Note takes an event to be written within about [FlushPause]. It waits while too many wait
// already, and returns the error of ctx when that takes too long.
func (l *Log) Note(ctx context.Context, owner knowledge.TenantID, e Event) error {
	return l.add(ctx, owner, waiting{Event: e.Normal()})
}

// Record takes an event and returns once it is kept. An error is that of ctx: then the event
// waits still and may be kept later.
func (l *Log) Record(ctx context.Context, owner knowledge.TenantID, e Event) error {
	kept := make(chan struct{})
	if err := l.add(ctx, owner, waiting{e.Normal(), kept}); err != nil {
		return err
	}
	select {
	case l.urgent <- struct{}{}:
	default: // it is told already
	}
	select {
	case <-kept:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) add(ctx context.Context, owner knowledge.TenantID, w waiting) error {
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queue[owner]
	if q == nil {
		q = new(queue)
		l.queue[owner] = q
	}
	q.events = append(q.events, w)
	return nil
}

// Stats returns the figures so far.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = len(l.room)
	return s
}

// Flush writes what was taken before. An error says that some of it waits still; it has
// been logged, once in a row of failures.
func (l *Log) Flush(ctx context.Context) error {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.mu.Lock()
	work := make(map[knowledge.TenantID]int, len(l.queue)) // how many events there are now
	for owner, q := range l.queue {
		work[owner] = len(q.events)
	}
	l.mu.Unlock()
	if len(work) == 0 {
		return nil
	}
	var g errgroup.Group // without its context: one log that fails must not end the others
	g.SetLimit(parallel)
	for owner, n := range work {
		g.Go(func() error {
			for n > 0 {
				batch := min(n, maxBatch)
				if err := l.send(ctx, owner, batch); err != nil {
					return err
				}
				n -= batch
			}
			return nil
		})
	}
	err := g.Wait()
	l.tell(err)
	return err
}

// tell logs when writing begins to fail, and when it works again.
func (l *Log) tell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failing := err != nil; failing != l.stats.Failing {
		l.stats.Failing = failing
		if failing {
			l.log.Warn("the audit log cannot be written, and waits", "events", len(l.room), "error", err)
		} else {
			l.log.Info("the audit log is written again")
		}
	}
}

// send writes the first n events of a log. The caller holds flushing.
func (l *Log) send(ctx context.Context, owner knowledge.TenantID, n int) error {
	l.mu.Lock()
	q := l.queue[owner]
	batch := q.events[:n]
	l.mu.Unlock()
	err := l.append(ctx, owner, batch)
	if err != nil && !errors.Is(err, knowledge.ErrUnavailable) && ctx.Err() == nil {
		if q.faults++; q.faults >= maxFaults { // one event must not keep all others back
			err = l.apart(ctx, owner, batch)
		}
	}
	if err != nil {
		return err
	}
	q.faults = 0
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.events = q.events[n:]; len(q.events) == 0 {
		delete(l.queue, owner)
	}
	for _, w := range batch {
		<-l.room
		if w.kept != nil {
			close(w.kept)
		}
	}
	return nil
}

func (l *Log) append(ctx context.Context, owner knowledge.TenantID, batch []waiting) error {
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	events := make([]Event, len(batch))
	for i, w := range batch {
		events[i] = w.Event
	}
	return l.writer.Append(ctx, owner, events)
}

// apart writes events one by one and gives up those that the store does not take. These
// are in the log of the process instead, and nobody who waits for one is told that it is
// kept.
func (l *Log) apart(ctx context.Context, owner knowledge.TenantID, batch []waiting) error {
	for i, w := range batch {
		err := l.append(ctx, owner, []waiting{w})
		switch {
		case err == nil:
		case errors.Is(err, knowledge.ErrUnavailable) || ctx.Err() != nil:
			return err
		default:
			batch[i].kept = nil
			l.mu.Lock()
			l.stats.Dropped++
			l.mu.Unlock()
			l.log.Error("an event of the audit log cannot be kept", "tenant", owner, "operation", w.Operation, "actor", w.Actor, "request_id", w.RequestID, "error", err)
		}
	}
	return nil
}

// Close ends the writing and writes what is left, as far as ctx and the store allow. What
// comes from then on is not kept.
func (l *Log) Close(ctx context.Context) error {
	l.ending.Do(func() { close(l.stop) })
	defer l.cut()
	defer context.AfterFunc(ctx, l.cut)() // a write of the loop has no longer than ours
	l.loop.Wait()
	return l.Flush(ctx)
}
