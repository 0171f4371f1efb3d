package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// Keys of the values that a request carries in its echo.Context.
const (
	keyRequestID = "request_id"
	keyOperation = "operation" // *operation
	keyCaller    = "caller"    // *tenancy.Principal
)

// observe gives each request an id, writes the problem if there is one, and then
// logs and counts the request. Neither header values nor bodies are logged, and
// of the path only the route.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		id := requestID(c.Request().Header.Get(echo.HeaderXRequestID))
		c.Set(keyRequestID, id)
		header := c.Response().Header()
		header.Set(echo.HeaderXRequestID, id)
		header.Set(echo.HeaderXContentTypeOptions, "nosniff")
		header.Set(echo.HeaderCacheControl, "no-store")
		done := s.metrics.begin()
		defer func() { // also when fail cuts the connection by a panic
			took := time.Since(start)
			done(operationID(c), c.Response().Status, took)
			s.access(c, took)
		}()
		if err := recovered(next, c); err != nil {
			c.Error(err)
		}
		return nil
	}
}

func (s *Server) access(c echo.Context, took time.Duration) {
	attributes := []slog.Attr{
		slog.String("request_id", c.Get(keyRequestID).(string)),
		slog.String("operation", operationID(c)),
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.Int("status", c.Response().Status),
		slog.Int64("bytes", c.Response().Size),
		slog.Duration("took", took),
		slog.String("remote", c.Request().RemoteAddr),
	}
	if p := callerOf(c); p != nil {
		attributes = append(attributes, slog.String("tenant", string(p.Tenant)), slog.String("key", p.KeyID))
	}
	s.log.LogAttrs(c.Request().Context(), slog.LevelInfo, "request", attributes...)
}

// operationID names the operation that a request was for, or "none".
func operationID(c echo.Context) string {
	if op, ok := c.Get(keyOperation).(*operation); ok {
		return op.id
	}
	return "none"
}

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// recovered calls next and returns its panic as an error. Once the answer has
// begun nothing can mend it: then the connection is cut, so that the client does
// not take a part for the whole.
func recovered(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if aborted, ok := value.(error); ok && errors.Is(aborted, http.ErrAbortHandler) {
			panic(value)
		}
		err = &panicError{value, debug.Stack()}
	}()
	return next(c)
}

// requestID returns the id that the client chose if it is fit for logs and
// headers: 1 to 64 letters, digits, dots, underscores and dashes. Else it makes
// one.
func requestID(chosen string) string {
	if len(chosen) < 1 || len(chosen) > 64 {
		return rand.Text()
	}
	const fit = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if strings.Trim(chosen, fit) != "" {
		return rand.Text()
	}
	return chosen
}
