package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// asker is a world with two notes, a plugin for all, and a token.
func asker(t *testing.T, change func(*Services, *Options)) (*world, string) {
	t.Helper()
	w := newWorld(t, change)
	token := w.tenant("acme")
	w.wantStatus("PUT", w.call("PUT", "/v1/collections/notes", token, `{}`), 201)
	w.wantStatus("records", w.call("POST", "/v1/collections/notes/records", token, `{"records":[{"id":"a","text":"the base backup of a cluster"},{"id":"b","text":"a backup of other words"}]}`), 200)
	w.wantStatus("upload", w.uploadGood(token), 201)
	w.wantStatus("alias", w.call("PUT", "/v1/plugins/cited/aliases/live", token, `{"version":1}`), 200)
	return w, token
}

const fullQuery = `{"text":"backup","legs":[{"collection":"notes"}],"explain":true,"deterministic":true,"seed":"s","unverified":"drop","plugins":[` +
	`{"name":"cited","capability":"guard","stage":"pre"},{"name":"cited","capability":"merge"},{"name":"cited","capability":"rank","group":"g","weight":2},` +
	`{"name":"cited","capability":"rank","group":"g"},{"name":"cited","capability":"guard"},{"name":"cited","capability":"synthesize"},{"name":"cited","capability":"synthesize"}]}`

// ssEvent is a server-sent event; a comment has no name.
type ssEvent struct{ name, data string }

// events asks for a query in events and returns them.
func (w *world) events(ctx context.Context, token, query string, header ...string) (*http.Response, []ssEvent) {
	w.t.Helper()
	r := w.request("POST", "/v1/query", token, strings.NewReader(query)).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json;q=0.1, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var all []ssEvent
	var one ssEvent
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "event: "):
			one.name = line[7:]
		case strings.HasPrefix(line, "data: "):
			one.data = line[6:]
		case strings.HasPrefix(line, ":"):
			all = append(all, ssEvent{data: line})
		case line == "" && one != ssEvent{}:
			all = append(all, one)
			one = ssEvent{}
		case line != "":
			one.data += line // a problem
		}
	}
	if (one != ssEvent{}) {
		all = append(all, one)
	}
	return response, all
}

// TestQueryStages: each stage is asked for in words of the contract, and shows in
// the answer ([world.do] holds it against openapi.yaml).
func TestQueryStages(t *testing.T) {
	w, token := asker(t, nil)
	got := w.call("POST", "/v1/query", token, fullQuery)
	w.wantStatus("query", got, 200)
	match := got.json["matches"].([]any)[0].(map[string]any)
	if match["redacted"] != true || match["reason"] != "the first" || !strings.HasPrefix(match["text"].(string), "[redacted] ") || len(got.json["matches"].([]any)) != 1 {
		t.Errorf("matches = %v, want the first alone, redacted, with the reason", got.json["matches"])
	}
	var stages []string
	for _, s := range got.json["stages"].([]any) {
		stages = append(stages, s.(map[string]any)["stage"].(string))
	}
	if want := "guard retrieve fuse merge rank guard limit synthesize"; strings.Join(stages, " ") != want {
		t.Errorf("stages = %v, want %s", stages, want)
	}
	if n := len(got.json["receipts"].([]any)); n != 7 {
		t.Errorf("%d receipts, want 7", n)
	}
	w.plugins.refuse = "no such questions"
	refused := w.call("POST", "/v1/query", token, fullQuery)
	w.wantStatus("query that a guard refuses", refused, 403)
	if refused.json["detail"] != "guard cited refused the query: no such questions" {
		t.Errorf("problem = %s, want the guard's words", refused.body)
	}
}

