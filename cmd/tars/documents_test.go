package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// generation is a document of which each passage says, in its metadata, which writing
// of it it is of.
func generation(g int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Generation %d\n", g)
	for i := range 2 + g%4 {
		fmt.Fprintf(&b, "\n## Part %d\n\nThe words of part %d are those of number %d.\n", i, i, g)
	}
	return b.String()
}

// putDocument writes a document.
func putDocument(ctx context.Context, c *rest.Client, id, query, source string) (passages int, err error) {
	var out struct{ Document struct{ Passages int } }
	header := http.Header{"Content-Type": {"text/markdown"}}
	err = c.Put(ctx, "/v1/collections/c/documents/"+id+query, header, []byte(source), &out)
	return out.Document.Passages, err
}

func putGeneration(ctx context.Context, c *rest.Client, id string, g int) (passages int, err error) {
	return putDocument(ctx, c, id, fmt.Sprintf("?metadata=%%7B%%22generation%%22:%d%%7D", g), generation(g))
}

// passagesOf are the generations of the passages that a reader sees at one moment.
func passagesOf(ctx context.Context, c *rest.Client, search bool) ([]int, error) {
	type passage struct {
		Metadata struct{ Generation int }
	}
	var out struct{ Records, Matches []passage }
	filter := map[string]any{"field": "document", "eq": "d"}
	path, body := "/v1/collections/c/records/scroll", map[string]any{"filter": filter, "limit": 1000}
	if search {
		path, body = "/v1/collections/c/search", map[string]any{"text": "words of a part", "mode": "vector", "filter": filter, "limit": 1000}
	}
	if _, err := c.Do(ctx, http.MethodPost, path, body, &out); err != nil {
		return nil, err
	}
	var generations []int
	for _, p := range append(out.Records, out.Matches...) {
		generations = append(generations, p.Metadata.Generation)
	}
	return generations, nil
}

// wantWhole fails unless the passages are all of one generation, and returns which.
func wantWhole(t *testing.T, what string, generations []int, passages *sync.Map) int {
	t.Helper()
	if len(generations) == 0 {
		t.Errorf("%s: no passages, want those of a generation", what)
		return 0
	}
	for _, g := range generations {
		if g != generations[0] {
			t.Errorf("%s: passages of the generations %v, want of one", what, generations)
			return 0
		}
	}
	if want, ok := passages.Load(generations[0]); ok && want != len(generations) {
		t.Errorf("%s: %d passages of generation %d, want all %d", what, len(generations), generations[0], want)
	}
	return generations[0]
}

// TestDocumentIsReplacedAtOnce: what reads while a document is replaced, in one
// retrieval, sees all of one writing of it and nothing of another.
func TestDocumentIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local"}, nil)
	var passages sync.Map // generation → how many it has
	put := func(g int) {
		n, err := putGeneration(t.Context(), client, "d", g)
		if err != nil {
			t.Errorf("PUT of generation %d: %v", g, err)
		}
		passages.Store(g, n)
	}
	put(1)
	var done atomic.Bool
	var reads atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for !done.Load() {
				got, err := passagesOf(t.Context(), client, i%2 == 0)
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				wantWhole(t, "read", got, &passages)
				reads.Add(1)
			}
		})
	}
	for g := 2; g <= 40; g++ {
		put(g)
	}
	done.Store(true)
	wg.Wait()
	if reads.Load() < 40 {
		t.Errorf("%d reads, want enough to mean something", reads.Load())
	}
	t.Logf("%d reads beside 39 replacements", reads.Load())
}

// TestDocumentSurvivesKill: after kill -9 amid replacements a document is whole, and
// not older than what was acknowledged.
func TestDocumentSurvivesKill(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local"}, nil)
	var passages sync.Map
	acked, g := 0, 0
	for round := range 4 {
		killed := make(chan struct{})
		enough := make(chan struct{})
		go func() {
			defer close(killed)
			<-enough
			time.Sleep(time.Duration(round) * 3 * time.Millisecond) // at another step each time
			s.kill()
		}()
		for first := g; ; {
			g++
			n, err := putGeneration(t.Context(), client, "d", g)
			if err != nil {
				break
			}
			passages.Store(g, n)
			if acked = g; g == first+6 {
				close(enough)
			}
		}
		<-killed
		s = start(t, d)
		client = rest.New(s.url, client.Token)
		for _, search := range []bool{false, true} {
			got, err := passagesOf(t.Context(), client, search)
			if err != nil {
				t.Fatal(err)
			}
			if now := wantWhole(t, fmt.Sprintf("after kill %d", round), got, &passages); now < acked {
				t.Errorf("after kill %d the document is generation %d, want %d, which was acknowledged, or later", round, now, acked)
			}
		}
		var doc struct {
			Passages int
			Metadata struct{ Generation int }
		}
		do(t, client, http.MethodGet, "/v1/collections/c/documents/d", nil, &doc)
		got, err := passagesOf(t.Context(), client, false)
		if err != nil || len(got) != doc.Passages || got[0] != doc.Metadata.Generation {
			t.Errorf("after kill %d the document is %+v, and its passages are of %v, %v; want the same generation and number", round, doc, got, err)
		}
	}
}

// TestDocumentRefusals: what cannot be a document is told why, and leaves nothing.
func TestDocumentRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client, other := s.tenant(t, "acme"), s.tenant(t, "rival")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local"}, nil)
	if _, err := putDocument(t.Context(), client, "there", "", "# A\n\nText."); err != nil {
		t.Fatal(err)
	}
	all := func() string {
		var collection, list map[string]any
		do(t, client, http.MethodGet, "/v1/collections/c", nil, &collection)
		do(t, client, http.MethodGet, "/v1/collections/c/documents", nil, &list)
		return fmt.Sprint(collection, list)
	}
	before := all()
	for name, c := range map[string]struct {
		client       *rest.Client
		mediaType    string
		source       io.Reader
		status       int
		kind, detail string
	}{
		"empty":            {client, "text/plain", strings.NewReader(""), 400, "invalid", "source: is empty"},
		"white space":      {client, "text/plain", strings.NewReader(" \n\t"), 400, "invalid", ""},
		"binary as text":   {client, "text/plain", bytes.NewReader([]byte{0, 1, 2, 0xff}), 400, "invalid", ""},
		"an image":         {client, "image/png", strings.NewReader("x"), 415, "unsupported-media-type", "application/pdf"},
		"200 MB":           {client, "text/plain", io.LimitReader(endless{}, 200<<20), 413, "too-large", "33554432"},
		"broken PDF":       {client, "application/pdf", strings.NewReader("%PDF-1.7\nbroken"), 400, "invalid", ""},
		"broken DOCX":      {client, "application/vnd.openxmlformats-officedocument.wordprocessingml.document", strings.NewReader("PK\x03\x04broken"), 400, "invalid", ""},
		"a foreign tenant": {other, "text/plain", strings.NewReader("x"), 404, "not-found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := putFrom(t.Context(), c.client, c.mediaType, c.source)
			wantProblem(t, err, c.status, c.kind, c.detail)
		})
	}
	if after := all(); after != before {
		t.Errorf("after the refusals there is\n%s\nwant as before\n%s", after, before)
	}
}

// putFrom sends a document of a length that is not told beforehand.
func putFrom(ctx context.Context, c *rest.Client, mediaType string, source io.Reader) error {
	header := http.Header{"Content-Type": {mediaType}}
	return c.Stream(ctx, http.MethodPut, "/v1/collections/c/documents/new", header, source, &struct{}{})
}

// endless is text without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "word "[i%5]
	}
	return len(p), nil
}
