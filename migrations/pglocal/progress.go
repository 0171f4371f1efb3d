package pglocal

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// quiet is how long a step may run before its progress is told, and the time
// between two lines about it.
const quiet = 2 * time.Second

// progress writes lines for a person who waits.
type progress struct {
	mu sync.Mutex
	w  io.Writer
}

func newProgress(w io.Writer) *progress {
	if w == nil {
		w = io.Discard
	}
	return &progress{w: w}
}

// say writes one line. That it may fail to is nobody's concern.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "postgres: "+format+"\n", args...)
}

// during runs step. While that takes longer than quiet it tells, every so
// often, what is being done, how far it is by detail (which may be nil), and
// for how long already.
func (p *progress) during(what string, detail func() string, step func() error) error {
	begin := time.Now()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(quiet)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				far := ""
				if detail != nil {
					far = " " + detail()
				}
				p.say("%s…%s (%.0f s)", what, far, time.Since(begin).Seconds())
			}
		}
	}()
	err := step()
	close(done)
	<-ended
	if took := time.Since(begin); err == nil && took > quiet {
		p.say("%s: done in %.1f s", what, took.Seconds())
	}
	return err
}
