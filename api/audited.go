package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// auditLog is where events go.
type auditLog interface {
	// Record returns once the event is kept.
	Record(ctx context.Context, owner knowledge.TenantID, e audit.Event) error
	// Note takes an event that is kept a little later.
	Note(ctx context.Context, owner knowledge.TenantID, e audit.Event) error
}

// audited says what x-audit of an operation does.
type audited struct {
	object string // its kind
	wait   bool   // the answer waits until the event is kept
}

const (
	// keepPatience bounds how long an answer waits for its event.
	keepPatience = 5 * time.Second
	// notePatience bounds how long a request waits to leave its event, when too many wait
	// already.
	notePatience = 250 * time.Millisecond
	// outcomeCut is that of an answer which was begun and not ended.
	outcomeCut = "cut"
)

// errPanic is what became of a handler that did not return. It has no kind: an internal
// error.
var errPanic = errors.New("the handler did not return")

// errNotKept is the answer to a change that is made, but not in the audit log.
func errNotKept() error {
	return knowledge.Unavailable("the audit log cannot be written; what was asked for is done, or will be, but not confirmed")
}

// audited lets an operation be carried out and notes it in the audit log, if it is one
// that is noted, or was refused to somebody who is known. admit says whether it may be;
// next carries it out and answers.
//
// An operation whose answer waits is answered into memory first. So whoever has the answer
// knows that the event is kept; when it cannot be, the answer is an error.
func (s *Server) audited(c echo.Context, op *operation, admit func() error, next echo.HandlerFunc) error {
	err, noted := errPanic, false
	defer func() {
		if !noted {
			s.note(c, op, err)
		}
	}()
	run := func(do func() error) error { // errPanic stands until do returns
		err = errPanic
		err = do()
		return err
	}
	if run(admit) != nil {
		return err
	}
	if op.audit == nil || !op.audit.wait {
		return run(func() error { return next(c) })
	}
	answer, release := hold(c)
	defer release()
	if run(func() error { return next(c) }) != nil {
		return err
	}
	noted = true
	release()
	if err := s.record(c, op, answer.code); err != nil {
		s.log.ErrorContext(c.Request().Context(), "an answer waits for the audit log", "request_id", c.Get(keyRequestID), "operation", op.id, "error", err)
		return errNotKept()
	}
	return answer.send(c.Response())
}

// note leaves the event of an operation that ended in err, or well. It is lost only when
// the log is full, which it is not while the database works.
func (s *Server) note(c echo.Context, op *operation, err error) {
	status, outcome := outcomeOf(c.Response(), err)
	caller := callerOf(c)
	if caller == nil || op.audit == nil && status != http.StatusForbidden {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), notePatience)
	defer cancel()
	e := eventOf(c, op, status, outcome)
	for _, owner := range ownersOf(c, op, status) {
		if err := s.services.AuditLog.Note(ctx, owner, e); err != nil {
			s.log.LogAttrs(ctx, slog.LevelError, "an event of the audit log is lost", slog.String("tenant", string(owner)),
				slog.String("operation", op.id), slog.String("actor", e.Actor), slog.String("request_id", e.RequestID), slog.Int("status", status))
		}
	}
}

// record returns once the event of an operation that ended well is kept.
func (s *Server) record(c echo.Context, op *operation, status int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), keepPatience) // it is done, whoever has gone
	defer cancel()
	e := eventOf(c, op, status, audit.OutcomeOK)
	for _, owner := range ownersOf(c, op, status) {
		if err := s.services.AuditLog.Record(ctx, owner, e); err != nil {
			return err
		}
	}
	return nil
}

// outcomeOf is what became of an operation.
func outcomeOf(r *echo.Response, err error) (status int, outcome string) {
	switch {
	case err == nil:
		return r.Status, audit.OutcomeOK
	case r.Committed:
		return r.Status, outcomeCut
	}
	st := statusOf(kindOfHTTP(err))
	return st.code, st.name
}

