package vmhost

import (
	"errors"
	"fmt"
)

// Kinds of error of a load or a call; test with [errors.Is]. One that is about a
// budget comes as a [*BudgetError], which has the figures. A call that its
// caller cancelled returns ctx's error and none of these.
var (
	// ErrRefused: the module is not one that this host runs. See
	// [RefusedError] for the reason, which may be shown to its owner.
	ErrRefused = errors.New("module refused")
	// ErrTrapped: the guest stopped itself by a trap, such as unreachable
	// code, or by leaving the rules of the interface.
	ErrTrapped = errors.New("guest trapped")
	// ErrDeadline: the call passed its wall-clock limit.
	ErrDeadline = errors.New("guest passed its deadline")
	// ErrCPU: the call used more processor time than its limit.
	ErrCPU = errors.New("guest used up its processor time")
	// ErrFuel: the guest's instructions cost more than its limit.
	ErrFuel = errors.New("guest used up its fuel")
	// ErrHostBudget: the guest gave up after it had used up one of its
	// budgets for host calls.
	ErrHostBudget = errors.New("guest used up its budget of host calls")
	// ErrMemory: the guest asked for more memory than its cap.
	ErrMemory = errors.New("guest passed its memory limit")
	// ErrOutput: the guest's output is over its cap or not UTF-8.
	ErrOutput = errors.New("guest output refused")
	// ErrInput: the input is over the cap.
	ErrInput = errors.New("input over the guest's limit")
	// ErrCrashed: the machine under the guest died in the call: killed by
	// the kernel, by an operator, or by a fault of the engine.
	ErrCrashed = errors.New("guest's machine died")
	// ErrBusy: no slot, or no memory of the account or the node, came free
	// before the deadline.
	ErrBusy = errors.New("no slot free")
	// ErrUnavailable: no machine could be started, or the host is closed.
	ErrUnavailable = errors.New("no machine")
	// ErrQuarantined: the program is not run because it kept killing its
	// machine. See [QuarantinedError].
	ErrQuarantined = errors.New("program in quarantine")
)

// RefusedError says why a module was refused. Its text is made for the
// module's owner.
type RefusedError struct {
	Section string // of the module, such as "import"; empty when it is none
	Offset  int64  // byte offset in the module; -1 when there is none
	Detail  string // what is wrong, the limit and the need
}

func (e *RefusedError) Error() string {
	switch {
	case e.Section != "" && e.Offset >= 0:
		return fmt.Sprintf("%s section, offset %d: %s", e.Section, e.Offset, e.Detail)
	case e.Offset >= 0:
		return fmt.Sprintf("offset %d: %s", e.Offset, e.Detail)
	case e.Section != "":
		return fmt.Sprintf("%s section: %s", e.Section, e.Detail)
	default:
		return e.Detail
	}
}

// Is reports that a RefusedError is of the kind [ErrRefused].
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Bounds of a [GuestError], in bytes.
const (
	MaxErrorCode    = 64
	MaxErrorMessage = 4 << 10
)

// Codes of the errors that vmhost itself gives to a guest for a call of a host
// function. They are the words of plugins/wit/tars.wit.
const (
	CodeInvalid     = "invalid"     // an argument over its cap
	CodeOverBudget  = "over-budget" // more than Limits.HostCalls, HostBytes or HostTime
	CodeNotFound    = "not-found"   // there is no such thing for who calls
	CodeUnavailable = "unavailable" // nothing answers host functions in this call
)

// GuestError is the error case of the result of a guest's handle function, or
// of a host function. Both strings are valid UTF-8 and bounded; those of a
// guest are untrusted.
type GuestError struct {
	Code    string // a word such as "bad_config", at most 64 bytes
	Message string // at most 4 KiB
}

func (e *GuestError) Error() string { return e.Code + ": " + e.Message }