// TestQueryEvents: the events put together are the plain answer.
func TestQueryEvents(t *testing.T) {
	w, token := asker(t, nil)
	plain := w.call("POST", "/v1/query", token, fullQuery)
	response, events := w.events(t.Context(), token, fullQuery)
	if ct := response.Header.Get("Content-Type"); response.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("query = %d of type %q, want an event stream", response.StatusCode, ct)
	}
	whole := map[string]any{"results": []any{}, "missing": []any{}, "receipts": []any{}}
	byCall := map[string]map[int]any{"result": {}, "missing": {}, "receipt": {}}
	for i, e := range events {
		var document map[string]any
		if err := json.Unmarshal([]byte(e.data), &document); err != nil {
			t.Fatalf("event %+v is no document: %v", e, err)
		}
		switch e.name {
		case "matches", "done":
			for k, v := range document {
				whole[k] = v
			}
			if (e.name == "done") != (i == len(events)-1) {
				t.Errorf("%s is event %d of %d, want done last alone", e.name, i+1, len(events))
			}
		default:
			byCall[e.name][int(document["call"].(float64))] = document
		}
	}
	for name, list := range map[string]string{"result": "results", "missing": "missing", "receipt": "receipts"} {
		for call := range 7 {
			if document, ok := byCall[name][call]; ok {
				whole[list] = append(whole[list].([]any), document)
			}
		}
	}
	for _, a := range []map[string]any{whole, plain.json} { // the clock differs
		delete(a, "took_ms")
		for _, list := range []string{"plans", "stages"} {
			for _, one := range a[list].([]any) {
				delete(one.(map[string]any), "took_ms")
				delete(one.(map[string]any), "budget_ms")
			}
		}
	}
	if !reflect.DeepEqual(whole, plain.json) {
		t.Errorf("the events put together are %v, want %v", whole, plain.json)
	}
}

func TestQueryEventsRefused(t *testing.T) {
	w, token := asker(t, nil)
	for name, tc := range map[string]struct {
		query  string
		header []string
		status int
		want   string
	}{
		"unknown collection": {`{"text":"x","legs":[{"collection":"none"}]}`, nil, 404, "no such collection"},
		"bad body":           {`{"legs":[]}`, nil, 400, "legs"},
		"to be gone on with": {fullQuery, []string{"Last-Event-ID", "7"}, 400, "Last-Event-ID: is given"},
	} {
		response, events := w.events(t.Context(), token, tc.query, tc.header...)
		if response.StatusCode != tc.status || response.Header.Get("Content-Type") != problemType || len(events) != 1 || !strings.Contains(events[0].data, tc.want) {
			t.Errorf("%s: %d of type %q, %+v, want the problem %d with %q", name, response.StatusCode, response.Header.Get("Content-Type"), events, tc.status, tc.want)
		}
	}
}

// slow is an engine that gives its parts and waits for as long as it is told.
type slow struct {
	engine
	wait  func(ctx context.Context) error
	ended chan error
}

func (s slow) Stream(ctx context.Context, _ knowledge.TenantID, _ query.Query, emit func(query.Part) error) (query.Answer, error) {
	if err := emit(query.Part{Matches: &query.Matches{ScoreKind: query.ScoreMetric}}); err != nil {
		return query.Answer{}, err
	}
	err := s.wait(ctx)
	s.ended <- err
	return query.Answer{}, err
}

// TestQueryEventsFail: what fails once the stream has begun is its last event, and
// is told as much of as in a problem.
func TestQueryEventsFail(t *testing.T) {
	failures := map[string]error{
		`"status":503`: knowledge.ErrUnavailable, `"status":504`: context.DeadlineExceeded, `"status":500`: errors.New("secret 42"),
		`"detail":"plugin p: trapped: d"`: &query.PluginError{Plugin: "p", Reason: "trapped", Detail: "d"},
	}
	for want, failure := range failures {
		engine := slow{ended: make(chan error, 1), wait: func(context.Context) error { return failure }}
		w, token := asker(t, func(s *Services, _ *Options) { engine.engine = s.Engine; s.Engine = engine })
		_, events := w.events(t.Context(), token, fullQuery)
		if len(events) != 2 || events[0].name != "matches" || events[1].name != "error" || !strings.Contains(events[1].data, want) || strings.Contains(events[1].data, "secret") {
			t.Errorf("failing with %v: events %+v, want matches and an error with %s", failure, events, want)
		}
	}
}

func TestQueryHeartbeat(t *testing.T) {
	engine := slow{ended: make(chan error, 1), wait: func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }}
	w, token := asker(t, func(s *Services, o *Options) {
		engine.engine = s.Engine
		s.Engine, o.Heartbeat = engine, 10*time.Millisecond
	})
	_, events := w.events(t.Context(), token, fullQuery)
	if n := len(events); n < 3 || events[1] != (ssEvent{data: ": heartbeat"}) || events[n-1].name != "done" {
		t.Errorf("events %+v, want heartbeats between matches and done", events)
	}
}

