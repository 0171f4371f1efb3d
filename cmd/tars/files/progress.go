package files

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress counts what a run does and shows it. Safe for concurrent use.
type Progress struct {
	files, bytes                              int64 // in all
	done, doneBytes, passages, embedded       atomic.Int64
	written, unchanged, failed, deletedNumber atomic.Int64

	to    io.Writer
	bar   *progressbar.ProgressBar // nil without a terminal
	start time.Time
	stop  chan struct{}
	ended chan struct{}
}

// How often progress is shown.
const (
	barPause  = 200 * time.Millisecond
	linePause = 5 * time.Second
)

// NewProgress shows how far a run is that has these files: as a bar on a terminal, as
// a line every few seconds elsewhere, until [Progress.End].
func NewProgress(files []File, to io.Writer, terminal bool) *Progress {
	p := &Progress{files: int64(len(files)), to: to, start: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	for _, f := range files {
		p.bytes += f.Size
	}
	pause := linePause
	if terminal && p.files > 0 {
		pause = barPause
		p.bar = progressbar.NewOptions64(p.files,
			progressbar.OptionSetWriter(to), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("files"), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
			progressbar.OptionUseANSICodes(true), progressbar.OptionThrottle(barPause/2))
	}
	go p.show(pause)
	return p
}

// show is the life of the goroutine that End waits for.
func (p *Progress) show(pause time.Duration) {
	defer close(p.ended)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.draw()
		case <-p.stop:
			return
		}
	}
}

func (p *Progress) draw() {
	if p.bar == nil {
		fmt.Fprintln(p.to, p.line())
		return
	}
	p.bar.Describe(fmt.Sprintf("%s, %d passages", megabytes(p.doneBytes.Load()), p.passages.Load()))
	_ = p.bar.Set64(p.done.Load()) // a terminal that cannot be written to is nobody's concern here
}

// line says how far the run is.
func (p *Progress) line() string {
	done := p.done.Load()
	took := time.Since(p.start)
	rate := float64(done) / max(took.Seconds(), 1e-3)
	left := ""
	if done > 0 && done < p.files {
		left = ", " + (time.Duration(float64(p.files-done)/rate) * time.Second).String() + " left"
	}
	return fmt.Sprintf("%d of %d files (%d%%), %s of %s, %d passages, %.1f files/s%s",
		done, p.files, 100*done/max(p.files, 1), megabytes(p.doneBytes.Load()), megabytes(p.bytes), p.passages.Load(), rate, left)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// file counts a file.
func (p *Progress) file(size int64, done sent, failed bool) {
	p.done.Add(1)
	p.doneBytes.Add(size)
	p.passages.Add(int64(done.passages))
	p.embedded.Add(int64(done.embedded))
	switch {
	case failed:
		p.failed.Add(1)
	case done.written:
		p.written.Add(1)
	default:
		p.unchanged.Add(1)
	}
}

func (p *Progress) deleted() { p.deletedNumber.Add(1) }

// End stops showing, and returns what was done, in a line.
func (p *Progress) End() string {
	close(p.stop)
	<-p.ended
	if p.bar != nil {
		p.draw()
		fmt.Fprintln(p.to)
	}
	took := time.Since(p.start)
	return fmt.Sprintf("%d files in %s: %d written, %d unchanged, %d failed, %d deleted; %s, %d passages, of which %d were embedded; %.1f files/s",
		p.done.Load(), took.Round(100*time.Millisecond), p.written.Load(), p.unchanged.Load(), p.failed.Load(), p.deletedNumber.Load(),
		megabytes(p.doneBytes.Load()), p.passages.Load(), p.embedded.Load(), float64(p.done.Load())/max(took.Seconds(), 1e-3))
}
