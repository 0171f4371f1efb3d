package knowledge

import (
	"errors"
	"fmt"
)

// ErrStale: the request holds only for a version that is no longer the present
// one; read it again and decide anew.
var ErrStale = errors.New("not the present version")

// ConflictError says what of the present state a request contradicts. Its text is
// made for the client: it may name what the same tenant has.
type ConflictError struct{ Detail string }

// Conflict returns a [ConflictError] with a formatted detail.
func Conflict(format string, args ...any) *ConflictError {
	return &ConflictError{fmt.Sprintf(format, args...)}
}

func (e *ConflictError) Error() string { return e.Detail }

// Is reports that a ConflictError is of the kind [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// ForbiddenError says what a good credential, or a name, may not be used for. Its
// text is made for the client.
type ForbiddenError struct{ Detail string }

// Forbidden returns a [ForbiddenError] with a formatted detail.
func Forbidden(format string, args ...any) *ForbiddenError {
	return &ForbiddenError{fmt.Sprintf(format, args...)}
}

func (e *ForbiddenError) Error() string { return e.Detail }

// Is reports that a ForbiddenError is of the kind [ErrForbidden].
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }
