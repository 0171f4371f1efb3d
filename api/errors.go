package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/vmhost" // for its kinds alone: an upload ends in a cell, whose refusals are the module owner's to read
)

// Kinds of error that only HTTP has.
var (
	errNoRoute    = errors.New("no such path")
	errMethod     = errors.New("no such method")
	errSlowBody   = errors.New("the body arrived too slowly")
	errMediaType  = errors.New("the body has the wrong type")
	errTooLarge   = errors.New("the body is too large")
	errHeaderSize = errors.New("the header is too large")
)

// statusGone is what a request is logged with whose client has gone away. No
// client sees it.
const statusGone = 499

// status is how a kind of error looks to a client.
type status struct {
	kind   error
	code   int
	name   string // last part of the problem's type
	title  string
	reason string // why a plugin failed
	retry  int    // seconds, for Retry-After; 0: none
}

// statuses is the one table from kinds of error to answers. The first kind that
// an error is of decides. An error of none is internal.
func statuses() []status {
	return []status{
		{kind: tenancy.ErrUnauthenticated, code: http.StatusUnauthorized, name: "unauthenticated", title: "Not authenticated"},
		{kind: errNoRoute, code: http.StatusNotFound, name: "no-such-path", title: "No such path"},
		{kind: errMethod, code: http.StatusMethodNotAllowed, name: "method-not-allowed", title: "Method not allowed"},
		{kind: errSlowBody, code: http.StatusRequestTimeout, name: "request-timeout", title: "Request body too slow"},
		{kind: errTooLarge, code: http.StatusRequestEntityTooLarge, name: "too-large", title: "Request body too large"},
		{kind: errMediaType, code: http.StatusUnsupportedMediaType, name: "unsupported-media-type", title: "Unsupported media type"},
		{kind: errHeaderSize, code: http.StatusRequestHeaderFieldsTooLarge, name: "header-too-large", title: "Request header too large"},

		{kind: knowledge.ErrRunning, code: http.StatusConflict, name: "request-running", title: "Request is running", retry: 1},
		{kind: knowledge.ErrReused, code: http.StatusUnprocessableEntity, name: "idempotency-key-reused", title: "Idempotency key reused"},

		{kind: knowledge.ErrInvalid, code: http.StatusBadRequest, name: "invalid", title: "Invalid request"},
		{kind: knowledge.ErrForbidden, code: http.StatusForbidden, name: "forbidden", title: "Forbidden"},
		{kind: knowledge.ErrNotFound, code: http.StatusNotFound, name: "not-found", title: "Not found"},
		{kind: knowledge.ErrPrecondition, code: http.StatusPreconditionFailed, name: "precondition-failed", title: "Precondition failed"},
		{kind: knowledge.ErrConflict, code: http.StatusConflict, name: "conflict", title: "Conflict"},
		{kind: knowledge.ErrLimit, code: http.StatusTooManyRequests, name: "limit", title: "Limit reached", retry: 1},
		{kind: knowledge.ErrUnavailable, code: http.StatusServiceUnavailable, name: "unavailable", title: "Unavailable", retry: 2},

		{kind: vmhost.ErrRefused, code: http.StatusUnprocessableEntity, name: "module-refused", title: "Module refused", reason: "refused"},
		{kind: vmhost.ErrDeadline, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "deadline"},
		{kind: vmhost.ErrCPU, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "cpu"},
		{kind: vmhost.ErrFuel, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "fuel"},
		{kind: vmhost.ErrHostBudget, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "host-budget"},
		{kind: vmhost.ErrMemory, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "memory"},
		{kind: vmhost.ErrTrapped, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "trapped"},
		{kind: vmhost.ErrOutput, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "output"},
		{kind: vmhost.ErrInput, code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: "input"},
		{kind: vmhost.ErrBusy, code: http.StatusTooManyRequests, name: "limit", title: "Limit reached", reason: "busy", retry: 1},
		{kind: vmhost.ErrCrashed, code: http.StatusServiceUnavailable, name: "plugin-crashed", title: "Plugin's machine died", reason: "crashed", retry: 1},
		{kind: vmhost.ErrQuarantined, code: http.StatusConflict, name: "plugin-quarantined", title: "Plugin in quarantine", reason: "quarantined"},
		{kind: vmhost.ErrUnavailable, code: http.StatusServiceUnavailable, name: "unavailable", title: "Unavailable", reason: "unavailable", retry: 2},

		{kind: context.DeadlineExceeded, code: http.StatusGatewayTimeout, name: "timeout", title: "Timeout"},
		{kind: context.Canceled, code: statusGone, name: "client-gone", title: "Client gone"},
	}
}

// internal is the answer to an error of no kind.
func internal() status {
	return status{code: http.StatusInternalServerError, name: "internal", title: "Internal error"}
}

// statusOf returns how an error looks to a client.
func statusOf(err error) status {
	for _, s := range statuses() {
		if errors.Is(err, s.kind) {
			return s
		}
	}
	// A plugin's own failure that vmhost has no kind for: it returned an
	// error, or a document that is not of its capability.
	var plugin *query.PluginError
	if errors.As(err, &plugin) {
		return status{code: http.StatusUnprocessableEntity, name: "plugin-failed", title: "Plugin failed", reason: plugin.Reason}
	}
	return internal()
}

// explain adds to a problem what may be said of err. These types are the only
// ones whose text is made for clients; the text of any other stays in the log.
func explain(p *problem, err error) {
	var (
		invalid *knowledge.InvalidError
		denied  *knowledge.ForbiddenError
		wrong   *knowledge.FieldTypeError
		plugin  *query.PluginError
		refused *vmhost.RefusedError
		differs *knowledge.ConflictError
		unknown *knowledge.NotFoundError
		limit   *knowledge.LimitError
		lack    *knowledge.UnavailableError
		spent   *vmhost.BudgetError
		kept    *vmhost.QuarantinedError
		large   *tooLargeError
		other   *mediaTypeError
	)
	if errors.As(err, &spent) {
		p.Detail = spent.Error()
		p.Budget = &oapi.BudgetUse{Name: string(spent.Budget), Used: spent.Used, Allowed: spent.Allowed, Unit: spent.Budget.Unit()}
	}
	switch {
	case errors.As(err, &invalid):
		p.Detail = invalid.Error()
		p.Errors = []fieldError{{Field: invalid.Field, Detail: invalid.Detail}}
	case errors.As(err, &denied):
		p.Detail = denied.Error()
	case errors.As(err, &wrong):
		p.Detail = wrong.Error()
	case errors.As(err, &differs):
		p.Detail = differs.Error()
		p.Errors = []fieldError{{Field: differs.Field, Detail: differs.Detail}}
	case errors.As(err, &refused):
		p.Detail = refused.Error()
	case errors.As(err, &limit):
		p.Detail = limit.Error()
	case errors.As(err, &lack):
		p.Detail = lack.Error()
	case errors.As(err, &unknown):
		p.Detail = "there is no such " + unknown.Kind // without the name, so that every unknown id has the same answer
	case errors.As(err, &kept):
		p.Detail = kept.Error()
	case errors.As(err, &large):
		p.Detail = large.Error()
	case errors.As(err, &other):
		p.Detail = other.Error()
	case errors.As(err, &plugin):
		p.Detail, p.Reason = plugin.Error(), plugin.Reason
	}
}
