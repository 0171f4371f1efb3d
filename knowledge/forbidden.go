package knowledge

import "fmt"

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
