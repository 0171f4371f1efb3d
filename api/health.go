package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tars-project/tars/api/oapi"
)

// Check is one thing that must be in order for requests to be served. Run must
// obey its context, and be cheap and safe for concurrent use: anyone may ask.
type Check struct {
	Name string
	// Run returns what was found, such as the sandbox's grade, which
	// everyone may read; or an error, which is logged and not shown.
	Run func(ctx context.Context) (detail string, err error)
}

// checkTimeout is how long /readyz waits for a check.
const checkTimeout = 2 * time.Second

// GetLivez implements getLivez.
func (s *Server) GetLivez(context.Context, oapi.GetLivezRequestObject) (oapi.GetLivezResponseObject, error) {
	return oapi.GetLivez200JSONResponse{Status: oapi.Alive}, nil
}

// GetReadyz implements getReadyz.
func (s *Server) GetReadyz(ctx context.Context, _ oapi.GetReadyzRequestObject) (oapi.GetReadyzResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]oapi.Check, len(s.checks))
	var running sync.WaitGroup
	for i, check := range s.checks {
		running.Go(func() { results[i] = s.run(ctx, check) })
	}
	running.Wait()
	for _, r := range results {
		if !r.Ok {
			return notReady{results}, nil
		}
	}
	return oapi.GetReadyz200JSONResponse{Status: oapi.ReadinessStatusReady, Checks: results}, nil
}

func (s *Server) run(ctx context.Context, check Check) oapi.Check {
	detail, err := check.Run(ctx)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "check failed", slog.String("check", check.Name), slog.String("error", err.Error()))
		detail = "failing"
	}
	return oapi.Check{Name: check.Name, Ok: err == nil, Detail: given(detail)}
}

// notReady is the problem of /readyz, which says more than others.
type notReady struct{ checks []oapi.Check }

// VisitGetReadyzResponse writes the answer.
func (n notReady) VisitGetReadyzResponse(w http.ResponseWriter) error {
	st := status{code: http.StatusServiceUnavailable, name: "not-ready", title: "Not ready"}
	w.Header().Set(echo.HeaderRetryAfter, "1")
	return writeProblem(w, st.code, struct {
		problem
		Checks []oapi.Check `json:"checks"`
	}{st.problem(w.Header().Get(echo.HeaderXRequestID)), n.checks})
}
