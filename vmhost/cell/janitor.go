package cell

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// pingPatience is how long an idle worker may take to answer.
const pingPatience = 2 * time.Second

// maxRound is the longest between two rounds of the janitor: so long native code
// that has broken out of its call may compute unseen.
const maxRound = time.Second

// clean goes round the cells that nobody uses: it ends those that have been idle
// for long, that do not answer, and that compute. A round looks at all at once, so
// that a silent one does not shield another.
func (d *Driver) clean(ctx context.Context) {
	tick := time.NewTicker(min(max(d.opts.IdleTimeout/4, time.Millisecond), maxRound))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.mu.Lock()
		sessions := make([]*session, 0, len(d.sessions))
		for s := range d.sessions {
			sessions = append(sessions, s)
		}
		d.mu.Unlock()
		var round sync.WaitGroup
		for _, s := range sessions {
			if since, idle := s.idleSince(); idle {
				round.Go(func() { d.checkIdle(s, since) })
			}
		}
		for _, s := range d.blanks.all() {
			round.Go(func() { d.checkBlank(s) })
		}
		round.Wait()
	}
}

// checkIdle looks at a program's cell that is idle since the given time. A call
// that comes in between is tried again.
func (d *Driver) checkIdle(s *session, since time.Time) {
	switch {
	case time.Since(since) >= d.opts.IdleTimeout:
		s.retire()
	case s.burns(since):
		if now, idle := s.idleSince(); idle && now.Equal(since) {
			s.end(errBurns)
		}
	case !s.ping(pingPatience) && s.alive():
		d.opts.Logger.Error("idle cell does not answer", slog.String("program", s.program().src.Digest.String()))
		s.end(errSilent)
	}
}

// checkBlank looks at a cell that belonged to nobody a moment ago.
func (d *Driver) checkBlank(s *session) {
	if !s.ping(pingPatience) && s.alive() {
		s.end(errSilent)
	}
}

// cpuWatch is what the janitor last saw of an idle session.
type cpuWatch struct {
	idle time.Time // since when it was idle
	at   time.Time // when it was first looked at since
	cpu  time.Duration
}

// What an idle cell may use, over its whole idle time: the runtime collects
// garbage that calls have left, gives memory back, and answers pings.
const (
	idleCPU      = 250 * time.Millisecond
	idleCPUShare = 20 // one part in so many of the time
)

// burns reports whether the session, idle since the given time, has used more CPU
// time than an idle one has reason to. The janitor alone may call it.
func (s *session) burns(since time.Time) bool {
	usage, err := s.proc.Usage()
	if err != nil {
		return false // it is gone, which others see
	}
	now := time.Now()
	if !s.watch.idle.Equal(since) {
		s.watch = cpuWatch{idle: since, at: now, cpu: usage.CPU}
		return false
	}
	return usage.CPU-s.watch.cpu > idleCPU+now.Sub(s.watch.at)/idleCPUShare
}
