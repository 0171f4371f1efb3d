package knowledge

import (
	"errors"
	"fmt"
	"time"
)

// Kinds of error. Every error of a [Store], an [Embedder] or the engine that
// a caller can act upon wraps one of these; test with [errors.Is]. Anything
// else is an internal fault whose text must not reach a client.
var (
	// ErrInvalid: the request can never succeed as it is. Its text may be
	// shown to the client; see [InvalidError].
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such thing for this tenant. What another tenant owns
	// is not found either.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the request contradicts the present state, such as
	// another definition under the same name.
	ErrConflict = errors.New("conflict")
	// ErrPrecondition: a condition that the request makes is not met.
	ErrPrecondition = errors.New("precondition failed")
	// ErrForbidden: the credential is good but may not do this.
	ErrForbidden = errors.New("forbidden")
	// ErrLimit: a budget of the tenant or of the node is used up; the same
	// request may succeed later.
	ErrLimit = errors.New("limit reached")
	// ErrUnavailable: something that the request needs cannot be reached
	// now; the same request may succeed later.
	ErrUnavailable = errors.New("unavailable")
)

// InvalidError says what is wrong with which part of a request. Its text is made
// for the client.
type InvalidError struct {
	Field  string // path of the part, such as "records[3].vector[7]"; empty when it is the whole
	Detail string // what is wrong, the limit and what is needed, without the request's own data
}

// Invalid returns an [InvalidError] about field with a formatted detail.
func Invalid(field, format string, args ...any) *InvalidError {
	return &InvalidError{Field: field, Detail: fmt.Sprintf(format, args...)}
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return e.Detail
	}
	return e.Field + ": " + e.Detail
}

// Is reports that an InvalidError is of the kind [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// At returns err with prefix before its field if it is an [InvalidError],
// so that a part can be checked without knowing where it stands. Other errors
// are returned as they are.
func At(prefix string, err error) error {
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	switch {
	case invalid.Field == "":
		return &InvalidError{Field: prefix, Detail: invalid.Detail}
	case invalid.Field[0] == '[':
		return &InvalidError{Field: prefix + invalid.Field, Detail: invalid.Detail}
	default:
		return &InvalidError{Field: prefix + "." + invalid.Field, Detail: invalid.Detail}
	}
}

// ConflictError says which part of a request contradicts what is there. Its text
// is made for the client.
type ConflictError struct {
	Field  string // path of the part, as of an [InvalidError]
	Detail string
}

// Conflict returns a [ConflictError] about field with a formatted detail.
func Conflict(field, format string, args ...any) *ConflictError {
	return &ConflictError{Field: field, Detail: fmt.Sprintf(format, args...)}
}

func (e *ConflictError) Error() string { return e.Field + ": " + e.Detail }

// Is reports that a ConflictError is of the kind [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// NotFoundError names what there is none of, for this tenant. Its Kind may be
// shown to the client; it is the same for what nobody has and for what another
// tenant has.
type NotFoundError struct {
	Kind string // "collection", "record", "plugin", …
	Name string // as the request gave it
}

// NotFound returns a [NotFoundError].
func NotFound[S ~string](kind string, name S) *NotFoundError {
	return &NotFoundError{Kind: kind, Name: string(name)}
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no %s %q", e.Kind, e.Name) }

// Is reports that a NotFoundError is of the kind [ErrNotFound].
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// LimitError names the budget that is used up. Its text may be shown to the
// client: it must tell nothing of other tenants.
type LimitError struct{ Budget string }

// Limit returns a [LimitError]; budget is a sentence about it.
func Limit(budget string) *LimitError { return &LimitError{budget} }

func (e *LimitError) Error() string { return e.Budget }

// Is reports that a LimitError is of the kind [ErrLimit].
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// UnavailableError says what could not be had. Its text is made for the client.
type UnavailableError struct {
	Reason     string
	RetryAfter time.Duration // when to try again; 0: not known
}

// Unavailable returns an [UnavailableError]; reason is a sentence.
func Unavailable(reason string) *UnavailableError { return &UnavailableError{Reason: reason} }

func (e *UnavailableError) Error() string { return e.Reason }

// Is reports that an UnavailableError is of the kind [ErrUnavailable].
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }
