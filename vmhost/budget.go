package vmhost

import (
	"fmt"
	"math"
)

// Budget names a bound on what calls may use.
type Budget string

// The budgets of one call, in [Limits].
const (
	BudgetWall      Budget = "wall"       // Limits.Wall
	BudgetCPU       Budget = "cpu"        // Limits.CPU
	BudgetFuel      Budget = "fuel"       // Limits.Fuel
	BudgetMemory    Budget = "memory"     // Limits.Memory
	BudgetInput     Budget = "input"      // Limits.Input
	BudgetOutput    Budget = "output"     // Limits.Output
	BudgetHostCalls Budget = "host_calls" // Limits.HostCalls
	BudgetHostBytes Budget = "host_bytes" // Limits.HostBytes
	BudgetHostTime  Budget = "host_time"  // Limits.HostTime
)

// The budgets of accounts and of the node. A call waits for these.
const (
	BudgetQueue         Budget = "queue"          // waiting calls of the account
	BudgetQueueTime     Budget = "queue_time"     // how long the call could wait for a slot
	BudgetAccountMemory Budget = "account_memory" // memory of all calls of the account
	BudgetNodeMemory    Budget = "node_memory"    // memory of all calls on the node
)

// Unit returns what a budget counts: "bytes", "us" (microseconds), "fuel" or
// "calls".
func (b Budget) Unit() string {
	switch b {
	case BudgetWall, BudgetCPU, BudgetHostTime, BudgetQueueTime:
		return "us"
	case BudgetFuel:
		return "fuel"
	case BudgetHostCalls, BudgetQueue:
		return "calls"
	default:
		return "bytes"
	}
}

// BudgetError says that a call needed more of a budget than it may have. It is
// of the kind that the budget has: [ErrDeadline], [ErrCPU], [ErrFuel],
// [ErrMemory], [ErrInput], [ErrOutput], [ErrHostBudget], or for the budgets of
// accounts and of the node [ErrBusy], or [ErrRefused] if Never is set.
type BudgetError struct {
	Budget  Budget
	Used    int64 // what the call used or asked for, in the budget's unit; above Allowed but for budgets of time
	Allowed int64 // the same as the limit
	// Never is set if the call would not fit with nobody else there. Used is
	// then what it needs.
	Never bool
}

func (e *BudgetError) Error() string {
	what := "used"
	switch {
	case e.Never, e.Budget == BudgetNodeMemory:
		what = "needed by one call"
	case e.Budget == BudgetAccountMemory, e.Budget == BudgetQueue:
		what = "with this call"
	}
	return fmt.Sprintf("budget %s: %d %s %s, at most %d are allowed", e.Budget, e.Used, e.Budget.Unit(), what, e.Allowed)
}

// Is reports that a BudgetError is of its budget's kind.
func (e *BudgetError) Is(target error) bool { return target == e.kind() }

func (e *BudgetError) kind() error {
	switch e.Budget {
	case BudgetWall:
		return ErrDeadline
	case BudgetCPU:
		return ErrCPU
	case BudgetFuel:
		return ErrFuel
	case BudgetMemory:
		return ErrMemory
	case BudgetInput:
		return ErrInput
	case BudgetOutput:
		return ErrOutput
	case BudgetHostCalls, BudgetHostBytes, BudgetHostTime:
		return ErrHostBudget
	default:
		if e.Never {
			return ErrRefused
		}
		return ErrBusy
	}
}

// InVM reports whether the machine under a driver is who finds out that a budget
// is used up. The others are the host's.
func (b Budget) InVM() bool {
	switch b {
	case BudgetCPU, BudgetFuel, BudgetMemory, BudgetOutput:
		return true
	default:
		return false
	}
}

// OverBudget returns the error of a call that used so much of one of the budgets
// that a VM keeps, of which the limits allow less.
func (l Limits) OverBudget(b Budget, used int64) *BudgetError {
	e := &BudgetError{Budget: b}
	switch b {
	case BudgetCPU:
		e.Allowed = l.CPU.Microseconds()
	case BudgetFuel:
		e.Allowed = l.Fuel
	case BudgetOutput:
		e.Allowed = l.Output
	default:
		e.Budget, e.Allowed = BudgetMemory, l.Memory
	}
	e.Used = max(used, min(e.Allowed, math.MaxInt64-1)+1)
	return e
}
