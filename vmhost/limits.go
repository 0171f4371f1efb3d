package vmhost

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// PageSize is the unit of linear memory, in bytes.
const PageSize = 64 << 10

// MaxWeight is the most that an account may weigh in the queue.
const MaxWeight = 1000

// Limits are the caps of one call. Wall, Memory, Input, Output and Logs must be
// positive. A zero in one of the fields from Fuel on means what
// [Limits.WithDefaults] makes of it: no budget is without a bound. [Host]
// refuses a program whose limits pass those of the node.
type Limits struct {
	Wall   time.Duration // from the start of the call in its VM to its end
	Memory int64         // linear memory, bytes, a multiple of 64 KiB
	Input  int64         // bytes handed in
	Output int64         // bytes handed back
	Logs   int64         // bytes of log messages, each of which costs 32 besides its text; more are dropped and counted
	// HostCalls is the most calls of host functions other than log; zero
	// means that there is none to call.
	HostCalls int

	Fuel      int64         // what the guest's instructions may cost, by the model of vmhost/wasm
	CPU       time.Duration // processor time in the VM, host calls excluded; looked at about once a millisecond
	HostBytes int64         // arguments and answers of host calls together
	HostTime  time.Duration // in host calls, all together
	Tables    int64         // bytes of tables at their declared maximum, 8 an entry
	Stack     int64         // bytes of stack frames, by the estimate of vmhost/wasm
}

const (
	// fuelRate is the fuel of a limit that names none, for each nanosecond of
	// its wall clock: more than any machine tried burns (4 in an empty loop), so
	// that who names no fuel is ended by a clock, and still no call is endless
	// by a clock that stands.
	fuelRate = 10
	// defaultHostBytes is a few hundred searches with all their text.
	defaultHostBytes = 64 << 20
	// defaultTables is enough for every module that vmhost/wasm accepts by its
	// default limits.
	defaultTables = 1 << 20
	// defaultStack is enough for Go's encoding/json at a nesting of 3,000.
	defaultStack = 16 << 20
	// tableEntry is what a table needs for an entry, in bytes.
	tableEntry = 8
)

// WithDefaults returns the limits with each zero from Fuel on replaced: fuel by
// 4 units for each nanosecond of Wall, CPU and HostTime by Wall, HostBytes by 64
// MiB, Tables by 1 MiB, Stack by 16 MiB. Drivers call it, since they may be used
// without a [Host]; twice is once.
func (l Limits) WithDefaults() Limits {
	setDefault(&l.Fuel, min(int64(l.Wall), math.MaxInt64/fuelRate)*fuelRate)
	setDefault(&l.CPU, l.Wall)
	setDefault(&l.HostBytes, defaultHostBytes)
	setDefault(&l.HostTime, l.Wall)
	setDefault(&l.Tables, defaultTables)
	setDefault(&l.Stack, defaultStack)
	return l
}

func setDefault[T int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Reservation is what a call needs at most of the node's memory, all kinds that
// a guest can make grow together: what [Host] reserves before the call has a
// slot. Growth inside it asks nobody.
func (l Limits) Reservation() int64 { return l.Memory + l.Tables + l.Stack }

// within returns the limits with defaults, of which none is over the node's
// unless it was asked for.
func (l Limits) within(node Limits) Limits {
	full := l.WithDefaults()
	if l.Fuel == 0 {
		full.Fuel = min(full.Fuel, node.Fuel)
	}
	if l.CPU == 0 {
		full.CPU = min(full.CPU, node.CPU)
	}
	if l.HostBytes == 0 {
		full.HostBytes = min(full.HostBytes, node.HostBytes)
	}
	if l.HostTime == 0 {
		full.HostTime = min(full.HostTime, node.HostTime)
	}
	if l.Tables == 0 {
		full.Tables = min(full.Tables, node.Tables)
	}
	if l.Stack == 0 {
		full.Stack = min(full.Stack, node.Stack)
	}
	return full
}

// checkLimits reports the limits that are not positive, or over those of the
// node.
func checkLimits(l, most Limits) error {
	var errs []error
	for _, f := range []struct {
		name      string
		got, most int64
		least     int64
	}{
		{"wall", int64(l.Wall), int64(most.Wall), 1},
		{"memory", l.Memory, most.Memory, PageSize},
		{"input", l.Input, most.Input, 1},
		{"output", l.Output, most.Output, 1},
		{"logs", l.Logs, most.Logs, 1},
		{"host calls", int64(l.HostCalls), int64(most.HostCalls), 0},
		{"fuel", l.Fuel, most.Fuel, 1},
		{"CPU", int64(l.CPU), int64(most.CPU), 1},
		{"host bytes", l.HostBytes, most.HostBytes, 1},
		{"host time", int64(l.HostTime), int64(most.HostTime), 1},
		{"tables", l.Tables, most.Tables, 1},
		{"stack", l.Stack, most.Stack, 1},
	} {
		if f.got < f.least || f.got > f.most {
			errs = append(errs, fmt.Errorf("limit of %s: %d, need %d to %d", f.name, f.got, f.least, f.most))
		}
	}
	if l.Memory%PageSize != 0 {
		errs = append(errs, fmt.Errorf("limit of memory: %d, need a multiple of %d", l.Memory, PageSize))
	}
	return errors.Join(errs...)
}
