package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost"
)

const (
	maxSection = 64
	maxCode    = 64
	maxText    = 4 << 10
	maxBudget  = 32
)

// ErrHostFailed is what a cell reports for a call that ended because the host
// answered one of its host calls by [OutcomeFailed]. The host knows the reason.
var ErrHostFailed = errors.New("host function failed")

// faultKinds are the kinds of error that cross the wire; the index is the
// method of the frame. New kinds are added at the end.
var faultKinds = [...]error{
	1:  vmhost.ErrRefused,
	2:  vmhost.ErrTrapped,
	3:  vmhost.ErrDeadline,
	4:  vmhost.ErrMemory,
	5:  vmhost.ErrOutput,
	6:  vmhost.ErrInput,
	7:  vmhost.ErrCrashed,
	8:  vmhost.ErrBusy,
	9:  vmhost.ErrUnavailable,
	10: ErrHostFailed,
	11: context.Canceled,
	12: context.DeadlineExceeded,
}

const (
	methodRefused = 1
	methodCrashed = 7
	methodGuest   = 100
	methodBudget  = 101
)

// Fault is why a load or a call failed.
type Fault struct {
	Used Used
	// Err is, on both sides, of one of the kinds of vmhost, or a
	// *vmhost.BudgetError of a budget that a VM keeps, or a
	// *vmhost.GuestError, or [ErrHostFailed], or an error of a context.
	Err error
}

// Encode returns the method and the body of the frame. An error of no known
// kind is a fault of the engine and crosses as vmhost.ErrCrashed.
func (m Fault) Encode() (method uint16, body []byte) {
	b := m.Used.append(nil)
	var guest *vmhost.GuestError
	if errors.As(m.Err, &guest) {
		return methodGuest, AppendGuestError(b, guest)
	}
	var refused *vmhost.RefusedError
	if errors.As(m.Err, &refused) {
		b = appendText(b, refused.Section, maxSection)
		b = appendI64(b, refused.Offset)
		return methodRefused, appendText(b, refused.Detail, maxText)
	}
	var budget *vmhost.BudgetError
	if errors.As(m.Err, &budget) && budget.Budget.InVM() {
		b = appendText(b, string(budget.Budget), maxBudget)
		b = appendI64(b, budget.Used)
		return methodBudget, appendI64(b, budget.Allowed)
	}
	method = methodCrashed
	for i, kind := range faultKinds {
		if kind != nil && errors.Is(m.Err, kind) {
			method = uint16(i)
			break
		}
	}
	if method == methodRefused {
		b = appendI64(appendText(b, "", maxSection), -1)
	}
	return method, appendText(b, m.Err.Error(), maxText)
}

// DecodeFault decodes a Fault.
func DecodeFault(method uint16, body []byte) (Fault, error) {
	f := fields{b: body}
	m := Fault{Used: f.used()}
	switch {
	case method == methodGuest:
		m.Err = &vmhost.GuestError{Code: f.text(maxCode), Message: f.text(maxText)}
	case method == methodRefused:
		m.Err = &vmhost.RefusedError{Section: f.text(maxSection), Offset: f.i64(), Detail: f.text(maxText)}
	case method == methodBudget:
		budget := &vmhost.BudgetError{Budget: vmhost.Budget(f.text(maxBudget)), Used: f.i64(), Allowed: f.i64()}
		if !budget.Budget.InVM() || budget.Used <= budget.Allowed {
			f.bad = true
		}
		m.Err = budget
	case int(method) < len(faultKinds) && faultKinds[method] != nil:
		m.Err = &remoteError{kind: faultKinds[method], text: f.text(maxText)}
	default:
		return Fault{}, Broken("error of kind %d", method)
	}
	return m, f.end("error")
}

// remoteError is an error that the other side had: its words and its kind.
type remoteError struct {
	kind error
	text string
}

func (e *remoteError) Error() string {
	if e.text == "" {
		return e.kind.Error()
	}
	return fmt.Sprintf("cell: %s", e.text)
}

func (e *remoteError) Unwrap() error { return e.kind }
