package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// events is an answer of server-sent events, which the function writes.
type events func(*eventWriter) error

// VisitWatchJobResponse implements [oapi.WatchJobResponseObject].
func (e events) VisitWatchJobResponse(w http.ResponseWriter) error { return e(&eventWriter{w: w}) }

// eventWriter writes server-sent events, each at once. The header goes with the first.
type eventWriter struct {
	w     http.ResponseWriter
	begun bool
}

// event writes an event with a document of one line.
func (e *eventWriter) event(name string, document any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return e.write(fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, text))
}

// comment writes what clients overlook.
func (e *eventWriter) comment(text string) error { return e.write([]byte(": " + text + "\n\n")) }

// eventPatience is how long a client may take to read an event.
const eventPatience = 30 * time.Second

func (e *eventWriter) write(text []byte) error {
	if !e.begun {
		e.begun = true
		e.w.Header().Set("Content-Type", "text/event-stream")
		e.w.Header().Set("X-Accel-Buffering", "no") // proxies that gather answers let this one through
		e.w.WriteHeader(http.StatusOK)
	}
	control := http.NewResponseController(e.w)
	// A connection that cannot have deadlines is one of a test.
	_ = control.SetWriteDeadline(time.Now().Add(eventPatience))
	if _, err := e.w.Write(text); err != nil {
		return context.Canceled // the client has gone, or does not read
	}
	if err := control.Flush(); err != nil {
		return context.Canceled
	}
	return nil
}

// mostStreams is how many streams of one tenant a server keeps open.
const mostStreams = 32

// streams are the answers that go on until somebody ends them. Safe for concurrent
// use.
type streams struct {
	mu     sync.Mutex
	open   map[knowledge.TenantID]int
	ended  chan struct{} // closed when the server stops
	ending sync.Once
}

func newStreams() *streams {
	return &streams{open: make(map[knowledge.TenantID]int), ended: make(chan struct{})}
}

// enter counts a stream, and returns what counts its end.
func (s *streams) enter(tenant knowledge.TenantID) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[tenant] >= mostStreams {
		return nil, knowledge.Limit(fmt.Sprintf("the tenant has %d streams open on this server, as many as it may", mostStreams))
	}
	s.open[tenant]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[tenant]--; s.open[tenant] == 0 {
			delete(s.open, tenant)
		}
	}, nil
}

// bound returns a context that ends when the server stops as well. The caller calls
// cancel, which waits for what watches over that.
func (s *streams) bound(ctx context.Context) (_ context.Context, cancel func()) {
	ctx, end := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-s.ended:
			end()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		end()
		watch.Wait()
	}
}

// end ends all streams, and those that come.
func (s *streams) end() { s.ending.Do(func() { close(s.ended) }) }