// ownersOf are those in whose logs an event is: the tenant of the key, or the operator,
// and with it the tenant that was changed.
func ownersOf(c echo.Context, op *operation, status int) []knowledge.TenantID {
	caller := callerOf(c)
	if caller.Tenant != "" {
		return []knowledge.TenantID{caller.Tenant}
	}
	owners := []knowledge.TenantID{audit.Operator}
	if op.audit == nil || status >= http.StatusBadRequest { // it may not be there
		return owners
	}
	tenant := parameterOf(c, "tenant")
	if n := notesOf(c); op.audit.object == kindTenant && n != nil {
		tenant = n.made
	}
	if id, err := knowledge.ParseTenantID(tenant); err == nil {
		owners = append(owners, id)
	}
	return owners
}

const kindTenant = "tenant"

// eventOf is the event of an operation. Of the path it has what openapi.yaml admits, of the
// body the names that the handler and package body noted.
func eventOf(c echo.Context, op *operation, status int, outcome string) audit.Event {
	r := c.Request()
	e := audit.Event{
		At: time.Now(), Actor: callerOf(c).KeyID, Remote: r.RemoteAddr, Operation: op.id, Status: status, Outcome: outcome,
	}
	e.RequestID, _ = c.Get(keyRequestID).(string)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		e.Remote = host
	}
	var names []string
	if checkParameters(c, op) == nil {
		for _, name := range c.ParamNames() {
			names = append(names, parameterOf(c, name))
		}
	}
	if n := notesOf(c); n != nil {
		if n.made != "" {
			names = append(names, n.made)
		}
		e.Details = n.details
	}
	if op.audit != nil {
		e.Kind = op.audit.object
		if e.Kind == kindTenant && len(names) == 0 {
			names = append(names, string(callerOf(c).Tenant))
		}
	}
	e.Name = tenancy.HideTokens(strings.Join(names, "/"))
	if own, ok := bearer(r.Header); ok { // the operator's has no form of its own
		e.Name = strings.ReplaceAll(e.Name, own, "…")
	}
	return e
}

// parameterOf is a parameter of the path; empty when there is none.
func parameterOf(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath != "" {
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
	}
	return value
}

// notes is what a request tells the audit log of its body. Names and ids alone may be put
// here, never texts, nor anything that is secret.
type notes struct {
	made    string // name of what was made, which the path does not have
	details []string
}

func notesOf(c echo.Context) *notes {
	if s, ok := c.Request().Context().Value(sentKey{}).(*sent); ok {
		return &s.notes
	}
	return nil // refused before
}

// madeNamed notes the name of what a request made.
func madeNamed(ctx context.Context, name string) { sentBy(ctx).notes.made = name }

// detailed notes a name that a request gave, such as "version=3".
func detailed(ctx context.Context, member, name string) {
	n := &sentBy(ctx).notes
	n.details = append(n.details, member+"="+name)
}

// heldAnswer is an answer in memory.
type heldAnswer struct {
	under  http.ResponseWriter // of the connection
	header http.Header
	code   int
	body   bytes.Buffer
}

// hold lets what follows answer into memory, until release, which may be called again.
func hold(c echo.Context) (answer *heldAnswer, release func()) {
	real := c.Response()
	answer = &heldAnswer{under: real, header: http.Header{}}
	c.SetResponse(echo.NewResponse(answer, c.Echo()))
	return answer, func() { c.SetResponse(real) }
}

// Header implements [http.ResponseWriter].
func (a *heldAnswer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *heldAnswer) WriteHeader(code int) { a.code = code }

// Write implements [http.ResponseWriter].
func (a *heldAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }

// Unwrap is for [http.ResponseController].
func (a *heldAnswer) Unwrap() http.ResponseWriter { return a.under }

// send gives the answer to its client.
func (a *heldAnswer) send(w http.ResponseWriter) error {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.code)
	_, err := a.body.WriteTo(w)
	return err
}
