package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
)

// StatusError is an answer with another status than 200. Its text has the
// server's own words and is for the operator's log, not for clients.
type StatusError struct {
	Status  int    // HTTP status
	Type    string // error.type of OpenAI's error object; empty when the server sent none
	Code    string // error.code, likewise
	Message string // what the server said, at most 300 bytes, without the API key
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	for _, part := range []string{e.Type, e.Code, e.Message} {
		if part != "" {
			text += ", " + part
		}
	}
	return text
}

// blamesInput reports whether the request itself was refused, so that another
// one may pass.
func (e *StatusError) blamesInput() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	default:
		return false
	}
}

// passes reports whether the same request may succeed later. A used-up quota
// has the status of a rate limit but does not pass by waiting.
func (e *StatusError) passes() bool {
	return e.Status == http.StatusTooManyRequests && e.Code != "insufficient_quota" && e.Type != "insufficient_quota" ||
		e.Status >= 500
}

// passingError marks a failure after which another attempt makes sense.
type passingError struct {
	err        error
	retryAfter string // header of that name; may be empty
}

func (e *passingError) Error() string { return e.err.Error() }

func (e *passingError) Unwrap() error { return e.err }

// parseStatusError reads what can be read of an error answer. Servers differ:
// OpenAI sends an object under "error", others a string there or under
// "message" or "detail", and proxies send HTML.
func parseStatusError(status int, body []byte, key string) *StatusError {
	var answer struct {
		Error   json.RawMessage `json:"error"`
		Message any             `json:"message"`
		Detail  any             `json:"detail"`
	}
	var object struct {
		Message any `json:"message"`
		Type    any `json:"type"`
		Code    any `json:"code"`
	}
	e := &StatusError{Status: status}
	if json.Unmarshal(body, &answer) != nil {
		e.Message = clean(string(body), key)
		return e
	}
	if json.Unmarshal(answer.Error, &object) == nil {
		e.Message, e.Type, e.Code = clean(object.Message, key), clean(object.Type, key), clean(object.Code, key)
		return e
	}
	var text string
	_ = json.Unmarshal(answer.Error, &text) // stays empty if it is neither
	for _, candidate := range []any{text, answer.Message, answer.Detail} {
		if e.Message = clean(candidate, key); e.Message != "" {
			break
		}
	}
	return e
}

// clean returns a value that a server sent as one short line without the key.
func clean(value any, key string) string {
	if value == nil {
		return ""
	}
	const most = 300
	text := fmt.Sprint(value)
	if key != "" {
		text = strings.ReplaceAll(text, key, "[API key]")
	}
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