// TestQueryEventsEnd: a client that goes, and a server that stops, end the query.
func TestQueryEventsEnd(t *testing.T) {
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, end := range map[string]func(*world, context.CancelFunc){
		"client goes":  func(_ *world, cancel context.CancelFunc) { cancel() },
		"server stops": func(w *world, _ context.CancelFunc) { w.server.streams.end() },
	} {
		engine := slow{ended: make(chan error, 1), wait: waits}
		w, token := asker(t, func(s *Services, _ *Options) { engine.engine = s.Engine; s.Engine = engine })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		r := w.request("POST", "/v1/query", token, strings.NewReader(fullQuery)).WithContext(ctx)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "text/event-stream")
		response, err := http.DefaultClient.Do(r) // returns with the first event
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(done)
			defer func() { _ = response.Body.Close() }()
			for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			}
		}()
		end(w, cancel)
		select {
		case err := <-engine.ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the query ended with %v, want Canceled", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the query goes on", name)
		}
		cancel()
		<-done
	}
}

func TestQueryBatch(t *testing.T) {
	w, token := asker(t, nil)
	got := w.call("POST", "/v1/query/batch", token, `{"timeout_ms":5000,"queries":[{"text":"backup","legs":[{"collection":"notes"}]},{"text":"x","legs":[{"collection":"none"}]}]}`)
	w.wantStatus("batch", got, 200)
	results := got.json["results"].([]any)
	answer, ok := results[0].(map[string]any)["answer"].(map[string]any)
	problem, failed := results[1].(map[string]any)["problem"].(map[string]any)
	if !ok || !failed || len(answer["matches"].([]any)) != 2 || problem["status"] != 404.0 {
		t.Errorf("batch = %s, want an answer and a problem 404", got.body)
	}
	w.wantStatus("none", w.call("POST", "/v1/query/batch", token, `{"queries":[]}`), 400)
	many := strings.Repeat(`{"text":"backup","legs":[{"collection":"notes"}],"limit":200},`, 50)
	w.wantStatus("too many matches", w.call("POST", "/v1/query/batch", token, `{"queries":[`+many+`{"text":"x","legs":[{"collection":"notes"}],"limit":1}]}`), 400)
}

// TestGuests: what plugins say in the words of this API.
func TestGuests(t *testing.T) {
	w, _ := asker(t, nil)
	g := Guests{Engine: w.services.Engine}
	answer, err := g.Search(t.Context(), "acme", []byte(`{"collection":"notes","text":"base","mode":"lexical","limit":1}`))
	if err != nil || !strings.Contains(string(answer), `"text":"the base backup of a cluster"`) {
		t.Errorf("Search = %s, %v, want the note", answer, err)
	}
	for request, want := range map[string]error{
		`{"text":"backup"}`: knowledge.ErrInvalid,
		`{"collection":"notes","text":"x","tenant":"o"}`:   knowledge.ErrInvalid,
		`{"collection":"none","text":"x"}`:                 knowledge.ErrNotFound,
		`{"collection":"notes","text":"x","limit":100000}`: knowledge.ErrInvalid,
		``: knowledge.ErrInvalid,
	} {
		if _, err := g.Search(t.Context(), "acme", []byte(request)); !errors.Is(err, want) {
			t.Errorf("Search of %s = %v, want %v", request, err, want)
		}
	}
	if _, err := g.Search(t.Context(), "other", []byte(`{"collection":"notes","text":"x"}`)); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Search of another tenant's collection = %v, want ErrNotFound", err)
	}
	const document = `{"and":[{"eq":"go","field":"lang"},{"not":{"field":"year","in":[1,2]}}]}`
	filter, err := g.ParseFilter([]byte(document))
	if err != nil || string(g.Filter(filter)) != document {
		t.Errorf("ParseFilter = %+v, %v, which is written %s, want %s", filter, err, g.Filter(filter), document)
	}
	if _, err := g.ParseFilter([]byte(`{"field":"lang"}`)); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("ParseFilter without an operator = %v, want ErrInvalid", err)
	}
}
