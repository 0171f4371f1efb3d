package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
)

// stream is how soon events come.
type stream struct {
	Query   string  `json:"query"`
	First   float64 `json:"first_event_ms"` // median, from the request to the matches
	Done    float64 `json:"done_ms"`        // median
	Samples int     `json:"samples"`
	Errors  int     `json:"errors"`
}

// String is the figures as they are printed.
func (s stream) String() string {
	return fmt.Sprintf("stream, %s: first event %.2f ms, done %.2f ms (n %d errors %d)", s.Query, s.First, s.Done, s.Samples, s.Errors)
}

const streamSynthesize = "synthesize"

// streams asks one after the other.
func (b bench) streams(ctx context.Context, questions []string) ([]stream, error) {
	var all []stream
	for _, x := range []struct {
		name    string
		plugins []any
	}{
		{"search", nil},
		{streamSynthesize, []any{plugin("cited", "synthesize")}},
	} {
		var first, done []float64
		s := stream{Query: x.name}
		end := time.Now().Add(b.effort.Lasts)
		for n := 0; time.Now().Before(end) || n < 20; n++ {
			f, d, err := b.events(ctx, queryOf(questions[n%len(questions)], 50, []string{manual}, x.plugins...))
			if ctx.Err() != nil {
				return all, ctx.Err()
			}
			if err != nil {
				s.Errors++
				continue
			}
			first, done = append(first, rig.Milliseconds(f)), append(done, rig.Milliseconds(d))
		}
		s.First, s.Done, s.Samples = rig.Round(rig.Median(first)), rig.Round(rig.Median(done)), len(first)
		all = append(all, s)
		fmt.Fprintln(b.log, s)
	}
	return all, nil
}

// events streams a query and returns when its first and its last event came.
func (b bench) events(ctx context.Context, body []byte) (first, done time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.server.Client.BaseURL+"/v1/query", bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	r.Header = http.Header{"Authorization": {"Bearer " + b.server.Client.Token}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
	start := time.Now()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		switch name, _ := strings.CutPrefix(lines.Text(), "event: "); name {
		case "matches":
			first = time.Since(start)
		case "done":
			done = time.Since(start)
		}
	}
	if first == 0 || done == 0 {
		return 0, 0, errors.Join(lines.Err(), errors.New("a stream without matches, or without an end"))
	}
	return first, done, nil
}
