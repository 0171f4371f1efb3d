package wazerovm

import (
	"context"
	"crypto/rand"
	"io"
	mathrand "math/rand/v2"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// Clocks of WASI preview 1. The other two count the processor's time, which we
// do not tell.
const (
	clockRealtime  = 0
	clockMonotonic = 1
)

const (
	// fixedEpoch is what a guest without the clock grant takes for the
	// start of its call: 2026-01-01 00:00:00 UTC.
	fixedEpoch = 1_767_225_600 * uint64(time.Second)
	// fixedTick is how far a look at the fixed clock moves it: a loop that
	// waits for time to pass ends, and no two moments are the same.
	fixedTick = uint64(time.Microsecond)
)

// clock is the time that one VM sees. Without the grant it starts at a fixed
// moment and moves only by being looked at and by being slept on, so that a
// call does the same each time.
type clock struct {
	real  bool
	start time.Time // of a real clock
	moved uint64    // of a fixed clock, nanoseconds
}

func newClock(real bool) clock { return clock{real: real, start: time.Now()} }

// monotonic returns nanoseconds since the start of the call.
func (c *clock) monotonic() uint64 {
	if c.real {
		return uint64(time.Since(c.start))
	}
	c.moved += fixedTick
	return c.moved
}

// realtime returns nanoseconds since 1970.
func (c *clock) realtime() uint64 {
	if c.real {
		return uint64(time.Now().UnixNano())
	}
	return fixedEpoch + c.monotonic()
}

// sleep lets d nanoseconds pass, or what is left until ctx ends. A fixed clock
// only moves: nobody waits.
func (c *clock) sleep(ctx context.Context, d uint64) {
	const longest = uint64(1 << 62) // as a time.Duration it is positive; longer than any call
	d = min(d, longest)
	if !c.real {
		c.moved = min(c.moved+d, longest)
		return
	}
	timer := time.NewTimer(time.Duration(d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// read returns the time of a clock, false if there is no such clock.
func (c *clock) read(id uint32) (uint64, bool) {
	switch id {
	case clockRealtime:
		return c.realtime(), true
	case clockMonotonic:
		return c.monotonic(), true
	default:
		return 0, false
	}
}

// clockResolution is clock_res_get.
func clockResolution(_ context.Context, v *vm, args []uint64) errno {
	if id := uint32(args[0]); id != clockRealtime && id != clockMonotonic {
		return errnoInvalid
	}
	return v.put64(uint32(args[1]), fixedTick)
}

// clockTime is clock_time_get.
func clockTime(_ context.Context, v *vm, args []uint64) errno {
	now, ok := v.clock.read(uint32(args[0]))
	if !ok {
		return errnoInvalid
	}
	return v.put64(uint32(args[2]), now)
}

// newRandom returns the random numbers of one call: fresh, or those of the
// request's seed.
func newRandom(req vmhost.Request) io.Reader {
	if req.Deterministic {
		return mathrand.NewChaCha8(req.Seed)
	}
	return rand.Reader
}
