package cell

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// Reasons for which the host itself ends a cell.
var (
	// errKilled: because of one of its calls, which was not to blame of
	// those that see it. Those that follow are of its kind.
	errKilled = errors.New("the cell was killed for another call")
	// errSpun: it went on computing after the deadline of a call and did not
	// answer.
	errSpun = fmt.Errorf("%w: it computed past a deadline", errKilled)
	// errBurns: it computed while no call was in it.
	errBurns = fmt.Errorf("%w: it used CPU time without a call", errKilled)
	// errSilent: it does not answer.
	errSilent = fmt.Errorf("%w: it does not answer", errKilled)
	// errRetired: because nobody has used it for a while.
	errRetired = errors.New("the cell was idle")
	// errStopped: because its program is closed.
	errStopped = fmt.Errorf("%w: the program is closed", vmhost.ErrUnavailable)
)

// crash is the error of calls whose cell ended by itself.
func crash(exit Exit) error { return fmt.Errorf("%w: %v", vmhost.ErrCrashed, exit) }

// Death is what a cell died of, a word for metrics.
type Death string

// What cells die of. Cells that were retired or stopped are none of these.
const (
	DeathSyscall  Death = "syscall"  // a forbidden system call: somebody has broken out of the engine
	DeathMemory   Death = "memory"   // over its limit, or its account's
	DeathProtocol Death = "protocol" // it broke the wire's
	DeathCPU      Death = "cpu"      // it computed when it should not have
	DeathSilence  Death = "silence"  // it did not answer
	DeathSignal   Death = "signal"   // killed from outside
	DeathExit     Death = "exit"     // its process ended by itself
	DeathLoad     Death = "load"     // the host ended it while it loaded a module
)

// Deaths lists them all.
func Deaths() []Death {
	return []Death{DeathSyscall, DeathMemory, DeathProtocol, DeathCPU, DeathSilence, DeathSignal, DeathExit, DeathLoad}
}

// deathOf says what a cell died of, and false if it ended as it should.
func deathOf(cause error, exit Exit) (Death, bool) {
	switch {
	case exit.Signal == syscall.SIGSYS: // whatever the host was about to do with it
		return DeathSyscall, true
	case errors.Is(cause, errRetired), errors.Is(cause, errStopped):
		return "", false
	case exit.OutOfMemory:
		return DeathMemory, true
	case errors.Is(cause, wire.ErrProtocol):
		return DeathProtocol, true
	case errors.Is(cause, errSpun), errors.Is(cause, errBurns):
		return DeathCPU, true
	case errors.Is(cause, errKilled):
		return DeathSilence, true
	case errors.Is(cause, errCPU), errors.Is(cause, errSlow):
		return DeathLoad, true
	case exit.Signal != 0:
		return DeathSignal, true
	default:
		return DeathExit, true
	}
}

// blames reports whether the program that ran in a cell is to blame for such a
// death. A cell that stays silent without computing may be a machine with too much
// to do.
func (d Death) blames() bool { return d != DeathSilence && d != DeathLoad }
