package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/knowledge"
)

// guard lets a request through to its operation's handler once all that can be
// known without the body is known to be good. Authentication comes first: nobody
// without a key makes the server look any further. What comes of it goes to the audit
// log, here and nowhere else.
func (s *Server) guard(op *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set(keyOperation, op)
			ctx, cancel := context.WithTimeout(c.Request().Context(), op.total)
			defer cancel()
			return s.audited(c, op, func() error { return s.admit(ctx, c, op) }, next)
		}
	}
}

// admit finds out who asks and whether they may, and prepares the request for its
// handler.
func (s *Server) admit(ctx context.Context, c echo.Context, op *operation) error {
	ctx, err := s.authenticated(ctx, c, op)
	if err != nil {
		return err
	}
	c.SetRequest(c.Request().WithContext(ctx))
	if err := checkParameters(c, op); err != nil {
		return err
	}
	if err := boundBody(c, op); err != nil {
		return err
	}
	c.SetRequest(withSent(c.Request(), op))
	return nil
}

// checkParameters holds the path's and the query's parameters against
// openapi.yaml, and refuses those that it does not name, and repeated ones.
func checkParameters(c echo.Context, op *operation) error {
	r := c.Request()
	queries, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return knowledge.Invalid("", "the query string is not well-formed")
	}
	for name, values := range queries {
		if !op.queries[name] {
			return knowledge.Invalid("", "the query string has a parameter that this operation does not take")
		}
		if len(values) > 1 {
			return knowledge.Invalid(name, "is given %d times; need it once", len(values))
		}
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, QueryParams: queries, PathParams: map[string]string{},
		Options: &openapi3filter.Options{SkipSettingDefaults: true},
	}
	for i, name := range c.ParamNames() {
		value := c.ParamValues()[i]
		if r.URL.RawPath != "" {
			if value, err = url.PathUnescape(value); err != nil {
				return knowledge.Invalid(name, "is not well-formed percent-encoding")
			}
		}
		input.PathParams[name] = value
	}
	for _, p := range op.parameters {
		if err := openapi3filter.ValidateParameter(r.Context(), input, p); err != nil {
			return parameterError(p, err)
		}
	}
	return nil
}

// parameterError turns the validator's error into ours. Only the reason that it
// gives for a schema is used, for its other texts repeat the value.
func parameterError(p *openapi3.Parameter, err error) error {
	var schema *openapi3.SchemaError
	if errors.As(err, &schema) {
		return knowledge.Invalid(p.Name, "%s", schema.Reason)
	}
	return knowledge.Invalid(p.Name, "is not a valid %s", strings.Join(p.Schema.Value.Type.Slice(), " or "))
}

// boundBody checks what the header says of the body, and bounds what is read of
// it in size and time.
func boundBody(c echo.Context, op *operation) error {
	r := c.Request()
	control := http.NewResponseController(c.Response())
	// A connection that cannot have deadlines is one of a test.
	_ = control.SetWriteDeadline(time.Now().Add(op.total + 30*time.Second))
	if len(op.mediaTypes) == 0 {
		return nil
	}
	if err := checkMediaType(r.Header, op); err != nil {
		return &mediaTypeError{op.mediaTypes}
	}
	if op.stream {
		r.Body = arriving{trickling{r.Body, control, op.read}}
		return nil
	}
	if r.ContentLength > op.body {
		return &http.MaxBytesError{Limit: op.body}
	}
	_ = control.SetReadDeadline(time.Now().Add(op.read)) // net/http lifts it at the body's end
	r.Body = arriving{http.MaxBytesReader(c.Response().Writer, r.Body, op.body)}
	return nil
}

// checkMediaType refuses a body of another type than the operation's, in another
// encoding than UTF-8 unless its handler converts it, or compressed, unless it is a
// stream, whose handler unpacks it: a compressed body has no size that could be
// checked before it is unpacked.
func checkMediaType(h http.Header, op *operation) error {
	switch encoding := strings.ToLower(strings.Join(h.Values("Content-Encoding"), ",")); {
	case encoding == "", encoding == "identity", op.stream && (encoding == "gzip" || encoding == "zstd"):
	default:
		return errMediaType
	}
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return errMediaType
	}
	got, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || !slices.Contains(op.mediaTypes, got) {
		return errMediaType
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") && !op.charsets {
		return errMediaType
	}
	if strings.HasPrefix(got, "multipart/") && parameters["boundary"] == "" {
		return errMediaType
	}
	return nil
}

// mediaTypeError is [errMediaType] with the types that would do.
type mediaTypeError struct{ some []string }

func (e *mediaTypeError) Error() string {
	return "Content-Type: need one of " + strings.Join(e.some, ", ") + ", and a body in UTF-8, not compressed"
}

// Is implements the interface of [errors.Is].
func (e *mediaTypeError) Is(target error) bool { return target == errMediaType }

// trickling is a body of any size: each read has so long to bring something.
type trickling struct {
	io.ReadCloser
	control *http.ResponseController
	each    time.Duration
}

func (t trickling) Read(p []byte) (int, error) {
	_ = t.control.SetReadDeadline(time.Now().Add(t.each)) // a connection that cannot have deadlines is one of a test
	return t.ReadCloser.Read(p)
}

// arriving is a body on its way. It gives the errors of a connection, which
// net/http does not type, kinds that the error table knows.
type arriving struct{ io.ReadCloser }

func (a arriving) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &tooLarge):
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, errSlowBody
	default:
		return n, knowledge.Invalid("", "the body did not arrive whole")
	}
}

// binder reads JSON bodies for package oapi.
type binder struct{}

// Bind implements echo.Binder.
func (binder) Bind(into any, c echo.Context) error {
	b, ok := into.(body.Body)
	if !ok {
		return errors.New("openapi.yaml has a body that package body cannot read; see api/oapi/overlay.yaml")
	}
	members, err := body.DecodeNaming(c.Request().Body, b)
	n := &sentBy(c.Request().Context()).notes
	n.details = append(n.details, members...)
	return err
}
