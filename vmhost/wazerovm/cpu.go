package wazerovm

import (
	"runtime"
	"time"
)

// cpuMeter counts the processor time that a guest uses, by the clock of the
// thread that runs it. The goroutine keeps its thread while the guest's own code
// runs, from the start of a call to its end; for what may wait, such as a host
// call, it lets go of it.
//
// Reading the clock is a system call of about 200 ns: it is read at the start and
// the end of a call, around waits, and once a slice of fuel, which is some ten
// thousandths of the slice's time. Holding the thread costs 2 ns.
//
// The zero value does not count. It belongs to the goroutine that runs the guest.
type cpuMeter struct {
	held bool
	from time.Duration // of the thread's clock, while held
	used time.Duration // before from
}

// start begins to count, on this thread.
func (c *cpuMeter) start() {
	runtime.LockOSThread()
	c.held, c.from = true, threadTime()
}

// stop ends counting.
func (c *cpuMeter) stop() {
	if !c.held {
		return
	}
	c.lap()
	c.held = false
	runtime.UnlockOSThread()
}

// lap returns the time used so far.
func (c *cpuMeter) lap() time.Duration {
	if c.held {
		now := threadTime()
		c.used += now - c.from
		c.from = now
	}
	return c.used
}

// without runs what may wait for others, whose time is not the guest's.
func (c *cpuMeter) without(wait func()) {
	if !c.held {
		wait()
		return
	}
	c.stop()
	defer c.start()
	wait()
}
