package api

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge/query"
)

// wantsEvents reports whether the client asks for an answer in server-sent events.
func wantsEvents(ctx context.Context) bool {
	for _, header := range sentBy(ctx).header.Values("Accept") {
		for one := range strings.SplitSeq(header, ",") {
			if got, _, err := mime.ParseMediaType(one); err == nil && got == "text/event-stream" {
				return true
			}
		}
	}
	return false
}

// VisitQueryResponse implements [oapi.QueryResponseObject].
func (e events) VisitQueryResponse(w http.ResponseWriter) error { return e(&eventWriter{w: w}) }

// streamQuery answers a query by an event for each part, as it comes.
func (s *Server) streamQuery(ctx context.Context, q query.Query) events {
	return func(to *eventWriter) error {
		tenant := tenantOf(ctx)
		leave, err := s.streams.enter(tenant)
		if err != nil {
			return err
		}
		defer leave()
		ctx, cancel := s.streams.bound(ctx)
		defer cancel()
		w := &partWriter{to: to}
		defer w.beat(s.heartbeat)()
		answer, err := s.services.Engine.Stream(ctx, tenant, q, w.part)
		begun := w.end()
		if err == nil {
			return to.event("done", restOut(answer))
		}
		if !begun {
			return err // as of any request
		}
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // nobody reads it
		}
		return to.event("error", s.itemProblem(ctx, err))
	}
}

// partWriter writes the parts of an answer, with comments in between when there
// is nothing for long. Safe for concurrent use.
type partWriter struct {
	mu   sync.Mutex
	to   *eventWriter
	over bool
}

// part writes one part.
func (w *partWriter) part(p query.Part) error {
	switch {
	case p.Matches != nil:
		return w.event("matches", map[string]any{"matches": each(p.Matches.Matches, candidateOut), "score_kind": p.Matches.ScoreKind})
	case p.Result != nil:
		return w.event("result", resultOut(*p.Result))
	case p.Missing != nil:
		return w.event("missing", missingOut(*p.Missing))
	default:
		return w.event("receipt", callReceiptOut(*p.Receipt))
	}
}

func (w *partWriter) event(name string, document any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.event(name, document)
}

// end keeps further comments back and reports whether something was written.
func (w *partWriter) end() (begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	return w.to.begun
}

// beat writes a comment each time so long has passed, until stop is called, which
// waits for the end of it.
func (w *partWriter) beat(each time.Duration) (stop func()) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(each)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			w.mu.Lock()
			if !w.over {
				_ = w.to.comment("heartbeat") // the next part meets the same error
			}
			w.mu.Unlock()
		}
	})
	return func() {
		close(done)
		beating.Wait()
	}
}

// rest is what an answer has beside what comes in events of its own.
type rest struct {
	Plans  []oapi.LegPlan    `json:"plans"`
	Stages *[]oapi.StagePlan `json:"stages,omitempty"`
	Cache  *oapi.CacheUse    `json:"cache,omitempty"`
	TookMs float64           `json:"took_ms"`
}

func restOut(a query.Answer) rest {
	out := rest{Plans: each(a.Plans, legPlanOut), TookMs: milliseconds(a.Took)}
	if a.Cache != nil {
		out.Cache = &oapi.CacheUse{Hit: a.Cache.Hit}
		if a.Cache.Hit {
			age := milliseconds(a.Cache.Age)
			out.Cache.AgeMs, out.Cache.Distance = &age, &a.Cache.Distance
		}
	}
	if a.Stages != nil {
		stages := each(a.Stages, stageOut)
		out.Stages = &stages
	}
	return out
}
