package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// problem is an error in JSON, as in RFC 9457.
type problem struct {
	Type      string          `json:"type"`
	Title     string          `json:"title"`
	Status    int             `json:"status"`
	Detail    string          `json:"detail,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Budget    *oapi.BudgetUse `json:"budget,omitempty"`
	Errors    []fieldError    `json:"errors,omitempty"`
	RequestID string          `json:"request_id"`
}

type fieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

const problemType = "application/problem+json"

func (s status) problem(requestID string) problem {
	return problem{Type: "/problems/" + s.name, Title: s.title, Status: s.code, Reason: s.reason, RequestID: requestID}
}

// fail answers a request that ended in err. It is the only place that does, and
// the one that logs what no client may read.
func (s *Server) fail(err error, c echo.Context) {
	err = kindOfHTTP(err)
	st := statusOf(err)
	requestID, _ := c.Get(keyRequestID).(string)
	if st.code >= http.StatusInternalServerError {
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed",
			slog.String("request_id", requestID), slog.String("operation", operationID(c)),
			slog.Int("status", st.code), slog.String("error", err.Error()))
	}
	if c.Response().Committed {
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	p := st.problem(requestID)
	explain(&p, err)
	header := c.Response().Header()
	var lack *knowledge.UnavailableError
	if st.retry > 0 && errors.As(err, &lack) && lack.RetryAfter > 0 {
		st.retry = int((lack.RetryAfter + time.Second - 1) / time.Second)
	}
	if st.retry > 0 {
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(st.retry))
	}
	if st.code == http.StatusUnauthorized {
		header.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	_ = writeProblem(c.Response(), st.code, p) // an error means that the client has gone
}

func writeProblem(w http.ResponseWriter, code int, p any) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	w.Header().Set(echo.HeaderContentType, problemType)
	w.WriteHeader(code)
	_, err = w.Write(text)
	return err
}

// kindOfHTTP gives the errors of net/http and echo kinds of ours.
func kindOfHTTP(err error) error {
	var (
		tooLarge *http.MaxBytesError
		echoed   *echo.HTTPError
	)
	switch {
	case errors.As(err, &tooLarge):
		return &tooLargeError{tooLarge.Limit}
	case !errors.As(err, &echoed):
		return err
	}
	switch echoed.Code {
	case http.StatusNotFound:
		return errNoRoute
	case http.StatusMethodNotAllowed:
		return errMethod
	case http.StatusBadRequest: // of a parameter, by package oapi; the guard finds it first
		return knowledge.Invalid("", "a parameter is not valid")
	}
	return err
}

// tooLargeError is [errTooLarge] with the limit.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the body is over %d bytes, the most that are allowed here", e.limit)
}

// Is implements the interface of [errors.Is].
func (e *tooLargeError) Is(target error) bool { return target == errTooLarge }
