package shares

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
)

const (
	// flushPause is how long what was counted waits to be written. What a process that
	// is killed has not written is lost.
	flushPause = time.Second
	// flushPatience bounds one write, so that the next may find a better connection.
	flushPatience = 10 * time.Second
)

// meter counts reads of shares in this process, and writes the sums. There is one for
// each share that is read in a day. A sum is written whole and in the place of the one
// before it, so a write whose end is not known is written again, and counts once.
type meter struct {
	store  Store
	writer string
	log    *slog.Logger

	stop   chan struct{} // closed by close
	ending sync.Once
	loop   sync.WaitGroup
	cut    func() // ends a write of the loop

	flushing sync.Mutex // held by who writes
	failing  bool       // the last write failed; guarded by flushing

	mu   sync.Mutex
	sums map[dayShare]*sum
}

type dayShare struct {
	share knowledge.ShareID
	day   time.Time
}

type sum struct {
	DayReads
	written Reads
}

func newMeter(store Store, writer string, log *slog.Logger) *meter {
	m := &meter{store: store, writer: writer, log: log, stop: make(chan struct{}), sums: map[dayShare]*sum{}}
	ctx, cancel := context.WithCancel(context.Background())
	m.cut = cancel
	m.loop.Go(func() { m.write(ctx) })
	return m
}

// write flushes until close.
func (m *meter) write(ctx context.Context) {
	tick := time.NewTicker(flushPause)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			_ = m.flush(ctx) // which has logged it
		}
	}
}

func (m *meter) add(s knowledge.Share, rows int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := dayShare{s.ID, dayOf(time.Now())} // under the lock: a day that was dropped does not come back
	of, ok := m.sums[at]
	if !ok {
		of = &sum{DayReads: DayReads{Owner: s.Owner, Grantee: s.Grantee, Share: s.ID, Day: at.day}}
		m.sums[at] = of
	}
	of.Queries++
	of.Rows += int64(rows)
}

// flush writes the sums that have changed.
func (m *meter) flush(ctx context.Context) error {
	m.flushing.Lock()
	defer m.flushing.Unlock()
	changed := m.changed()
	if len(changed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	err := m.store.WriteReads(ctx, m.writer, changed)
	if failing := err != nil; failing != m.failing {
		m.failing = failing
		if failing {
			m.log.Warn("reads of shares cannot be written, and wait", "error", err)
		} else {
			m.log.Info("reads of shares are written again")
		}
	}
	if err == nil {
		m.wrote(changed)
	}
	return err
}

func (m *meter) changed() []DayReads {
	m.mu.Lock()
	defer m.mu.Unlock()
	var changed []DayReads
	for _, of := range m.sums {
		if of.Reads != of.written {
			changed = append(changed, of.DayReads)
		}
	}
	return changed
}

// wrote notes what was written, and drops the sums of days that are over.
func (m *meter) wrote(reads []DayReads) {
	today := dayOf(time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range reads {
		m.sums[dayShare{r.Share, r.Day}].written = r.Reads
	}
	maps.DeleteFunc(m.sums, func(at dayShare, of *sum) bool { return at.day.Before(today) && of.Reads == of.written })
}

// close ends the writing and writes what is left.
func (m *meter) close(ctx context.Context) error {
	m.ending.Do(func() { close(m.stop) })
	defer m.cut()
	defer context.AfterFunc(ctx, m.cut)() // a write of the loop has no longer than ours
	m.loop.Wait()
	return m.flush(ctx)
}
