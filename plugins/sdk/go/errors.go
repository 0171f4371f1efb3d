package tars

import (
	"errors"
	"strings"
)

// Codes of errors that the SDK itself makes. Plugins may use codes of their
// own: lower-case words joined by hyphens, at most 64 bytes.
const (
	CodeBadConfig   = "bad-config"  // the configuration does not fit the plugin
	CodeBadInput    = "bad-input"   // the input is no document of the capability
	CodeBadOutput   = "bad-output"  // the plugin's answer cannot be written as JSON, as with a score that is not a number
	CodeFailed      = "failed"      // the plugin returned an error that is no *Error
	CodePanic       = "panic"       // the plugin panicked
	CodeUnavailable = "unavailable" // there is no host, as in a native test
	CodeUnsupported = "unsupported" // the plugin lacks the capability, or the version of the documents
)

// Error is a failure as it crosses between plugin and host: what a plugin
// returns to fail with a code of its own, and what the host functions return.
type Error struct {
	Code    string // for programs
	Message string // for people; UTF-8, at most 4 KiB
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// asError finds the *Error in err, or makes one of it.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeFailed, Message: err.Error()}
	}
	return &Error{Code: strings.ToValidUTF8(e.Code, "\uFFFD"), Message: strings.ToValidUTF8(e.Message, "\uFFFD")}
}
