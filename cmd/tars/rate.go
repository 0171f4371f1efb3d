package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// rate writes each second how many texts are done and how many a second that is.
type rate struct {
	to         io.Writer
	terminal   bool // one line is written over again
	start      time.Time
	n          atomic.Int64
	stop, done chan struct{} // nil when nothing is shown
}

func newRate(to io.Writer, shown bool) *rate {
	r := &rate{to: to, start: time.Now()}
	if !shown {
		return r
	}
	if file, ok := to.(*os.File); ok {
		info, err := file.Stat()
		r.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	r.stop, r.done = make(chan struct{}), make(chan struct{})
	go r.run()
	return r
}

func (r *rate) add(n int) { r.n.Add(int64(n)) }

// end writes the last line.
func (r *rate) end() {
	if r.stop != nil {
		close(r.stop)
		<-r.done
	}
}

func (r *rate) run() {
	defer close(r.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.line(false)
		case <-r.stop:
			r.line(true)
			return
		}
	}
}

func (r *rate) line(last bool) {
	took, n := time.Since(r.start), r.n.Load()
	text := fmt.Sprintf("embedded %d texts in %s, %.0f/s", n, took.Round(100*time.Millisecond), float64(n)/took.Seconds())
	switch {
	case r.terminal && !last:
		fmt.Fprintf(r.to, "\r%s\x1b[K", text)
	case r.terminal:
		fmt.Fprintf(r.to, "\r%s\x1b[K\n", text)
	default:
		fmt.Fprintln(r.to, text)
	}
}
